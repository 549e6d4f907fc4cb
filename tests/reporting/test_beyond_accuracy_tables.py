"""Metrics beyond accuracy in every form of a run's report, stored and read again."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from made_run import made_dataset, made_run
from rich.console import Console

from genrec.evaluation.list_file import ListFile
from genrec.evaluation.metrics import DEFAULT_BEYOND_ACCURACY, METRICS, column_name
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import holm, paired_t
from genrec.evaluation.top_lists import ItemFacts
from genrec.reporting.report import beyond_tests, evaluate
from genrec.reporting.report_files import read_report, write_report
from genrec.reporting.report_markdown import markdown
from genrec.reporting.report_terminal import print_report
from genrec.reporting.run_page import run_page
from genrec.types import ItemVectors, Ranking

SETTINGS = EvaluationSettings(cutoffs=(5, 10), bootstrap_samples=50)


@pytest.fixture(scope="module")
def details():
    return made_run()


@pytest.fixture(scope="module")
def report(details):
    """A merge of random lists, streams that repeat histories or recommend the same to all."""
    dataset = made_dataset()
    rng, num_users = np.random.default_rng(0), len(dataset.test)
    random = np.stack([rng.permutation(dataset.num_items)[:10] for _ in range(num_users)])
    repeated = random.copy()
    for user in range(num_users):  # one item of the history more, at a random place
        repeated[user, user % 10] = np.setdiff1d(dataset.test.histories[user], random[user])[0]
    scores = np.zeros((num_users, 10), np.float32)
    rankings = {
        "merge: confidence": ("merge", Ranking(random, scores)),
        "stream: text": ("stream", Ranking(repeated, scores)),
        "stream: image": ("stream", Ranking(np.tile(np.arange(10), (num_users, 1)), scores)),
    }
    counts_I = np.bincount(dataset.train.items, minlength=dataset.num_items)
    vectors = ItemVectors(rng.normal(size=(dataset.num_items, 4)).astype(np.float32), np.ones(dataset.num_items, bool))
    rows = evaluate(rankings, dataset.test, SETTINGS, 1, ItemFacts(counts_I, vectors, "text"))
    tests, protocol = beyond_tests(rows, SETTINGS), replace(details[0].protocol, cutoffs=(5, 10))
    return replace(details[0], protocol=protocol, rows=rows, tests=(), beyond_tests=tests, distances_in="text")


def test_every_form_has_the_table(report, details, tmp_path):
    columns = [column_name(name, 10) for name in DEFAULT_BEYOND_ACCURACY]
    console = Console(file=io.StringIO(), width=300)
    print_report(report, console, tmp_path)
    text = markdown(report, tmp_path)
    for form in (text, run_page(report, details[1], tmp_path), console.file.getvalue()):
        assert "Beyond accuracy" in form
        assert all(column in form for column in columns)
        assert "item vectors of the stream text" in " ".join(form.replace("<wbr>", "").split())
    lines = text.splitlines()
    start = lines.index("## Beyond accuracy")
    assert lines[start + 2] == f"| method | kind | {' | '.join(columns)} |"
    assert [line.split(" | ")[0] for line in lines[start + 4 : start + 7]] == [
        "| merge: confidence", "| stream: text", "| stream: image",
    ]  # fmt: skip
    for line in lines[start + 4 : start + 7]:
        novelty, repeat = (
            line.split(" | ")[2 + DEFAULT_BEYOND_ACCURACY.index(name)] for name in ("novelty", "repeat_share")
        )
        assert "**" not in novelty + repeat
    assert lines[start + 6].split(" | ")[2].startswith("0.0333 [0.0333, 0.0333]")
    assert "**" in lines[start + 4].split(" | ")[3]


def test_the_oracle_has_none(report):
    assert [bool(row.beyond_accuracy) for row in report.rows] == [True, True, True, False]
    assert report.beyond_accuracy == DEFAULT_BEYOND_ACCURACY


def test_tests_are_paired_and_corrected_among_themselves(report):
    names = [name for name in DEFAULT_BEYOND_ACCURACY if METRICS.get(name).kind == "lists"]
    assert [(test.other, test.metric) for test in report.beyond_tests] == [
        (other, name) for other in ("stream: text", "stream: image") for name in names
    ]
    merge, text, *_ = report.rows
    expected = paired_t(merge.list_values.of_users["repeat_share"], text.list_values.of_users["repeat_share"], 0.95)
    [test] = [t for t in report.beyond_tests if (t.other, t.metric) == ("stream: text", "repeat_share")]
    assert test.difference == expected
    assert (test.difference.mean, test.verdict) == (pytest.approx(-0.1, abs=0.03), "lower")
    assert [test.p_holm for test in report.beyond_tests] == holm([test.difference.p for test in report.beyond_tests])


def test_files_have_them(report, tmp_path):
    write_report(report, tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(content["methods"][0]["beyond_accuracy"]) == list(DEFAULT_BEYOND_ACCURACY)
    read = read_report(tmp_path)
    assert [row.beyond_accuracy for row in read.rows] == [row.beyond_accuracy for row in report.rows]
    assert list(read.beyond_tests) == list(report.beyond_tests)
    assert read.distances_in == "text"
    stored = ListFile.read(tmp_path)
    for row in report.rows[:3]:
        lists = stored.of_method(row.name, tmp_path, row.lists.facts.vectors)
        for name, by_cutoff in row.beyond_accuracy.items():
            value = METRICS.get(name).of_lists(lists.first(10)).mean()
            assert value == pytest.approx(by_cutoff[10].mean, abs=1e-6)


def test_files_of_runs_without_them_are_read(report, tmp_path):
    write_report(report, tmp_path)
    file = tmp_path / "metrics.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["beyond_accuracy"]
    for method in content["methods"]:
        method.pop("beyond_accuracy", None)
    file.write_text(json.dumps(content), encoding="utf-8")
    read = read_report(tmp_path)
    assert (read.beyond_accuracy, list(read.beyond_tests)) == ((), [])
    assert "Beyond accuracy" not in markdown(read, tmp_path)
