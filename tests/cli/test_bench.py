"""``genrec bench`` as a user meets it: tables, JSON, a finished run, errors, and no files left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from genrec.cli import main

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]
QUICK = ("--users", "8", "--steps", "1", "--repetitions", "2", "--batch-sizes", "4,8")


@pytest.fixture(autouse=True)
def small(folder: Path, small_recipe: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``small.yaml`` in the working folder, and a peak that is soon measured."""
    monkeypatch.setattr("genrec.throughput.machine._SIZES", (256,))
    (folder / "small.yaml").write_text(small_recipe, encoding="utf-8")
    return folder


def bench(source: str, *words: str) -> int:
    return main(["bench", source, "--device", "cpu", *words])


def found(out: str) -> Any:
    return json.loads(out)


def files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_tables(folder: Path, capsys: Capture) -> None:
    assert bench("small.yaml", *QUICK, "--threads", "1", "--each-stream") == 0
    told = capsys.readouterr()
    assert told.out.startswith("Three views of a small shop [showroom], random weights, on showroom\n")
    assert "threads: 1, device cpu, torch " in told.out
    assert "float32 products of 256 x 256" in told.out
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    for streams in ("behavior + text + visual", "behavior", "text", "visual"):
        for batch_size in (4, 8):
            assert sum(line.startswith(f"{streams} {batch_size} ") for line in lines) == 1
    assert "forward backward optimizer rest" in next(line for line in lines if line.startswith("batch targets/s"))
    assert "Note: weights are random: search method bound cannot stop early" in told.out
    assert "Median (lowest - highest) of 2 repetitions" in told.out
    assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "small.yaml", "runs"}
    assert [path.name for path in (folder / "runs").iterdir()] == [".stages"], "the stages of any run, and no run"


def test_json_and_what_a_run_finds_finished(folder: Path, capsys: Capture) -> None:
    words = ("--set", "search.beam_width=7", "--seed", "3", "--json", "--output", "speed.json")
    assert bench("small.yaml", *QUICK, *words) == 0
    told = found(capsys.readouterr().out)
    assert told == found((folder / "speed.json").read_text(encoding="utf-8"))
    assert told["weights"] == "random"
    assert [(row["name"], row["batch_size"], row["count"]) for row in told["decode"]] == [
        ("behavior + text + visual", 4, 8),
        ("behavior + text + visual", 8, 8),
    ]
    assert "decode: search beam, beam width 7, lists of 20, seen items: keep" in told["notes"]
    for row in (*told["decode"], told["train"]):
        rate, peak = row["per_second"], told["peak"]["gflop_per_second"]
        assert rate["min"] <= rate["median"] <= rate["max"]
        assert row["share_of_peak"] == pytest.approx(rate["median"] * row["mflop_each"] / 1e3 / peak)
        assert 0 < row["share_of_peak_by_cpu_time"] < 1
        assert len(row["repetitions"]) == 2
    assert sum(told["train"]["phases"].values()) == pytest.approx(1)
    assert main(["run", "small.yaml", "--device", "cpu", "--seed", "3", "--set", "training.max_epochs=1"]) == 0
    [run] = folder.glob("runs/small-*")
    stages = found((run / "run.json").read_text(encoding="utf-8"))["stages"]
    assert {(stage["kind"], stage["reused"]) for stage in stages if stage["kind"] in ("vectors", "ids", "model")} == {
        ("vectors", True),
        ("ids", True),
        ("model", False),
    }


def test_a_finished_run_has_its_own_model_and_keeps_it(folder: Path, small_run: Path, capsys: Capture) -> None:
    shutil.copytree(small_run, folder / "run")
    before = files(folder)
    assert bench("run", *QUICK, "--json", "--set", "search.method=exact") == 0
    told = found(capsys.readouterr().out)
    assert told["weights"] == "trained"
    assert [row["batch_size"] for row in told["decode"]] == [4, 8]
    assert not any("random" in note for note in told["notes"])
    assert "decode: search exact, lists of 20, seen items: keep" in told["notes"]
    assert told["train"]["count"] > 0
    assert files(folder) == before


def test_one_kind_of_work_alone(capsys: Capture) -> None:
    assert bench("small.yaml", *QUICK, "--what", "train") == 0
    out = capsys.readouterr().out
    assert "\ntraining" in out
    assert "\ndecoding" not in out
    assert bench("small.yaml", *QUICK, "--what", " decode", "--json") == 0
    told = found(capsys.readouterr().out)
    assert told["train"] is None
    assert len(told["decode"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["small.yaml", "--batch-sizes", "8,0"],
            "--batch-sizes 8,0: found '0', expected positive integers such as",
        ),
        (["small.yaml", "--batch-sizes", "9" * 5000], f"--batch-sizes {'9' * 5000}: found '"),
        (["small.yaml", "--batch-sizes", ""], "--batch-sizes : found '', expected positive integers such as"),
        (["small.yaml", "--batch-sizes", "8,8"], "--batch-sizes 8,8: 8 more than once, expected each size once"),
        (["small.yaml", "--what", "decode,serve"], "--what decode,serve: found 'serve', expected decode or train, or "),
        (["small.yaml", "--output", "there/speed.json"], "--output there/speed.json: there is no folder there; "),
        (["small.yaml", "--output", "."], "--output .: is a folder, expected a file for the JSON"),
        (["small.yaml", "--set", "search.width=4"], "--set search.width=4: search.width: unknown key"),
        (["small.yaml", "--device", "nonsense"], "--device nonsense: cannot be used ("),
        (["."], ".: not the folder of a run (no run.json); `genrec run RECIPE` creates one"),
        (["smal.yaml"], "smal.yaml: no such file, expected a recipe; did you mean 'small.yaml'?"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(
    words: list[str], message: str, folder: Path, capsys: Capture
) -> None:
    before = set(folder.rglob("*"))
    assert main(["bench", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(message)
    assert told.err.count("\n") == 1
    assert set(folder.rglob("*")) == before


def test_a_run_stays_what_it_was_trained_as(folder: Path, small_run: Path, capsys: Capture) -> None:
    assert bench(str(small_run), "--set", "streams.text.decoder.dropout=0.4") == 2
    assert "is a finished run, whose model cannot change" in capsys.readouterr().err
    assert bench(str(small_run), "--seed", "4") == 2
    assert "is a finished run, whose model cannot change" in capsys.readouterr().err
    shutil.copytree(small_run, folder / "broken")
    (folder / "broken" / "model.safetensors").unlink()
    assert bench("broken") == 2
    assert "broken/model.safetensors: missing" in capsys.readouterr().err


def test_numbers_that_make_no_sense_are_usage_errors(capsys: Capture) -> None:
    for option in ("--repetitions", "--threads", "--users", "--steps"):
        assert bench("small.yaml", option, "0") == 2
        assert option in capsys.readouterr().err
