"""Node scores: the network and its loss against NumPy, and searches whose prefixes do not bound their items."""

import math

import numpy as np
import pytest
import torch

from genrec.decoders.node_scores import NodeScores
from genrec.families import tokenizers
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import BuildContext, Encoded, StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe import InvalidRecipeError, parse_recipe
from genrec.runtime.environment import WorkContext
from genrec.search.beam import BeamSearch
from genrec.search.bound import BoundSearch
from genrec.search.exact import ExactSearch
from genrec.search.method import SearchRules
from genrec.semantic_ids.trie import Trie
from genrec.testing import check, tiny_catalog, tiny_vectors
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT

NUM_ITEMS = 24


def stream():
    """A binary tree of 22 items; the items 3 and 23 are absent."""
    vectors = tiny_vectors(width=6, absent=(3, 23), seed=0)
    tree = tokenizers.get("kmeans_tree").model_validate({"branching": 2})
    ids = tree.fit(vectors, keys=tiny_catalog().keys, context=WorkContext(seed=1))
    return StreamContext(ids, Trie.of(ids), vectors)


STREAM = stream()
TRIE = STREAM.trie


def built(**changes):
    settings = NodeScores(**{"num_heads": 2, "hidden_dim": 6, "dropout": 0.0, "num_negatives": 5} | changes)
    torch.manual_seed(0)
    decoder = settings.build(BuildContext(NUM_ITEMS, 8, 6, {"text": STREAM}, stream="text"))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return decoder.eval()


def histories():
    torch.manual_seed(1)
    mask_BT = torch.arange(4)[None] < torch.tensor([4, 2, 3])[:, None]
    return Encoded(torch.randn(3, 4, 8), mask_BT, True)


def linear(x, layer):
    return layer.weight.detach().numpy().astype(float) @ x + layer.bias.detach().numpy()


def logit(decoder, states_TD, level, node):
    """One node's logit by the formulas, one head at a time."""
    vector_D = decoder.vocabulary.tables[level].weight[node].detach().numpy().astype(float)
    attention, norm, width = decoder.attention, decoder.norm, 4
    normed_D = (vector_D - vector_D.mean()) / math.sqrt(vector_D.var() + norm.eps)
    vector_D = normed_D * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    query_D = linear(vector_D, attention.query)
    keys_values = np.stack([linear(state_D, attention.key_value) for state_D in states_TD])
    keys_TD, values_TD = keys_values[:, :8], keys_values[:, 8:]
    mixed = []
    for head in (slice(0, width), slice(width, 2 * width)):
        weights = np.exp(keys_TD[:, head] @ query_D[head] / math.sqrt(width))
        mixed.append(weights / weights.sum() @ values_TD[:, head])
    interest_D = linear(np.concatenate(mixed), attention.output)
    hidden = linear(np.concatenate([interest_D, vector_D, interest_D * vector_D]), decoder.hidden[0])
    hidden = np.where(hidden > 0, hidden, decoder.hidden[1].weight.item() * hidden)
    return float(linear(hidden, decoder.output)[0])


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def node_scores(decoder, encoded, user):
    """By depth the score of each node, by the formulas."""
    states_TD = encoded.states_BTD[user, encoded.mask_BT[user]].numpy().astype(float)
    return [
        [log_sigmoid(logit(decoder, states_TD, level, node)) for node in range(TRIE.num_nodes(level + 1))]
        for level in range(TRIE.num_levels)
    ]


@pytest.mark.parametrize("changes", [{}, {"leaves": "tied", "num_negatives": 2}, {"num_negatives": 100}])
def test_contract(changes):
    check(NodeScores(num_heads=2, hidden_dim=16, **changes))


@torch.no_grad()
def test_loss_is_binary_cross_entropy_of_ancestors_and_drawn_nodes():
    decoder, encoded = built(), histories()
    target_BQ = torch.tensor([[5, 9, 2, 0], [3, 11, -1, -1], [7, -1, 1, -1]])  # item 3 is absent
    drawn = []
    decoder._with_negatives = lambda level, nodes_N: (
        drawn.append(type(decoder)._with_negatives(decoder, level, nodes_N)) or drawn[-1]
    )
    outputs = decoder(encoded, target_BQ, all_positions=True)
    total, count = 0.0, 0
    pairs = [(row, query) for row, query in (target_BQ >= 0).nonzero().tolist()]
    for number, (row, query) in enumerate(pairs):
        path = TRIE.nodes_IL[target_BQ[row, query]]
        if path[0] == ABSENT:
            continue
        count += 1
        states_TD = encoded.states_BTD[row, : query + 1].numpy().astype(float)
        for level, nodes_NJ in enumerate(drawn):
            first, *negatives = nodes_NJ[number].tolist()
            assert first == path[level]
            assert first not in negatives
            assert len(negatives) == min(math.ceil(5 * (level + 1) / TRIE.num_levels), TRIE.num_nodes(level + 1) - 1)
            total -= log_sigmoid(logit(decoder, states_TD, level, first))
            total -= sum(log_sigmoid(-logit(decoder, states_TD, level, node)) for node in negatives)
    assert count == len(pairs) - 1
    assert outputs.loss.item() == pytest.approx(total / count, rel=1e-4)


