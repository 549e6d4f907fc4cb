"""The losses against one item: their values, and which items are drawn."""

import numpy as np
import pytest
import torch

from genrec.baselines._losses import draw_negatives, next_item_loss
from genrec.baselines.gru4rec import Gru4Rec
from genrec.baselines.sasrec import Sasrec
from genrec.testing import check

STATES_ND = [[0.5, -1.0], [2.0, 0.25]]
ITEMS_ID = [[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0]]


@pytest.mark.parametrize("name", ["binary_cross_entropy", "bpr"])
def test_losses_are_those_of_the_equations(name):
    # All items but one are known, so it is certain which one is drawn.
    target, known, drawn = [0, 2], [[1, 3, 3], [0, 0, 3]], [2, 1]
    states_ND, items_ID = torch.tensor(STATES_ND), torch.tensor(ITEMS_ID, requires_grad=True)
    found = next_item_loss(name, states_ND, items_ID, torch.tensor(target), torch.tensor(known))
    total = 0.0
    for state, positive, negative in zip(STATES_ND, target, drawn, strict=True):
        high, low = np.dot(state, ITEMS_ID[positive]), np.dot(state, ITEMS_ID[negative])
        if name == "bpr":
            total -= np.log(1 / (1 + np.exp(low - high)))
        else:
            total -= np.log(1 / (1 + np.exp(-high))) + np.log(1 - 1 / (1 + np.exp(-low)))
    assert found.item() == pytest.approx(total / 2, rel=1e-5)
    found.backward()
    assert (items_ID.grad.abs().sum(1) > 0).all()


def test_drawn_items_are_uniform_over_those_that_are_not_known():
    torch.manual_seed(0)
    drawn_N = draw_negatives(torch.tensor([[0, 3, 6]]).expand(6000, -1), 6)
    counts_I = np.bincount(drawn_N.numpy(), minlength=6)
    assert counts_I[[0, 3]].sum() == 0
    assert (abs(counts_I[[1, 2, 4, 5]] - 1500) < 150).all()


def test_a_user_who_knows_the_whole_catalog_gets_an_item_all_the_same():
    drawn_N = draw_negatives(torch.tensor([[0, 1]]).expand(50, -1), 2)
    assert set(drawn_N.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("kind", "loss", "samples"),
    [(Sasrec, "binary_cross_entropy", "all_positions"), (Sasrec, "bpr", "prefixes"), (Gru4Rec, "bpr", "all_positions")],
)
def test_baselines_with_a_sampled_loss_keep_the_contract(kind, loss, samples):
    check(kind(dim=8, max_history=6, warmup_steps=2, batch_size=8, max_epochs=2, loss=loss, samples=samples))
