"""The fuzzer finds what it is for, and a short round of each reader finds nothing."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

import pytest

from genrec.errors import DataError
from genrec.runtime.progress import console
from tests.fuzz import fuzzer as fuzzing
from tests.fuzz.__main__ import main
from tests.fuzz.fuzzer import Fuzzer, Input, Reader, Round
from tests.fuzz.readers import READERS


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_any_file_is_read_or_is_one_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "quiet", True)
    fuzzer, done = Fuzzer(READERS[name], tmp_path), Round()
    for world in range(len(fuzzer.worlds)):
        outcomes = [fuzzer.read(Input(world, way, {})) for way in range(len(READERS[name].ways))]
        assert any(outcome.startswith("read: ") and problem is None for outcome, problem in outcomes), outcomes
    for done in fuzzer.run(seed=1, inputs=len(fuzzer.worlds) * len(READERS[name].ways) + 100):
        assert not done.findings, next(iter(done.findings.values())).problem
    assert done.rejected > 10
    assert len(done.outcomes) > 10


def world(folder: Path) -> None:
    (folder / "a.csv").write_text("user,item\nann,1\nbob,2\n", encoding="utf-8")


def strict(folder: Path) -> object:
    """Reads what it knows; a zero is a bug, a B is a warning, an x is an error that says nothing."""
    text = (folder / "a.csv").read_bytes().decode("latin-1") if (folder / "a.csv").is_file() else ""
    if "0" in text:
        return 1 // 0
    if "b" not in text:
        warnings.warn("no b", UserWarning, stacklevel=2)
    if "\t" in text:
        raise DataError("what is this")
    if not text.startswith("user"):
        raise DataError(f"{folder / 'a.csv'}: no users")
    return "x"


def round_of(fuzzer: Fuzzer, seed: int, inputs: int) -> Round:
    *_, done = fuzzer.run(seed=seed, inputs=inputs)
    return done


def test_findings_are_exceptions_warnings_and_errors_without_a_place(tmp_path: Path) -> None:
    done = round_of(Fuzzer(Reader([world], [strict]), tmp_path), seed=1, inputs=600)
    assert done.inputs == 600
    assert 0 < done.rejected < 600
    assert {kind.partition(":")[0] for kind in done.findings} == {"ZeroDivisionError", "UserWarning", "nowhere"}
    assert "integer division" in next(f.problem for kind, f in done.findings.items() if kind.startswith("Zero"))


def test_a_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    rounds = []
    for number, seed in enumerate((1, 1, 2)):
        seen: list[bytes] = []
        ways = [lambda folder, seen=seen: seen.append((folder / "a.csv").read_bytes())]
        round_of(Fuzzer(Reader([world], ways), tmp_path / str(number)), seed, inputs=50)
        rounds.append(seen)
    assert rounds[0] == rounds[1] != rounds[2]
    assert len(set(rounds[0])) > 30


def test_what_is_slow_or_large_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "MAX_WAIT", 1)
    fuzzer = Fuzzer(Reader([world], [lambda folder: time.sleep(30), lambda folder: None]), tmp_path)
    outcome, problem = fuzzer.read(Input(0, 0, {}))
    assert outcome.startswith("slow: ")
    assert problem is not None
    assert problem.startswith("took more than 20 seconds of CPU time or 1 in all\n")
    monkeypatch.setattr(fuzzing, "MAX_MEMORY", -1)
    outcome, problem = fuzzer.read(Input(0, 1, {}))
    assert outcome == "memory"
    assert problem is not None
    assert problem.endswith("of memory, expected at most -1")


def test_a_finding_is_written_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(READERS, "strict", Reader([world], [strict]))
    assert main(["strict", "--seed", "1", "--minutes", "0.02"]) == 1
    told = capsys.readouterr().out
    [place] = [Path(line.rpartition(" ")[2]) for line in told.splitlines() if "FOUND ZeroDivisionError" in line]
    assert re.search(r"^strict: \d+ s, [\d,]+ inputs, ", told, re.MULTILINE)
    assert not (tmp_path / "build" / "fuzz" / "strict" / "work").exists()
    assert main(["strict", "--input", str(place), "--world", "0", "--way", "0"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    deleted = Input(0, 0, {"a.csv": None})
    fuzzer = Fuzzer(READERS["strict"], tmp_path / "again")
    fuzzer.save(fuzzing.Finding(deleted, "it is gone"), tmp_path / "gone", "fuzz")
    assert fuzzer.saved(tmp_path / "gone", 0, 0) == deleted
