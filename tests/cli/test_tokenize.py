"""``genrec tokenize`` as a user meets it: tables, files, and stages that ``genrec run`` finds finished."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from genrec.cli import main

Capture = pytest.CaptureFixture[str]
STREAMS = ["behavior", "text", "visual"]


@pytest.fixture(autouse=True)
def small(folder: Path, small_recipe: str) -> Path:
    """``small.yaml`` in the working folder."""
    (folder / "small.yaml").write_text(small_recipe, encoding="utf-8")
    return folder


def tokenize(*words: str) -> int:
    return main(["tokenize", "small.yaml", "--device", "cpu", *words])


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_tables_and_where_they_are_kept(folder: Path, capsys: Capture) -> None:
    assert tokenize("--output", "out") == 0
    told = capsys.readouterr()
    assert told.out.startswith("Three views of a small shop [showroom]"), "titles are no markup"
    assert "between streams" in told.out
    assert told.err.startswith("Three views of a small shop [showroom] -> out\n")
    quality = read(folder / "out" / "quality.json")
    assert quality["dataset"] == "showroom"
    [variant] = quality["variants"]
    assert list(variant["streams"]) == STREAMS
    for name, measured in variant["streams"].items():
        assert measured["collisions_after_repair"] == 0
        assert measured["prefixes"][0]["lift"] > 1.5
        assert 0 < measured["reconstruction_error"] < 1
        assert all(category["values"] > 1 for category in measured["categories"])
        assert (folder / "out" / "streams" / name / "ids.safetensors").is_file()
        assert f"| {name} | kmeans_tree | 60 |" in (folder / "out" / "quality.md").read_text(encoding="utf-8")
    assert [(pair["first"], pair["second"]) for pair in variant["pairs"]] == [
        ("behavior", "text"),
        ("behavior", "visual"),
        ("text", "visual"),
    ]
    assert any("codes are in a separate branch of the tree" in note for note in quality["notes"])


def test_json_is_alone_on_stdout(folder: Path, capsys: Capture) -> None:
    assert tokenize("--output", "out", "--seed", "5", "--set", "streams.*.tokenizer.branching=4", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == read(folder / "out" / "quality.json")
    [variant] = found["variants"]
    assert variant["seed"] == 5
    assert {stream["block"]["branching"] for stream in variant["streams"].values()} == {4}


def test_a_run_goes_on_from_the_codes(folder: Path) -> None:
    assert tokenize() == 0
    assert main(["run", "small.yaml", "--device", "cpu", "--set", "training.max_epochs=1"]) == 0
    [run] = folder.glob("runs/small-*")
    reused = {(stage["kind"], stage["reused"]) for stage in read(run / "run.json")["stages"]}
    assert reused == {("vectors", True), ("ids", True), ("model", False), ("candidates", False), ("baseline", False)}
    [first] = folder.glob("runs/tokenize-small-*")
    assert tokenize() == 0
    again = max(folder.glob("runs/tokenize-small-*"), key=lambda path: path.stat().st_mtime_ns)
    assert again != first
    assert read(again / "quality.json") == read(first / "quality.json")
    assert {stage["reused"] for stage in read(again / "run.json")["stages"]} == {True}


def test_a_finished_run_keeps_what_it_has(folder: Path, small_run: Path) -> None:
    shutil.copytree(small_run, folder / "copy")
    before = {file: file.read_bytes() for file in (folder / "copy").rglob("*") if file.is_file()}
    assert tokenize("--output", "copy", "--set", "streams.text.tokenizer.branching=3") == 0
    after = {file: file.read_bytes() for file in (folder / "copy").rglob("*") if file.is_file()}
    assert before.items() <= after.items()
    assert {file.name for file in set(after) - set(before) if ".stages" not in file.parts} == {
        "quality.json",
        "quality.md",
    }


def test_several_tokenizers_stand_in_one_table_and_share_their_vectors(folder: Path, capsys: Capture) -> None:
    assert tokenize("--vary", "streams.*.tokenizer=kmeans_tree,{type: residual_kmeans, codes: 8}", "--output", "o") == 0
    out = capsys.readouterr().out
    quality = read(folder / "o" / "quality.json")
    tree, residual = quality["variants"]
    assert {stream["tokenizer"] for stream in tree["streams"].values()} == {"kmeans_tree"}
    assert {stream["block"]["branching"] for stream in tree["streams"].values()} == {8}, "the recipe's own block"
    assert {stream["tokenizer"] for stream in residual["streams"].values()} == {"residual_kmeans"}
    assert residual["streams"]["text"]["levels"][0]["vocabulary"] == 8
    for variant in (tree, residual):
        assert out.count(variant["name"]) >= 2 * len(STREAMS), "each stream and each pair"
    made = [stage for stage in read(folder / "o" / "run.json")["stages"] if not stage["reused"]]
    assert Counter(stage["kind"] for stage in made) == {"vectors": 3, "ids": 6}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "streams.text.tokenizer.branches=4"], "--set streams.text.tokenizer.branches=4: "),
        (["--output", "small.yaml"], "small.yaml: is a file, expected a folder for the run"),
        (["--set", "dataset={type: sequences, folder: shop}"], "dataset: no data folder for 'shop'"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(
    words: list[str], message: str, folder: Path, capsys: Capture
) -> None:
    before = set(folder.rglob("*"))
    assert tokenize(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(message)
    assert told.err.count("\n") == 1
    assert set(folder.rglob("*")) == before
