from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.tokenizers.random_codes import RandomCodes
from genrec.types import ABSENT, ItemVectors


def vectors_of(num_items: int, width: int = 3, absent: tuple[int, ...] = (), seed: int = 0) -> ItemVectors:
    points = np.random.default_rng(seed).normal(size=(num_items, width)).astype(np.float32)
    return ItemVectors(points, ~np.isin(np.arange(num_items), absent))


def fit(tokenizer: RandomCodes, vectors: ItemVectors, seed: int = 1):
    return tokenizer.fit(vectors, keys=(), context=WorkContext(seed=seed))


def sizes_of_nodes(codes_NL: np.ndarray) -> list[list[int]]:
    """At each depth the numbers of items of its nodes, sorted."""
    return [
        sorted(np.unique(codes_NL[:, :depth], axis=0, return_counts=True)[1].tolist())
        for depth in range(1, codes_NL.shape[1] + 1)
    ]


@given(num_items=st.integers(1, 120), branching=st.integers(2, 12), seed=st.integers(0, 2**63 - 1))
def test_it_has_the_shape_of_a_balanced_tree(num_items, branching, seed):
    vectors = vectors_of(num_items)
    ids = fit(RandomCodes(branching=branching), vectors, seed)
    tree = KMeansTree(branching=branching, iterations=2).fit(vectors, keys=(), context=WorkContext(seed=seed))
    assert ids.vocabulary_sizes == tree.vocabulary_sizes
    assert sizes_of_nodes(ids.codes_IL) == sizes_of_nodes(tree.codes_IL)
    for depth in range(ids.num_levels):
        _, parent_N = np.unique(ids.codes_IL[:, :depth], axis=0, return_inverse=True)
        for parent in range(parent_N.max() + 1):
            _, sizes = np.unique(ids.codes_IL[parent_N == parent, depth], return_counts=True)
            assert len(sizes) == min(branching, sizes.sum())
            assert sizes.max() - sizes.min() <= 1


def test_vectors_decide_nothing():
    first, second = (fit(RandomCodes(branching=4), vectors_of(50, seed=seed)) for seed in (1, 2))
    assert np.array_equal(first.codes_IL, second.codes_IL)
    assert RandomCodes().reconstruct(first) is None


def test_absent_items_get_no_code():
    ids = fit(RandomCodes(branching=4), vectors_of(21, absent=(0, 7)))
    assert np.flatnonzero((ids.codes_IL == ABSENT).all(axis=1)).tolist() == [0, 7]
    with pytest.raises(DataError, match="none of the 2 items has a vector"):
        fit(RandomCodes(), vectors_of(2, absent=(0, 1)))


def test_every_item_is_as_likely_at_every_place():
    firsts = np.array([fit(RandomCodes(branching=4), vectors_of(16), seed).codes_IL for seed in range(400)])
    for level in range(2):
        counts = np.bincount(firsts[:, 5, level], minlength=4)
        assert chisquare(counts).pvalue > 1e-4
    together = (firsts[:, 2, 0] == firsts[:, 3, 0]).mean()
    assert abs(together - 3 / 15) < 0.08


def test_last_codes_are_drawn_from_the_whole_vocabulary():
    ids = fit(RandomCodes(branching=32), vectors_of(100))
    assert ids.vocabulary_sizes == (32, 32)
    assert len(np.unique(ids.codes_IL[:, 1])) > 25
    assert set(np.bincount(ids.codes_IL[:, 0]).tolist()) == {3, 4}


def test_new_items_get_codes_whatever_their_vectors_are():
    tokenizer, vectors = RandomCodes(branching=16), vectors_of(100)
    ids = fit(tokenizer, vectors)
    near = ItemVectors(np.repeat(vectors.vectors_IE[:1], 40, axis=0), np.ones(40, dtype=bool))
    wider = tokenizer.assign(ids, vectors, near)
    assert np.array_equal(wider.codes_IL, tokenizer.assign(ids, vectors, vectors_of(40, seed=8)).codes_IL)
    assert len(np.unique(wider.codes_IL[100:, 0])) > 8
    assert len(np.unique(wider.codes_IL[100:, 1])) > 8


def test_branching_of_one_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        RandomCodes(branching=1)
