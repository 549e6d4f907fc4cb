"""Metrics beyond accuracy in a comparison: cells, tests and every form of its report."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_comparison import made_comparison
from rich.console import Console
from safetensors.numpy import load_file

from genrec.comparison.statistics import statistics_of
from genrec.datasets.showroom import Showroom
from genrec.evaluation.beyond_accuracy import measure_lists
from genrec.evaluation.metrics import DEFAULT_BEYOND_ACCURACY, column_name
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import holm, jackknife_interval, paired_t, t_interval
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.reporting.comparison_files import csv_text, markdown, print_comparison, write
from genrec.reporting.page import page
from genrec.types import ItemVectors

pytestmark = pytest.mark.slow

FOLDER = Path("runs/compare-shop")
AXES = {"merge": ("confidence", "learned")}


@pytest.fixture(scope="module")
def shop():
    return Showroom(items=80, users=120).load(None)


@pytest.fixture(scope="module")
def comparison(shop):
    """Random lists; those of the second variant are of few items."""
    rng, num_users = np.random.default_rng(0), len(shop.valid)
    vectors = ItemVectors(rng.normal(size=(80, 4)).astype(np.float32), np.ones(80, bool))
    facts = ItemFacts(np.bincount(shop.train.items, minlength=80), vectors, "text")
    made = made_comparison(AXES, users=num_users, seeds=(1, 2), codes=False, metrics=("ndcg",))

    def values(few):
        items = np.stack([rng.permutation(15 if few else 80)[:10] for _ in range(num_users)])
        return measure_lists(TopLists(items, items % 5 == 0, facts), DEFAULT_BEYOND_ACCURACY, 10)

    rows = [
        row
        if row.kind == "oracle"
        else replace(row, list_values=tuple(values("learned" in row.name) for _ in row.seeds))
        for row in made.rows
    ]
    settings = EvaluationSettings(metrics=("ndcg",), bootstrap_samples=50)
    return replace(made, rows=rows, **statistics_of(rows, shop.valid, shop, settings), distances_in="text")


def test_cells_are_means_over_seeds_with_intervals_over_users(comparison):
    assert comparison.beyond_accuracy == DEFAULT_BEYOND_ACCURACY
    row = next(row for row in comparison.rows if row.kind == "variant")
    novelty, coverage = (comparison.cells[row.name][name][10] for name in ("novelty", "coverage"))
    values_SU = np.stack([values.of_users["novelty"] for values in row.list_values]).astype(np.float64)
    assert novelty.mean == pytest.approx(values_SU.mean())
    assert novelty.std == pytest.approx(values_SU.mean(axis=1).std(ddof=1))
    assert (novelty.low, novelty.high) == t_interval(values_SU.mean(axis=0), 0.95)
    values_SG = np.stack([values.of_system["coverage"] for values in row.list_values])
    expected = jackknife_interval(values_SG[:, 0].mean(), values_SG[:, 1:].mean(axis=0), 0.95)
    assert (coverage.mean, coverage.low, coverage.high) == (values_SG[:, 0].mean(), *expected)
    oracle = next(row for row in comparison.rows if row.kind == "oracle")
    assert list(comparison.cells[oracle.name]) == ["ndcg"]


def test_pairs_are_corrected_apart_from_those_of_accuracy(comparison):
    tests = comparison.beyond_pairs
    assert {test.metric for test in tests} == {"novelty", "intra_list_distance", "tail_share", "repeat_share"}
    assert len(tests) == 4 * len([pair for pair in comparison.pairs if pair.metric == "ndcg"])
    assert [test.p_holm for test in tests] == holm([test.p for test in tests])
    assert [pair.p_holm for pair in comparison.pairs] == holm([pair.p for pair in comparison.pairs])
    rows = {row.name: row for row in comparison.rows}
    first = next(test for test in tests if "learned" in test.second and test.metric == "tail_share")
    means = [rows[name].beyond_SU("tail_share").mean(axis=0) for name in (first.first, first.second)]
    assert first.difference == paired_t(*means, 0.95).mean
    assert first.seeds_shared == 2
    verdicts = {test.verdict for test in tests if test.metric == "novelty"}
    assert verdicts <= {"higher", "lower", "not significantly different"}
    assert verdicts & {"higher", "lower"}
    assert {*comparison.letters["novelty"]} == {row.name for row in comparison.methods}
    assert "coverage" not in comparison.letters


def test_every_form_has_them(comparison, shop, tmp_path):
    columns = [column_name(name, 10) for name in DEFAULT_BEYOND_ACCURACY]
    console = Console(file=io.StringIO(), width=400)
    print_comparison(comparison, console, FOLDER)
    text = markdown(comparison, FOLDER)
    for form in (text, page(comparison, FOLDER), console.file.getvalue()):
        assert "Beyond accuracy" in form
        assert all(column in form for column in columns)
    lines = text.splitlines()
    start = lines.index("## Beyond accuracy")
    assert lines[start + 2] == f"| method | kind | seeds | {' | '.join(columns)} |"
    found = [line for line in csv.DictReader(io.StringIO(csv_text(comparison))) if line["metric"] == "gini"]
    assert [line["name"] for line in found] == [row.name for row in comparison.table_rows if row.list_values]
    write(comparison, shop.valid, tmp_path)
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert len(content["beyond_accuracy"]["pairs"]) == len(comparison.beyond_pairs)
    tensors, row = load_file(tmp_path / "ranks.safetensors"), comparison.table_rows[0]
    assert tensors[f"novelty/{row.name}/2"].tolist() == row.list_values[1].of_users["novelty"].tolist()


def test_comparisons_without_them_have_no_table(comparison):
    without = replace(comparison, beyond_accuracy=(), beyond_pairs=())
    assert "Beyond accuracy" not in markdown(without, FOLDER)
