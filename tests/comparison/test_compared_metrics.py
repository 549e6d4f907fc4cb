"""Whatever metrics a recipe names: a comparison shows these, in all its files, and no others."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_comparison import made_comparison
from rich.console import Console

from genrec.comparison._origins import check_one_protocol
from genrec.comparison.statistics import statistics_of
from genrec.datasets.showroom import Showroom
from genrec.evaluation.metrics import METRICS, Metric, column_name
from genrec.evaluation.protocol import EvaluationSettings
from genrec.recipe.problems import InvalidRecipeError
from genrec.reporting.comparison_files import csv_text, markdown, print_comparison, to_dict
from genrec.reporting.comparison_texts import summary_text
from genrec.reporting.page import page

pytestmark = pytest.mark.slow

RANK = "mean_rank"
FOLDER = Path("runs/compare-shop")
AXES = {"streams.*.tokenizer": ("kmeans_tree", "random_codes"), "merge": ("confidence", "learned")}


def mean_rank(ranks_U, cutoff):
    return np.where((ranks_U >= 0) & (ranks_U < cutoff), ranks_U, cutoff).astype(np.float64)


@pytest.fixture(autouse=True)
def _lower_is_better(monkeypatch):
    """A metric that is better the lower it is, beside those that are there."""
    monkeypatch.setitem(METRICS._known, RANK, Metric(RANK, "Mean rank", mean_rank, higher_is_better=False))


@pytest.fixture(
    params=[
        tuple(METRICS.names_of_targets()),
        (*METRICS.names_of_targets(), RANK),
        ("recall",),
        (RANK, "recall"),
        (RANK,),
    ]
)
def comparison(request):
    """A made-up comparison with the statistics of real ones."""
    shop = Showroom(items=80, users=200).load(None)
    made = made_comparison(AXES, users=len(shop.valid), seeds=(1, 2), codes=False, metrics=request.param)
    settings = EvaluationSettings.model_validate({"metrics": request.param, "bootstrap_samples": 100})
    return replace(made, **statistics_of(made.rows, shop.valid, shop, settings))


def titles(text):
    """The metrics that a text speaks of, but for the one that checkpoints are chosen by."""
    words = re.sub(r"validation NDCG@10|Checkpoint selection: [^.]*\.|NDCG@10 on validation users", "", text)
    titles = {METRICS.get(name).title for name in (*METRICS.names(), RANK)}
    return {title for title in titles if f"{title}@" in words}


def test_every_form_shows_the_metrics_of_the_recipe_and_no_others(comparison):
    expected = {METRICS.get(name).title for name in comparison.metrics}
    console = Console(file=io.StringIO(), width=400)
    print_comparison(comparison, console, FOLDER)
    for text in (markdown(comparison, FOLDER), page(comparison, FOLDER), console.file.getvalue()):
        assert titles(text) == expected
    lines = markdown(comparison, FOLDER).splitlines()
    head = next(line for line in lines if line.startswith("| method | kind | seeds |"))
    columns = [column_name(metric, cutoff) for metric in comparison.metrics for cutoff in (5, 10, 20)]
    assert head == f"| method | kind | seeds | {' | '.join(columns)} |"
    lines = list(csv.DictReader(io.StringIO(csv_text(comparison))))
    assert [line["metric"] for line in lines[:: len((5, 10, 20))]] == list(comparison.metrics) * len(
        comparison.table_rows
    )
    data = json.loads(json.dumps(to_dict(comparison)))
    for row in data["rows"]:
        assert list(row["metrics"]) == list(row["seed_means"]) == list(comparison.metrics)
    for part in data["slices"]:
        assert all(list(cells) == list(comparison.metrics) for cells in part["rows"].values())
    methods = 2 * 2 + 2
    assert data["tests"]["count"] == len(comparison.metrics) * methods * (methods - 1) / 2
    assert {test["metric"] for test in data["tests"]["pairs"]} == set(comparison.metrics)


def test_the_page_begins_with_the_main_metric(comparison):
    text = page(comparison, FOLDER)
    main = METRICS.get(comparison.metric).title
    assert comparison.metric == ("ndcg" if "ndcg" in comparison.metrics else comparison.metrics[0])
    assert f">{main}@10 by variant</h2>" in text
    assert f">{main}@10 by kind of user and item</h2>" in text
    at_every = "recall" if "recall" in comparison.metrics else comparison.metric
    assert f'<h2 id="{at_every}">{METRICS.get(at_every).title} at every K</h2>' in text
    assert all(0 <= float(share) <= 1 for share in re.findall(r"--share: ([\d.]+)", text))


def test_the_best_is_the_lowest_where_lower_is_better(comparison):
    """Random codes are worst in every metric, and the best has the letter a and the first sentence."""
    for metric in comparison.metrics:
        higher = METRICS.get(metric).higher_is_better
        variants = [row.name for row in comparison.rows if row.kind == "variant"]
        means = {name: comparison.cells[name][metric][10].mean for name in variants}
        in_order = sorted(means, key=lambda name: means[name], reverse=higher)
        assert "kmeans_tree" in in_order[0]
        assert "random_codes" in in_order[-1]
        assert comparison.best_rows(metric, 10) == in_order[:1]
        assert "a" in comparison.letters[metric][in_order[0]]
        assert "a" not in comparison.letters[metric][in_order[-1]]
        summary = summary_text(comparison, metric)
        assert f"'{in_order[0]}' has the {'highest' if higher else 'lowest'} mean (" in summary
        assert "better than" in summary
        assert "worse than" not in summary
        for test in comparison.pairs:
            if test.metric == metric and test.verdict != "not significantly different":
                assert (test.difference > 0) == ((test.verdict == "better") == higher)


def test_recipes_that_report_different_metrics_are_not_compared():
    def origin(*metrics):
        block = {
            "dataset": {"type": "showroom"},
            "evaluation": {"cutoffs": [5], "seen_items": "keep", "split": {"type": "leave_one_out"}},
        }
        block["evaluation"]["metrics"] = list(metrics)
        return SimpleNamespace(given="one.yaml", recipe=SimpleNamespace(block=lambda: block))

    check_one_protocol([origin("recall", "ndcg"), origin("recall", "ndcg")])
    with pytest.raises(InvalidRecipeError, match=r"evaluation\.metrics: found \[recall\], expected \[recall, ndcg\]"):
        check_one_protocol([origin("recall", "ndcg"), origin("recall")])
