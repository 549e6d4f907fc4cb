"""The report: rows, tests and files against numbers known beforehand, and its refusals."""

import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from genrec.errors import DataError, PluginError, RecipeError
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.slices import user_slices
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.report import Protocol, Report, evaluate, paired_tests, read_metrics
from genrec.reporting.report_files import write_report
from genrec.reporting.report_markdown import sparkline
from genrec.reporting.report_terminal import print_report
from genrec.reporting.texts import seconds_text
from genrec.training.log import EpochRecord
from genrec.types import ABSENT, Catalog, Dataset, Histories, Ranking

NUM_ITEMS, NUM_USERS, LENGTH = 60, 200, 10
SETTINGS = EvaluationSettings(cutoffs=(10, 5), bootstrap_samples=200)


def dataset() -> Dataset:
    keys = tuple(f"item {i}" for i in range(NUM_ITEMS))
    rng = np.random.default_rng(0)
    sequences = [rng.choice(NUM_ITEMS, 5, replace=False) for _ in range(NUM_USERS)]
    sequences[0] = np.array([4, 5, 6, 4])
    users = tuple(f"user {u}" for u in range(NUM_USERS))
    return Dataset("toy | shop", Catalog(keys, keys, keys, ((),) * NUM_ITEMS), users, Histories.of(sequences), "toy")


def placed(ranks_U: np.ndarray, split) -> Ranking:
    """Lists of unseen items that hold each user's target at a given rank."""
    items_UN = np.empty((len(split), LENGTH), dtype=np.int64)
    for user, rank in enumerate(ranks_U):
        banned = {*split.histories[user].tolist(), int(split.targets[user])}
        items_UN[user] = [item for item in range(NUM_ITEMS) if item not in banned][:LENGTH]
        if rank != ABSENT:
            items_UN[user, rank] = split.targets[user]
    return Ranking(items_UN, np.tile(-np.arange(LENGTH, dtype=np.float32), (len(split), 1)))


@pytest.fixture(scope="module")
def ranks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    text = rng.integers(-1, LENGTH, NUM_USERS)
    behavior = rng.integers(-1, LENGTH, NUM_USERS)
    return {
        "confidence": np.zeros(NUM_USERS, dtype=int),
        "behavior": behavior,
        "text": text,
        "transition": np.where(rng.random(NUM_USERS) < 0.2, 3, ABSENT),
        "twin": np.zeros(NUM_USERS, dtype=int),
    }


KINDS = {"confidence": "merge", "behavior": "stream", "text": "stream", "transition": "baseline", "twin": "baseline"}


@pytest.fixture(scope="module")
def report(ranks) -> Report:
    data = dataset()
    rankings = {name: (KINDS[name], placed(of_method, data.test)) for name, of_method in ranks.items()}
    rows = evaluate(rankings, data.test, SETTINGS, seed=3)
    curve = [
        EpochRecord(1, {"total": 5.0, "contrast": 1.0}, 0.01, 61.2, 1e-3),
        EpochRecord(2, {"total": float("nan")}, None, 60.0, 1e-3),
        EpochRecord(3, {"total": 4.0, "contrast": 0.5}, 0.04, 3725.0, 5e-4),
    ]
    return Report(
        title="Two streams",
        protocol=Protocol.of(data, SETTINGS, 3, selection="mean NDCG@10 of the streams on validation"),
        users_U=data.test.users,
        targets_U=data.test.targets,
        rows=rows,
        tests=paired_tests(rows, SETTINGS, seed=3),
        slices=user_slices(
            {row.name: row.ranks_U for row in rows if row.kind in ("merge", "stream", "baseline")},
            data.test,
            data.train,
            SETTINGS,
        ),
        curve=curve,
        stage_seconds={"train": 125.0},
        parameters={"history encoder": 1_000, "decoders": 2_500},
        notes=["the text encoder's weights are random"],
        example_history=("item 4", "item 5"),
    )


def test_rows_hold_the_means_of_the_lists(report, ranks):
    assert [(row.name, row.kind) for row in report.rows] == [
        ("confidence", "merge"),
        ("behavior", "stream"),
        ("text", "stream"),
        ("oracle", "oracle"),
        ("transition", "baseline"),
        ("twin", "baseline"),
    ]
    by_name = {row.name: row for row in report.rows}
    for name, of_method in ranks.items():
        assert by_name[name].ranks_U.tolist() == of_method.tolist()
        hits = (of_method >= 0) & (of_method < 5)
        assert by_name[name].metrics["recall"][5].mean == pytest.approx(hits.mean())
        gains = np.where(hits, 1 / np.log2(np.maximum(of_method, 0) + 2), 0)
        assert by_name[name].metrics["ndcg"][5].mean == pytest.approx(gains.mean())
        assert list(by_name[name].metrics["ndcg"]) == [5, 10]


def test_intervals_enclose_their_mean(report):
    for row in report.rows:
        for by_cutoff in row.metrics.values():
            for estimate in by_cutoff.values():
                assert estimate.low <= estimate.mean <= estimate.high
    behavior = report.rows[1].metrics["ndcg"][10]
    assert 0.02 < behavior.high - behavior.low < 0.12


