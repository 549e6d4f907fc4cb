"""Decoders that score items directly: ``dense`` and ``transition``."""

import math

import numpy as np
import pytest
import torch
from walk_decoder import score_all

from genrec.decoders.dense import Dense
from genrec.decoders.transition import Transition
from genrec.families import history_encoders
from genrec.model.contracts import BuildContext, Encoded, StreamContext
from genrec.model.retriever import Retriever
from genrec.model.weights import load_weights, weights_of
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.training.batches import HistoryBatches
from genrec.types import Histories, ItemVectors

NUM_ITEMS, DIM, LONGEST = 12, 8, 6
GENERATOR = np.random.default_rng(0)
LENGTHS = GENERATOR.integers(2, 9, 40)
TRAIN = Histories(GENERATOR.integers(0, NUM_ITEMS, LENGTHS.sum()), np.r_[0, np.cumsum(LENGTHS)])
POPULARITY = (np.bincount(TRAIN.items, minlength=NUM_ITEMS) + 0.5) / (len(TRAIN.items) + 0.5 * NUM_ITEMS)


def stream(absent=()):
    present = np.ones(NUM_ITEMS, bool)
    present[list(absent)] = False
    vectors = ItemVectors(
        np.random.default_rng(1).normal(size=(NUM_ITEMS, 4)).astype(np.float32) * present[:, None], present
    )
    ids = item_numbers(vectors)
    return StreamContext(ids, Trie.of(ids), vectors)


def retriever(decoders, train=TRAIN, share="none", **context):
    encoder = history_encoders.get("item_ids")(
        dim=DIM, num_heads=2, max_history=LONGEST, attention="causal", share=share, dropout=0.0
    )
    streams = {name: stream(**context) for name in decoders}
    return Retriever(encoder, decoders, [], streams, num_items=NUM_ITEMS, seed=1, train=train)


def batch():
    batches = HistoryBatches(
        TRAIN,
        num_items=NUM_ITEMS,
        max_history=LONGEST,
        batch_size=64,
        all_positions=True,
        seed=0,
        device=torch.device("cpu"),
    )
    return batches.batch(np.arange(batches.num_samples))


def count(item, gap, follower=None):
    """How often something (the follower) stands ``gap`` steps behind an item in training, by walking along."""
    found = 0
    for user in range(len(TRAIN)):
        walk = TRAIN.items[TRAIN.offsets[user] : TRAIN.offsets[user + 1]]
        behind = [walk[place + gap] for place in range(len(walk) - gap) if walk[place] == item]
        found += len(behind) if follower is None else behind.count(follower)
    return found


def expected(history, target, *, told, smoothing=100.0, recent_items=5, next_items=3):
    followed, total = smoothing * POPULARITY[target], smoothing
    for place, item in enumerate(history[::-1][:recent_items]):
        for gap in range(1, next_items + 1):
            weight = 1 / (place + 1) / gap
            own = told and len(history) >= gap and history[-gap] == item
            followed += weight * (count(item, gap, target) - own)
            total += weight * (count(item, gap) - own)
    return math.log(followed / total)


@pytest.mark.parametrize("told", [True, False])
def test_transition_adds_up_the_counts_of_training(told):
    model, asked = retriever({"counts": Transition()}), batch()
    model.train(told)
    log_probs = model.decoders["counts"](model.encode(asked.history_BT)["counts"], asked.target_BQ, all_positions=True)
    each = [
        expected(row[: query + 1].tolist(), int(target), told=told)
        for row, targets in zip(asked.history_BT, asked.target_BQ, strict=True)
        for query, target in enumerate(targets)
        if target >= 0
    ]
    np.testing.assert_allclose(log_probs.log_probs_NL.detach()[:, 0], each, atol=1e-4)


def test_a_pair_that_was_seen_once_is_no_evidence_for_itself():
    train = Histories(np.array([0, 1, 2, 3]), np.array([0, 2, 4]))
    model = retriever({"counts": Transition()}, train=train)
    encoded = model.encode(torch.tensor([[0]]))["counts"]
    decoder, target = model.decoders["counts"], torch.tensor([[1]])
    told, asked = decoder.train()(encoded, target), decoder.eval()(encoded, target)
    popularity = 1.5 / (4 + 0.5 * NUM_ITEMS)
    assert told.log_probs_NL.item() == pytest.approx(math.log(popularity), abs=1e-5)
    assert asked.log_probs_NL.item() == pytest.approx(math.log((100 * popularity + 1) / 101), abs=1e-5)


def test_transition_has_no_history_encoder_and_dense_one_of_its_own():
    model = retriever({"dense": Dense(), "counts": Transition()})
    assert list(model._history_encoders) == ["stream dense"]
    assert model.encode(torch.tensor([[3]]))["counts"].states_BTD.shape == (1, 1, 0)
    assert retriever({"counts": Transition()}).is_causal


@pytest.mark.parametrize("decoder", [Dense(), Dense(items="own"), Transition()], ids=["tied", "own", "transition"])
def test_items_that_a_stream_lacks_have_no_probability(decoder):
    model = retriever({"one": decoder}, absent=(3, 7)).eval()
    encoded = model.encode(torch.tensor([[3, 1, NUM_ITEMS], [2, 5, 9]]))["one"]
    with torch.no_grad():
        scored_BI = score_all(model.decoders["one"], encoded, stream(absent=(3, 7)).trie)
    assert (scored_BI[:, [3, 7]] == -torch.inf).all()
    mass_B = scored_BI.exp().sum(1)
    assert ((mass_B <= 1 + 1e-5) & (mass_B > (0.7 if isinstance(decoder, Transition) else 1 - 1e-5))).all()


