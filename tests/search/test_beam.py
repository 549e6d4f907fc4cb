from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from walk_decoder import WalkDecoder, best_items, encode, random_ids, random_users, score_all

from genrec.search import prefixes
from genrec.search.beam import BeamSearch
from genrec.search.method import SearchRules
from genrec.search.top import top
from genrec.semantic_ids.trie import Trie


def world(seed, *, num_items=40, num_levels=3, num_codes=5, absent=3, users=4, scale=1.5):
    ids = random_ids(seed, num_items=num_items, num_levels=num_levels, num_codes=num_codes, absent=absent)
    trie = Trie.of(ids)
    return trie, WalkDecoder(trie, seed, scale).eval(), random_users(seed, users)


def search_beam(decoder, users, trie, *, beam_width, list_length, excluded_BH=None):
    found = BeamSearch(beam_width).search(decoder, users, trie, SearchRules(list_length, excluded_BH))
    return found.items_BN, found.log_probs_BN


def plain_beam(decoder, user_D, *, beam_width, list_length, excluded=()):
    """A beam search with dictionaries and loops, in the trie of the items that are not excluded."""
    trie = decoder.trie
    items = [int(i) for i in trie.item_of_leaf if i not in set(excluded)]
    scores = {i: np.cumsum(decoder.log_probs_of(user_D, i)) for i in items}
    alive = items
    for level in range(trie.num_levels):
        totals = {int(trie.nodes_IL[i, level]): scores[i][level] for i in alive}
        width = list_length if level == trie.num_levels - 1 else beam_width
        kept = sorted(totals, key=lambda node: -totals[node])[:width]
        alive = [i for i in alive if trie.nodes_IL[i, level] in kept]
    return sorted(alive, key=lambda i: -scores[i][-1])


worlds = st.builds(
    lambda seed, levels, share, users: world(
        seed,
        num_levels=levels,
        num_codes=(9, 6, 4, 3, 3)[levels - 1],
        num_items=max(1, round(min(40, (9, 6, 4, 3, 3)[levels - 1] ** levels) * share)),
        absent=0 if share < 0.3 else 1,
        users=users,
    ),
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.floats(0.05, 1.0),
    st.integers(1, 3),
)


@given(worlds)
def test_wide_beam_is_exact_is_brute_force(made):
    trie, decoder, users = made
    num_items = len(trie.nodes_IL)
    expected_BI = decoder.brute_force(users)
    exact_BI = score_all(decoder, users, trie)
    np.testing.assert_allclose(exact_BI.numpy(), expected_BI, atol=1e-4)
    assert np.exp(expected_BI).sum(1) == pytest.approx(1, abs=1e-6)
    items_BN, log_probs_BN = search_beam(decoder, users, trie, beam_width=num_items, list_length=num_items)
    assert items_BN.shape == log_probs_BN.shape == (len(expected_BI), num_items)
    for row in range(len(expected_BI)):
        order = [i for i in np.argsort(-expected_BI[row], kind="stable") if np.isfinite(expected_BI[row, i])]
        found = items_BN[row, : len(order)].tolist()
        assert sorted(found) == sorted(order)
        np.testing.assert_allclose(log_probs_BN[row, : len(order)].numpy(), expected_BI[row, order], atol=1e-4)
        assert (items_BN[row, len(order) :] == -1).all()
        assert torch.isneginf(log_probs_BN[row, len(order) :]).all()
    for one, other in zip(best_items(exact_BI, trie, list_length=num_items), (items_BN, log_probs_BN), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-5)


