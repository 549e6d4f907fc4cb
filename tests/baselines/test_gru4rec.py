"""GRU4Rec: its recurrence, tied and untied output, and what it learns."""

import pytest
import torch

from genrec.baselines.gru4rec import Gru4Rec, Gru4RecNetwork
from genrec.baselines.popularity import Popularity
from genrec.evaluation.metrics import mean_ndcg, recall, target_ranks
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


def network(num_items=9, **changes):
    torch.manual_seed(0)
    settings = {"dim": 8, "num_layers": 1, "dropout": 0.5, "max_history": 4, "tied_output": True}
    return Gru4RecNetwork(num_items, **settings | changes).eval()


@pytest.mark.parametrize("changes", [{"num_layers": 2}, {"tied_output": False, "dim": 12}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(Gru4Rec(**QUICK | {"max_epochs": 2} | changes))


def test_the_recurrence_is_that_of_the_equations():
    module = network()
    layer = module.layers[0]
    history_BT = torch.tensor([[3, 1, 4, 1]])
    input_weights, hidden_weights = layer.weight_ih_l0.chunk(3), layer.weight_hh_l0.chunk(3)
    input_biases, hidden_biases = layer.bias_ih_l0.chunk(3), layer.bias_hh_l0.chunk(3)
    hidden_D, expected = torch.zeros(8), []
    for x_D in module.input_norm(module.item_table(history_BT))[0]:
        reset, update, new = (w @ x_D + b for w, b in zip(input_weights, input_biases, strict=True))
        from_reset, from_update, from_new = (
            w @ hidden_D + b for w, b in zip(hidden_weights, hidden_biases, strict=True)
        )
        update_D = torch.sigmoid(update + from_update)
        candidate_D = torch.tanh(new + torch.sigmoid(reset + from_reset) * from_new)
        hidden_D = (1 - update_D) * candidate_D + update_D * hidden_D
        expected.append(module.norm(hidden_D))
    torch.testing.assert_close(module(history_BT)[0], torch.stack(expected))


def test_a_state_depends_on_its_item_and_those_before_alone():
    module = network(num_layers=2)
    whole, start = module(torch.tensor([[3, 1, 4, 1]])), module(torch.tensor([[3, 1, 9, 9]]))
    torch.testing.assert_close(whole[:, :2], start[:, :2])
    assert not torch.allclose(whole[:, 3], module(torch.tensor([[2, 1, 4, 1]]))[:, 3])


@pytest.mark.parametrize("tied_output", [True, False])
def test_items_have_one_vector_or_two(tied_output):
    module = network(tied_output=tied_output)
    tables = ["item_table.weight", *([] if tied_output else ["output_table.weight"])]
    assert [name for name, part in module.named_parameters() if len(part) in (9, 10)] == tables
    batch = HistoryBatch(torch.tensor([[0, 1, 9]]), torch.tensor([[1, 2, ABSENT]]), True)
    module.losses(batch)["cross_entropy"].backward()
    moved_I = module.item_table.weight.grad.abs().sum(1) > 0
    assert moved_I.tolist() == [tied_output or item in (0, 1) for item in range(9)] + [False]
    if not tied_output:
        assert (module.output_table.weight.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("tied_output", [True, False])
def test_it_learns_a_certain_next_item_and_beats_popularity(tmp_path, tied_output):
    world = clockwork(num_items=40, rounds=3)
    data, valid = world.dataset, world.dataset.valid

    def validate(fitted):
        return mean_ndcg(fitted.rank(valid.histories, top_n=10, exclude_seen=False), valid.targets)

    def found(fitted):
        ranking = fitted.rank(data.test.histories, top_n=5, exclude_seen=False)
        return recall(target_ranks(ranking, data.test.targets), 1).mean()

    baseline = Gru4Rec(**QUICK, max_epochs=40, tied_output=tied_output)
    context = WorkContext(1, folder=tmp_path)
    fitted = baseline.fit_validated(data.catalog, data.train, context=context, validate=validate)
    assert found(fitted) > 0.9
    assert found(fitted) > found(Popularity().fit(data.catalog, data.train, context=context)) + 0.5
