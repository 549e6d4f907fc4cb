"""Whatever metrics a recipe names: a run reports these, in all its files, and tests these alone."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from genrec.datasets.showroom import Showroom
from genrec.evaluation.metrics import METRICS, Metric, column_name
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.rank_file import paired
from genrec.reporting.report import Protocol, Report, evaluate, paired_tests
from genrec.reporting.report_files import write_report
from genrec.reporting.report_terminal import print_report
from genrec.types import Ranking

RANK = "mean_rank"
LENGTH = 10


def mean_rank(ranks_U, cutoff):
    return np.where((ranks_U >= 0) & (ranks_U < cutoff), ranks_U, cutoff).astype(np.float64)


@pytest.fixture(params=[tuple(METRICS.names_of_targets()), (*METRICS.names_of_targets(), RANK), ("ndcg",), (RANK,)])
def settings(request, monkeypatch):
    """The metrics that are there, with one that is better the lower it is, and one alone."""
    monkeypatch.setitem(METRICS._known, RANK, Metric(RANK, "Mean rank", mean_rank, higher_is_better=False))
    return EvaluationSettings.model_validate({"metrics": request.param, "cutoffs": (5, 10), "bootstrap_samples": 50})


@pytest.fixture
def report(settings):
    """A merge that finds every target at the top, a stream that finds most of them lower, a baseline half of them."""
    shop = Showroom(items=60, users=100).load(None)

    def placed(rank, share=1.0):
        found = np.arange(len(shop.test)) < share * len(shop.test)
        targets_U = np.where(found, shop.test.targets, -1)
        items_UN = np.full((len(targets_U), LENGTH), -1)
        items_UN[:, rank] = targets_U
        return Ranking(items_UN, np.tile(-np.arange(LENGTH, dtype=np.float32), (len(targets_U), 1)))

    rankings = {"top": ("merge", placed(0)), "middle": ("stream", placed(4, 0.8)), "half": ("baseline", placed(7, 0.5))}
    rows = evaluate(rankings, shop.test, settings, seed=1)
    protocol = Protocol.of(shop, settings, 1, selection="NDCG@10")
    return Report("A shop", protocol, shop.test.users, shop.test.targets, rows, paired_tests(rows, settings, seed=1))


def test_rows_and_files_have_the_metrics_of_the_recipe(report, settings, tmp_path):
    assert report.metrics == settings.metrics
    write_report(report, tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    for row, method in zip(report.rows, content["methods"], strict=True):
        assert list(method) == ["name", "kind", *settings.metrics]
        for metric in settings.metrics:
            for cutoff in (5, 10):
                expected = METRICS.get(metric)(row.ranks_U, cutoff).mean()
                assert method[metric][str(cutoff)]["mean"] == pytest.approx(expected)
    columns = [column_name(metric, cutoff) for metric in settings.metrics for cutoff in (5, 10)]
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines[6] == f"| method | kind | {' | '.join(columns)} |"
    console = Console(file=io.StringIO(), width=300)
    print_report(report, console, tmp_path)
    assert all(column in console.file.getvalue() for column in columns)


def test_the_merge_is_better_whichever_way_a_metric_runs(report, settings, tmp_path):
    assert [(test.other, test.metric) for test in report.tests] == [
        (other, metric) for other in ("middle", "half") for metric in settings.metrics
    ]
    assert {test.verdict for test in report.tests} == {"better"}
    smallest = min(report.tests, key=lambda test: test.difference.p)
    assert smallest.p_holm == pytest.approx(min(1.0, len(report.tests) * smallest.difference.p))
    write_report(report, tmp_path)
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines[8].startswith("| top | merge | ")
    assert lines[8].count("**") == 2 * 2 * len(settings.metrics)
    assert [line.count("**") for line in lines[9:11]] == [0, 0]


def test_finished_runs_are_tested_in_any_metric(report, settings, tmp_path):
    write_report(report, tmp_path)
    for metric in settings.metrics:
        found = paired(tmp_path, tmp_path, "top", "half", metric=metric, cutoff=10)
        [test] = [test for test in report.tests if (test.other, test.metric) == ("half", metric)]
        assert found.mean == test.difference.mean
