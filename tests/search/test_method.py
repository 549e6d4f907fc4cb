"""What every search method has in common: the rules of a search, and scores of given items."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from walk_decoder import WalkDecoder, random_ids, random_users, score_all

from genrec.search import prefixes
from genrec.search.beam import BeamSearch
from genrec.search.method import SearchRules
from genrec.search.methods import METHODS
from genrec.search.scores import score_items
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.trie import Trie
from genrec.types import SemanticIds


@pytest.fixture
def world():
    trie = Trie.of(random_ids(0, num_items=50, num_levels=3, num_codes=6, absent=5))
    return trie, WalkDecoder(trie, 0).eval(), random_users(0, 9)


def random_rules(seed, list_length):
    rng = np.random.default_rng(seed)
    return SearchRules(list_length, excluded_BH=rng.integers(-1, 50, size=(9, 25)))


def restricted_rules(list_length):
    """A few items are allowed, so that whole branches are closed, and some users have seen some of these."""
    allowed_I = np.random.default_rng(3).random(50) < 0.2
    return replace(random_rules(4, list_length), allowed_I=allowed_I), SearchRules(list_length, allowed_I=allowed_I)


def search_all(world, rules):
    """The lists of each method; a beam this wide misses no item."""
    settings = {name: SearchSettings(method=name, beam_width=50) for name in METHODS}
    return {name: method.of(settings[name]).search(*world_in_order(world), rules) for name, method in METHODS.items()}


def world_in_order(world):
    trie, decoder, users = world
    return decoder, users, trie


def test_every_method_of_a_recipe_is_in_the_table():
    assert set(METHODS) == set(get_args(SearchSettings.model_fields["method"].annotation))


@pytest.mark.parametrize("list_length", [1, 7, 50])
def test_all_methods_find_the_same_lists_under_the_same_rules(world, list_length):
    for rules in (SearchRules(list_length), random_rules(1, list_length), *restricted_rules(list_length)):
        expected_BI = score_all(world[1], world[2], world[0])
        for row, excluded in enumerate([] if rules.excluded_BH is None else rules.excluded_BH):
            expected_BI[row, excluded[excluded >= 0]] = -torch.inf
        if rules.allowed_I is not None:
            expected_BI[:, ~rules.allowed_I] = -torch.inf
        for name, found in search_all(world, rules).items():
            assert found.items_BN.shape == found.log_probs_BN.shape == (9, list_length), name
            assert found.num_expanded_B.shape == (9,), name
            assert found.num_expanded_B.dtype == torch.int64, name
            for row in range(9):
                best = [i for i in np.argsort(-expected_BI[row].numpy()) if expected_BI[row, i] > -torch.inf]
                best = best[:list_length]
                assert found.items_BN[row].tolist() == best + [-1] * (list_length - len(best)), name
                assert torch.allclose(found.log_probs_BN[row, : len(best)], expected_BI[row, best], atol=1e-5), name


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_exact_for_excluded_items_too(world, name):
    trie, decoder, users = world
    rules = random_rules(2, 5)
    method = METHODS[name].of(SearchSettings(method=name))
    found = method.search(decoder, users, trie, rules)
    items_BC = torch.from_numpy(rules.excluded_BH)
    scores_BC = score_items(decoder, users, trie, items_BC, found)
    expected_BC = score_all(decoder, users, trie).gather(1, items_BC.clamp_min(0)).masked_fill(items_BC < 0, torch.nan)
    assert torch.allclose(scores_BC, expected_BC, atol=1e-4, equal_nan=True)


def test_masked_log_probabilities_are_a_copy():
    """Items without codes have no leaf; leaves are in the order of the codes."""
    trie = Trie.of(SemanticIds(np.array([[2], [-1], [0], [1]], np.int32), (3,)))
    log_probs_BM = torch.zeros(2, 3)
    masked_BM = SearchRules(1, np.array([[3, -1, 1], [0, 0, -1]])).mask_leaves(log_probs_BM, trie)
    assert masked_BM.isneginf().tolist() == [[False, True, False], [False, False, True]]
    masked_BM = SearchRules(1, allowed_I=np.array([False, True, True, False])).mask_leaves(log_probs_BM, trie)
    assert masked_BM.isneginf().tolist() == [[False, True, True]] * 2
    assert not log_probs_BM.any()


@pytest.mark.parametrize("beam_width", [1, 2, 5])
def test_lists_of_allowed_items_are_full_however_narrow_the_beam(world, beam_width):
    trie, decoder, users = world
    has_code_I = trie.nodes_IL[:, 0] >= 0
    for rules in restricted_rules(50):
        found = BeamSearch(beam_width).search(decoder, users, trie, replace(rules, list_length=beam_width))
        for row in range(9):
            allowed = set(np.flatnonzero(rules.allowed_I & has_code_I).tolist())
            allowed -= set() if rules.excluded_BH is None else set(rules.excluded_BH[row].tolist())
            items = [item for item in found.items_BN[row].tolist() if item >= 0]
            assert set(items) <= allowed
            assert len(items) == len(set(items)) == min(beam_width, len(allowed))


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_allowed(world, name):
    rules = SearchRules(4, allowed_I=np.zeros(50, dtype=bool))
    found = search_all(world, rules)[name]
    assert found.items_BN.tolist() == [[-1] * 4] * 9
    assert found.log_probs_BN.isneginf().all()


def test_allowed_items_are_a_mask():
    message = r"^search: allowed_I is int64 of shape \(2,\), expected one bool for each item$"
    with pytest.raises(ValueError, match=message):
        SearchRules(4, allowed_I=np.array([3, 17]))


def test_given_items_agree_with_the_whole_catalog(world, monkeypatch):
    trie, decoder, users = world
    items_BC = torch.from_numpy(np.random.default_rng(1).integers(-1, 50, size=(9, 20)))
    items_BC[4] = -1
    found_BC = score_items(decoder, users, trie, items_BC)
    expected_BC = score_all(decoder, users, trie).gather(1, items_BC.clamp_min(0)).masked_fill(items_BC < 0, torch.nan)
    assert torch.allclose(found_BC, expected_BC, atol=1e-4, equal_nan=True)
    assert found_BC[4].isnan().all()
    assert found_BC.isneginf().any()
    at_once = len(decoder.expanded)
    monkeypatch.setattr(prefixes, "_PREFIXES_AT_ONCE", {"cpu": 1})
    one_by_one_BC = score_items(decoder, users, trie, items_BC)
    assert len(decoder.expanded) - at_once == 9 * trie.num_levels
    assert torch.allclose(one_by_one_BC, found_BC, atol=1e-5, equal_nan=True)


def test_no_items_to_score(world):
    trie, decoder, users = world
    assert score_items(decoder, users, trie, torch.zeros(9, 0, dtype=torch.int64)).shape == (9, 0)