def test_the_oracle_takes_each_users_best_stream(report, ranks):
    oracle = next(row for row in report.rows if row.kind == "oracle")
    for user, (one, two) in enumerate(zip(ranks["behavior"], ranks["text"], strict=True)):
        found = [rank for rank in (one, two) if rank != ABSENT]
        assert oracle.ranks_U[user] == (min(found) if found else ABSENT)


def test_one_stream_has_no_oracle(ranks):
    data = dataset()
    rows = evaluate({"text": ("stream", placed(ranks["text"], data.test))}, data.test, SETTINGS, seed=3)
    assert [row.kind for row in rows] == ["stream"]
    assert paired_tests(rows, SETTINGS, seed=3) == []


def test_the_merge_is_tested_against_every_other_method(report):
    found = {(test.other, test.metric): test for test in report.tests}
    assert set(found) == {
        (other, metric) for other in ("behavior", "text", "transition", "twin") for metric in SETTINGS.metrics
    }
    assert {test.cutoff for test in report.tests} == {10}
    assert found["transition", "recall"].verdict == "better"
    assert found["twin", "ndcg"].verdict == "not significantly different"
    assert found["twin", "ndcg"].difference.p == 1.0
    # The smallest of N p-values is multiplied by N.
    smallest = min(report.tests, key=lambda test: test.difference.p)
    assert smallest.p_holm == pytest.approx(4 * len(SETTINGS.metrics) * smallest.difference.p)


@pytest.mark.parametrize(("cutoffs", "tested"), [((5, 10, 20), 10), ((1, 5, 20), 5), ((3,), 3)])
def test_tests_are_at_10_or_the_middle_cutoff(cutoffs, tested, ranks):
    data = dataset()
    wide = {
        name: (kind, Ranking.top(ranking.items_BN, ranking.scores_BN, 20))
        for name, kind in (("confidence", "merge"), ("text", "stream"))
        for ranking in [placed(ranks[name], data.test)]
    }
    settings = EvaluationSettings(cutoffs=cutoffs, bootstrap_samples=20)
    rows = evaluate(wide, data.test, settings, seed=0)
    assert {test.cutoff for test in paired_tests(rows, settings, seed=0)} == {tested}


