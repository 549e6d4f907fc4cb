"""The recurrent history encoder: its recurrence, what a state sees, and item embeddings as ``item_ids`` has them."""

import numpy as np
import pytest
import torch

from genrec.decoders.dense import Dense
from genrec.history_encoders.gru import Gru
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import BuildContext, StreamContext
from genrec.model.initial_vectors import starting_vectors
from genrec.model.retriever import Retriever
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.testing import check, tiny_vectors
from genrec.training.batches import HistoryBatch

NUM_ITEMS = PADDING = 24
VECTORS = tiny_vectors()


def streams(*names):
    ids = item_numbers(VECTORS)
    return {name: StreamContext(ids, Trie.of(ids), VECTORS) for name in names}


def built(seed=1, **changes):
    settings = Gru(**{"dim": 8, "hidden_dim": 5, "max_history": 6} | changes)
    torch.manual_seed(seed)
    context = BuildContext(NUM_ITEMS, settings.dim, 6, streams("text"), stream="text")
    return settings.build(context).eval()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 2, "dropout": 0.5},
        {"dim": 8, "hidden_dim": 20, "max_history": 1},
        {"start_from": ("text",), "add_vectors": ("behavior", "text"), "share": "items"},
    ],
)
def test_contract(changes):
    check(Gru(**changes))


@torch.no_grad()
@pytest.mark.parametrize("num_layers", [1, 2])
def test_recurrence_is_that_of_the_paper(num_layers):
    """Against the equations in NumPy: h' = (1 - z) n + z h, with an update gate z and a reset gate r."""
    encoder = built(num_layers=num_layers)
    history = [3, 8, 1, 20]
    x_TH = encoder.input_norm(encoder.item_table.weight[history]).double().numpy()

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for layer in encoder.layers:
        weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
        input_GH, hidden_GH, input_bias_G, hidden_bias_G = (weight.double().numpy() for weight in weights)
        h_H, states = np.zeros(5), []
        for x_H in x_TH:
            input_r, input_z, input_n = np.split(input_GH @ x_H + input_bias_G, 3)
            hidden_r, hidden_z, hidden_n = np.split(hidden_GH @ h_H + hidden_bias_G, 3)
            z_H = sigmoid(input_z + hidden_z)
            new_H = np.tanh(input_n + sigmoid(input_r + hidden_r) * hidden_n)
            h_H = (1 - z_H) * new_H + z_H * h_H
            states.append(h_H)
        x_TH = np.stack(states)
    expected = encoder.norm(encoder.output(torch.from_numpy(x_TH).float()))
    torch.testing.assert_close(encoder(torch.tensor([history])).states_BTD[0], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_state_sees_its_item_and_those_before_it_and_no_padding():
    encoder = built()
    whole = encoder(torch.tensor([[3, 8, 1, 4, 11]])).states_BTD
    padded = encoder(torch.tensor([[3, 8, 1, PADDING, PADDING], [5, 6, 7, 8, 9]]))
    assert padded.is_causal
    torch.testing.assert_close(padded.states_BTD[0, :3], whole[0, :3])
    torch.testing.assert_close(padded.last_BD[0], whole[0, 2])
    other = encoder(torch.tensor([[8, 3, 1, 4, 11]])).states_BTD
    assert not torch.allclose(whole[0, 2], other[0, 2], atol=1e-5), "order matters"


def test_item_embeddings_start_from_vectors_and_vectors_are_added():
    encoder = built(start_from=("text",), add_vectors=("text",))
    present = torch.from_numpy(VECTORS.present_I)
    expected = torch.from_numpy(starting_vectors([VECTORS], 8))
    assert torch.equal(encoder.item_table.weight[:-1][present], expected[present])
    assert {"item_table.weight", "vector_map.weight"} <= encoder.state_dict().keys()
    history_BT = torch.tensor([[3, 8, PADDING]])
    added = encoder.vector_map(encoder.vectors_IE[history_BT])
    torch.testing.assert_close(encoder.embed(history_BT), encoder.item_table(history_BT) + added)
    assert not encoder.embed(history_BT)[0, 2].any()


def retriever(share, own=None):
    common = Gru(dim=16, hidden_dim=32, max_history=4, dropout=0.0, share=share)
    decoders = {"behavior": Dense(), "text": Dense()}
    contexts = streams("behavior", "text")
    return Retriever(common, decoders, (), contexts, num_items=NUM_ITEMS, seed=1, own_history_encoders=own)


def test_streams_share_the_network_the_item_table_or_nothing():
    shared = {}
    for share in ("all", "items", "none"):
        model = retriever(share)
        first, second = (model.history_encoder(name) for name in ("behavior", "text"))
        shared[share] = first.layers[0] is second.layers[0], first.item_table is second.item_table
    assert shared == {"all": (True, True), "items": (False, True), "none": (False, False)}
    model = retriever("all", {"text": ItemIds(dim=16, attention="causal")})
    assert model.history_encoder("behavior").item_table is model.history_encoder("text").item_table


def test_what_follows_two_items_is_learned():
    """The next item is the sum of the last two, so one of them alone says nothing of it."""
    model = retriever("all")
    items = torch.from_numpy(np.flatnonzero(VECTORS.present_I))[:4]
    pairs_NT = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    batch = HistoryBatch(items[pairs_NT], items[pairs_NT.sum(1, keepdim=True) % 4], False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.stack(list(model(batch).values())).sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
