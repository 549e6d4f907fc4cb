"""DIN as a ranker: all items against the network's scores one by one, who is read, and what it learns."""

import numpy as np
import pytest
import torch
from torch import nn

from genrec.baselines.din import Din, FittedDin, RankerTraining
from genrec.baselines.popularity import Popularity
from genrec.errors import DataError
from genrec.evaluation.metrics import recall, target_ranks
from genrec.model import deep_interest
from genrec.model.deep_interest import DinBatch, DinNetwork
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork
from genrec.types import Histories

QUICK = {"dim": 16, "attention_hidden": (8,), "max_history": 6, "num_negatives": 16}
TRAINING = {"batch_size": 32, "learning_rate": 0.02, "warmup_steps": 5}


def test_it_keeps_the_contract_of_baselines():
    check(Din(**QUICK, training=RankerTraining(**TRAINING, max_epochs=2)))


@pytest.mark.parametrize("sizes", [(256, 64), (2, 4)])
def test_the_ranking_is_that_of_the_scores_of_each_item(monkeypatch, sizes):
    """Scores of one candidate at a time come from ``forward``, which is checked against the equations elsewhere."""
    monkeypatch.setattr(deep_interest, "_POSITIONS_AT_ONCE", sizes[0])
    monkeypatch.setattr(deep_interest, "_ITEMS_AT_ONCE", sizes[1])
    torch.manual_seed(0)
    network = DinNetwork(num_items=11, dim=5, hidden=(6, 4), max_history=3, dropout=0.3).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    histories = Histories.of([[7, 1, 2, 3, 4], [5], [6, 8]])
    read = [[(4, 0), (3, 1), (2, 2)], [(5, 0)], [(8, 0), (6, 1)]]  # the last three items and their steps

    def score(row, item):
        items, steps = (torch.tensor(part) for part in zip(*read[row], strict=True))
        one = torch.tensor([item])
        return float(network(DinBatch(items, torch.zeros_like(items), steps, one, one))[0, 0].detach())

    for exclude_seen in (False, True):
        ranking = FittedDin(network, 3).rank(histories, top_n=11, exclude_seen=exclude_seen)
        for row in range(3):
            seen = set(histories[row].tolist()) if exclude_seen else set()
            scores = {item: score(row, item) for item in range(11) if item not in seen}
            expected = sorted(scores, key=lambda item: -scores[item])
            assert ranking.items_BN[row, : len(expected)].tolist() == expected
            assert np.allclose(ranking.scores_BN[row, : len(expected)], sorted(scores.values())[::-1], atol=1e-3)


def test_it_finds_what_follows_and_the_seed_decides():
    dataset = clockwork(20, rounds=5, seed=3).dataset
    settings = Din(
        **QUICK | {"max_history": 3}, dropout=0.0, training=RankerTraining(**TRAINING, max_epochs=8, patience=8)
    )
    histories, targets = dataset.test.histories, dataset.test.targets

    def hits(baseline, seed=1):
        fitted = baseline.fit(dataset.catalog, dataset.train, context=WorkContext(seed=seed))
        ranking = fitted.rank(histories, top_n=5, exclude_seen=False)
        return float(recall(target_ranks(ranking, targets), 1).mean()), ranking

    found, ranking = hits(settings)
    assert found > 0.9
    assert found > hits(Popularity())[0] + 0.5
    assert np.array_equal(hits(settings)[1].scores_BN, ranking.scores_BN)
    assert not np.array_equal(hits(settings, seed=2)[1].scores_BN, ranking.scores_BN)


def test_fewer_users_are_held_out_than_by_the_item_encoder():
    assert Din.model_validate({"training": {"max_epochs": 3}}).training.validation_users == 500


def test_nothing_to_learn_from_is_an_error():
    dataset = clockwork(seed=1).dataset
    with pytest.raises(DataError, match=r"^din: no training history has two items, expected at least one"):
        Din().fit(dataset.catalog, Histories.of([[0], [1]]), context=WorkContext(seed=0))