def test_files_hold_the_same_numbers(report, tmp_path):
    write_report(report, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "curves.svg",
        "metrics.json",
        "ranks.safetensors",
        "report.md",
    ]
    metrics = read_metrics(tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for row, stored in zip(report.rows, metrics["methods"], strict=True):
        assert (stored["name"], stored["kind"]) == (row.name, row.kind)
        for cutoff in (5, 10):
            estimate = row.metrics["recall"][cutoff]
            assert stored["recall"][str(cutoff)] == {
                "mean": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
            }
            assert f"{estimate.mean:.4f}" in text
    assert metrics["protocol"]["seen_items"] == "keep"
    assert metrics["protocol"]["final_fit"] == "train only"
    assert metrics["protocol"]["seen_targets"] == 1 / NUM_USERS
    assert metrics["curve"][1] == {
        "epoch": 2,
        "losses": {"total": None},
        "validation": None,
        "seconds": 60.0,
        "learning_rate": 1e-3,
    }
    assert {test["verdict"] for test in metrics["tests"]} >= {"better", "not significantly different"}
    stored = RankFile.read(tmp_path)
    assert stored.list_length == 10
    assert {row.name: row.ranks_U.tolist() for row in report.rows} == {
        name: of_method.tolist() for name, of_method in stored.ranks.items()
    }


def test_equal_runs_write_equal_files(report, tmp_path):
    for name in ("one", "two"):
        write_report(report, tmp_path / name)
    for name in ("curves.svg", "metrics.json", "ranks.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, two = ((tmp_path / name / "report.md").read_text(encoding="utf-8") for name in ("one", "two"))
    assert one.replace(str(tmp_path / "one"), str(tmp_path / "two")) == two


def test_the_markdown_has_the_protocol_and_marks_the_best(report, tmp_path):
    write_report(report, tmp_path)
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines[2] == f"**{run_conclusion(report)}**"
    assert lines[6] == "| method | kind | Recall@5 | Recall@10 | NDCG@5 | NDCG@10 |"
    assert lines[8].startswith("| confidence | merge | **1.0000** [1.0000, 1.0000] |")
    assert next(line for line in lines if "*oracle*" in line).count("**") == 0
    text = "\n".join(lines)
    assert "Seen items are kept in the lists; the target is one of them for 0.5% of the users." in text
    assert "Final fit: train only." in text
    assert "confidence against each other method" in text
    assert "the text encoder's weights are random" in text
    assert "Validation NDCG@10 `▁ █`, best 0.0400 in epoch 3." in text
    assert "| **total** | **3,500** |" in text
    assert "| train | 2 min 5 s |" in text
    steps = text.partition("## Next steps\n")[2]
    assert f"genrec recommend {tmp_path} --history 'item 4' --history 'item 5'\n" in steps
    assert f"genrec compare {tmp_path} --vary merge=" in steps
    assert f"genrec compare {tmp_path}/recipe.yaml --seeds 1,2,3\n" in steps
    assert f"genrec bench {tmp_path}\n" in steps
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_slices_are_in_the_markdown_and_in_the_json(report, tmp_path):
    write_report(report, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    stored = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["slices"]
    assert {(part["metric"], part["cutoff"]) for part in stored} == {("ndcg", 10)}
    assert list(dict.fromkeys(part["axis"] for part in stored)) == [
        "history length",
        "target popularity",
        "memorization",
    ]
    for axis in dict.fromkeys(part["axis"] for part in stored):
        parts = [part for part in stored if part["axis"] == axis]
        assert sum(part["users"] for part in parts) == NUM_USERS
        head = " | ".join(f"{part['label']} ({part['users']:,})" for part in parts)
        figures = " | ".join(f"{part['means']['behavior']:.4f}" for part in parts)
        section = text.partition(f"## By {axis}\n")[2].partition("## ")[0]
        assert f"| method | {head} |\n" in section
        assert f"| behavior | {figures} |\n" in section
        mean = sum(part["users"] * part["means"]["text"] for part in parts) / NUM_USERS
        assert mean == pytest.approx(report.rows[2].metrics["ndcg"][10].mean)
        assert ("Memorized: in training the target followed" in section) == (axis == "memorization")


def test_the_terminal_shows_the_same_numbers(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console, Path("runs/shop-1"))
    shown = console.file.getvalue()
    assert shown.startswith(run_conclusion(report))
    assert shown.rstrip().endswith("genrec bench runs/shop-1")
    for row in report.rows:
        assert row.name in shown
        assert f"{row.metrics['ndcg'][10].mean:.4f}" in shown
    assert (
        "confidence is not significantly different from twin in NDCG@10: +0.0000 [+0.0000, +0.0000], p (Holm) 1.000"
        in shown
    )
    assert "confidence is better than transition in Recall@10" in shown


def test_the_curves_are_well_formed(report, tmp_path):
    write_report(report, tmp_path)
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    # total without its NaN, contrast, validation without its gap
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2, 2]


def test_a_report_without_training_has_no_curves(report, tmp_path):
    write_report(Report(report.title, report.protocol, report.users_U, report.targets_U, report.rows), tmp_path)
    assert not (tmp_path / "curves.svg").exists()
    assert "## Training" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_lists_that_break_the_protocol_are_refused(ranks):
    data = dataset()
    good = placed(ranks["text"], data.test)
    filtered = EvaluationSettings(cutoffs=(5,), seen_items="filter", bootstrap_samples=20)

    def refusal(kind, ranking, settings=SETTINGS) -> str:
        with pytest.raises(PluginError) as error:
            evaluate({"mine": (kind, ranking)}, data.test, settings, seed=0)
        return str(error.value)

    assert refusal("merge", Ranking(good.items_BN[1:], good.scores_BN[1:])) == (
        "merge 'mine' returned 199 lists for 200 users; expected one per user, in order"
    )
    assert refusal("merge", Ranking(good.items_BN[:, :8], good.scores_BN[:, :8])) == (
        "merge 'mine' returned lists of 8 items; expected 10, the largest cutoff, padded with -1 where it finds no more"
    )
    seen = np.where(good.items_BN == data.test.targets[:, None], ABSENT, good.items_BN)
    seen[7, 4] = data.test.histories[7][0]
    wrong = refusal("baseline", Ranking(seen, good.scores_BN), filtered)
    assert wrong.startswith(f"baseline 'mine' recommends item {seen[7, 4]} to evaluation user 7, whose history")


def test_padding_passes_the_filter():
    data = dataset()
    nothing = Ranking(np.full((NUM_USERS, 5), ABSENT), np.full((NUM_USERS, 5), -np.inf, np.float32))
    settings = EvaluationSettings(cutoffs=(5,), seen_items="filter", bootstrap_samples=20)
    (row,) = evaluate({"mine": ("merge", nothing)}, data.test, settings, seed=0)
    assert row.metrics["recall"][5].mean == 0.0


def test_names_and_users_that_cannot_be(ranks):
    data = dataset()
    rankings = {name: ("stream", placed(ranks["text"], data.test)) for name in ("oracle", "text")}
    with pytest.raises(RecipeError, match="'oracle' is the report's row"):
        evaluate(rankings, data.test, SETTINGS, seed=0)
    with pytest.raises(DataError, match="no user has three items"):
        evaluate({}, data.test.take(np.arange(0)), SETTINGS, seed=0)


def test_read_metrics_says_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="is missing: expected the folder of a finished run"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"not valid JSON: .*; run the recipe again$"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    with pytest.raises(DataError, match="has no methods"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([1.0], "▁"), ([0.0, None, 7.0], "▁ █"), ([2.0, 2.0], "▁▁"), ([0.0, float("nan")], "▁ ")],
)
def test_sparkline(values, line):
    assert sparkline(values) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (119.6, "2 min 0 s"), (3725, "1 h 2 min")]
)
def test_seconds_text(seconds, text):
    assert seconds_text(seconds) == text
