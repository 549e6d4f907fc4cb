"""SASRec: its loss and ranking against plain ones, resumed training, and the choice among combinations."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn import functional

from genrec.baselines import _losses
from genrec.baselines._losses import catalog_cross_entropy
from genrec.baselines._trained import FittedNetwork
from genrec.baselines.sasrec import Sasrec
from genrec.errors import DataError
from genrec.evaluation.metrics import mean_ndcg, recall, target_ranks
from genrec.model.layers import init_weights
from genrec.runtime.environment import WorkContext
from genrec.search.top import top
from genrec.testing import clockwork, tiny_catalog, tiny_histories
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT, Histories

SMALL = {"dim": 16, "num_heads": 2, "num_layers": 1, "dropout": 0.1, "max_history": 6}
QUICK = SMALL | {"learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


FORMER = {"samples": "all_positions", "embeddings": "scaled", "positions": "start", "norm": "pre"}


def module_of(num_items=9, *, max_history=4, seed=0, **changes):
    torch.manual_seed(seed)
    module = Sasrec(max_history=max_history, **changes).network(num_items, dim=8, dropout=0.5)
    init_weights(module, std=1.0)
    return module.eval()


def validation_of(world):
    valid = world.dataset.valid

    def validate(fitted):
        return mean_ndcg(fitted.rank(valid.histories, top_n=10, exclude_seen=False), valid.targets)

    return validate


@pytest.mark.parametrize("at_once", [1, 30, 2**21])
def test_the_loss_and_its_gradients_are_those_of_the_whole_catalog(monkeypatch, at_once):
    monkeypatch.setitem(_losses.LOGITS_AT_ONCE, "cpu", at_once)
    torch.manual_seed(0)
    states_ND = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    items_ID = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    target_N = torch.randint(0, 11, (7,))
    losses = [
        catalog_cross_entropy(states_ND, items_ID, target_N),
        functional.cross_entropy(states_ND @ items_ID.T, target_N),
    ]
    torch.testing.assert_close(losses[0], losses[1])
    ours, theirs = (torch.autograd.grad(3 * loss, (states_ND, items_ID)) for loss in losses)
    torch.testing.assert_close(ours, theirs)


def test_items_have_one_vector_for_input_and_output():
    module = module_of()
    assert [name for name, part in module.named_parameters() if len(part) in (9, 10)] == ["item_table.weight"]
    batch = HistoryBatch(torch.tensor([[0, 1, 9]]), torch.tensor([[1, 2, ABSENT]]), True)
    module.losses(batch)["cross_entropy"].backward()
    assert module.item_table.weight.grad is not None
    moved_I = module.item_table.weight.grad.abs().sum(1) > 0
    assert moved_I.tolist() == [True] * 9 + [False], "items without users are learned from, padding is not"


@pytest.mark.parametrize("changes", [{}, FORMER])
def test_a_state_depends_on_its_item_and_those_before_alone(changes):
    module = module_of(**changes)
    whole, other = module(torch.tensor([[3, 1, 4, 1]])), module(torch.tensor([[3, 1, 2, 5]]))
    torch.testing.assert_close(whole[:, :2], other[:, :2])
    assert not torch.allclose(whole[:, 3], module(torch.tensor([[2, 1, 4, 1]]))[:, 3])
    short, padded = module(torch.tensor([[3, 1]])), module(torch.tensor([[3, 1, 9, 9]]))
    torch.testing.assert_close(padded[:, :2], short)


def test_positions_count_from_the_most_recent_item_or_from_the_oldest():
    from_end, from_start = module_of(), module_of(positions="start")
    with torch.no_grad():  # of three items; the fourth row is for longer histories
        from_start.positions.weight[:3] = from_end.positions.weight[:3].flip(0)
    history_BT = torch.tensor([[3, 1, 4, 9]])
    torch.testing.assert_close(from_end(history_BT)[:, :3], from_start(history_BT)[:, :3])


@pytest.mark.parametrize("embeddings", ["normalized", "scaled"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_network_is_that_of_torch(norm, embeddings):
    """The layers against torch's own with the same weights."""
    module = module_of(norm=norm, embeddings=embeddings, num_layers=1)
    layer = module.layers[0]
    theirs = nn.TransformerEncoderLayer(8, 2, 32, activation="gelu", batch_first=True, norm_first=norm == "pre").eval()
    attention = layer.attention
    weights = {
        "self_attn.in_proj_weight": torch.cat([attention.query.weight, attention.key_value.weight]),
        "self_attn.in_proj_bias": torch.cat([attention.query.bias, attention.key_value.bias]),
    }
    parts = {
        "self_attn.out_proj": attention.output,
        "linear1": layer.feedforward[0],
        "linear2": layer.feedforward[3],
        "norm1": layer.attention_norm,
        "norm2": layer.feedforward_norm,
    }
    weights |= {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    theirs.load_state_dict(weights)
    history_BT = torch.tensor([[3, 1, 4, 1], [2, 7, 1, 8]])
    items_BTD, positions_TD = module.item_table(history_BT), module.positions.weight.flip(0)
    x_BTD = functional.layer_norm(items_BTD + positions_TD, (8,))
    if embeddings == "scaled":
        x_BTD = items_BTD * 8**0.5 + positions_TD
    expected = theirs(x_BTD, src_mask=nn.Transformer.generate_square_subsequent_mask(4))
    expected = functional.layer_norm(expected, (8,)) if norm == "pre" else expected
    torch.testing.assert_close(module(history_BT), expected)


def test_the_loss_is_at_the_last_place_of_a_prefix_or_at_all_positions():
    module = module_of()
    history_BT = torch.tensor([[0, 1, 9], [2, 3, 4]])
    logits_BTI = module(history_BT) @ module.item_vectors_ID.T
    prefixes = HistoryBatch(history_BT, torch.tensor([[5], [6]]), all_positions=False)
    expected = functional.cross_entropy(torch.stack([logits_BTI[0, 1], logits_BTI[1, 2]]), torch.tensor([5, 6]))
    torch.testing.assert_close(module.losses(prefixes)["cross_entropy"], expected)
    positions = HistoryBatch(history_BT, torch.tensor([[1, 5, ABSENT], [3, 4, 6]]), all_positions=True)
    logits_NI = torch.cat([logits_BTI[0, :2], logits_BTI[1]])
    expected = functional.cross_entropy(logits_NI, torch.tensor([1, 5, 3, 4, 6]))
    torch.testing.assert_close(module.losses(positions)["cross_entropy"], expected)


@pytest.mark.parametrize("at_once", [1, 20, 2**21])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_it_ranks_as_one_would_by_hand(monkeypatch, at_once, exclude_seen):
    monkeypatch.setitem(_losses.LOGITS_AT_ONCE, "cpu", at_once)
    module = module_of()
    with torch.no_grad():
        module.item_table.weight[7] = module.item_table.weight[2]
        module.item_table.weight[5] = module.item_table.weight[2]
    histories = [[1, 2, 3], [0, 6, 1, 2, 3, 4], [8], [], [4, 4, 4, 4, 4]]
    ranking = FittedNetwork(module).rank(Histories.of(histories), top_n=7, exclude_seen=exclude_seen)
    for user, history in enumerate(histories):
        last = history[-4:] or [9]
        with torch.no_grad():
            score_I = (module(torch.tensor([last]))[0, -1] @ module.item_vectors_ID.T).tolist()
        tied = {5: 2, 7: 2}  # products of equal vectors may differ in their last digit by their place
        free = [item for item in range(9) if not (exclude_seen and item in history)]
        expected = sorted(free, key=lambda item: (-score_I[tied.get(item, item)], item))[:7]
        assert ranking.items_BN[user].tolist() == expected + [ABSENT] * (7 - len(expected))
        np.testing.assert_allclose(ranking.scores_BN[user, : len(expected)], np.array(score_I)[expected], atol=1e-5)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 12)),
        elements=st.sampled_from([-np.inf, -2.5, -1e-30, -0.0, 0.0, 1e-40, 1.0, 1.0000001, 3e38])
        | st.floats(-(2.0**90), 2.0**90, width=32),
    ),
    st.integers(1, 12),
)
def test_equal_scores_go_by_item_number(scores_BI, count):
    count = min(count, scores_BI.shape[1])
    expected = np.argsort(-scores_BI, axis=1, kind="stable")[:, :count]
    items_BI = torch.arange(scores_BI.shape[1]).expand(scores_BI.shape)
    best_BN = top(torch.from_numpy(scores_BI), items_BI, count).numpy()
    found_BN = np.take_along_axis(scores_BI, best_BN, 1)
    np.testing.assert_array_equal(found_BN, np.take_along_axis(scores_BI, expected, 1))
    is_scored_BN = found_BN > -np.inf  # items that are left out come in any order, and in no ranking
    np.testing.assert_array_equal(best_BN[is_scored_BN], expected[is_scored_BN])


