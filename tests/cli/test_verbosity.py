"""--quiet, --verbose and -h: the same in every command, before its name and after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genrec.cli import _app as cli
from genrec.cli import main
from genrec.runtime import progress
from genrec.runtime.progress import Bar, Verbosity, console, log_detail, set_verbosity, verbosity

TINY = ["run", "recipe.yaml", "--set", "dataset={type: showroom, users: 300, items: 60}", "--set", "baselines=[]"]


@pytest.fixture(autouse=True)
def _normal():
    yield
    set_verbosity("normal")


@pytest.mark.parametrize("verb", [*([verb] for verb in cli.verbs()), ["data", "list"], ["data", "fetch"], []])
def test_every_command_has_the_shared_options(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "-h"]) == 0
    text = capsys.readouterr().out
    for long, short in (("--quiet", "-q"), ("--verbose", "-v"), ("--help", "-h")):
        assert re.search(rf"{long}\s+{short}\s", text), text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "merges"], "normal"),
        (["--quiet", "list", "merges"], "quiet"),
        (["list", "merges", "-q"], "quiet"),
        (["-v", "data", "list", "ml-1m"], "verbose"),
        (["data", "--verbose", "list", "ml-1m"], "verbose"),
        (["data", "list", "ml-1m", "-v", "--verbose"], "verbose"),
        (["-q", "data", "list", "ml-1m", "--quiet"], "quiet"),
    ],
)
def test_the_options_stand_anywhere(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity("quiet")  # of an earlier command in this process; it is forgotten
    assert main(words) == 0
    assert verbosity() == expected
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", [["-q", "list", "-v"], ["list", "--quiet", "--verbose"]])
def test_both_are_an_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "found both --quiet and --verbose, expected one of them" in " ".join(told.err.split())


def test_quiet_run_prints_its_result_alone_and_verbose_each_stage(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--output", "quiet", "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert "Two views of a showroom" in quiet.out
    assert main([*TINY, "--output", "verbose", "--verbose"]) == 0
    verbose = capsys.readouterr()
    assert re.search(r"ids of text: computes .*ids-[0-9a-f]+\n", verbose.err)
    assert re.search(r"ids of text: took \d+\.\d s, peak memory \d", verbose.err)
    assert "epoch 1" in verbose.err


def test_errors_are_printed_in_every_mode_and_with_a_traceback_in_verbose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = "nothing.yaml: no such file, expected a recipe\n"
    assert main(["-q", "show", "nothing.yaml"]) == 2
    assert capsys.readouterr().err == message
    assert main(["-v", "show", "nothing.yaml"]) == 2
    told = capsys.readouterr().err
    assert "loading.py" in told
    assert told.endswith(message)
    assert told.count("no such file, expected a recipe\n") == 1


def test_a_bar_and_details_follow_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", -1.0)
    shown: dict[Verbosity, str] = {"quiet": "", "normal": "work: 1/2 \n", "verbose": "work: 1/2 \n[x] read\n"}
    for level, expected in shown.items():
        set_verbosity(level)
        with Bar("work", 2) as bar:
            bar.advance()
        log_detail("[x] read")
        assert capsys.readouterr().err == expected


def test_a_quiet_bar_draws_nothing_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_force_terminal", True)
    set_verbosity("quiet")
    with Bar("work", 2) as bar:
        assert bar._progress is None