@torch.no_grad()
def test_a_beam_keeps_the_best_nodes_of_each_level_by_their_own_score():
    decoder, encoded = built(), histories()
    found = BeamSearch(3).search(decoder, encoded, TRIE, SearchRules(6))
    rises = 0
    for user in range(3):
        scores, beam = node_scores(decoder, encoded, user), [0]
        for level in range(TRIE.num_levels):
            start = TRIE.child_start[level]
            children = [child for node in beam for child in range(start[node], start[node + 1])]
            rises += sum(
                scores[level][child] > scores[level - 1][node]
                for node in beam
                if level
                for child in range(start[node], start[node + 1])
            )
            width = 3 if level + 1 < TRIE.num_levels else 6
            beam = sorted(children, key=lambda child: -scores[level][child])[:width]
        items = [int(TRIE.item_of_leaf[leaf]) for leaf in beam]
        assert found.items_BN[user, : len(items)].tolist() == items
        expected = torch.tensor([scores[-1][leaf] for leaf in beam])
        torch.testing.assert_close(found.log_probs_BN[user, : len(items)], expected, atol=1e-3, rtol=1e-3)
    assert rises > 10, "a child scores higher than its parent, so that no prefix bounds its items"


@torch.no_grad()
@pytest.mark.parametrize("method", [ExactSearch(), BoundSearch(), BeamSearch(100), BeamSearch(100, "bfloat16")])
def test_a_search_of_all_nodes_ranks_leaves_by_their_own_scores(method):
    """A search that stopped at a prefix's score would miss items: many leaves score higher than the nodes above."""
    decoder, encoded = built(), histories()
    found = method.search(decoder, encoded, TRIE, SearchRules(4))
    for user in range(3):
        leaves = node_scores(decoder, encoded, user)[-1]
        best = sorted(range(len(leaves)), key=lambda leaf: -leaves[leaf])[:4]
        if getattr(method, "precision", "float32") == "float32":
            assert found.items_BN[user].tolist() == [int(TRIE.item_of_leaf[leaf]) for leaf in best]
        else:
            assert len(set(found.items_BN[user].tolist()) & {int(TRIE.item_of_leaf[leaf]) for leaf in best}) >= 2


def test_a_recipe_that_searches_by_bound_is_refused():
    text = (
        "dataset: showroom\nhistory_encoder: item_ids\nstreams:\n"
        "  tree: {item_encoder: tfidf, tokenizer: kmeans_tree, decoder: node_scores}\n"
        "training: {max_epochs: 1}\nmerge: {type: single, stream: tree}\nsearch: {method: METHOD}\n"
    )
    for method in ("beam", "exact"):
        parse_recipe(text.replace("METHOD", method))
    with pytest.raises(InvalidRecipeError) as caught:
        parse_recipe(text.replace("METHOD", "bound"))
    assert str(caught.value) == (
        "recipe:7: search.method: found bound, expected beam or exact: the decoder 'node_scores' of the stream 'tree' "
        "scores nodes by themselves, so that an item may score higher than a prefix of its code"
    )


def test_what_follows_each_item_is_learned():
    """A beam of four finds the next item of every history, although only drawn nodes were negatives."""
    encoder = ItemIds(num_layers=0, dim=16, max_history=4, dropout=0.0, attention="causal")
    decoder = NodeScores(num_heads=2, hidden_dim=32, dropout=0.0, num_negatives=8)
    model = Retriever(encoder, {"text": decoder}, (), {"text": STREAM}, num_items=NUM_ITEMS, seed=1)
    items = torch.from_numpy(np.flatnonzero(STREAM.vectors.present_I))
    batch = HistoryBatch(items[:, None], items.roll(-1)[:, None], True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(75):
        optimizer.zero_grad()
        model(batch)["text"].backward()
        optimizer.step()
    model.eval()
    encoded = model.encode(batch.history_BT)["text"]
    found = BeamSearch(4).search(model.decoders["text"], encoded, TRIE, SearchRules(1))
    assert (found.items_BN[:, 0] == batch.target_BQ[:, 0]).float().mean() > 0.95
