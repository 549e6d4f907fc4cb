"""HGN: its gates against the equations by hand, causality, and what it learns with both losses."""

import numpy as np
import pytest
import torch
from baselines.worlds import hits, validation_of

from genrec.baselines.hgn import Hgn
from genrec.baselines.popularity import Popularity
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


def network(**changes):
    torch.manual_seed(0)
    module = Hgn(**{"max_history": 6, "window": 3} | changes).network(9, dim=4, dropout=0.5).eval()
    module.loss = "bpr"
    return module


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("changes", [{}, {"window": 8, "samples": "prefixes", "loss": "cross_entropy"}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(Hgn(**QUICK | {"max_epochs": 2} | changes))


def test_states_are_those_of_the_equations():
    module = network()
    history = [3, 1, 4, 1, 5]
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}
    expected = []
    for last in range(len(history)):
        user_D = w["user_table.weight"][history[: last + 1]].mean(0)
        gated, gates, total_D = [], [], np.zeros(4)
        for place, at in enumerate(range(last - 2, last + 1)):
            if at < 0:
                continue
            item_D = w["item_table.weight"][history[at]]
            feature_D = w["feature_of_item.weight"] @ item_D + w["feature_of_item.bias"]
            gated.append(item_D * sigmoid(feature_D + w["feature_of_user.weight"] @ user_D))
            own = w["instance_of_item.weight"][0] @ gated[-1] + w["instance_of_user.weight"][place] @ user_D
            gates.append(sigmoid(own))
            total_D += item_D
        pooled_D = sum(gate * item_D for gate, item_D in zip(gates, gated, strict=True)) / sum(gates)
        expected.append(user_D + pooled_D + total_D)
    found_BTD = module(torch.tensor([[*history, 9]]))
    np.testing.assert_allclose(found_BTD[0, :5].detach(), np.array(expected), atol=1e-5)


def test_the_regularization_is_that_of_the_vectors_that_are_read_and_compared():
    module = network(l2=0.1)
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}
    batch = HistoryBatch(torch.tensor([[0, 1, 9], [2, 1, 1]]), torch.tensor([[1, 5, ABSENT], [1, 1, 6]]), True)
    read, target = [0, 1, 2, 1, 1], [1, 5, 1, 1, 6]
    expected = np.mean([(w["item_table.weight"][item] ** 2).sum() for item in read])
    expected += np.mean([(w["user_table.weight"][item] ** 2).sum() for item in read])
    expected += np.mean([(w["output_table.weight"][item] ** 2).sum() for item in target])
    expected += np.mean([(w["output_table.weight"][item] ** 2).sum() for item in range(9)])
    assert module.losses(batch)["l2"].item() == pytest.approx(0.05 * expected, rel=1e-5)
    assert list(network(l2=0.0).losses(batch)) == ["bpr"]


def test_a_state_depends_on_its_item_and_those_before_alone():
    module = network()
    whole, start = module(torch.tensor([[3, 1, 4, 1]])), module(torch.tensor([[3, 1, 9, 9]]))
    torch.testing.assert_close(whole[:, :2], start[:, :2])
    torch.testing.assert_close(module.last_states(torch.tensor([[3, 1, 9, 9]]))[0], whole[0, 1])
    assert not torch.allclose(whole[:, 3], module(torch.tensor([[2, 1, 4, 1]]))[:, 3]), "older items are the user"
    assert module.last_states(torch.tensor([[9, 9]])).abs().sum() == 0, "there is nothing to say without a history"


@pytest.mark.parametrize(("loss", "epochs"), [("bpr", 8), ("cross_entropy", 12)])
def test_it_learns_a_certain_next_item_and_beats_popularity(loss, epochs):
    data, context = clockwork(num_items=40, rounds=3).dataset, WorkContext(1)
    fitted = Hgn(**QUICK, max_epochs=epochs, loss=loss).fit_validated(
        data.catalog, data.train, context=context, validate=validation_of(data, exclude_seen=loss == "bpr")
    )
    # With BPR no item of the history is ever drawn, so nothing lowers its score.
    exclude_seen = loss == "bpr"
    popularity = Popularity().fit(data.catalog, data.train, context=context)
    assert hits(fitted, data, 1, exclude_seen=exclude_seen) > 0.8
    assert hits(popularity, data, 1, exclude_seen=exclude_seen) < 0.1
