"""``genrec add-items``: output, exit statuses and messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genrec.cli import main
from genrec.datasets.showroom import Showroom

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]


@pytest.fixture(name="items")
def _items(folder: Path) -> Path:
    catalog = Showroom(items=60, users=120).load().catalog
    file = folder / "new.csv"
    file.write_text(f'key,title,text\ntwin,Twin of five,"{catalog.texts[5]}"\nbare,Bare,\n', encoding="utf-8")
    return file


def test_a_grown_run_is_a_run_like_others(small_run: Path, items: Path, capsys: Capture) -> None:
    assert main(["add-items", str(small_run), str(items), "--output", "grown"]) == 0
    told = capsys.readouterr()
    assert told.out.split("\n")[0].strip() == "2 new items -> grown"
    rows = [line.split() for line in told.out.splitlines()]
    assert ["text", "encoded", "1", "twin"] in rows
    assert ["behavior", "nearest", "in", "text", "1", "twin"] in rows
    assert ["text", "left", "out", "1", "bare"] in rows
    assert "no stream recommends" in told.err
    assert main(["recommend", "grown", "--history", "twin,item-3", "--json"]) == 0
    assert capsys.readouterr().out
    assert main(["runs", "list", "."]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["add-items", "grown", str(items), "--output", "again"]) == 2
    assert capsys.readouterr().err == (
        f"{items}:2: key 'twin' is an item of the run already (2 such items, e.g. 'twin', 'bare'); remove these rows, "
        "or pass --new-only to leave them out\n"
    )


def test_json_and_given_vectors(small_run: Path, items: Path, capsys: Capture) -> None:
    words = ["add-items", str(small_run), str(items), "--output", "grown", "--json"]
    assert main(words) == 0
    version = json.loads(capsys.readouterr().out)
    assert version["items"] == ["twin", "bare"]
    assert main([*words, "--vectors", "text"]) == 2
    assert capsys.readouterr().err == "--vectors text: expected STREAM=FILE, such as text=vectors.parquet\n"
    assert main(words) == 2
    assert capsys.readouterr().err == "grown: has a finished run; pass another folder to --output\n"