def test_dense_items_are_the_encoders_or_their_own():
    model = retriever({"tied": Dense(), "own": Dense(items="own", start_from=("tied",))}).eval()
    history_BT = torch.tensor([[4, 1]])
    for name in ("tied", "own"):
        encoded, decoder = model.encode(history_BT)[name], model.decoders[name]
        table_ID = (
            model.history_encoder(name).item_table.weight[:-1]
            if name == "tied"
            else decoder.vocabulary.tables[0].weight
        )
        with torch.no_grad():
            by_hand_BI = (encoded.last_BD @ table_ID.T).log_softmax(1)
            torch.testing.assert_close(score_all(decoder, encoded, stream().trie), by_hand_BI)


def test_counts_come_with_the_weights_of_a_finished_run():
    model = retriever({"counts": Transition()}).eval()
    again = retriever({"counts": Transition()}, train=None)
    assert len(again.decoders["counts"].pairs_P) == 0
    load_weights(again, {name: weight.clone() for name, weight in weights_of(model).items()})
    history_BT = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        scored = [
            score_all(m.decoders["counts"], m.eval().encode(history_BT)["counts"], stream().trie)
            for m in (model, again)
        ]
    assert torch.equal(*scored)


def test_transition_learns_what_matters():
    """In this world an item decides what comes two steps later and nothing else does."""
    generator = np.random.default_rng(3)
    walks = np.empty((400, 8), np.int64)
    walks[:, :2] = generator.integers(0, NUM_ITEMS, (400, 2))
    for place in range(2, 8):
        walks[:, place] = np.where(
            generator.random(400) < 0.8, (walks[:, place - 2] + 1) % NUM_ITEMS, generator.integers(0, NUM_ITEMS, 400)
        )
    train = Histories(walks.ravel(), np.arange(0, 8 * 401, 8))
    ids = stream()
    decoder = Transition().build(BuildContext(NUM_ITEMS, DIM, LONGEST, {"one": ids}, "one", train=train)).train()
    history_BT = torch.from_numpy(walks[:, :-1])
    encoded = Encoded(torch.zeros(400, 7, 0), torch.ones(400, 7, dtype=torch.bool), True, history_BT)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = -decoder(encoded, torch.from_numpy(walks[:, 1:]), all_positions=True).log_probs_NL.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2
    assert decoder._weights_KG().argmax().item() == 1 * 3 + 1  # the item two back, two steps on


def walks(share, seed, users=200, size=30):
    """Each item is one of two that follow the last on a circle or, with probability ``share``, one of the history."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        row = [int(rng.integers(size))]
        while len(row) < 8:
            fresh = [item for item in (row[-1] + rng.permutation(9)) % size if item not in row]
            row.append(int(rng.choice(row)) if rng.random() < share else int(fresh[0]))
        rows.append(row)
    return Histories.of(rows)


def built_on(train, **settings):
    size = 30
    vectors = ItemVectors(np.zeros((size, 1), np.float32), np.ones(size, bool))
    ids = item_numbers(vectors)
    context = StreamContext(ids, Trie.of(ids), vectors)
    return Transition(**settings).build(BuildContext(size, DIM, 8, {"one": context}, "one", train=train)), context


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_fitted_weights_foretell_other_users_better(share):
    """And with ``repeats``, seen items are as likely as in training: not at all where nobody buys again."""
    row_BT = torch.from_numpy(walks(share, seed=6).items.reshape(-1, 8).astype(np.int64))
    mask_BT = torch.ones(len(row_BT), 7, dtype=torch.bool)
    encoded = Encoded(torch.zeros(len(row_BT), 7, 0), mask_BT, True, row_BT[:, :7])
    mass, likelihood = {}, {}
    for start, repeats in (("fixed", 0), ("fitted", 0), ("fitted", 7)):
        decoder, context = built_on(walks(share, seed=5), start=start, repeats=repeats)
        with torch.no_grad():
            scored_BI = score_all(decoder.eval(), encoded, context.trie)
        is_seen_BI = torch.zeros(scored_BI.shape, dtype=torch.bool).scatter(1, row_BT[:, :7], value=True)
        mass[start, repeats] = (scored_BI.exp() * is_seen_BI).sum(1).mean().item()
        likelihood[start, repeats] = scored_BI.gather(1, row_BT[:, 7:]).mean().item()
    assert likelihood["fixed", 0] < likelihood["fitted", 0] < likelihood["fitted", 7]
    assert mass["fitted", 7] == pytest.approx(share, abs=0.25 * share + 0.01)


@pytest.mark.slow
def test_fitted_weights_are_the_same_each_time_and_need_training_histories():
    one, two = (built_on(walks(0.2, seed=5), repeats=3, start="fitted")[0].state_dict() for _ in range(2))
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    assert one["smoothing"].item() != pytest.approx(math.log(100.0), abs=0.1)
    for train in (None, Histories.of([[3]])):  # a finished run is loaded; nobody has bought twice
        decoder, _ = built_on(train, start="fitted")
        assert decoder.smoothing.item() == pytest.approx(math.log(100.0))