@given(worlds, st.integers(1, 7), st.integers(1, 9), st.integers(0, 10**6))
def test_narrow_beam_is_a_plain_beam_search(made, beam_width, list_length, seed):
    trie, decoder, users = made
    rng = np.random.default_rng(seed)
    excluded_BH = rng.integers(-1, len(trie.nodes_IL), size=(len(users.states_BTD), int(rng.integers(0, 12))))
    for excluded in (None, excluded_BH):
        items_BN, log_probs_BN = search_beam(
            decoder, users, trie, beam_width=beam_width, list_length=list_length, excluded_BH=excluded
        )
        for row, user_D in enumerate(users.states_BTD[:, 0].double().numpy()):
            left_out = () if excluded is None else excluded[row].tolist()
            expected = plain_beam(decoder, user_D, beam_width=beam_width, list_length=list_length, excluded=left_out)
            assert items_BN[row].tolist() == expected + [-1] * (list_length - len(expected))
            for item, log_prob in zip(expected, log_probs_BN[row], strict=False):
                assert float(log_prob) == pytest.approx(sum(decoder.log_probs_of(user_D, item)), abs=1e-4)


@pytest.mark.parametrize("num_levels", [1, 2, 3, 4, 5])
def test_no_invalid_and_no_repeated_item_in_many_lists(num_levels):
    for seed in range(5):
        trie, decoder, users = world(
            seed, num_levels=num_levels, num_codes=60 if num_levels == 1 else 8, num_items=50, absent=10, users=100
        )
        rng = np.random.default_rng(seed)
        excluded_BH = rng.integers(-1, 50, size=(100, 30))
        for excluded in (None, excluded_BH):
            items_BN, log_probs_BN = search_beam(
                decoder, users, trie, beam_width=12, list_length=12, excluded_BH=excluded
            )
            has_code = trie.nodes_IL[:, 0] >= 0
            for row in range(100):
                found = items_BN[row][items_BN[row] >= 0].tolist()
                left_out = set() if excluded is None else set(excluded[row].tolist())
                allowed = set(np.flatnonzero(has_code).tolist()) - left_out
                assert len(found) == len(set(found)) == min(12, len(allowed))
                assert set(found) <= allowed
            assert not log_probs_BN.isnan().any()
            filled = log_probs_BN.masked_fill(log_probs_BN.isneginf(), -1e9)
            assert (filled[:, 1:] <= filled[:, :-1]).all()


def test_excluding_items_fills_lists_as_far_as_the_catalog_reaches():
    trie, decoder, users = world(1, num_items=40, absent=0, users=1)
    nearly_all = np.array([[i for i in range(40) if i not in (3, 17, 30)]])
    items_BN, _ = search_beam(decoder, users, trie, beam_width=3, list_length=5, excluded_BH=nearly_all)
    assert sorted(items_BN[0].tolist()) == [-1, -1, 3, 17, 30]
    items_BN, log_probs_BN = search_beam(
        decoder, users, trie, beam_width=3, list_length=5, excluded_BH=np.arange(40)[None]
    )
    assert items_BN[0].tolist() == [-1] * 5
    assert log_probs_BN[0].isneginf().all()


def test_start_step_runs_once_a_user_and_later_steps_at_beam_width(monkeypatch):
    """But the last: its beams are expanded in blocks, until no other can better the list."""
    monkeypatch.setattr(prefixes, "_PREFIXES_AT_ONCE", {"cpu": 14})
    trie, decoder, users = world(2, num_items=100, num_codes=6, users=7)
    search_beam(decoder, users, trie, beam_width=8, list_length=100)
    assert decoder.expanded == [(7, 1), (7, 6), (7, 2), (7, 2), (7, 2), (7, 2)]
    decoder.expanded.clear()
    search_beam(decoder, users, trie, beam_width=8, list_length=1)
    assert decoder.expanded[:3] == [(7, 1), (7, 6), (7, 2)]
    assert sum(rows * width for rows, width in decoder.expanded[2:]) < 7 * 8


def test_expanded_prefixes_are_counted(monkeypatch):
    monkeypatch.setattr(prefixes, "_PREFIXES_AT_ONCE", {"cpu": 14})
    trie, decoder, users = world(2, num_items=100, num_codes=6, users=7)
    long = BeamSearch(8).search(decoder, users, trie, SearchRules(100)).num_expanded_B
    assert long.tolist() == [6 + 8] * 7, "all of the first level, and a beam below"
    short = BeamSearch(8).search(decoder, users, trie, SearchRules(1)).num_expanded_B
    assert short.min() >= 6 + 1
    assert short.sum() < long.sum(), "a list of one item is full before the last beam"


