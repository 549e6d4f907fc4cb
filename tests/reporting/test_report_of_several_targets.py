"""A run whose users have several targets: ranks, metrics, tests and files count all of them."""

from dataclasses import replace

import numpy as np
import pytest
from made_run import made_dataset

from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS, best_ranks, split_ranks, target_offsets
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.rank_file import RankFile, paired
from genrec.evaluation.slices import user_slices
from genrec.reporting.report import Protocol, Report, evaluate, paired_tests
from genrec.reporting.report_files import read_report, write_report
from genrec.types import ABSENT, Histories, Ranking, Split

SETTINGS = EvaluationSettings(metrics=("recall", "ndcg", "map"), cutoffs=(5, 10), bootstrap_samples=50)


@pytest.fixture(scope="module")
def dataset():
    return made_dataset()


@pytest.fixture(scope="module")
def split(dataset):
    """One to four targets each."""
    rng, test = np.random.default_rng(0), dataset.test
    targets = [
        [target, *rng.choice(target, rng.integers(0, 4), replace=False)] for target in test.targets if target > 9
    ]
    users = np.flatnonzero(test.targets > 9)
    return Split(test.users[users], test.histories.take(users), test.targets[users], Histories.of(targets))


@pytest.fixture(scope="module")
def rankings(split, dataset):
    rng = np.random.default_rng(1)

    def found(share):
        lists = []
        for targets in split.all_targets:
            others = np.setdiff1d(rng.permutation(dataset.num_items), targets)[:10]
            kept = targets[rng.random(len(targets)) < share]
            lists.append(rng.permutation(np.concatenate([kept, others])[:10]))
        return Ranking(np.array(lists, dtype=np.int64), np.zeros((len(split), 10), np.float32))

    return {"merge: m": ("merge", found(0.9)), "stream: a": ("stream", found(0.4)), "stream: b": ("stream", found(0.4))}


@pytest.fixture(scope="module")
def report(dataset, split, rankings):
    rows, protocol = evaluate(rankings, split, SETTINGS, 1), Protocol.of(dataset, SETTINGS, 1, selection="none")
    tests = paired_tests(rows, SETTINGS, 1)
    return Report("Several", protocol, split.users, split.all_targets.items.astype(np.int64), rows, tests)


def test_every_target_has_its_rank(split, rankings, report):
    for row in report.rows[:3]:
        items_UN = rankings[row.name][1].items_BN.tolist()
        expected = [
            listed.index(target) if target in listed else ABSENT
            for listed, targets in zip(items_UN, split.all_targets, strict=True)
            for target in targets.tolist()
        ]
        assert row.ranks_U.tolist() == expected
        recalls = [
            sum(target in listed[:5] for target in targets.tolist()) / len(targets)
            for listed, targets in zip(items_UN, split.all_targets, strict=True)
        ]
        assert row.values_U("recall", 5).tolist() == pytest.approx(recalls)
        assert row.metrics["recall"][5].mean == pytest.approx(np.mean(recalls))
    assert report.tests[0].difference.mean == pytest.approx(
        np.mean(report.rows[0].values_U("recall", 10) - report.rows[1].values_U("recall", 10))
    )


def test_one_target_each_needs_no_offsets(dataset, rankings, split):
    one = replace(split, all_targets=None)
    ranking = rankings["merge: m"][1]
    several = replace(split, all_targets=one.target_lists)
    assert target_offsets(one) is None
    assert split_ranks(ranking, one).tolist() == split_ranks(ranking, several).tolist()
    assert best_ranks(np.array([[3, ABSENT, 2], [1, 5, ABSENT]]), np.arange(4)).tolist() == [1, 5, 2]


def test_the_oracle_is_the_best_stream_of_each_user(report):
    merge, first, second, oracle = report.rows
    best_U = np.maximum(first.values_U("ndcg", 10), second.values_U("ndcg", 10))
    assert oracle.values_U("ndcg", 10).tolist() == pytest.approx(best_U.tolist())
    assert merge.kind == "merge"


def test_slices_are_of_users(report, split, dataset):
    ranks = {row.name: row.ranks_U for row in report.rows[:3]}
    parts = user_slices(ranks, split, dataset.train, SETTINGS)
    lengths = [part for part in parts if part.axis == "history length"]
    assert sum(part.users for part in lengths) == len(split)
    mean = sum(part.users * part.means["merge: m"] for part in lengths) / len(split)
    assert mean == pytest.approx(report.rows[0].metrics["ndcg"][10].mean)


def test_files_have_all_targets(report, split, tmp_path):
    write_report(report, tmp_path)
    stored = RankFile.read(tmp_path)
    assert stored.target_offsets.tolist() == split.all_targets.offsets.tolist()
    assert stored.targets.tolist() == split.all_targets.items.tolist()
    read = read_report(tmp_path)
    for row, again in zip(report.rows, read.rows, strict=True):
        assert again.values_U("map", 10).tolist() == row.values_U("map", 10).tolist()
    found = paired(tmp_path, tmp_path, "merge: m", "stream: a", metric="map", cutoff=10)
    assert found.mean == pytest.approx(report.rows[0].metrics["map"][10].mean - report.rows[1].metrics["map"][10].mean)
    (tmp_path / "one").mkdir()
    replace(stored, targets=split.targets, target_offsets=None).write(tmp_path / "one")
    with pytest.raises(DataError, match="other numbers of targets"):
        paired(tmp_path, tmp_path / "one", "merge: m")
    replace(stored, target_offsets=stored.target_offsets[:-1]).write(tmp_path)
    with pytest.raises(DataError, match="the targets are not those of the users"):
        RankFile.read(tmp_path)


def test_metrics_are_those_of_the_registry(report):
    row = report.rows[0]
    assert row.values_U("map", 5).tolist() == METRICS.get("map")(row.ranks_U, 5, row.target_offsets).tolist()
