"""The history encoder of codes: its sequence, what a state sees, what decoders attend to, and items without codes."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.history_encoders.semantic_ids import SemanticIdHistory
from genrec.model.contracts import BuildContext, Encoded, StreamContext
from genrec.model.retriever import Retriever
from genrec.search.exact import score_leaves
from genrec.semantic_ids.trie import Trie
from genrec.testing import check
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT, ItemVectors, SemanticIds

NUM_ITEMS = PADDING = 24
ATTENTIONS = pytest.mark.parametrize("attention", ["bidirectional", "causal"])


def coded(absent=(23,)):
    """Items 0 .. 23 with the codes (item // 6, item % 6, 0 or 1)."""
    item_I = np.arange(NUM_ITEMS)
    codes_IL = np.column_stack([item_I // 6, item_I % 6, item_I % 2]).astype(np.int32)
    codes_IL[list(absent)] = ABSENT
    ids = SemanticIds(codes_IL, (4, 6, 2))
    present_I = codes_IL[:, 0] != ABSENT
    vectors = ItemVectors(np.zeros((NUM_ITEMS, 3), np.float32), present_I)
    return StreamContext(ids, Trie.of(ids), vectors)


def settings(**changes):
    sizes = {"dim": 8, "max_history": 6, "num_heads": 2, "num_layers": 2, "feedforward_dim": 16, "dropout": 0.0}
    return SemanticIdHistory(**sizes | changes)


def built(**changes):
    torch.manual_seed(1)
    encoder = settings(**changes).build(BuildContext(NUM_ITEMS, 8, 6, {"text": coded()}, stream="text"))
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.dim() > 1:
                weight.mul_(10.0)
    return encoder.eval()


@pytest.mark.parametrize(
    "changes", [{}, {"attention": "causal", "share": "none"}, {"stream": "text", "max_history": 1}]
)
def test_contract(changes):
    check(settings(**changes))


def test_heads_divide_the_width():
    with pytest.raises(ValidationError, match="dim 8 is not a multiple of num_heads 3"):
        settings(num_heads=3)


def norm(x, layer):
    deviation = np.sqrt(x.var(-1, keepdims=True) + layer.eps)
    return (x - x.mean(-1, keepdims=True)) / deviation * layer.weight.numpy() + layer.bias.numpy()


def linear(x, layer):
    return x @ layer.weight.numpy().T.astype(float) + layer.bias.numpy()


def transformed(x_MD, layer, may_see_MM):
    """One pre-norm layer of a Transformer in NumPy."""
    attention, heads = layer.attention, layer.attention.num_heads
    normed = norm(x_MD, layer.attention_norm)
    query, (key, value) = linear(normed, attention.query), np.split(linear(normed, attention.key_value), 2, axis=1)
    mixed = []
    for q, k, v in zip(*(np.split(part, heads, axis=1) for part in (query, key, value)), strict=True):
        logits = np.where(may_see_MM, q @ k.T / math.sqrt(q.shape[1]), -np.inf)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        mixed.append(weights / weights.sum(1, keepdims=True) @ v)
    x_MD = x_MD + linear(np.concatenate(mixed, 1), attention.output)
    first, _, _, second = layer.feedforward
    hidden = linear(norm(x_MD, layer.feedforward_norm), first)
    gelu = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return x_MD + linear(gelu, second)


@torch.no_grad()
@ATTENTIONS
def test_sequence_is_that_of_the_codes(attention):
    """Against the sum of code, level and position embeddings and the layers in NumPy; item 23 has no codes."""
    encoder = built(attention=attention)
    tables = [table.weight.numpy().astype(float) for table in encoder.codes]
    rows_TL = [(1, 2, 0), (4, 6, 2), (0, 3, 1)]  # of the items 8, 23 and 3; the last row of a table is "no code"
    places = [0, 1, 2] if attention == "causal" else [2, 1, 0]
    x_MD = np.stack(
        [
            tables[level][row] + encoder.levels.weight[level].numpy() + encoder.positions.weight[place].numpy()
            for rows, place in zip(rows_TL, places, strict=True)
            for level, row in enumerate(rows)
        ]
    )
    may_see_MM = np.tri(9, dtype=bool) if attention == "causal" else np.ones((9, 9), dtype=bool)
    for layer in encoder.layers:
        x_MD = transformed(x_MD, layer, may_see_MM)
    expected_MD = torch.from_numpy(norm(x_MD, encoder.norm)).float()
    encoded = encoder(torch.tensor([[8, 23, 3, PADDING], [1, 2, 5, 7]]))
    torch.testing.assert_close(encoded.memory_BMD[0, :9], expected_MD, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(encoded.states_BTD[0, :3], expected_MD[2::3], atol=1e-3, rtol=1e-3)
    assert encoded.mask_BT[0].tolist() == [True, True, True, False]
    assert encoded.per_item(encoded.mask_BT).sum(1).tolist() == [9, 12]


def test_states_of_codes_go_with_their_users():
    states_BTD, codes_BMD = torch.randn(3, 2, 4), torch.randn(3, 6, 4)
    encoded = Encoded(states_BTD, torch.ones(3, 2, dtype=torch.bool), False, code_states_BMD=codes_BMD)
    assert torch.equal(encoded.rows(torch.tensor([2])).memory_BMD, codes_BMD[2:])
    assert encoded.last_only().code_states_BMD is None
    assert encoded.per_item(torch.tensor([[1, 0]])).tolist() == [[1, 1, 1, 0, 0, 0]]


def retriever(decoder, attention="causal", **changes):
    streams = {"text": coded()}
    encoder = settings(attention=attention, **changes)
    return Retriever(encoder, {"text": decoder}, (), streams, num_items=NUM_ITEMS, seed=1)


def writer(**changes):
    return Transformer(num_layers=1, num_heads=2, feedforward_dim=16, dropout=0.0, **changes)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"recency_bias": True, "carry_state": True}])
def test_all_positions_are_trained_as_every_prefix_alone(changes):
    model = retriever(writer(**changes))
    for weight in model.parameters():
        weight.add_(0.3 * torch.randn_like(weight))
    history_BT = torch.tensor([[3, 8, 1, 4, 11, 2, 19, 7], [5, 6, 23, 9, PADDING, PADDING, PADDING, PADDING]])
    target_BT = torch.tensor([[8, 1, 4, 11, 2, 19, 7, 20], [6, 23, 9, 0, ABSENT, ABSENT, ABSENT, ABSENT]])
    together = model(HistoryBatch(history_BT, target_BT, True))["text"]
    # Windows of 6 items are counted back from the last: the first one of the long history holds its first two.
    prefixes = [history_BT[0, :1], history_BT[0, :2], *(history_BT[0, 2 : end + 1] for end in range(2, 8))]
    prefixes += [history_BT[1, :end] for end in (1, 2, 3, 4)]
    targets = [item for item in target_BT.flatten().tolist() if item != ABSENT]
    losses = [
        model(HistoryBatch(prefix[None], torch.tensor([[target]]), False))["text"]
        for prefix, target in zip(prefixes, targets, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(losses).sum() / sum(target != 23 for target in targets))


@torch.no_grad()
@ATTENTIONS
def test_a_decoder_attends_to_every_code(attention):
    """Items with the same last code differ only in codes that the items' own states are not read from."""
    model = retriever(writer(), attention, num_layers=1).eval()
    trie = coded().trie
    history_BT = torch.tensor([[3, 8], [3, 8]])
    encoded = model.encode(history_BT)["text"]
    scores_BM = score_leaves(model.decoders["text"], encoded, trie)
    assert scores_BM[0].exp().sum() <= 1 + 1e-5
    changed_BMD = encoded.code_states_BMD.clone()
    changed_BMD[1, 1] += 1.0  # the second code of the first item
    changed = Encoded(encoded.states_BTD, encoded.mask_BT, encoded.is_causal, encoded.history_BT, changed_BMD)
    others_BM = score_leaves(model.decoders["text"], changed, trie)
    torch.testing.assert_close(others_BM[0], scores_BM[0])
    assert not torch.allclose(others_BM[1], scores_BM[1], atol=1e-4)


@pytest.mark.parametrize("decoder", [writer(), Mlp(hidden_dim=32, dropout=0.0)])
def test_what_follows_two_items_is_learned(decoder):
    """Four histories of two items lead to four items, so that one of the two leaves the next item open."""
    model = retriever(decoder, "bidirectional", dim=16, num_layers=1)
    pairs_NT = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    batch = HistoryBatch(pairs_NT, 2 * pairs_NT[:, :1] + pairs_NT[:, 1:], False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(batch)["text"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
