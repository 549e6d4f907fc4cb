import numpy as np
import pytest
import torch
from walk_decoder import WalkDecoder, best_items, random_ids, random_users, score_all

from genrec.search import prefixes
from genrec.search.exact import ExactSearch
from genrec.search.method import SearchRules
from genrec.search.scores import score_items
from genrec.semantic_ids.trie import Trie


@pytest.fixture
def world():
    trie = Trie.of(random_ids(0, num_items=50, num_levels=3, num_codes=6, absent=5))
    return trie, WalkDecoder(trie, 0).eval(), random_users(0, 9)


def test_chunks_do_not_change_the_numbers(world, monkeypatch):
    trie, decoder, users = world
    whole = score_all(decoder, users, trie)
    calls = len(decoder.expanded)
    monkeypatch.setattr(prefixes, "_PREFIXES_AT_ONCE", {"cpu": 1})
    one_by_one = score_all(decoder, users, trie)
    assert len(decoder.expanded) == calls + 9 * (1 + 1 + trie.num_nodes(2)), "the last depth in parts"
    assert torch.allclose(whole, one_by_one, atol=1e-5)
    assert whole.dtype == torch.float32
    assert (whole.isneginf() == torch.from_numpy(trie.nodes_IL[:, 0] < 0)).all()


def test_best_items_leave_out_items_without_codes(world):
    trie, decoder, users = world
    items_BN, log_probs_BN = best_items(score_all(decoder, users, trie), trie, list_length=60)
    assert ((items_BN >= 0).sum(1) == 45).all()
    assert log_probs_BN[:, 45:].isneginf().all()


def test_lists_leave_out_excluded_items_and_scores_do_not(world):
    trie, decoder, users = world
    excluded_BH = np.random.default_rng(2).integers(-1, 50, size=(9, 12))
    found = ExactSearch().search(decoder, users, trie, SearchRules(50, excluded_BH))
    for items_N, excluded_H in zip(found.items_BN.tolist(), excluded_BH.tolist(), strict=True):
        assert {i for i in items_N if i >= 0} == set(trie.item_of_leaf.tolist()) - set(excluded_H)
    scores_BI = score_all(decoder, users, trie)
    assert torch.equal(found.log_probs_BM, scores_BI[:, trie.item_of_leaf])
    assert found.num_expanded_B.tolist() == [trie.num_nodes(1) + trie.num_nodes(2)] * 9
    decoder.expanded.clear()
    scores_BC = score_items(decoder, users, trie, torch.from_numpy(excluded_BH), found)
    assert decoder.expanded == []
    assert (scores_BC.isnan().numpy() == (excluded_BH < 0)).all()
    user, place = np.nonzero(excluded_BH >= 0)
    assert torch.equal(scores_BC[user, place], scores_BI[user, excluded_BH[user, place]])


def test_nan_is_reported(world):
    trie, decoder, users = world
    decoder.outputs[1][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"^search: the decoder gave NaN .* at level 2$"):
        score_all(decoder, users, trie)
