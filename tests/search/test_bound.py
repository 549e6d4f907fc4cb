"""Exact search that stops early, against the search that scores everything."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from walk_decoder import WalkDecoder, best_items, random_ids, random_users, score_all

from genrec.search import prefixes
from genrec.search.bound import BoundSearch
from genrec.search.method import SearchRules
from genrec.semantic_ids.trie import Trie


def world(seed, levels, *, users=4, scale=1.5, absent=2):
    num_codes = (40, 7, 4, 3)[levels - 1]
    ids = random_ids(seed, num_items=35, num_levels=levels, num_codes=num_codes, absent=absent)
    trie = Trie.of(ids)
    return trie, WalkDecoder(trie, seed, scale).eval(), random_users(seed, users)


def expected(decoder, users, trie, list_length, excluded_BH=None):
    log_probs_BI = score_all(decoder, users, trie).clone()
    for row, excluded in enumerate([] if excluded_BH is None else excluded_BH):
        log_probs_BI[row, excluded[excluded >= 0]] = -torch.inf
    return best_items(log_probs_BI, trie, list_length=list_length)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 45), st.integers(1, 9), st.floats(0.1, 4.0))
def test_bound_finds_what_exact_search_finds(seed, levels, list_length, block_size, scale):
    trie, decoder, users = world(seed, levels, scale=scale)
    rng = np.random.default_rng(seed)
    for excluded_BH in (None, rng.integers(-1, 35, size=(4, int(rng.integers(0, 30))))):
        found = BoundSearch(block_size).search(decoder, users, trie, SearchRules(list_length, excluded_BH))
        items, log_probs = expected(decoder, users, trie, list_length, excluded_BH)
        assert torch.allclose(found.log_probs_BN, log_probs, atol=1e-5)
        assert torch.equal(found.items_BN, items)
        # A beam search comes first where there are three levels or more.
        inner = sum(trie.num_nodes(depth) for depth in range(1, levels))
        assert ((found.num_expanded_B >= 0) & (found.num_expanded_B <= 2 * inner)).all()


def test_few_prefixes_are_all_expanded_where_that_costs_less():
    trie, decoder, users = world(3, 2, absent=0)
    best_first = BoundSearch().search(decoder, users, trie, SearchRules(9))
    assert best_first.log_probs_BM is None
    decoder.prefixes_for_all = trie.num_nodes(1)
    at_once = BoundSearch().search(decoder, users, trie, SearchRules(9))
    assert at_once.num_expanded_B.tolist() == [trie.num_nodes(1)] * 4
    assert torch.equal(at_once.items_BN, best_first.items_BN)
    torch.testing.assert_close(at_once.log_probs_BN, best_first.log_probs_BN)
    assert at_once.log_probs_BM.shape == (4, 35)


def test_a_sure_model_stops_early():
    trie, decoder, users = world(3, 2, scale=6.0)
    _, log_probs_BN, num_expanded_B, _ = BoundSearch(1).search(decoder, users, trie, SearchRules(1))
    assert log_probs_BN.exp().max() > 0.5
    assert num_expanded_B.float().mean() < 0.4 * trie.num_nodes(1)
    assert num_expanded_B.min() >= 1


def test_ties_go_by_number_as_in_exact_search():
    trie, decoder, users = world(4, 2, absent=0)
    for part in decoder.outputs:
        part[:] = 0
    found = BoundSearch(3).search(decoder, users, trie, SearchRules(20))
    assert len(found.log_probs_BN[0].unique()) < 20
    assert torch.equal(found.items_BN, expected(decoder, users, trie, 20)[0])


def test_users_do_not_depend_on_each_other(monkeypatch):
    trie, decoder, users = world(5, 3, users=9)
    together = BoundSearch(4).search(decoder, users, trie, SearchRules(10))
    monkeypatch.setattr(prefixes, "_PREFIXES_AT_ONCE", {"cpu": 1})
    apart = BoundSearch(4).search(decoder, users, trie, SearchRules(10))
    assert torch.equal(together.items_BN, apart.items_BN)
    assert torch.equal(together.num_expanded_B, apart.num_expanded_B)


def test_nan_is_reported():
    trie, decoder, users = world(6, 2)
    decoder.outputs[1][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"^search: the decoder gave NaN .* at level 2$"):
        BoundSearch().search(decoder, users, trie, SearchRules(5))
