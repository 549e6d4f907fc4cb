"""Rows of new items and nodes; what new items are similar to; items that are held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genrec.errors import DataError
from genrec.experiment.cold_items import hold_out_items
from genrec.growth.similar_items import most_similar
from genrec.model.growth import Growth, NewNodes
from genrec.model.initial_vectors import joined_vectors
from genrec.semantic_ids.absent_items import like_nearest
from genrec.testing.worlds import clockwork, tiny_catalog, tiny_histories
from genrec.types import Dataset, Histories, ItemVectors


def test_rows_of_new_items_come_before_padding() -> None:
    growth = Growth(3, torch.tensor([[0, 2], [1, 1], [-1, -1]]), {})
    rows = torch.tensor([[1.0], [2.0], [6.0], [0.0]])
    assert growth.of_items(rows).tolist() == [[1.0], [2.0], [6.0], [3.5], [2.0], [3.0], [0.0]]
    assert growth.of_items(torch.tensor([4, 5, 6])).tolist() == [4, 5, 6, 4, 5, 4], "whole numbers have no mean"


def test_rows_of_new_nodes_are_where_the_grown_trie_has_them() -> None:
    nodes = NewNodes(torch.tensor([0, -1, 1, -1]), torch.tensor([[1], [-1]]))
    growth = Growth(2, torch.zeros((2, 1), dtype=torch.int64), {"text": [nodes]}).of_stream("text")
    rows = torch.tensor([[1.0], [3.0]])
    assert growth.of_nodes(rows, depth=1).tolist() == [[1.0], [3.0], [3.0], [2.0]]


def test_similar_items_are_the_nearest_usable_ones() -> None:
    known_IE = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.01]], dtype=np.float32)
    new_JE = np.array([[2, 0], [0, 3]], dtype=np.float32)
    usable_I = np.array([False, True, True, True])
    assert most_similar(new_JE, known_IE, usable_I, count=2).tolist() == [[3, 1], [2, 1]]
    assert most_similar(new_JE, known_IE, usable_I, count=5)[0].tolist() == [3, 1, 2, 3, 1], "repeated"
    assert most_similar(new_JE, known_IE, np.zeros(4, dtype=bool), count=1).tolist() == [[-1], [-1]]


def test_added_items_change_no_statistic_of_known_ones() -> None:
    generator = np.random.default_rng(0)
    vectors_IE = generator.normal(size=(9, 3)).astype(np.float32)
    present_I = np.array([True] * 5 + [False] + [True] * 3)
    guide = ItemVectors(generator.normal(size=(9, 4)).astype(np.float32), np.ones(9, dtype=bool))
    known, grown = ItemVectors(vectors_IE[:6], present_I[:6]), ItemVectors(vectors_IE, present_I, num_added=3)
    assert np.array_equal(joined_vectors([grown])[:6], joined_vectors([known]))
    assert not np.array_equal(joined_vectors([ItemVectors(vectors_IE, present_I)])[:6], joined_vectors([known]))
    known_guide = ItemVectors(guide.vectors_IE[:6], guide.present_I[:6])
    filled, before = like_nearest(grown, guide), like_nearest(known, known_guide)
    assert np.array_equal(filled.vectors_IE[:6], before.vectors_IE)
    assert filled.num_added == 3


def shop() -> Dataset:
    catalog, histories = tiny_catalog(), tiny_histories(num_users=40)
    return Dataset("shop", catalog, tuple(f"user-{user}" for user in range(40)), histories, "shop")


def test_held_out_items_are_in_no_history_and_no_catalog() -> None:
    whole = shop()
    warm = hold_out_items(whole, 0.25, seed=5)
    assert warm.whole is whole
    held_out = set(whole.catalog.keys) - set(warm.catalog.keys)
    assert len(held_out) == round(0.25 * len(np.unique(whole.histories.items)))
    for number, key in enumerate(warm.user_keys):
        user = whole.user_keys.index(key)
        names = [whole.catalog.keys[item] for item in whole.histories[user]]
        assert [warm.catalog.keys[item] for item in warm.histories[number]] == [n for n in names if n not in held_out]
        assert len(warm.histories[number])
    row = warm.catalog.row_of.get("item-07", 0)
    item = whole.catalog.row_of[warm.catalog.keys[row]]
    assert warm.catalog.texts[row] == whole.catalog.texts[item]
    assert warm.catalog.images is not None
    assert whole.catalog.images is not None
    assert warm.catalog.images.counts_I[row] == whole.catalog.images.counts_I[item]
    assert warm.catalog.images.open(row).tobytes() == whole.catalog.images.open(item).tobytes()


def test_the_seed_decides_which_items_and_the_fingerprint_tells() -> None:
    first, again, other = (hold_out_items(shop(), 0.25, seed) for seed in (1, 1, 2))
    assert first.catalog.keys == again.catalog.keys
    assert first.fingerprint == again.fingerprint
    assert first.catalog.keys != other.catalog.keys
    assert len({first.fingerprint, other.fingerprint, shop().fingerprint}) == 3


def test_times_follow_their_interactions() -> None:
    world = clockwork(20, 6).dataset
    whole = Dataset(
        "timed",
        world.catalog,
        world.user_keys,
        world.histories,
        "timed",
        times=world.histories.items.astype(np.int64) * 10,
    )
    warm = hold_out_items(whole, 0.2, seed=1)
    assert warm.times is not None
    keys = [warm.catalog.keys[item] for item in warm.histories.items]
    assert warm.times.tolist() == [10 * whole.catalog.row_of[key] for key in keys]


def test_what_leaves_nothing_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        hold_out_items(shop(), 0.001, seed=1)
    assert str(caught.value) == (
        "shop: evaluation.cold_items 0.001 of 23 items are 0, expected one item at least, and others that are left"
    )
    catalog = tiny_catalog(4)
    few = Dataset("few", catalog, ("u",), Histories.of([[0, 1, 2]]), "few")
    with pytest.raises(DataError) as caught:
        hold_out_items(few, 0.4, seed=1)
    assert str(caught.value) == "few: without its cold items no user has three items or more; lower cold_items"
