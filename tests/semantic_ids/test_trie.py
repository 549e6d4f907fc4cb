import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from walk_decoder import random_ids

from genrec.model.vocabularies import LevelVocabulary
from genrec.semantic_ids.trie import Trie
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


@given(tries(), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 10**6))
def test_children_looked_up_and_computed_are_those_of_the_trie(built, shape, seed):
    _, trie = built
    tree = trie.on(torch.device("cpu"))
    assert all(table is not None for table in tree.tables)
    large = replace(tree, tables=(None,) * trie.num_levels)
    rng = np.random.default_rng(seed)
    for depth in range(trie.num_levels):
        nodes = torch.from_numpy(np.asarray(rng.integers(0, trie.num_nodes(depth), size=shape)))
        numbers, exists = tree.children(depth, nodes)
        assert numbers.shape == exists.shape == (*shape, trie.max_children(depth))
        assert numbers.dtype == torch.int64
        for one, other in zip((numbers, exists), large.children(depth, nodes), strict=True):
            assert torch.equal(one, other)
        rows = [tensor.reshape(-1, tensor.shape[-1]) for tensor in (numbers, exists)]
        for node, row_C, exists_C in zip(nodes.flatten().tolist(), *rows, strict=True):
            expected = list(range(*trie.child_start[depth][node : node + 2]))
            assert row_C[exists_C].tolist() == expected
            assert exists_C.tolist() == [place < len(expected) for place in range(len(exists_C))]
            assert (row_C[~exists_C] == expected[-1]).all()


def test_tensors_made_while_searching_serve_a_training():
    ids = random_ids(0, num_items=20, num_levels=2, num_codes=6)
    trie = Trie.of(ids)
    with torch.inference_mode():
        trie.on(torch.device("cpu"))
    tree = trie.on(torch.device("cpu"))
    weight_MD = torch.ones(20, 3, requires_grad=True)
    numbers, _ = tree.children(1, torch.arange(trie.num_nodes(1)))
    found = [weight_MD[index].sum() for index in (numbers, tree.parent[1], tree.slot[1], tree.item_of_leaf)]
    torch.stack(found).sum().backward()
    assert weight_MD.grad is not None
    assert weight_MD.grad.sum() == 3 * (numbers.numel() + 60)


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


@given(tries(), st.integers(0, 10**6))
def test_among_allowed_items_too(built, seed):
    ids, trie = built
    rng = np.random.default_rng(seed)
    allowed_I = rng.random(len(ids.codes_IL)) < rng.random()
    items_BH = rng.integers(-1, len(ids.codes_IL), size=(3, int(rng.integers(0, 40))))
    allowed = np.flatnonzero(ids.present_I & allowed_I)
    counts = trie.allowed_counts(allowed_I)
    for level, nodes_BX in enumerate(trie.exhausted(items_BH, allowed_I)):
        below = np.bincount(trie.nodes_IL[allowed, level], minlength=trie.num_nodes(level + 1))
        assert counts[level].tolist() == below.tolist()
        for row in range(3):
            left = set(trie.nodes_IL[np.setdiff1d(allowed, items_BH[row]), level].tolist())
            expected = [node for node in np.flatnonzero(below).tolist() if node not in left]
            assert nodes_BX[row][nodes_BX[row] >= 0].tolist() == expected


def test_leaf_counts():
    ids = SemanticIds(np.array([[0, 1], [2, 0], [0, 0], [-1, -1]], dtype=np.int32), (3, 2))
    assert [counts.tolist() for counts in Trie.of(ids).leaf_counts] == [[2, 1], [1, 1, 1]]


def held_bytes(arrays):
    """Memory of arrays and tensors, counted once where they share it."""
    storages = [torch.as_tensor(array).untyped_storage() for array in arrays]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_trie_of_a_million_items_is_built_in_seconds_and_small():
    ids = random_ids(0, num_items=10**6, num_levels=3, num_codes=256)
    started = time.process_time()
    trie = Trie.of(ids)
    tree = trie.on(torch.device("cpu"))
    assert time.process_time() - started < 20
    assert trie.num_nodes(3) == 10**6
    assert (trie.nodes_IL[trie.item_of_leaf, 2] == np.arange(10**6)).all()
    for level in range(3):
        assert (trie.codes[level][trie.nodes_IL[:, level]] == ids.codes_IL[:, level]).all()
    with pytest.raises(IndexError):
        trie.max_children(3)

    arrays = [*trie.codes, *trie.child_start, trie.nodes_IL, trie.item_of_leaf, *trie.leaf_counts]
    tensors = [*tree.child_start, *tree.parent, *tree.slot, tree.item_of_leaf]
    tables = [tensor for table in tree.tables if table is not None for tensor in table]
    assert [table is None for table in tree.tables] == [False, False, True]
    buffers = list(LevelVocabulary(trie, dim=1).buffers())
    assert held_bytes([*arrays, *tensors, *tables, *buffers]) < 100e6

    nodes = torch.tensor([0, 7, trie.num_nodes(2) - 1])
    numbers, exists = tree.children(2, nodes)
    for node, row_C, exists_C in zip(nodes.tolist(), numbers, exists, strict=True):
        assert row_C[exists_C].tolist() == list(range(*trie.child_start[2][node : node + 2]))
