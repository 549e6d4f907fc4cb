"""Contracts of results that are arrays: datasets, item vectors, semantic IDs and rankings. All checks are cheap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genrec.contracts.demands import Demands
from genrec.families import FittedBaseline, Merge
from genrec.types import ABSENT, Candidates, Dataset, Histories, ItemVectors, Ranking, SemanticIds, Splits


def check_dataset(dataset: Dataset, demand: Demands) -> None:
    """Check what a dataset source loaded.

    Raises:
        ContractError: histories of the wrong type, or no fingerprint.
    """
    demand(isinstance(dataset, Dataset), "load() gives a Dataset", _type(dataset))
    items, offsets = dataset.histories.items, dataset.histories.offsets
    demand(items.dtype == np.int32 and items.ndim == 1, "the items of histories are int32 (total,)", _array(items))
    demand(offsets.dtype == np.int64 and offsets.ndim == 1, "offsets of histories are int64 (U + 1,)", _array(offsets))
    demand(
        len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(items) and (np.diff(offsets) >= 0).all(),
        "offsets of histories rise from 0 to the number of interactions",
    )
    demand(isinstance(dataset.fingerprint, str) and dataset.fingerprint, "a dataset has a fingerprint, a text")


def check_splits(splits: Splits, dataset: Dataset, demand: Demands) -> None:
    """Check the parts that a split gave; :class:`~genrec.types.Split` itself checks that its arrays agree.

    Raises:
        ContractError: empty parts, unknown users or items, or a user without a history.
    """
    demand(isinstance(splits, Splits), "split() gives Splits or None", _type(splits))
    num_items = dataset.num_items
    kept_I = np.ones(num_items, dtype=bool) if splits.kept_I is None else splits.kept_I
    demand(kept_I.dtype == np.bool_ and kept_I.shape == (num_items,), "kept_I is bool (I,)", _array(kept_I))
    parts = {"train": splits.train, "train_and_valid": splits.train_and_valid}
    for name, split in (("valid", splits.valid), ("test", splits.test)):
        demand(len(split) > 0, f"{name} has a user")
        demand(split.users.dtype == np.int64 and split.targets.dtype == np.int64, "users and targets are int64")
        is_user = (split.users >= 0) & (split.users < len(dataset.histories))
        demand(is_user.all() and len(np.unique(split.users)) == len(split), f"{name} has users of the dataset, once")
        parts |= {f"histories of {name}": split.histories, f"targets of {name}": split.target_lists}
    for name, histories in parts.items():
        items = histories.items
        demand(len(items) > 0 and histories.lengths.min() > 0, f"{name}: every history has an item")
        demand(items.min() >= 0 and items.max() < num_items and kept_I[items].all(), f"{name}: items are kept items")


def check_vectors(vectors: ItemVectors, num_items: int, demand: Demands) -> None:
    """Check what an item encoder gave; :class:`ItemVectors` itself checks types and finite values.

    Raises:
        ContractError: vectors of other items.
    """
    demand(isinstance(vectors, ItemVectors), "encode() gives ItemVectors", _type(vectors))
    demand(
        len(vectors.vectors_IE) == num_items,
        "encode() gives one row for every item of the catalog",
        f"{len(vectors.vectors_IE):,} rows for {num_items:,} items",
    )


def check_ids(ids: SemanticIds, vectors: ItemVectors, demand: Demands, *, reads_vectors: bool = True) -> None:
    """Check what a tokenizer gave; :class:`SemanticIds` itself checks that codes are unique and in the vocabulary.

    Args:
        ids: from ``fit``.
        vectors: the vectors that were tokenized.
        demand: of the tokenizer.
        reads_vectors: whether the vectors decide which items get codes.

    Raises:
        ContractError: codes of other items.
    """
    demand(isinstance(ids, SemanticIds), "fit() gives SemanticIds", _type(ids))
    num_items = len(vectors.vectors_IE)
    demand(
        len(ids.codes_IL) == num_items,
        "fit() gives one row of codes for every item",
        f"{len(ids.codes_IL):,} rows for {num_items:,} items",
    )
    if reads_vectors:
        wrong = int((ids.present_I != vectors.present_I).sum())
        demand(wrong == 0, "items that are present get codes, absent ones get none", f"{wrong:,} other items")
    demand((ids.codes_IL[~ids.present_I] == ABSENT).all(), "the codes of absent items are ABSENT at every level")
    demand(all(isinstance(part, np.ndarray) for part in ids.codebook.values()), "a codebook holds plain arrays")
    demand(0 <= ids.collisions <= ids.present_I.sum(), "collisions counts items", str(ids.collisions))


def check_ranking(ranking: Ranking, num_users: int, top_n: int, demand: Demands) -> None:
    """Check what holds for every ranking, of a merge or a baseline.

    Raises:
        ContractError: the lists are not those of these users, hold an item twice, or are not sorted.
    """
    demand(isinstance(ranking, Ranking), "the result is a Ranking", _type(ranking))
    items_BN, scores_BN = ranking.items_BN, ranking.scores_BN
    demand(
        items_BN.shape == (num_users, top_n),
        "a ranking has a row for each user and top_n columns",
        f"{items_BN.shape} for {num_users:,} users and top_n {top_n}",
    )
    demand(items_BN.dtype == np.int64, "a ranking's items are int64", str(items_BN.dtype))
    demand(scores_BN.dtype == np.float32, "a ranking's scores are float32", str(scores_BN.dtype))
    is_empty_BN = items_BN == ABSENT
    demand((scores_BN[is_empty_BN] == -np.inf).all(), "the score is -inf where a ranking is ABSENT")
    demand(np.isfinite(scores_BN[~is_empty_BN]).all(), "the score of an item is a finite number")
    demand((~is_empty_BN[:, 1:] <= ~is_empty_BN[:, :-1]).all(), "items come first, ABSENT fills the end of a row")
    demand((scores_BN[:, 1:] <= scores_BN[:, :-1]).all(), "scores do not increase along a row")
    sorted_BN = np.sort(items_BN, axis=1)
    is_twice_BN = (sorted_BN[:, 1:] == sorted_BN[:, :-1]) & (sorted_BN[:, 1:] != ABSENT)
    twice = sorted_BN[:, 1:][is_twice_BN]
    found = f"item {twice[0]} for user {is_twice_BN.any(axis=1).argmax()}" if len(twice) else ""
    demand(not len(twice), "no item occurs twice in a row", found)


def checked_ranking(
    fitted: FittedBaseline, histories: Histories, num_items: int, demand: Demands, *, top_n: int, exclude_seen: bool
) -> Ranking:
    """The ranking of a baseline, checked.

    Raises:
        ContractError: it is not valid, or holds items that are not in the catalog or, with ``exclude_seen``, are in the
            history of their user.
    """
    demand(isinstance(fitted, FittedBaseline), "fit() gives a FittedBaseline", _type(fitted))
    ranking = fitted.rank(histories, top_n=top_n, exclude_seen=exclude_seen)
    check_ranking(ranking, len(histories), top_n, demand)
    strange = ranking.items_BN[(ranking.items_BN < ABSENT) | (ranking.items_BN >= num_items)]
    found = f"item {strange[0]} of {num_items:,}" if len(strange) else ""
    demand(not len(strange), "a baseline ranks items of the catalog", found)
    if exclude_seen:
        user_U1 = np.arange(len(histories))[:, None]
        seen = np.repeat(np.arange(len(histories)), histories.lengths) * num_items + histories.items
        is_seen_BN = np.isin(user_U1 * num_items + ranking.items_BN, seen) & (ranking.items_BN != ABSENT)
        demand(
            not is_seen_BN.any(), "exclude_seen leaves the items of the history out", f"{is_seen_BN.sum():,} of them"
        )
    return ranking


def checked_merge(merge: Merge, candidates: Candidates, *, top_n: int) -> Ranking:
    """The ranking of a merge, checked.

    Raises:
        ContractError: it is not valid, or holds an item that is no candidate of its user.
    """
    demand = Demands(merge)
    with demand.blaming():
        ranking = merge.merge(candidates, top_n=top_n)
        check_ranking(ranking, len(candidates), top_n, demand)
        check_candidates(ranking, candidates, demand)
        check_independent(ranking, lambda rows: merge.merge(candidates.take(rows), top_n=top_n), demand)
    return ranking


def checked_fit(merge: Merge, candidates: Candidates, targets: np.ndarray, demand: Demands | None = None) -> Merge:
    """A merge fitted on validation candidates, checked.

    Raises:
        ContractError: ``fit`` gave something else.
    """
    demand = demand or Demands(merge)
    with demand.blaming():
        fitted = merge.fit(candidates, targets)
        demand(isinstance(fitted, Merge), "fit() gives a merge", _type(fitted))
    return fitted


def check_candidates(ranking: Ranking, candidates: Candidates, demand: Demands) -> None:
    """Check that a merge ranks only the candidates of each user."""
    base = max(int(ranking.items_BN.max(initial=0)), int(candidates.items_BC.max(initial=0))) + 1
    user_B1 = np.arange(len(candidates))[:, None] * base
    is_item_BN = ranking.items_BN != ABSENT
    known = np.where(candidates.items_BC == ABSENT, -1, user_B1 + candidates.items_BC)
    others = (user_B1 + ranking.items_BN)[is_item_BN]
    others = others[~np.isin(others, known)]
    found = f"item {others[0] % base} for user {others[0] // base}" if len(others) else ""
    demand(not len(others), "a merge ranks only candidates", found)


def check_independent(ranking: Ranking, rank: Callable[[np.ndarray], Ranking], demand: Demands) -> None:
    """Check that two users, ranked without the others and in another order, get the same scores up to rounding.

    Args:
        ranking: of all users.
        rank: ranks the users of some rows.
        demand: of the merge or baseline.
    """
    rows = np.arange(min(len(ranking.items_BN), 2))[::-1]
    scores_BN, some_BN = ranking.scores_BN[rows], rank(rows).scores_BN
    same = some_BN.shape == scores_BN.shape and np.allclose(some_BN, scores_BN, rtol=1e-3, atol=1e-5)
    demand(same, "users are ranked independently")


def _type(found: object) -> str:
    return type(found).__name__


def _array(found: np.ndarray) -> str:
    return f"{found.dtype} {found.shape}"
