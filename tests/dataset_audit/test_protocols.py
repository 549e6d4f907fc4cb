"""What the audit says about protocols, against counts that share no code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrec.baselines.transition import Transition
from genrec.dataset_audit.audit import audit
from genrec.dataset_audit.protocols import (
    cold_share_finding,
    core_finding,
    core_sizes,
    heuristic_finding,
    length_finding,
)
from genrec.evaluation.metrics import ndcg, recall, target_ranks
from genrec.experiment.split_dataset import with_splits
from genrec.runtime.environment import THIS_MACHINE, WorkContext
from genrec.splits.global_time import GlobalTime
from genrec.testing import clockwork, tiny_dataset
from genrec.types import Histories

DATA = tiny_dataset(80)


def test_the_heuristic_is_the_baseline_transition() -> None:
    fitted = Transition().fit(DATA.catalog, DATA.train, context=WorkContext(0, THIS_MACHINE))
    ranks = target_ranks(fitted.rank(DATA.test.histories, top_n=10, exclude_seen=False), DATA.test.targets)
    text = heuristic_finding(DATA).text
    assert f"Recall@10 {recall(ranks, 10).mean():.4f} and NDCG@10 {ndcg(ranks, 10).mean():.4f}" in text
    assert 0 < recall(ranks, 10).mean() < 1
    assert "Recall@10 1.0000 and NDCG@10 1.0000 on the 40 test users" in heuristic_finding(clockwork(40).dataset).text


def test_the_sizes_of_cores() -> None:
    rows = [(user, int(item)) for user in range(len(DATA.histories)) for item in DATA.histories[user]]
    for core in (2, 5, 10):
        left = list(rows)
        while True:
            users, items = [user for user, _ in left], [item for _, item in left]
            kept = [row for row in left if users.count(row[0]) >= core and items.count(row[1]) >= core]
            if len(kept) == len(left):
                break
            left = kept
        assert core_sizes(DATA.histories, core) == (len(dict(left)), len({item for _, item in left}), len(left))
    assert core_sizes(Histories.of([[1, 2]]), 5) == (0, 0, 0)
    assert core_finding(DATA.histories).text.startswith("what filters would leave: 5-core: ")


def test_the_length_that_covers_histories() -> None:
    histories = Histories.of([[0] * length for length in range(1, 101)])
    users = np.arange(100)
    split = replace(DATA.test, users=users, histories=histories, targets=users % 3, all_targets=None)
    assert length_finding(split).text.endswith("50 for 50 %, 90 for 90 %, 99 for 99 % of them")


def test_cold_targets_under_each_split() -> None:
    items = DATA.histories.items.copy()
    ends = DATA.histories.offsets[1:][DATA.test.users] - 1
    items[items == 0] = 1
    items[ends[: len(ends) // 4]] = 0  # an item that only targets are
    cold = replace(DATA, histories=Histories(items, DATA.histories.offsets))
    share = 100 * (len(ends) // 4) / len(ends)
    finding = cold_share_finding(cold)
    assert finding is not None
    assert f"leave_one_out {share:.0f} % of {len(ends)} users, global_time " in finding.text

    assert DATA.times is not None
    items = np.maximum(DATA.histories.items, 1)
    items[(np.sort(DATA.times)[int(0.9 * len(items))] <= DATA.times) & (items % 2 == 0)] = 0
    late = replace(DATA, histories=Histories(items, DATA.histories.offsets))
    parts, finding = GlobalTime(unseen_items="keep").split(late), cold_share_finding(late)
    new = ~np.isin(parts.test.targets, parts.train.items)
    assert 0.1 < new.mean() < 0.9
    assert finding is not None
    assert f"global_time {100 * new.mean():.0f} % of {len(new)} users, by_user " in finding.text


def test_an_audit_of_a_split_dataset_describes_its_split() -> None:
    parts = GlobalTime(cut=0.8).split(DATA)
    checks = {finding.check: finding for finding in audit(with_splits(DATA, parts)).findings}
    assert "global time split, test from 2014" in checks["test users"].text
    assert not {"future", "ties", "splits", "short histories"} & set(checks)
    assert {"future", "ties", "splits"} <= {finding.check for finding in audit(DATA).findings}
