"""Planted leaks: whatever a split holds out may change, and everything that is fitted stays the same, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.experiment.baselines import fit_baseline
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit, plan_final_fit, plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.model import train_model
from genrec.experiment.split_dataset import with_splits
from genrec.experiment.vectors import encode_items
from genrec.families import splits
from genrec.model.weights import weights_of
from genrec.recipe import recipe_of
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import THIS_MACHINE
from genrec.testing import tiny_dataset
from genrec.types import Dataset, Histories

DATA = tiny_dataset(60)
"""Times rise within each user; users overlap in time."""
RULES: dict[str, dict[str, Any]] = {
    "leave_one_out": {},
    "global_time": {"cut": 0.8, "valid_cut": 0.7, "unseen_items": "keep"},
    "by_user": {"test_users": 0.2, "valid_users": 0.2},
    "files": {},
}


def recipe(rule: str) -> Recipe:
    """Two streams, an auxiliary task and counts; nothing reads texts, which do not change."""
    stream = {"item_encoder": {"type": "cooccurrence", "dim": 8}, "tokenizer": {"type": "kmeans_tree", "branching": 4}}
    return recipe_of(
        {
            "dataset": {"type": "showroom", "items": 60, "users": 120},
            "history_encoder": {"type": "item_ids", "dim": 8, "num_heads": 2, "feedforward_dim": 16, "max_history": 8},
            "streams": {"behavior": {**stream, "decoder": "mlp"}, "counts": {"decoder": "transition"}},
            "training": {"max_epochs": 1, "warmup_steps": 1, "batch_size": 32},
            "evaluation": {"cutoffs": [5], "split": {"type": rule, **RULES[rule]}},
            "baselines": ["popularity", "transition"],
            "search": {"list_length": 5, "beam_width": 5},
        }
    )


def split(dataset: Dataset, rule: str) -> Dataset:
    parts = splits.get(rule)(**RULES[rule]).split(dataset)
    return dataset if parts is None else with_splits(dataset, parts)


def with_random_items(dataset: Dataset, is_held_out_N: np.ndarray) -> Dataset:
    """Every held-out item is another one."""
    items = dataset.histories.items.copy()
    shift = np.random.default_rng(1).integers(1, dataset.num_items, is_held_out_N.sum())
    items[is_held_out_N] = (items[is_held_out_N] + shift) % dataset.num_items
    return replace(dataset, histories=Histories(items, dataset.histories.offsets), fingerprint="leaky")


def held_out(rule: str) -> tuple[np.ndarray, np.ndarray]:
    """What validation and test, and what the test alone, hold out: said again, from times, places and users."""
    histories = DATA.histories
    place = np.arange(len(histories.items)) - histories.offsets[:-1][histories.users]
    from_end = histories.lengths[histories.users] - place
    if rule == "leave_one_out":
        is_long = histories.lengths[histories.users] >= 3
        return is_long & (from_end <= 2), is_long & (from_end == 1)
    if rule == "global_time":
        times = np.sort(DATA.times)
        cut = times[int(0.8 * len(times))]
        past = times[times < cut]
        return past[int(0.7 * len(past))] <= DATA.times, cut <= DATA.times
    if rule == "files":
        return DATA.parts > 0, DATA.parts == 2
    parts = split(DATA, rule)
    users = [np.isin(histories.users, part.users) for part in (parts.valid, parts.test)]
    return users[0] | users[1], users[1]


def fitted(fit: Fit, folder: Path) -> list[bytes]:
    """All that is fitted: vectors, codes, weights, counts and the rankings of baselines for one history."""
    cache = Cache(folder)
    vectors = encode_items(fit, cache)
    streams = tokenize_items(fit, vectors, cache)
    model = train_model(fit, streams, cache, epochs=1).model
    arrays = [part.vectors_IE for part in vectors.values()]
    arrays += [context.ids.codes_IL for context in streams.values()]
    arrays += [tensor.numpy() for tensor in weights_of(model).values()]
    for baseline in fit.recipe.baselines:
        ranking = fit_baseline(baseline, fit, cache).rank(Histories.of([[1, 2]]), top_n=10, exclude_seen=False)
        arrays += [ranking.items_BN, ranking.scores_BN]
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


def fits(dataset: Dataset, rule: str, plan: Callable[[Fit], Fit]) -> Fit:
    return plan(plan_fit(recipe(rule), split(dataset, rule), THIS_MACHINE))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_what_is_held_out_changes_nothing_that_is_fitted(rule, tmp_path):
    is_held_out, is_test = held_out(rule)
    for name, is_hidden, plan in (("first", is_held_out, lambda fit: fit), ("final", is_test, plan_final_fit)):
        leaky = with_random_items(DATA, is_hidden)
        clean = fits(DATA, rule, plan)
        assert clean.dataset.train.lengths.sum() == (~is_hidden).sum(), "every other interaction is trained on"
        other = fits(leaky, rule, plan)
        assert (clean.dataset.test.targets != other.dataset.test.targets).any()
        assert fitted(clean, tmp_path / name / "clean") == fitted(other, tmp_path / name / "leaky")


@pytest.mark.slow
def test_a_leak_would_be_found(tmp_path):
    """The same comparison after a change of what is trained on."""
    is_held_out, _ = held_out("global_time")
    changed = with_random_items(DATA, ~is_held_out)
    one, two = (fits(data, "global_time", lambda fit: fit) for data in (DATA, changed))
    before, after = fitted(one, tmp_path / "one"), fitted(two, tmp_path / "two")
    assert len(before) == len(after)
    assert sum(x != y for x, y in zip(before, after, strict=True)) > 0.8 * len(before)
