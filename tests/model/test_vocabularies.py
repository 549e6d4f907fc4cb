"""The two vocabularies: probabilities, gradients, and the sampling of other codes, on ragged tries."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import RecipeError
from genrec.model import child_logits
from genrec.model.contracts import BuildContext, StreamContext
from genrec.model.initial_vectors import starting_vectors
from genrec.model.vocabularies import LevelVocabulary, PathVocabulary, build_vocabulary
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, ItemVectors, SemanticIds

SIZES = (5, 4, 3)
DIM = 6


def ragged_trie(seed=0, sizes=SIZES, num_items=25, absent=(2, 7)):
    """Random distinct codes; some nodes have one child alone, some items none at all."""
    generator = np.random.default_rng(seed)
    space = int(np.prod(sizes))
    codes_IL = np.stack(np.unravel_index(generator.choice(space, num_items, replace=False), sizes), 1).astype(np.int32)
    codes_IL[list(absent)] = ABSENT
    return Trie.of(SemanticIds(codes_IL, tuple(sizes)))


def item_table(num_items=25):
    return torch.nn.Embedding(num_items + 1, DIM, padding_idx=num_items)


def vocabulary(kind, trie=None):
    torch.manual_seed(1)
    trie = trie or ragged_trie()
    if kind == "level":
        return LevelVocabulary(trie, DIM)
    return PathVocabulary(trie, DIM, item_table(len(trie.nodes_IL)) if kind == "tied" else None)


KINDS = ("level", "path", "tied")


def nodes_at(trie, depth):
    return torch.arange(trie.num_nodes(depth))


@pytest.mark.parametrize("kind", KINDS)
def test_children_have_probabilities(kind):
    trie, words = ragged_trie(), vocabulary(kind)
    for depth in range(trie.num_levels):
        nodes_N = nodes_at(trie, depth)
        log_probs_NC = words.child_log_probs(depth, torch.randn(len(nodes_N), DIM), nodes_N)
        counts = np.diff(trie.child_start[depth])
        assert log_probs_NC.shape == (len(nodes_N), counts.max())
        exists = torch.arange(int(counts.max())) < torch.from_numpy(counts)[:, None]
        assert torch.equal(torch.isfinite(log_probs_NC), exists)
        sums_N = log_probs_NC.exp().sum(1)
        if kind == "level":
            assert bool((sums_N <= 1 + 1e-5).all())
        else:
            torch.testing.assert_close(sums_N, torch.ones(len(nodes_N)))
    if kind == "level":
        assert sums_N.min() < 0.9, "codes that a node does not have keep their share"


@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_are_those_of_the_equation(kind):
    """A softmax of state times vector: over the k codes of the level, or over the node's real children."""
    trie, words = ragged_trie(), vocabulary(kind)
    tables = [table.weight.detach().double().numpy() for table in words.tables]
    if kind == "tied":
        tables.append(words.item_table.weight.detach().double().numpy()[trie.item_of_leaf])
    hidden_ND = torch.randn(3, DIM)
    items = torch.tensor([0, 11, 24])
    nodes_NL, _ = words.nodes_of(items)
    for level in range(3):
        got_N = words.target_log_probs(level, hidden_ND, nodes_NL)
        for row in range(3):
            node = int(trie.nodes_IL[items[row], level])
            if kind == "level":
                rivals, own = np.arange(SIZES[level]), int(trie.codes[level][node])
            else:
                parent = int(trie.nodes_IL[items[row], level - 1]) if level else 0
                rivals = np.arange(trie.child_start[level][parent], trie.child_start[level][parent + 1])
                own = node
            logits = tables[level] @ hidden_ND[row].double().numpy()
            expected = logits[own] - np.log(np.exp(logits[rivals]).sum())
            assert got_N[row].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_target_is_one_of_the_children(kind):
    trie, words = ragged_trie(), vocabulary(kind)
    present = torch.from_numpy(np.flatnonzero(trie.nodes_IL[:, 0] >= 0))
    nodes_NL, _ = words.nodes_of(present)
    for level in range(3):
        hidden_ND = torch.randn(len(present), DIM)
        parent_N = nodes_NL[:, level - 1] if level else torch.zeros_like(present)
        children_NC = words.child_log_probs(level, hidden_ND, parent_N)
        place_N = nodes_NL[:, level] - torch.from_numpy(trie.child_start[level])[parent_N]
        torch.testing.assert_close(
            words.target_log_probs(level, hidden_ND, nodes_NL), children_NC.gather(1, place_N[:, None])[:, 0]
        )


