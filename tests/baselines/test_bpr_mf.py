"""BPR-MF: its loss and triples against loops, the folded-in user against automatic differentiation, what it learns."""

import numpy as np
import pytest
import torch
from baselines.worlds import groups, hits, validation_of

from genrec.baselines.bpr_mf import BprMf, BprMfNetwork, Triples
from genrec.baselines.popularity import Popularity
from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.testing import check, tiny_catalog, tiny_histories
from genrec.types import Histories

QUICK = {"dim": 8, "learning_rate": 0.02, "warmup_steps": 5, "batch_size": 64}


def network(num_users=7, num_items=9, dim=3, l2=0.1):
    torch.manual_seed(0)
    module = BprMfNetwork(num_users, num_items, dim=dim, l2=l2, max_history=5).eval()
    with torch.no_grad():
        for table in (module.user_table, module.item_table):
            table.weight.mul_(8)
        module.user_table.weight.add_(0.5)
    return module


def test_it_keeps_the_contract_of_baselines():
    check(BprMf(**QUICK, max_epochs=2))


def test_the_loss_is_that_of_the_equation():
    module = network()
    users, positives, negatives = [0, 6, 6], [1, 2, 8], [3, 0, 1]
    found = module.losses(Triples(*map(torch.tensor, (users, positives, negatives))))
    user, item = module.user_table.weight.detach().numpy(), module.item_table.weight.detach().numpy()
    bpr = squares = 0.0
    for u, i, j in zip(users, positives, negatives, strict=True):
        bpr -= np.log(1 / (1 + np.exp(-(user[u] @ item[i] - user[u] @ item[j]))))
        squares += sum((vector**2).sum() for vector in (user[u], item[i], item[j]))
    assert found["bpr"].item() == pytest.approx(bpr / 3, rel=1e-5)
    assert found["l2"].item() == pytest.approx(0.1 * squares / 2 / 3, rel=1e-5)


def test_an_epoch_has_every_interaction_once_and_items_that_the_user_has_not():
    train = tiny_histories()
    batches = BprMf(batch_size=7).batches(network(num_items=24), train, seed=1)
    pairs = []
    for triples in batches(1):
        for user, positive, negative in zip(
            *(x.tolist() for x in (triples.user_B, triples.positive_B, triples.negative_B)), strict=True
        ):
            pairs.append((user, positive))
            assert negative not in train[user]
            assert 0 <= negative < 24
    assert sorted(pairs) == sorted((user, int(item)) for user in range(len(train)) for item in train[user])
    first, again, second = (torch.cat([batch.user_B for batch in batches(epoch)]) for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("history", [[], [4], [2, 0, 2, 8]])
def test_a_folded_in_user_is_one_newton_step_on_the_loss_of_training(history):
    module = network()
    items_ID, users_UD = module.item_vectors_ID.detach().double(), module.user_table.weight.detach().double()

    def loss(x_D):
        """Of all pairs of an item of the history and one of the catalog; and a little toward the mean user."""
        total = 1e-3 / 2 * (x_D - users_UD.mean(0)).square().sum()
        for item in history:
            total = total + 0.1 / 2 * x_D.square().sum()
            for other in range(9):
                total = total - torch.nn.functional.logsigmoid(x_D @ (items_ID[item] - items_ID[other])) / 9
        return total

    start_D = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    gradient_D = torch.autograd.grad(loss(start_D), start_D)[0]
    hessian_DD = torch.autograd.functional.hessian(loss, start_D)
    expected_D = -torch.linalg.solve(hessian_DD, gradient_D)
    padded = torch.tensor([history + [9] * (5 - len(history)), [1, 2, 3, 4, 5]])
    torch.testing.assert_close(module.last_states(padded)[0].double(), expected_D, rtol=1e-4, atol=1e-4)


def test_it_finds_groups_and_folds_in_users_who_were_not_in_training():
    data, context = groups(), WorkContext(1)
    fitted = BprMf(**QUICK, max_epochs=15, l2=0.01).fit_validated(
        data.catalog, data.train, context=context, validate=validation_of(data)
    )
    popularity = Popularity().fit(data.catalog, data.train, context=context)
    assert hits(fitted, data, 3, exclude_seen=True) > 0.9
    assert hits(popularity, data, 3, exclude_seen=True) < 0.3
    ranking = fitted.rank(Histories.of([[31, 35, 30, 38]]), top_n=6, exclude_seen=True)
    assert set(ranking.items_BN[0]) == {32, 33, 34, 36, 37, 39}


def test_impossible_data_and_settings_are_refused():
    with pytest.raises(DataError, match="there are no interactions"):
        BprMf().fit(tiny_catalog(), Histories.of([[], []]), context=WorkContext(1))
    with pytest.raises(ValueError, match="bpr_mf: 2 combinations, and no validation users to choose by"):
        BprMf(l2=(0.1, 0.2)).fit(tiny_catalog(), tiny_histories(), context=WorkContext(1))
