"""DIN: its unit and loss against the equations, its samples by hand, and a world whose companions it must find."""

import numpy as np
import pytest
import torch
from companion_world import companion_world, companions_found
from torch import nn

from genrec.errors import DataError
from genrec.item_encoders.din import Din, neighbor_ndcg
from genrec.model.deep_interest import Dice, DinBatch, DinNetwork, sampled_softmax
from genrec.runtime.environment import WorkContext
from genrec.training.deep_interest import DinEpoch, DinSamples, DinTraining, held_out
from genrec.training.optimizer import warmup_steps
from genrec.types import Histories


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = DinNetwork(num_items=9, dim=5, hidden=(6, 4), max_history=3, dropout=0.3)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network.eval()


@pytest.fixture
def batch():
    return DinBatch(
        items_P=torch.tensor([1, 2, 3]),
        row_P=torch.tensor([0, 0, 1]),
        steps_P=torch.tensor([0, 1, 0]),
        target_B=torch.tensor([4, 5]),
        negatives_C=torch.tensor([6, 4, 8]),
    )


def test_scores_follow_the_equations_of_the_local_activation_unit(network, batch):
    def dice(x, layer):
        gate = torch.sigmoid((x - layer.mean) / (layer.variance + 1e-6).sqrt())
        return gate * x + (1 - gate) * layer.alpha * x

    def score(row, candidate):
        t = network.item_table.weight[candidate]
        total = network.item_bias[candidate]
        for item, of_row, steps in zip(batch.items_P, batch.row_P, batch.steps_P, strict=True):
            if of_row != row:
                continue
            h = network.item_table.weight[item]
            hidden = network.of_history(h) + network.of_target(t) + network.of_product(h * t)
            hidden = dice(hidden + network.of_steps(steps), network.rest[0])
            weight = network.last(dice(network.rest[1](hidden), network.rest[2]))
            total = total + weight[0] * (h @ t)
        return float(total.detach())

    expected = [[score(0, c) for c in (4, 6, 4, 8)], [score(1, c) for c in (5, 6, 4, 8)]]
    assert np.allclose(network(batch).detach().numpy(), np.array(expected), atol=1e-4)


def test_dice_standardizes_by_the_batch_while_training():
    layer = Dice(3)
    nn.init.constant_(layer.alpha, 0.25)
    x = torch.randn(50, 3) * 4 + 2
    gate = torch.sigmoid((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-6).sqrt())
    assert torch.allclose(layer.train()(x), gate * x + (1 - gate) * 0.25 * x, atol=1e-5)
    assert torch.allclose(layer.mean, 0.1 * x.mean(0), atol=1e-5)


def test_loss_is_cross_entropy_with_log_q_and_without_accidental_hits(batch):
    scores = torch.tensor([[1.0, 0.5, 3.0, -1.0], [0.2, 0.1, 0.4, 0.3]])
    log_q = torch.linspace(-3, -1, 9)
    first = np.exp([1.0 - log_q[4], 0.5 - log_q[6], -1.0 - log_q[8]])
    second = np.exp([0.2 - log_q[5], 0.1 - log_q[6], 0.4 - log_q[4], 0.3 - log_q[8]])
    expected = -(np.log(first[0] / first.sum()) + np.log(second[0] / second.sum())) / 2
    assert float(sampled_softmax(scores, batch, log_q)) == pytest.approx(expected, rel=1e-5)


def test_samples_are_every_prefix_and_its_next_item():
    samples = DinSamples(Histories.of([[0, 1, 2, 3], [4], [5, 6]]), max_history=2)
    q = np.array([0, 0, 0, 0, 0.5, 0.5, 0])
    seen = {}
    for part in DinEpoch(samples, 3, 40, q, np.random.default_rng(0)):
        assert set(part.negatives_C.tolist()) == {4, 5}
        for row, target in enumerate(part.target_B.tolist()):
            own = part.row_P == row
            seen[target] = list(zip(part.items_P[own].tolist(), part.steps_P[own].tolist(), strict=True))
    assert seen == {1: [(0, 0)], 2: [(1, 0), (0, 1)], 3: [(2, 0), (1, 1)], 6: [(5, 0)]}


def test_held_out_items_leave_the_training_histories():
    train = Histories.of([[0, 1, 2], [3, 4], [5, 6, 7, 8], [1, 2, 3], [4, 5, 6]])
    kept, prefixes, answers = held_out(train, num_users=2, seed=0)
    assert len(answers) == len(prefixes) == 2
    assert len(kept.items) == len(train.items) - 2
    whole = {tuple(train[user]) for user in range(len(train))}
    for row, answer in enumerate(answers):
        assert (*prefixes[row], answer) in whole
    assert held_out(Histories.of([[0, 1]]), num_users=2, seed=0)[2].tolist() == []


def test_neighbor_ndcg_by_hand():
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]], dtype=np.float32)
    histories = Histories.of([[0], [0, 1]])
    assert neighbor_ndcg(vectors, histories, np.array([1, 3])) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert neighbor_ndcg(vectors, histories, np.array([3, 3]), cutoff=1) == 0


QUICK = DinTraining(max_epochs=12, batch_size=64, warmup_steps=10, learning_rate=1e-2, patience=12)


def test_companions_are_nearest_and_the_seed_decides():
    catalog, histories = companion_world(6, size=6, num_users=240, unseen=2, walk=4)
    encoder = Din(dim=16, attention_hidden=(8,), num_negatives=8, dropout=0, training=QUICK)
    vectors = encoder.encode(catalog, histories, context=WorkContext(seed=1))
    assert companions_found(vectors.vectors_IE, 6, 6) > 0.95
    assert np.array_equal(
        vectors.vectors_IE, encoder.encode(catalog, histories, context=WorkContext(seed=1)).vectors_IE
    )
    assert not np.allclose(
        vectors.vectors_IE, encoder.encode(catalog, histories, context=WorkContext(seed=2)).vectors_IE
    )
    assert encoder.is_random
    assert vectors.present_I.all()
    assert np.allclose(vectors.vectors_IE[36:], vectors.vectors_IE[:36].mean(axis=0), atol=1e-6)
    assert vectors.notes == ("2 of 38 items have no training interactions and get the mean vector",)


def test_a_block_that_names_one_training_key_keeps_dins_other_defaults():
    training = Din.model_validate({"training": {"max_epochs": 3}}).training
    assert (training.max_epochs, training.patience) == (3, DinTraining().patience)


def test_warm_up_is_at_most_200_steps_and_short_on_small_data():
    assert [warmup_steps(DinTraining(), steps) for steps in (1, 100, 5_000)] == [1, 60, 200]


def test_nothing_to_learn_from_is_an_error():
    catalog, _ = companion_world(2, size=3, num_users=2)
    with pytest.raises(DataError, match=r"^din: no training history has two items"):
        Din().encode(catalog, Histories.of([[0], [1]]), context=WorkContext(seed=0))
