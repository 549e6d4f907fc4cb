"""Repeats: the factors against a softmax with a bias, and what decoders learn of users who come back or never do."""

import numpy as np
import pytest
import torch

from genrec.decoders.dense import Dense
from genrec.decoders.transition import Transition
from genrec.families import history_encoders
from genrec.model.contracts import Encoded, StreamContext
from genrec.model.repeats import Repeats
from genrec.model.retriever import Retriever
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.training.batches import HistoryBatches
from genrec.types import Histories, ItemVectors

NUM_ITEMS = 9


def stream(absent=()):
    present = np.ones(NUM_ITEMS, bool)
    present[list(absent)] = False
    vectors = np.random.default_rng(1).normal(size=(NUM_ITEMS, 4)).astype(np.float32) * present[:, None]
    ids = item_numbers(ItemVectors(vectors, present))
    return StreamContext(ids, Trie.of(ids), ItemVectors(vectors, present))


def retriever(decoder, train, absent=()):
    encoder = history_encoders.get("item_ids")(dim=8, num_heads=2, max_history=6, attention="causal", dropout=0.0)
    context = {"one": stream(absent)}
    return Retriever(encoder, {"one": decoder}, [], context, num_items=NUM_ITEMS, seed=1, train=train)


def encoded(*rows):
    width = max(map(len, rows))
    history_BT = torch.tensor([[*row, *[NUM_ITEMS] * (width - len(row))] for row in rows])
    return Encoded(torch.zeros(len(rows), width, 1), history_BT != NUM_ITEMS, True, history_BT)


def repeats(num_places=3):
    module = Repeats(NUM_ITEMS, num_places)
    with torch.no_grad():
        module.place_K.copy_(torch.tensor([-0.2, 0.1, 0.05]))
        module.doubling.fill_(0.03)
    return module


def factors(rows):
    """Log of the factor of each item by the definition, for the three most recent places."""
    added_BI = torch.zeros(len(rows), NUM_ITEMS)
    for row, items in enumerate(rows):
        recent = items[::-1][:3]
        for item in set(recent):
            added_BI[row, item] = 10 * ([-0.2, 0.1, 0.05][recent.index(item)] + 0.03 * np.log2(recent.count(item)))
    return added_BI


ROWS = ([4, 1, 7, 1, 2], [3], [5, 5], [0, 6, 6, 6])


@torch.no_grad()
def test_the_factors_are_a_bias_of_the_softmax():
    torch.manual_seed(0)
    logits_BI, module = torch.randn(4, NUM_ITEMS), repeats()
    read = encoded(*ROWS)
    had = module.had(read, torch.arange(4), read.mask_BT.sum(1) - 1)
    expected_BI = (logits_BI + factors(ROWS)).log_softmax(1)
    log_probs_BI = logits_BI.log_softmax(1)
    torch.testing.assert_close(module.of_all(log_probs_BI, torch.arange(NUM_ITEMS), had), expected_BI)
    had_log_probs_BK = log_probs_BI.gather(1, had.items_NK)
    for item in range(NUM_ITEMS):
        items_B = torch.full((4,), item)
        found_B = module.of_items(log_probs_BI[:, item], items_B, had, had_log_probs_BK)
        torch.testing.assert_close(found_B, expected_BI[:, item])


@torch.no_grad()
def test_items_without_a_leaf_take_no_probability():
    module, read = repeats(), encoded([2, 4])
    had = module.had(read, torch.arange(1), torch.tensor([1]))
    leaf_I = torch.tensor([0, 1, -1, 2, 3, 4, 5, 6, 7])
    found_BM = module.of_all(torch.full((1, 8), 1 / 8).log(), leaf_I, had)
    expected_BM = torch.zeros(1, 8)
    expected_BM[0, 3] = -2.0
    torch.testing.assert_close(found_BM, expected_BM.log_softmax(1))


DECODERS = pytest.mark.parametrize(
    "decoder", [Dense(repeats=5), Dense(items="own", repeats=5), Transition(repeats=5)], ids=["tied", "own", "counts"]
)


def trained(decoder, rows, absent=(), epochs=60):
    train = Histories.of(rows)
    model = retriever(decoder, train, absent)
    batches = HistoryBatches(
        train,
        num_items=NUM_ITEMS,
        max_history=6,
        batch_size=32,
        all_positions=True,
        seed=0,
        device=torch.device("cpu"),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for number in range(epochs):
        for batch in batches.epoch(number):
            optimizer.zero_grad()
            model(batch)["one"].backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def mass_of_history(model, row):
    """Probability of all items of a history together, and of all items."""
    decoder, read = model.decoders["one"], model.encode(torch.tensor([row]))["one"]
    zero = torch.zeros(1, 1, dtype=torch.int64)
    log_probs_M = decoder.expand(decoder.begin(read), 0, zero, zero)[0, 0]
    return float(log_probs_M.exp()[torch.tensor(sorted(set(row)))].sum()), float(log_probs_M.exp().sum())


@DECODERS
def test_it_is_learned_whether_users_come_back(decoder):
    generator = np.random.default_rng(0)
    never = [generator.permutation(NUM_ITEMS)[:5] for _ in range(40)]
    always = [np.repeat(generator.integers(0, NUM_ITEMS), 5) for _ in range(40)]
    of_new, total = mass_of_history(trained(decoder, never), [3, 1, 4])
    of_known, _ = mass_of_history(trained(decoder, always), [3, 3, 3])
    assert total == pytest.approx(1, abs=1e-4)
    assert of_new < 0.002
    assert of_known > 0.9


@DECODERS
def test_without_learned_factors_nothing_changes(decoder):
    train = Histories.of([[1, 2, 3, 1], [4, 5]])
    with_repeats, without = (
        retriever(settings, train, absent=(2,)).eval()
        for settings in (decoder, decoder.model_copy(update={"repeats": 0}))
    )
    history_BT, target_BQ = torch.tensor([[1, 2, 1], [4, 9, 9]]), torch.tensor([[1], [3]])
    for training in (False, True):
        found, expected = (
            model.train(training).decoders["one"](model.encode(history_BT)["one"], target_BQ).log_probs_NL
            for model in (with_repeats, without)
        )
        torch.testing.assert_close(found, expected)