@pytest.mark.parametrize("changes", [{"max_epochs": 6}, {"max_epochs": 40, "schedule": "cosine", **FORMER}])
def test_it_learns_a_certain_next_item(tmp_path, changes):
    world = clockwork(num_items=40, rounds=3)
    data = world.dataset
    fitted = Sasrec(**QUICK, **changes).fit_validated(
        data.catalog, data.train, context=WorkContext(1, folder=tmp_path), validate=validation_of(world)
    )
    ranking = fitted.rank(data.test.histories, top_n=5, exclude_seen=False)
    assert recall(target_ranks(ranking, data.test.targets), 1).mean() > 0.9


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    world = clockwork(num_items=12, rounds=2)
    data, histories = world.dataset, world.dataset.valid.histories
    baseline = Sasrec(**QUICK, max_epochs=5)
    calls = []

    def validate(fitted):
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validation_of(world)(fitted)

    def fit(folder):
        return baseline.fit_validated(
            data.catalog, data.train, context=WorkContext(1, folder=folder), validate=validate
        )

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "resumed")
    resumed = fit(tmp_path / "resumed")
    assert len(calls) == 6, "two epochs were stored, the third is repeated"
    again, whole = fit(tmp_path / "resumed"), fit(tmp_path / "whole")
    assert len(calls) == 11, "a finished training is not repeated"
    assert resumed.chosen == again.chosen == whole.chosen
    rankings = [fitted.rank(histories, top_n=12, exclude_seen=False).items_BN for fitted in (resumed, again, whole)]
    np.testing.assert_array_equal(rankings[0], rankings[2])
    np.testing.assert_array_equal(rankings[1], rankings[2])


