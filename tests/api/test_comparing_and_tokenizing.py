"""``genrec.compare``, ``tokenize`` and ``audit`` from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import genrec
from genrec.api.comparisons import axis_texts
from genrec.datasets.showroom import Showroom

pytestmark = pytest.mark.slow


def test_axes_are_a_mapping_or_texts() -> None:
    vary = {
        "merge": ["confidence", "learned"],
        "streams.*.tokenizer": ["rqvae", {"type": "kmeans_tree", "branching": 4}],
    }
    assert axis_texts(vary) == [
        "merge=confidence,learned",
        'streams.*.tokenizer=rqvae,{"type": "kmeans_tree", "branching": 4}',
    ]
    assert axis_texts({"streams": ["text", "behavior+text", "behavior~text"]}) == [
        "streams=text,behavior+text,behavior~text"
    ]
    assert axis_texts({"training.learning_rate": [0.001, 1e-4]}) == ["training.learning_rate=0.001,0.0001"]


def test_a_finished_run_is_compared_by_its_merges(small_run: Path) -> None:
    run = genrec.load_run(small_run)
    result = genrec.compare(run, {"merge": ["confidence", "log_prob_sum"]}, output="out", device="cpu")
    names = set(result.metrics["name"])
    assert {"confidence", "log_prob_sum", "popularity", "transition"} <= names
    stored = json.loads(Path("out/comparison.json").read_text(encoding="utf-8"))
    by_name = {row["name"]: row for row in stored["rows"]}
    for row in result.metrics.to_dicts():
        assert by_name[row["name"]]["metrics"][row["metric"]][str(row["cutoff"])]["mean"] == row["mean"]
    assert len(result.tests) == stored["tests"]["count"] + len(stored["beyond_accuracy"]["pairs"])
    assert result.conclusion in repr(result)
    assert "log" in result._repr_html_()


def test_recipes_built_in_python_are_compared() -> None:
    first = genrec.load_recipe("small.yaml", {"training.max_epochs": 1})
    second = genrec.load_recipe(first, {"history_encoder.dim": 8})
    result = genrec.compare([first, second], output="out", device="cpu", jobs=1)
    variants = [row for row in result.comparison.table_rows if row.kind == "variant"]
    assert len(variants) == 2
    for row in variants:
        assert Path(row.command.split()[2]).is_file(), "the command runs a file that exists"


def test_tokenize_gives_codes_and_their_quality() -> None:
    found = genrec.tokenize("small.yaml", output="out")
    [(_, streams)] = found.ids.items()
    codes = streams["text"].to_polars()
    assert codes.columns[:3] == ["item", "title", "code 1"]
    assert len(codes) == 60
    assert codes.select("^code .*$").is_duplicated().sum() == 0
    assert found.metrics["stream"].to_list() == list(streams)
    assert found.quality == json.loads(Path("out/quality.json").read_text(encoding="utf-8"))
    assert streams["visual"]["code 1"].null_count() == 0, "absent items have codes in a separate branch"


def test_audit_takes_recipes_sources_and_datasets() -> None:
    source = Showroom(items=60, users=120)
    by_source, by_dataset = genrec.audit(source), genrec.audit(source.load())
    by_recipe = genrec.audit("small.yaml")
    assert by_source == by_dataset == by_recipe
    assert "60 items" in repr(by_source)
    assert "severity" in by_source._repr_html_()
