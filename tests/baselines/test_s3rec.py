"""S3-Rec: its four tasks against loops, its two stages, what it learns, and what it needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from baselines.worlds import hits, validation_of

from genrec.baselines.popularity import Popularity
from genrec.baselines.s3rec import Pretraining, S3Rec, attributes_of, draw_segments
from genrec.baselines.sasrec import Sasrec
from genrec.errors import DataError
from genrec.model.layers import init_weights
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork, tiny_catalog, tiny_histories
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}
ATTRIBUTES = [[0], [0, 1], [], [2], [1], [0, 2], [1, 2], [2], [0]]


def pretraining(**changes):
    torch.manual_seed(0)
    settings = S3Rec(**{"max_history": 5, "num_layers": 1, "mask_ratio": 0.3} | changes)
    module = Pretraining(settings.network(9, dim=8, dropout=0.5), ATTRIBUTES, settings)
    init_weights(module, std=0.5)
    return module.eval()


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def arrays(module):
    return {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}


@pytest.mark.parametrize("changes", [{}, {"samples": "all_positions", "loss": "binary_cross_entropy"}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(S3Rec(**QUICK | {"max_epochs": 2, "pretrain_epochs": 2} | changes))


def test_attribute_losses_are_those_of_loops():
    module = pretraining()
    states_ND, items = torch.randn(4, 8), [1, 2, 5, 8]
    table = arrays(module)["attribute_table.weight"]
    expected = 0.0
    for state, item in zip(states_ND.double().numpy(), items, strict=True):
        for attribute in range(3):
            sign = 1 if attribute in ATTRIBUTES[item] else -1
            expected -= log_sigmoid(sign * (state @ table[attribute]))
    assert module.attribute_loss(states_ND, torch.tensor(items)).item() == pytest.approx(expected, rel=1e-5)


def test_the_four_losses_are_those_of_the_tasks(monkeypatch):
    module = pretraining()
    network, w = module.network, arrays(module)
    is_masked_BT = torch.tensor([[True, False, True, False], [False, True, False, False]])
    monkeypatch.setattr("genrec.baselines.s3rec.draw_masks", lambda is_item_BT, ratio: is_masked_BT)
    monkeypatch.setattr("genrec.baselines.s3rec.draw_negatives", lambda known_NT, num_items: torch.tensor([8, 7, 5]))
    monkeypatch.setattr(module, "segment_loss", lambda *_: torch.tensor(4.0))
    batch = HistoryBatch(torch.tensor([[3, 1, 9], [2, 4, 6]]), torch.tensor([[1, 5, ABSENT], [4, 6, 0]]), True)
    items_BT = torch.tensor([[3, 1, 5, 9], [2, 4, 6, 0]])
    states_BTD = network.read_both_ways(items_BT.masked_fill(is_masked_BT, network.mask)).detach().numpy()
    found = module.losses(batch)
    own = item = masked = 0.0
    negatives = iter([8, 7, 5])
    for row, column in np.ndindex(2, 4):
        number, state = int(items_BT[row, column]), states_BTD[row, column]
        if number == 9:
            continue
        name = "of_masked_attributes" if is_masked_BT[row, column] else "of_attributes"
        mapped = w[f"{name}.weight"] @ state + w[f"{name}.bias"]
        loss = 0.0
        for attribute in range(3):
            sign = 1 if attribute in ATTRIBUTES[number] else -1
            loss -= log_sigmoid(sign * (mapped @ w["attribute_table.weight"][attribute]))
        if is_masked_BT[row, column]:
            masked += loss
            table, mapped = w["network.item_table.weight"], w["of_item.weight"] @ state + w["of_item.bias"]
            item -= log_sigmoid(mapped @ (table[number] - table[next(negatives)]))
        else:
            own += loss
    expected = {"AAP": 0.2 * own / 2, "MIP": item / 2, "MAP": masked / 2, "SP": 0.5 * 4 / 2}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(expected, rel=1e-4)


def test_the_segment_loss_compares_what_is_missing_with_what_stands_elsewhere(monkeypatch):
    module = pretraining()
    network, mask = module.network, module.network.mask
    # Row 0 lacks items 1 and 5, row 1 lacks item 6; elsewhere is 4 and 2 items further in [3, 1, 5, 0, 2, 4, 6, 7].
    items_BT = torch.tensor([[3, 1, 5, 0, 9], [2, 4, 6, 7, 9]])
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.tensor([4 / 8 + 0.01, 2 / 8 + 0.01]))
    found = module.segment_loss(items_BT, torch.tensor([1, 2]), torch.tensor([2, 1]))
    reads = [
        ([3, mask, mask, 0], [mask, 1, 5, mask], [mask, 4, 6, mask]),
        ([2, 4, mask, 7], [mask, mask, 6, mask], [mask, mask, 2, mask]),
    ]
    expected = 0.0
    for row in reads:
        context, right, wrong = (network.read_both_ways(torch.tensor([items]))[0, -1] for items in row)
        context = module.of_segment(context)
        expected -= log_sigmoid((context @ right - context @ wrong).item())
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_segments_are_one_item_to_half_of_a_sequence_anywhere():
    torch.manual_seed(0)
    start_B, length_B = draw_segments(torch.tensor([5]).expand(2000))
    assert set(zip(start_B.tolist(), length_B.tolist(), strict=True)) == {
        (start, length) for length in (1, 2) for start in range(5 - length + 1)
    }
    start_B, length_B = draw_segments(torch.tensor([2, 3] * 100))
    assert set(length_B.tolist()) == {1}
    assert set(start_B[::2].tolist()) == {0, 1}


def test_the_first_stage_changes_where_the_second_starts():
    """After it SASRec itself is trained: with the same weights, both have the same states."""
    catalog, train, context = tiny_catalog(), tiny_histories(), WorkContext(1)
    baseline = S3Rec(**QUICK, max_epochs=1, pretrain_epochs=3)
    network = baseline.build(catalog, train).eval()
    before_ID = network.item_vectors_ID.detach().clone()
    baseline.pretrain(network, catalog, train, context=context, folder=None)
    assert not torch.allclose(before_ID, network.item_vectors_ID)
    theirs = Sasrec(**QUICK | {"max_history": 7}).network(24, dim=16, dropout=0.1).eval()
    theirs.load_state_dict({name: value for name, value in network.state_dict().items() if name != "mask_D"})
    history_BT = torch.tensor([[3, 1, 4, 24]])
    torch.testing.assert_close(network.eval()(history_BT), theirs(history_BT))


@pytest.mark.slow
def test_it_learns_all_four_tasks_and_a_certain_next_item(capsys):
    world, context = clockwork(num_items=15, history_length=6, rounds=8).dataset, WorkContext(1)
    catalog = replace(world.catalog, attributes=tuple((f"kind {item % 5}",) for item in range(15)))
    settings = QUICK | {"dim": 32, "max_history": 3, "learning_rate": 0.003, "schedule": "constant"}
    baseline = S3Rec(**settings, num_layers=1, samples="all_positions", max_epochs=4, pretrain_epochs=20)
    fitted = baseline.fit_validated(catalog, world.train, context=context, validate=validation_of(world))
    lines = [line for line in capsys.readouterr().err.splitlines() if "pre-training, epoch" in line and " *" in line]
    assert len(lines) == 20
    for task, share in (("AAP", 0.1), ("MIP", 0.7), ("MAP", 0.7), ("SP", 0.8)):
        first, last = (float(line.split(f"{task} ")[1].split()[0]) for line in (lines[0], lines[-1]))
        assert last < share * first, task
    assert hits(fitted, world, 1) > 0.9
    assert hits(Popularity().fit(catalog, world.train, context=context), world, 1) < 0.1


def test_attributes_are_those_of_the_catalog_and_of_columns():
    catalog = replace(tiny_catalog(4), attributes=(("a", "b"), ("b",), (), ("a", "c")))
    assert attributes_of(catalog, ()) == [[0, 1], [1], [], [0, 2]]
    kinds = catalog.columns["kind"].values_I
    assert [len(of_item) for of_item in attributes_of(catalog, ("kind",))] == [2 + 1, 1 + 1, 1, 2]
    assert kinds[3] == ()


def test_a_catalog_without_attributes_is_one_error():
    catalog = replace(tiny_catalog(), attributes=((),) * 24)
    with pytest.raises(DataError) as error:
        S3Rec(**QUICK).fit(catalog, tiny_histories(), context=WorkContext(1))
    assert str(error.value) == (
        "baseline s3rec: none of the 24 items of the catalog has attributes, expected categories, brands or "
        "item2attributes.json; choose a dataset that has them, or baseline sasrec, which needs none"
    )
    with pytest.raises(DataError, match="columns: found 'price', expected categorical columns of the catalog: kind"):
        S3Rec(**QUICK, columns=("price",)).fit(tiny_catalog(), tiny_histories(), context=WorkContext(1))
