"""What a protocol would measure: a heuristic without training, repeats, k-cores, and cold targets under each split."""

from __future__ import annotations

import numpy as np

from genrec.baselines.transition import Transition
from genrec.dataset_audit.finding import Finding, percent, share
from genrec.errors import DataError
from genrec.families import SplitRule
from genrec.runtime.environment import THIS_MACHINE, WorkContext
from genrec.splits.by_user import ByUser
from genrec.splits.global_time import GlobalTime
from genrec.types import Dataset, Histories, Split

CORES = (5, 10, 20)
"""The k-cores of which the sizes are reported."""
COVERED = (0.5, 0.9, 0.99)
"""Shares of test users of whom the audit says how long a history has to be read to be read whole."""
_CUTOFF = 10
_MOST_USERS = 2_000
"""Users whose lists are ranked by the heuristic, at most."""
_MOST_INTERACTIONS = 5_000_000
"""Interactions of datasets that are checked, at most: beyond it takes minutes."""


def protocol_findings(dataset: Dataset) -> list[Finding]:
    """All findings of this module; none for a dataset without test users or too large for seconds."""
    if not len(dataset.test) or len(dataset.histories.items) > _MOST_INTERACTIONS:
        return []
    found = [heuristic_finding(dataset), length_finding(dataset.test), core_finding(dataset.histories)]
    return [*found, *([cold] if (cold := cold_share_finding(dataset)) is not None else [])]


def heuristic_finding(dataset: Dataset) -> Finding:
    """Recall and NDCG of the baseline ``transition``, which needs no training, on a sample of test users."""
    users = dataset.test.sample(_MOST_USERS, seed=0)
    fitted = Transition().fit(dataset.catalog, dataset.train, context=WorkContext(0, THIS_MACHINE))
    items_UN = fitted.rank(users.histories, top_n=_CUTOFF, exclude_seen=False).items_BN
    is_hit_UN = items_UN == users.targets[:, None]
    rank_U = np.where(is_hit_UN.any(axis=1), is_hit_UN.argmax(axis=1), _CUTOFF)
    recall = float((rank_U < _CUTOFF).mean())
    ndcg = float(np.where(rank_U < _CUTOFF, 1 / np.log2(rank_U + 2.0), 0.0).mean())
    of = f"{len(users):,} random test users" if len(users) < len(dataset.test) else f"the {len(users):,} test users"
    text = (
        f"counts of which item follows which (transition, no training) have Recall@{_CUTOFF} {recall:.4f} and "
        f"NDCG@{_CUTOFF} {ndcg:.4f} on {of}, seen items kept"
    )
    return Finding("heuristic", "ok", text)


def length_finding(test: Split) -> Finding:
    """How much of the histories a model has to read."""
    lengths = np.sort(test.histories.lengths)
    needed = [int(lengths[min(int(np.ceil(part * len(lengths))), len(lengths)) - 1]) for part in COVERED]
    texts = [f"{length:,} for {percent(part)}" for length, part in zip(needed, COVERED, strict=True)]
    return Finding(
        "history length", "ok", f"max_history that reads the whole history of test users: {', '.join(texts)} of them"
    )


def core_finding(histories: Histories) -> Finding:
    """Users and items that k-core filters would leave."""
    texts = []
    for core in CORES:
        users, items, count = core_sizes(histories, core)
        rest = percent(share(count, len(histories.items)))
        texts.append(f"{core}-core: {users:,} users, {items:,} items, {rest} of the interactions")
    return Finding("k-core", "ok", f"what filters would leave: {'; '.join(texts)}")


def core_sizes(histories: Histories, core: int) -> tuple[int, int, int]:
    """Users, items and interactions after repeated removal of users and items with fewer than ``core``."""
    users, items = histories.users, histories.items
    while len(items):
        of_user, of_item = np.bincount(users), np.bincount(items)
        is_kept = (of_user[users] >= core) & (of_item[items] >= core)
        if is_kept.all():
            break
        users, items = users[is_kept], items[is_kept]
    return len(np.unique(users)), len(np.unique(items)), len(items)


def cold_share_finding(dataset: Dataset) -> Finding | None:
    """Share of test targets that do not occur in training under each split; None if the dataset is split by another."""
    if dataset.splits is not None:
        return None
    rules: dict[str, SplitRule] = {"by_user": ByUser()}
    if dataset.times is not None:
        rules = {"global_time": GlobalTime(unseen_items="keep"), **rules}
    texts = [f"leave_one_out {_cold(dataset.train, dataset.test, dataset.num_items)}"]
    for name, rule in rules.items():
        try:
            parts = rule.split(dataset)
        except DataError:
            texts.append(f"{name} not possible (too few users)")
            continue
        if parts is not None:
            texts.append(f"{name} {_cold(parts.train, parts.test, dataset.num_items)}")
    return Finding("splits", "ok", f"test targets that do not occur in training: {', '.join(texts)}")


def _cold(train: Histories, test: Split, num_items: int) -> str:
    is_trained_I = np.bincount(train.items, minlength=num_items) > 0
    cold = int((~is_trained_I[test.targets]).sum())
    return f"{percent(share(cold, len(test)))} of {len(test):,} users"
