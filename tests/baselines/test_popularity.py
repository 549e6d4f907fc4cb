"""The popularity baseline against counting by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.baselines._popularity_order import PopularityOrder, chunks
from genrec.baselines.popularity import Popularity
from genrec.runtime.environment import WorkContext
from genrec.types import ABSENT, Catalog, Histories

NUM_ITEMS = 9
histories_of_items = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=8), max_size=6)


def catalog(num_items: int) -> Catalog:
    keys = tuple(f"item {i}" for i in range(num_items))
    return Catalog(keys, keys, keys, ((),) * num_items)


@given(histories_of_items, histories_of_items, st.integers(1, 12), st.booleans())
def test_it_ranks_by_count_then_item_number(train, asked, top_n, exclude_seen):
    fitted = Popularity().fit(catalog(NUM_ITEMS), Histories.of(train), context=WorkContext(seed=0))
    ranking = fitted.rank(Histories.of(asked), top_n=top_n, exclude_seen=exclude_seen)
    counts = Counter(item for history in train for item in history)
    order = sorted(range(NUM_ITEMS), key=lambda item: (-counts[item], item))
    assert ranking.items_BN.shape == (len(asked), top_n)
    for user, history in enumerate(asked):
        expected = [item for item in order if not (exclude_seen and item in history)][:top_n]
        padding = top_n - len(expected)
        assert ranking.items_BN[user].tolist() == expected + [ABSENT] * padding
        assert ranking.scores_BN[user].tolist() == [counts[item] for item in expected] + [-np.inf] * padding


def test_order_breaks_ties_by_item_number():
    order = PopularityOrder.of(Histories.of([[3, 1], [1, 3, 0]]), 5)
    assert order.items_I.tolist() == [1, 3, 0, 2, 4]
    assert order.counts_I.tolist() == [1, 2, 0, 2, 0]


@pytest.mark.parametrize("cells", [[], [1], [10**9], [60_000] * 4, [10, 10**6, 10, 10**6], [1] * 250_000])
def test_chunks_cover_every_user_once_and_keep_to_their_size(cells):
    parts = list(chunks(np.array(cells, dtype=np.int64)))
    assert np.concatenate([np.empty(0, int), *parts]).tolist() == list(range(len(cells)))
    for rows in parts:
        assert len(rows) == 1 or sum(cells[row] for row in rows) <= 100_000
