"""``genrec export`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genrec.cli import main

Capture = pytest.CaptureFixture[str]


def test_an_export_says_where_it_is_and_what_to_do_next(
    small_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(small_run), "shop", "--images"]) == 0
    size = sum(file.stat().st_size for file in Path("shop").rglob("*") if file.is_file())
    card = Path("shop") / "README.md"
    expected = f"shop: {size / 10**6:.1f} MB; before you publish it, set its license in {card}\n"
    assert capsys.readouterr().out == expected
    assert Path("shop/images/00000.safetensors").is_file()
    assert main(["export", str(small_run), "shop"]) == 2
    assert capsys.readouterr().err.endswith("expected a new or empty folder\n")


def test_an_export_as_json(small_run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    monkeypatch.chdir("here")
    assert main(["export", str(small_run), ".", "--json"]) == 0
    size = sum(file.stat().st_size for file in Path().rglob("*") if file.is_file())
    assert json.loads(capsys.readouterr().out) == {"path": ".", "bytes": size}
    assert Path("run.json").is_file()
    assert main(["recommend", ".", "--history", "item-3", "--device", "cpu", "--json"]) == 0


def test_what_is_no_run_is_one_error(tmp_path: Path, capsys: Capture) -> None:
    assert main(["export", str(tmp_path / "nothing"), str(tmp_path / "x")]) == 2
    expected = f"{tmp_path / 'nothing'}: not the folder of a run (no run.json); `genrec run RECIPE` creates one\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "x").exists()
