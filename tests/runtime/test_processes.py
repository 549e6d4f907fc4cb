"""Processes that the package starts import what this process does, and nothing of the working folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from genrec.runtime.processes import start_module


def test_modules_of_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("genrec", "json", "subprocess"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])  # as in a command
    process = start_module("genrec.serving.batch.worker", {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    answer, _ = process.communicate(b"no request\n", timeout=60)
    assert b'"kind":"bug"' in answer
    assert process.returncode == 0


def test_variables_and_the_search_path_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_a_test.py").write_text("import os\nprint(os.environ['OF_A_TEST'])", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    process = start_module("of_a_test", {"OF_A_TEST": "passed on"}, stdout=subprocess.PIPE)
    assert process.communicate(timeout=60) == (b"passed on\n", None)
