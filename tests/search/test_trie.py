import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from walk_decoder import random_ids

from genrec.search.trie import Trie
from genrec.types import SemanticIds


@st.composite
def tries(draw):
    num_levels = draw(st.integers(1, 5))
    num_codes = draw(st.integers(2, 4))
    num_items = draw(st.integers(1, min(30, num_codes**num_levels)))
    absent = draw(st.integers(0, num_items - 1))
    ids = random_ids(
        draw(st.integers(0, 10**6)), num_items=num_items, num_levels=num_levels, num_codes=num_codes, absent=absent
    )
    return ids, Trie.of(ids)


def paths(trie):
    """Every path from the root to a leaf, by walking."""
    found = []

    def walk(depth, node, codes):
        if depth == trie.num_levels:
            found.append((codes, int(trie.item_of_leaf[node])))
            return
        for child in range(*trie.child_start[depth][node : node + 2]):
            walk(depth + 1, child, (*codes, int(trie.codes[depth][child])))

    walk(0, 0, ())
    return found


@settings(deadline=None)
@given(tries())
def test_paths_are_exactly_the_items_codes_in_order(built):
    ids, trie = built
    found = paths(trie)
    assert found == sorted(found)
    assert dict(found) == {tuple(ids.codes_IL[i].tolist()): i for i in np.flatnonzero(ids.present_I)}
    for level in range(trie.num_levels):
        nodes = trie.nodes_IL[ids.present_I, level]
        assert (trie.codes[level][nodes] == ids.codes_IL[ids.present_I, level]).all()
    assert (trie.nodes_IL[~ids.present_I] == -1).all()


@settings(deadline=None)
@given(tries())
def test_tensors_lead_from_child_to_parent_and_back(built):
    _, trie = built
    tree = trie.on(torch.device("cpu"))
    assert trie.on(torch.device("cpu")) is tree
    for depth in range(trie.num_levels):
        nodes = torch.arange(trie.num_nodes(depth + 1))
        assert torch.equal(tree.child_start[depth][tree.parent[depth]] + tree.slot[depth], nodes)
        assert int(tree.slot[depth].max()) + 1 == trie.max_children(depth)
        assert (nodes < tree.child_start[depth][tree.parent[depth] + 1]).all()


@settings(deadline=None)
@given(tries(), st.integers(0, 10**6))
def test_exhausted_nodes_are_those_without_another_item(built, seed):
    ids, trie = built
    rng = np.random.default_rng(seed)
    items_BH = rng.integers(-1, len(ids.codes_IL), size=(3, int(rng.integers(0, 40))))
    for level, nodes_BX in enumerate(trie.exhausted(items_BH)):
        for row in range(3):
            left = np.setdiff1d(np.flatnonzero(ids.present_I), items_BH[row])
            alive = set(trie.nodes_IL[left, level].tolist())
            expected = [node for node in range(trie.num_nodes(level + 1)) if node not in alive]
            assert nodes_BX[row][nodes_BX[row] >= 0].tolist() == expected
            assert (nodes_BX[row, len(expected) :] == -1).all()


def test_leaf_counts():
    ids = SemanticIds(np.array([[0, 1], [2, 0], [0, 0], [-1, -1]], dtype=np.int32), (3, 2))
    assert [counts.tolist() for counts in Trie.of(ids).leaf_counts] == [[2, 1], [1, 1, 1]]


def test_large_trie_is_built_in_seconds():
    ids = random_ids(0, num_items=100_000, num_levels=3, num_codes=64)
    started = time.perf_counter()
    trie = Trie.of(ids)
    assert time.perf_counter() - started < 5
    assert trie.num_nodes(3) == 100_000
    assert (trie.nodes_IL[trie.item_of_leaf, 2] == np.arange(100_000)).all()
    with pytest.raises(IndexError):
        trie.max_children(3)
