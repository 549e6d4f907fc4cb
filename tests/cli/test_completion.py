"""Completion of commands, options and values, by the protocol of each shell and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genrec
from genrec.cli import main
from genrec.datasets.download.sources import sources
from genrec.families import FAMILIES, merges

ROOT = Path(genrec.__file__).parents[1]


def completed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str = "bash"
) -> str:
    """What a shell gets for the last word, which may be incomplete or empty."""
    monkeypatch.setenv("_GENREC_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", " ".join(["genrec", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join(["genrec", *words]))
    assert main([]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return told.out.strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["com"], ["compare"]),
        (["--ver"], ["--version", "--verbose"]),
        (["run", "--se"], ["--set", "--seed"]),
        (["run", "--qu"], ["--quiet"]),
        (["list", "t"], ["tokenizers", "tasks"]),
        (["list", "tokenizers", "k"], ["kmeans_tree"]),
        (["list", "tokenizers", "learned"], []),
        (["--quiet", "list", "merges", "lea"], ["learned"]),
        (["data", "fetch", "ml-latest"], ["ml-latest-small"]),
        (["data", "audit", "ml-latest"], ["ml-latest-small"]),
        (["run", "recipe.yaml", "--device", "cu"], ["cuda"]),
        (["run", "rec"], []),
    ],
)
def test_bash_gets_words(
    words: list[str],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing for a recipe: bash completes files itself."""
    assert completed(words, monkeypatch, capsys).splitlines() == expected


def test_all_values_are_offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    families = completed(["list", ""], monkeypatch, capsys).splitlines()
    assert families == [*(registry.family for registry in FAMILIES), "metrics"]
    assert completed(["data", "fetch", ""], monkeypatch, capsys).splitlines() == list(sources())
    assert sorted(completed(["list", "merges", ""], monkeypatch, capsys).splitlines()) == merges.names()


def test_plugins_of_the_working_folder_are_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "borda.py").write_text("@merges.register('borda')\nclass Borda(Merge): ...\n")
    (folder / "plugins" / "broken.py").write_text("x = (\n")
    assert completed(["list", "merges", "b"], monkeypatch, capsys) == "borda"


def test_zsh_gets_words_with_their_meaning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = completed(["list", "merges", "round"], monkeypatch, capsys, shell="zsh")
    assert told.startswith('_arguments \'*: :(("round_robin":"')
    assert told.endswith("\"))'")
    assert completed(["run", "rec"], monkeypatch, capsys, shell="zsh") == "_files"


@pytest.mark.parametrize(("shell", "command"), [("bash", "complete -o default -F"), ("zsh", "#compdef genrec")])
def test_the_script_of_a_shell_calls_genrec(
    shell: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GENREC_COMPLETE", f"source_{shell}")
    assert main([]) == 0
    script = capsys.readouterr().out
    assert command in script
    assert f"_GENREC_COMPLETE=complete_{shell}" in script


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_installed_script(folder: Path) -> None:
    """``genrec --install-completion`` writes the script to the home folder; a new shell then completes with it."""
    (folder / "genrec").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m genrec.cli "$@"\n')
    (folder / "genrec").chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }

    def bash(code: str) -> str:
        done = subprocess.run(
            ["bash", "--norc", "-c", code], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "bash completion installed in" in bash("genrec --install-completion; exit $?")
    complete = "_genrec_completion genrec; printf '%s\\n' \"${COMPREPLY[@]}\""
    sourced = ". ~/.bashrc; complete -p genrec"
    asked = f"COMP_WORDS=(genrec list merges rou); COMP_CWORD=3; {complete}"
    lines = bash(f"{sourced}; {asked}").splitlines()
    assert lines == ["complete -o default -F _genrec_completion genrec", "round_robin"]


@pytest.mark.slow
@pytest.mark.parametrize("words", ["genrec ru", "genrec list merges c", "genrec data fetch ml", "genrec run --d"])
def test_completion_is_quick_and_imports_no_torch(words: str, folder: Path) -> None:
    code = (
        "import sys, time; from genrec.cli import main; assert main([]) == 0\n"
        "print('torch' in sys.modules, time.process_time())"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_GENREC_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
        )
        has_torch, took = done.stdout.splitlines()[-1].split()
        assert has_torch == "False", done.stderr
        seconds.append(float(took))
    assert min(seconds) < 1.0