@pytest.mark.parametrize("kind", ["path", "tied"])
def test_sampled_products_equal_copied_vectors(kind, monkeypatch):
    """With their gradients, and however few rows are copied at a time."""
    trie = ragged_trie()

    def run(samples, limit=2**20):
        monkeypatch.setattr(child_logits, "_samples", lambda hidden_ND: samples)
        monkeypatch.setattr(child_logits, "_GATHER_LIMIT", {"cpu": limit})
        words = vocabulary(kind, trie)
        torch.manual_seed(2)
        nodes_NL, _ = words.nodes_of(torch.tensor([0, 11, 24, 11, 5, 3]))
        hidden_NLD = torch.randn(6, 3, DIM, requires_grad=True)
        log_probs = [words.target_log_probs(level, hidden_NLD[:, level], nodes_NL) for level in range(3)]
        children = words.child_log_probs(2, hidden_NLD[:, 2], nodes_NL[:, 1])
        torch.stack(log_probs).pow(2).sum().backward()
        return [torch.stack(log_probs), children, hidden_NLD.grad, *(part.grad for part in words.parameters())]

    copied, sampled = run(False), run(child_logits._samples(torch.zeros(1)))
    assert all(bool(part.isfinite().all()) for part in copied[2:])
    assert all(bool(part.abs().sum() > 0) for part in copied[2:])
    for others in (sampled, run(False, limit=0)):
        for one, other in zip(copied, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_items_without_codes_are_told_apart(kind):
    words = vocabulary(kind)
    nodes_NL, present_N = words.nodes_of(torch.tensor([2, 3, 7]))
    assert present_N.tolist() == [False, True, False]
    assert nodes_NL[0].tolist() == [0, 0, 0]
    hidden_ND = torch.randn(3, DIM)
    assert all(torch.isfinite(words.target_log_probs(level, hidden_ND, nodes_NL)).all() for level in range(3))


RANDOM_TREES = {
    "seed": st.integers(0, 10_000),
    "sizes": st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    "share": st.floats(0.2, 1.0),
}


@given(**RANDOM_TREES)
def test_under_levels_alternatives_are_all_other_codes_of_the_level(seed, sizes, share):
    num_items = max(1, int(share * np.prod(sizes)))
    words = vocabulary("level", ragged_trie(seed, sizes, num_items, absent=()))
    nodes_NL, _ = words.nodes_of(torch.arange(num_items))
    torch.manual_seed(seed)
    chosen_NL = torch.rand(nodes_NL.shape) < 0.5
    others = words.alternatives(nodes_NL, chosen_NL, 200)
    assert torch.equal(others.changed_NL, chosen_NL)
    for level, size in enumerate(sizes):
        others_NJ = others.entries(level, slice(None))
        for row in range(num_items):
            own = int(words.entries(level, nodes_NL[row, level]))
            assert bool(words.has_others(level, nodes_NL)[row]) == (size > 1)
            assert set(others_NJ[row].tolist()) == (set(range(size)) - {own} or {own})


@given(**RANDOM_TREES, count=st.integers(1, 5))
def test_under_paths_alternatives_are_other_paths_each_as_often_as_it_is_true(seed, sizes, share, count):
    num_items = max(1, int(share * np.prod(sizes)))
    trie = ragged_trie(seed, sizes, num_items, absent=())
    words = vocabulary("path", trie)
    generator = np.random.default_rng(seed)
    popular = generator.dirichlet(np.full(num_items, 0.5))  # a few items are most of the batch
    nodes_NL, _ = words.nodes_of(torch.from_numpy(generator.choice(num_items, 30, p=popular)))
    has_others_NL = torch.stack([words.has_others(level, nodes_NL) for level in range(len(sizes))], 1)
    for level in range(len(sizes)):
        parent_N = nodes_NL[:, level - 1] if level else torch.zeros(30, dtype=torch.int64)
        siblings = np.diff(trie.child_start[level])[parent_N]
        assert torch.equal(has_others_NL[:, level], torch.from_numpy(siblings > 1))
    chosen_NL = has_others_NL & torch.from_numpy(generator.random(nodes_NL.shape) < 0.5)
    chosen_NL |= has_others_NL & ~chosen_NL.any(1, keepdim=True)
    torch.manual_seed(seed)
    others = words.alternatives(nodes_NL, chosen_NL, count)
    paths = torch.stack([others.entries(level, slice(None)) for level in range(len(sizes))], 2).tolist()
    groups = {}
    for row, changed in enumerate(others.changed_NL.tolist()):
        own = tuple(nodes_NL[row].tolist())
        if not any(changed):
            assert len(set(nodes_NL[:, -1].tolist())) == 1, "a tree of one item"
            continue
        first = changed.index(True)
        assert all(changed[first:]), "a node reveals its ancestors"
        assert first in (0, chosen_NL[row].tolist().index(True))
        assert all(tuple(other[:first]) == own[:first] for other in paths[row])
        true, false = groups.setdefault(own[:first], ([], []))
        true.append(own)
        false.extend(map(tuple, paths[row]))
    for prefix, (true, false) in groups.items():
        assert sorted(false) == sorted(true * count)
        assert not prefix or len(set(true)) > 1, "where all are one item, rows are compared from the first level on"


def test_a_level_of_far_more_codes_than_items_is_refused_where_each_has_a_vector():
    ids = SemanticIds(np.array([[0], [2**24 - 1]], dtype=np.int32), (2**24,))
    stream = StreamContext(ids, Trie.of(ids), ItemVectors(np.zeros((2, 1), np.float32), np.ones(2, dtype=bool)))
    context = BuildContext(2, DIM, 5, {"text": stream}, stream="text")
    with pytest.raises(RecipeError) as refused:
        build_vocabulary(context, "level")
    assert str(refused.value) == (
        "streams.text.decoder.vocabulary: level 1 has codes up to 16,777,215 for 2 items, expected at most 65,535 "
        "under level, where each code below has a vector; number the codes of a level from 0 without gaps, or set "
        "vocabulary: path"
    )
    assert build_vocabulary(context, "path").tables[0].weight.shape == (2, DIM)


def test_tied_leaves_are_the_items_of_the_table():
    trie, words = ragged_trie(), vocabulary("tied")
    assert len(words.tables) == 2
    nodes_NL, _ = words.nodes_of(torch.tensor([5, 9]))
    torch.testing.assert_close(words.embed(2, nodes_NL[:, 2]), words.item_table.weight[[5, 9]])
    words.child_log_probs(2, torch.randn(3, DIM), nodes_at(trie, 2)[:3])[:, 0].sum().backward()
    assert not words.item_table.weight.grad[-1].any(), "padding is nobody's leaf"


def test_level_codes_of_different_parents_share_a_vector():
    words, trie = vocabulary("level"), ragged_trie()
    nodes = nodes_at(trie, 3)
    vectors = words.embed(2, words.entries(2, nodes))
    codes = torch.from_numpy(trie.codes[2])
    assert torch.equal(vectors, words.tables[2].weight[codes])
    assert len(set(codes.tolist())) < len(nodes)


def context(item_table):
    trie = ragged_trie()
    codes_IL = np.full((25, 3), ABSENT, dtype=np.int32)
    present = trie.nodes_IL[:, 0] >= 0
    for level in range(3):
        codes_IL[present, level] = trie.codes[level][trie.nodes_IL[present, level]]
    stream = StreamContext(
        SemanticIds(codes_IL, SIZES), trie, ItemVectors(np.zeros((25, 2), np.float32), np.ones(25, bool))
    )
    return BuildContext(25, DIM, 4, {"text": stream}, stream="text", item_table=item_table)


def test_build_vocabulary_knows_both_kinds():
    table = item_table()
    level = build_vocabulary(context(table), "level")
    own = build_vocabulary(context(table), "path", "own")
    tied = build_vocabulary(context(table), "path", "tied")
    assert [part.num_embeddings for part in level.tables] == list(SIZES)
    assert len(own.tables) == 3
    assert own.item_table is None
    assert tied.item_table is table


def test_leaves_cannot_be_tied_to_nothing():
    with pytest.raises(RecipeError) as caught:
        build_vocabulary(context(None), "path", "tied")
    assert str(caught.value) == (
        "streams.text.decoder.leaves: found tied, expected own: the history encoder has no item embeddings to tie "
        "leaves to"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_entries_start_from_the_means_of_their_items(kind):
    """Less their parent's mean under ``path``; whoever has no item with vectors keeps what it has."""
    trie = ragged_trie()
    words = vocabulary(kind, trie)
    generator = np.random.default_rng(3)
    vectors_IE = generator.normal(size=(25, 4)).astype(np.float32)
    present_I = np.ones(25, dtype=bool)
    present_I[5] = False
    vectors_IE[5] = 0
    before = [table.weight.detach().clone() for table in words.tables]
    words.start_from([])
    assert all(torch.equal(table.weight, old) for table, old in zip(words.tables, before, strict=True))
    words.start_from([ItemVectors(vectors_IE, present_I)])
    start_IE = starting_vectors([ItemVectors(vectors_IE, present_I)], DIM)
    known = np.flatnonzero(present_I & (trie.nodes_IL[:, 0] >= 0))
    rest = start_IE[known]
    for level, table in enumerate(words.tables):
        entries = words.entries(level, torch.from_numpy(trie.nodes_IL[known, level])).numpy()
        weight = table.weight.detach().numpy()
        means = np.stack([rest[entries == entry].mean(0) for entry in np.unique(entries)])
        got = weight[np.unique(entries)]
        np.testing.assert_allclose(got, means * (0.05 / means.std(ddof=1)), atol=1e-5)
        unknown = np.setdiff1d(np.arange(len(weight)), entries)
        np.testing.assert_array_equal(weight[unknown], before[level][unknown])
        rest = rest - means[np.searchsorted(np.unique(entries), entries)]


def test_tied_leaves_alone_have_nothing_to_start():
    words = vocabulary("tied", ragged_trie(sizes=(30,), absent=()))
    before = words.item_table.weight.detach().clone()
    words.start_from([ItemVectors(np.eye(25, 4, dtype=np.float32), np.ones(25, dtype=bool))])
    assert torch.equal(words.item_table.weight, before)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_nodes_for_all_users(kind):
    trie, words = ragged_trie(), vocabulary(kind)
    for depth in range(trie.num_levels):
        nodes_K = nodes_at(trie, depth).flip(0)
        hidden_BKD = torch.randn(4, len(nodes_K), DIM)
        log_probs_BKC = words.child_log_probs_for_all(depth, hidden_BKD, nodes_K)
        for hidden_KD, log_probs_KC in zip(hidden_BKD, log_probs_BKC, strict=True):
            torch.testing.assert_close(log_probs_KC, words.child_log_probs(depth, hidden_KD, nodes_K))


def test_parents():
    trie, words = ragged_trie(), vocabulary("path")
    for depth in range(trie.num_levels):
        parents = words.parents(depth, nodes_at(trie, depth + 1))
        assert torch.equal(parents, trie.on(torch.device("cpu")).parent[depth])