def test_impossible_children_die_without_nan():
    trie, decoder, _ = world(3, num_items=60, num_codes=4, absent=0)
    expand = decoder.expand

    def with_zeros(state, depth, nodes_BK, origin_BK):
        steps_BKC = expand(state, depth, nodes_BK, origin_BK)
        steps_BKC[:, :, 1:] = -torch.inf if depth == 1 else steps_BKC[:, :, 1:]
        return steps_BKC

    decoder.expand = with_zeros
    items_BN, log_probs_BN = search_beam(decoder, random_users(3, 5), trie, beam_width=10, list_length=30)
    assert not log_probs_BN.isnan().any()
    first_children = trie.child_start[1][:-1]
    reachable = {i for i in range(60) if trie.nodes_IL[i, 1] in first_children}
    for row in items_BN.tolist():
        found = [i for i in row if i >= 0]
        assert len(found) == len(set(found))
        assert set(found) == reachable


def test_decoder_that_scores_beyond_the_last_child_gives_no_invalid_item():
    trie, decoder, users = world(4, num_items=30, absent=0)
    decoder.expand = lambda state, depth, nodes_BK, origin_BK: torch.zeros(*nodes_BK.shape, trie.max_children(depth))
    items_BN, _ = search_beam(decoder, users, trie, beam_width=30, list_length=30)
    assert all(sorted(row) == list(range(30)) for row in items_BN.tolist())


def test_nan_is_reported_not_ranked():
    trie, decoder, users = world(5)
    decoder.expand = lambda state, depth, nodes_BK, origin_BK: torch.full(
        (*nodes_BK.shape, trie.max_children(depth)), torch.nan
    )
    with pytest.raises(FloatingPointError, match=r"^search: the decoder gave NaN log-probabilities at level 1$"):
        search_beam(decoder, users, trie, beam_width=3, list_length=3)


def test_ties_go_to_the_lower_code_whatever_the_batch():
    trie, decoder, _ = world(6, num_items=60, num_codes=4, absent=0, scale=0.0)
    alone = search_beam(decoder, encode(np.ones((1, 4))), trie, beam_width=3, list_length=8)[0]
    together = search_beam(decoder, encode(np.ones((50, 4))), trie, beam_width=3, list_length=8)[0]
    assert (together == alone).all()
    totals = {
        int(leaf): sum(decoder.log_probs_of(np.ones(4), int(item))) for leaf, item in enumerate(trie.item_of_leaf)
    }
    found = [int(np.flatnonzero(trie.item_of_leaf == item)[0]) for item in alone[0].tolist()]
    for left, right in pairwise(found):
        assert totals[left] > totals[right] + 1e-6 or left < right
    wide = search_beam(decoder, encode(np.ones((1, 4))), trie, beam_width=60, list_length=60)
    exact = best_items(score_all(decoder, encode(np.ones((1, 4))), trie), trie, list_length=60)
    assert torch.equal(wide[0], exact[0])


@given(
    st.lists(st.floats(-200, 0, width=32) | st.sampled_from([-np.inf, 0.0, -0.0, -1.0]), min_size=1, max_size=60),
    st.integers(1, 70),
    st.randoms(use_true_random=False),
)
def test_top_orders_by_value_then_number(values, size, random):
    numbers = list(range(len(values)))
    random.shuffle(numbers)
    best = top(torch.tensor([values], dtype=torch.float32), torch.tensor([numbers]), size)[0].tolist()
    expected = sorted(range(len(values)), key=lambda m: (-values[m], numbers[m]))[:size]
    assert len(set(best)) == len(best) == len(expected)
    finite = [m for m in expected if np.isfinite(values[m])]
    assert best[: len(finite)] == finite
    assert np.isneginf([values[m] for m in best[len(finite) :]]).all()
