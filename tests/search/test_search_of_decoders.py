"""The core's decoders under the core's searches: beam, exact and teacher forcing must tell one story."""

import numpy as np
import pytest
import torch
from walk_decoder import random_ids

from genrec.decoders.dense import Dense
from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.types import Histories, ItemVectors

NUM_ITEMS = 30


def streams():
    """Codes of 1, 2 and 3 levels; the last stream lacks some items."""
    vectors = ItemVectors(np.eye(NUM_ITEMS, dtype=np.float32), np.ones(NUM_ITEMS, dtype=bool))
    ids = {
        "flat": random_ids(1, num_items=NUM_ITEMS, num_levels=1, num_codes=40),
        "behavior": random_ids(2, num_items=NUM_ITEMS, num_levels=2, num_codes=6),
        "text": random_ids(3, num_items=NUM_ITEMS, num_levels=3, num_codes=4, absent=5),
    }
    return {name: StreamContext(codes, Trie.of(codes), vectors) for name, codes in ids.items()}


@pytest.mark.parametrize(
    "decoder",
    [
        Transformer(num_layers=2, num_heads=2, feedforward_dim=16, vocabulary="level"),
        Transformer(num_layers=2, num_heads=2, feedforward_dim=16, vocabulary="path", summary="head"),
        Transformer(num_layers=1, num_heads=2, feedforward_dim=16, vocabulary="path", leaves="tied"),
        Mlp(hidden_dim=16),
    ],
    ids=["transformer-level", "transformer-path", "transformer-tied", "mlp"],
)
def test_beam_exact_and_teacher_forcing_agree(decoder):
    contexts = streams()
    encoder = ItemIds(dim=8, num_heads=2, max_history=6)
    model = Retriever(encoder, dict.fromkeys(contexts, decoder), [], contexts, num_items=NUM_ITEMS, seed=3)
    with torch.no_grad():  # fresh weights are too small to tell items apart
        for weight in model.parameters():
            weight.mul_(4.0)
    rng = np.random.default_rng(0)
    histories = Histories.of([rng.integers(0, NUM_ITEMS, size=int(n)) for n in rng.integers(1, 10, size=12)])

    def search(method, beam_width, list_length):
        chosen = SearchSettings(method=method, beam_width=beam_width, list_length=list_length, batch_size=5)
        tries = {name: context.trie for name, context in contexts.items()}
        return search_streams(
            model, tries, histories, chosen, num_items=NUM_ITEMS, max_history=6, with_scores=True, seen="filter"
        )

    exact, wide, narrow = search("exact", 1, 7), search("beam", 100, 7), search("beam", 3, 7)
    np.testing.assert_array_equal(wide.items_BC, exact.items_BC)
    np.testing.assert_array_equal(wide.ranks_BCS, exact.ranks_BCS)
    np.testing.assert_allclose(wide.log_probs_BCS, exact.log_probs_BCS, atol=1e-4)
    assert np.std(exact.log_probs_BCS[np.isfinite(exact.log_probs_BCS)]) > 0.1
    by_item = search("exact", 1, NUM_ITEMS)
    for user in range(12):
        known = dict(zip(by_item.items_BC[user].tolist(), by_item.log_probs_BCS[user], strict=True))
        for item, log_probs_S in zip(narrow.items_BC[user].tolist(), narrow.log_probs_BCS[user], strict=True):
            if item >= 0:
                np.testing.assert_allclose(log_probs_S, known[item], atol=1e-4)


def test_under_bfloat16_items_are_scored_in_float32():
    """``dense`` has a product for logits and no other."""
    vectors = streams()["flat"].vectors
    ids = item_numbers(vectors)
    contexts = {"items": StreamContext(ids, Trie.of(ids), vectors)}
    encoder = ItemIds(dim=8, num_heads=2, max_history=6)
    model = Retriever(encoder, {"items": Dense()}, [], contexts, num_items=NUM_ITEMS, seed=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0)
    histories = Histories.of([[1, 2, 3], [4], [0, 5]])

    def search(precision):
        chosen = SearchSettings(list_length=NUM_ITEMS, precision=precision)
        tries = {"items": contexts["items"].trie}
        return search_streams(model, tries, histories, chosen, num_items=NUM_ITEMS, max_history=6)

    exact, lower = search("float32"), search("bfloat16")
    np.testing.assert_array_equal(lower.items_BC, exact.items_BC)
    np.testing.assert_array_equal(lower.log_probs_BCS, exact.log_probs_BCS)


@pytest.mark.parametrize("decoder", [Transformer(num_layers=2, num_heads=2, feedforward_dim=16), Mlp(hidden_dim=16)])
def test_bfloat16_changes_scores_a_little_and_the_model_not_at_all(decoder):
    contexts = streams()
    encoder = ItemIds(dim=8, num_heads=2, max_history=6)
    model = Retriever(encoder, dict.fromkeys(contexts, decoder), [], contexts, num_items=NUM_ITEMS, seed=3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rng = np.random.default_rng(0)
    histories = Histories.of([rng.integers(0, NUM_ITEMS, size=int(n)) for n in rng.integers(1, 10, size=12)])

    def search(precision):
        chosen = SearchSettings(beam_width=30, list_length=NUM_ITEMS, batch_size=5, precision=precision)
        tries = {name: context.trie for name, context in contexts.items()}
        found = search_streams(model, tries, histories, chosen, num_items=NUM_ITEMS, max_history=6)
        order = np.argsort(found.items_BC, axis=1)
        return np.take_along_axis(found.log_probs_BCS, order[:, :, None], axis=1)

    exact_UIS, lower_UIS = search("float32"), search("bfloat16")  # every item is in every list
    known_UIS = np.isfinite(exact_UIS)
    error = np.abs(exact_UIS - lower_UIS)[known_UIS]
    assert 1e-4 < error.max() < 0.15, "other numbers than in float32, and close to them"
    assert len(np.unique(lower_UIS[known_UIS])) > 0.9 * known_UIS.sum(), "sums of log-probabilities are not rounded"
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_bfloat16_is_no_exact_search():
    with pytest.raises(ValueError, match="precision bfloat16 is for method beam; found method exact, which promises"):
        SearchSettings(method="exact", precision="bfloat16")
