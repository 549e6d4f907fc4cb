import numpy as np
import pytest
import torch
from walk_decoder import WalkDecoder, random_ids, random_users

from genrec.search import beam
from genrec.search.exact import best_items, score_all, score_items
from genrec.search.trie import Trie


@pytest.fixture
def world():
    trie = Trie.of(random_ids(0, num_items=50, num_levels=3, num_codes=6, absent=5))
    return trie, WalkDecoder(trie, 0).eval(), random_users(0, 9)


def test_chunks_do_not_change_the_numbers(world, monkeypatch):
    trie, decoder, users = world
    whole = score_all(decoder, users, trie)
    calls = len(decoder.expanded)
    monkeypatch.setattr(beam, "_PREFIXES_AT_ONCE", {"cpu": 1})
    one_by_one = score_all(decoder, users, trie)
    assert len(decoder.expanded) == calls + 9 * trie.num_levels
    assert torch.allclose(whole, one_by_one, atol=1e-5)
    assert whole.dtype == torch.float32
    assert (whole.isneginf() == torch.from_numpy(trie.nodes_IL[:, 0] < 0)).all()


def test_given_items_agree_with_the_whole_catalogue(world):
    trie, decoder, users = world
    items_BC = torch.from_numpy(np.random.default_rng(1).integers(-1, 50, size=(9, 20)))
    items_BC[4] = -1
    found_BC = score_items(decoder, users, items_BC)
    expected_BC = score_all(decoder, users, trie).gather(1, items_BC.clamp_min(0)).masked_fill(items_BC < 0, torch.nan)
    assert torch.allclose(found_BC, expected_BC, atol=1e-4, equal_nan=True)
    assert found_BC[4].isnan().all()
    assert found_BC.isneginf().any()
    assert torch.equal(score_items(decoder, users, items_BC, chunk_size=1).nan_to_num(), found_BC.nan_to_num())


def test_no_items_to_score(world):
    _, decoder, users = world
    assert score_items(decoder, users, torch.zeros(9, 0, dtype=torch.int64)).shape == (9, 0)


def test_best_items_leave_out_items_without_codes(world):
    trie, decoder, users = world
    items_BN, log_probs_BN = best_items(score_all(decoder, users, trie), trie, list_length=60)
    assert ((items_BN >= 0).sum(1) == 45).all()
    assert log_probs_BN[:, 45:].isneginf().all()


def test_nan_is_reported(world):
    trie, decoder, users = world
    decoder.outputs[1][:] = np.nan
    with pytest.raises(FloatingPointError, match=r"^search: the decoder gave NaN .* at level 2$"):
        score_all(decoder, users, trie)
