"""Caser: its states against convolutions by hand, causality, and what it learns."""

import numpy as np
import pytest
import torch
from baselines.worlds import hits, validation_of

from genrec.baselines.caser import Caser
from genrec.baselines.popularity import Popularity
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


def network(**changes):
    torch.manual_seed(0)
    settings = {"max_history": 6, "window": 3, "horizontal_filters": 2, "vertical_filters": 2}
    return Caser(**settings | changes).network(9, dim=4, dropout=0.5).eval()


@pytest.mark.parametrize("changes", [{}, {"window": 8, "samples": "prefixes"}, {"loss": "binary_cross_entropy"}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(Caser(**QUICK, max_epochs=2, **changes))


def test_states_are_those_of_convolutions_by_hand():
    module = network()
    history = [3, 1, 4, 1, 5]
    weights = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}
    expected = []
    for last in range(len(history)):
        window = [history[at] if at >= 0 else 9 for at in range(last - 2, last + 1)]
        image_WD = weights["item_table.weight"][window]
        found = []
        for size in (1, 2, 3):
            for filters in range(2):
                kernel_DW = weights[f"horizontal.{size - 1}.weight"][filters]
                bias = weights[f"horizontal.{size - 1}.bias"][filters]
                values = [(kernel_DW.T * image_WD[at : at + size]).sum() + bias for at in range(3 - size + 1)]
                found.append(max(0.0, *values))
        for dimension in range(4):
            found += [weights["vertical.weight"][filters] @ image_WD[:, dimension] for filters in range(2)]
        recent_D = np.maximum(weights["mix.weight"] @ np.array(found) + weights["mix.bias"], 0)
        user_D = weights["user_table.weight"][history[: last + 1]].mean(0)
        expected.append(np.concatenate([recent_D, user_D]))
    found_BTD = module(torch.tensor([[*history, 9]]))
    np.testing.assert_allclose(found_BTD[0, :5].detach(), np.array(expected), atol=1e-5)
    assert module.item_vectors_ID.shape == (9, 8)


def test_a_state_depends_on_its_item_and_those_before_alone():
    module = network()
    whole, start = module(torch.tensor([[3, 1, 4, 1]])), module(torch.tensor([[3, 1, 9, 9]]))
    torch.testing.assert_close(whole[:, :2], start[:, :2])
    torch.testing.assert_close(module.last_states(torch.tensor([[3, 1, 9, 9]]))[0], whole[0, 1])
    older = module(torch.tensor([[2, 1, 4, 1]]))
    torch.testing.assert_close(older[:, 3, :4], whole[:, 3, :4], msg="the first item is not in the window")
    assert not torch.allclose(older[:, 3, 4:], whole[:, 3, 4:]), "but it is part of the user"


def test_it_learns_a_certain_next_item_and_beats_popularity():
    data, context = clockwork(num_items=40, rounds=3).dataset, WorkContext(1)
    fitted = Caser(**QUICK, max_epochs=12).fit_validated(
        data.catalog, data.train, context=context, validate=validation_of(data)
    )
    assert hits(fitted, data, 1) > 0.9
    assert hits(Popularity().fit(data.catalog, data.train, context=context), data, 1) < 0.1