def test_training_stops_after_epochs_without_a_new_best():
    scores = iter([0.1, 0.3, 0.2, 0.25, 0.3])
    baseline = Sasrec(**QUICK, max_epochs=9, patience=3)
    fitted = baseline.fit_validated(
        tiny_catalog(), tiny_histories(), context=WorkContext(1), validate=lambda fitted: next(scores)
    )
    assert fitted.chosen.epochs == 2
    assert next(scores, None) is None, "three epochs after the second were no better, the sixth is not trained"


def test_the_best_combination_on_validation_is_kept():
    """Validation selects combination and epoch; the first of equals is kept."""
    baseline = Sasrec(**QUICK | {"dim": (8, 16), "dropout": (0.1, 0.3)}, max_epochs=3)
    scores = iter([0.1, 0.2, 0.1, 0.3, 0.4, 0.1, 0.4, 0.1, 0.2, 0.1, 0.2, 0.3])
    seen = []

    def validate(fitted):
        seen.append((fitted.module.item_table.embedding_dim, fitted.module.dropout.probability))
        return next(scores)

    fitted = baseline.fit_validated(tiny_catalog(), tiny_histories(), context=WorkContext(1), validate=validate)
    assert seen == [(dim, dropout) for dim in (8, 16) for dropout in (0.1, 0.3) for _ in range(3)]
    assert fitted.chosen == Sasrec(**QUICK | {"dim": 8, "dropout": 0.3}, max_epochs=3, epochs=2)
    alone = fitted.chosen.fit(tiny_catalog(), tiny_histories(), context=WorkContext(seed=1))
    torch.testing.assert_close(dict(alone.module.named_parameters()), dict(fitted.module.named_parameters()))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="dim 12 is not a multiple of num_heads 8"):
        Sasrec(dim=(16, 12), num_heads=8)
    with pytest.raises(ValueError, match="sasrec: 2 combinations, and no validation users to choose by"):
        Sasrec(dropout=(0.1, 0.2)).fit(tiny_catalog(), tiny_histories(), context=WorkContext(seed=1))
    with pytest.raises(DataError, match="none of the 2 training histories has two items"):
        Sasrec().fit(tiny_catalog(), Histories.of([[1], [2]]), context=WorkContext(seed=1))


def test_a_list_comes_back_from_its_block():
    baseline = Sasrec(dim=[32, 64], learning_rate=[1e-3])
    block = json.loads(json.dumps(baseline.block()))
    assert block.pop("type") == "sasrec"
    assert (block["dim"], block["dropout"]) == ([32, 64], 0.5)
    assert Sasrec(**block) == baseline
