"""BERT4Rec: its states against torch's own layers, its masks, its loss, and what it learns."""

import pytest
import torch
from baselines.worlds import hits, validation_of
from torch import nn
from torch.nn import functional

from genrec.baselines._masked import draw_masks, whole_sequences
from genrec.baselines.bert4rec import Bert4Rec
from genrec.baselines.popularity import Popularity
from genrec.model.layers import init_weights
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


def network(**changes):
    torch.manual_seed(0)
    module = Bert4Rec(**{"max_history": 5, "num_layers": 1} | changes).network(9, dim=8, dropout=0.5)
    init_weights(module, std=0.5)
    return module.eval()


@pytest.mark.parametrize("changes", [{}, {"positions": "start", "embeddings": "scaled", "loss": "bpr"}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(Bert4Rec(**QUICK, max_epochs=2, **changes))


def test_a_ranking_reads_the_history_and_a_mask_in_both_directions():
    """Against torch's own layer with the same weights."""
    module = network()
    layer, attention = module.layers[0], module.layers[0].attention
    theirs = nn.TransformerEncoderLayer(8, 2, 32, activation="gelu", batch_first=True).eval()
    parts = {
        "self_attn.out_proj": attention.output,
        "linear1": layer.feedforward[0],
        "linear2": layer.feedforward[3],
        "norm1": layer.attention_norm,
        "norm2": layer.feedforward_norm,
    }
    weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    weights["self_attn.in_proj_weight"] = torch.cat([attention.query.weight, attention.key_value.weight])
    weights["self_attn.in_proj_bias"] = torch.cat([attention.query.bias, attention.key_value.bias])
    theirs.load_state_dict(weights)
    for history in ([], [3], [3, 1, 4], [3, 1, 4, 1, 5]):
        vectors_TD = torch.cat([module.item_table.weight[history], module.mask_D[None]])
        positions_TD = module.positions.weight[: len(vectors_TD)].flip(0)
        x_TD = theirs(functional.layer_norm(vectors_TD + positions_TD, (8,))[None])[0]
        expected_D = module.head(x_TD[-1])
        padded = torch.tensor([history + [9] * (5 - len(history)), [2, 7, 1, 8, 2]])
        torch.testing.assert_close(module.last_states(padded)[0], expected_D, rtol=1e-4, atol=1e-5)


def test_a_masked_item_is_not_seen_and_others_are():
    module = network()
    masked = torch.tensor([[3, module.mask, 4, 9]])
    states = module.read_both_ways(masked)
    assert not torch.allclose(states[0, 1], module.read_both_ways(torch.tensor([[3, module.mask, 5, 9]]))[0, 1])
    torch.testing.assert_close(states[:, :3], module.read_both_ways(masked[:, :3]), msg="padding is not read")


def test_sequences_are_whole_and_masks_are_drawn_among_their_items():
    batch = HistoryBatch(torch.tensor([[3, 1, 9], [2, 4, 6]]), torch.tensor([[1, 5, ABSENT], [4, 6, 0]]), True)
    items_BT = whole_sequences(batch.history_BT, batch.target_BQ, 9)
    assert items_BT.tolist() == [[3, 1, 5, 9], [2, 4, 6, 0]]
    torch.manual_seed(0)
    is_item_BT = torch.tensor([[True, True, True, False]]).expand(9000, -1)
    is_masked_BT = draw_masks(is_item_BT, 0.25)
    assert is_masked_BT.any(1).all()
    assert not is_masked_BT[:, 3].any()
    # A third of the rows without any (0.75^3) gets each.
    expected = 0.25 + 0.75**3 / 3
    assert is_masked_BT[:, :3].float().mean(0).tolist() == pytest.approx([expected] * 3, abs=0.02)


@pytest.mark.parametrize("last_item_ratio", [0.0, 1.0])
def test_the_loss_is_that_of_the_masked_items(monkeypatch, last_item_ratio):
    module = network(last_item_ratio=last_item_ratio)
    is_masked_BT = torch.tensor([[True, False, True, False], [False, True, False, False]])
    if last_item_ratio:
        is_masked_BT = torch.tensor([[False, False, True, False], [False, False, False, True]])
    else:
        monkeypatch.setattr("genrec.baselines.bert4rec.draw_masks", lambda is_item_BT, ratio: is_masked_BT)
    batch = HistoryBatch(torch.tensor([[3, 1, 9], [2, 4, 6]]), torch.tensor([[1, 5, ABSENT], [4, 6, 0]]), True)
    items_BT = torch.tensor([[3, 1, 5, 9], [2, 4, 6, 0]])
    states_BTD = module.read_both_ways(items_BT.masked_fill(is_masked_BT, module.mask))
    logits_NI = module.head(states_BTD[is_masked_BT]) @ module.item_table.weight[:9].T
    expected = functional.cross_entropy(logits_NI, items_BT[is_masked_BT])
    torch.testing.assert_close(module.losses(batch)["cross_entropy"], expected)


@pytest.mark.slow
def test_it_learns_a_certain_next_item_and_beats_popularity():
    # No history is longer than those of training: a mask at a place that was never trained would be a guess.
    data, context = clockwork(num_items=15, history_length=6, rounds=8).dataset, WorkContext(1)
    settings = QUICK | {"dim": 32, "max_history": 3, "learning_rate": 0.003}
    fitted = Bert4Rec(**settings, schedule="constant", max_epochs=20, last_item_ratio=0.5).fit_validated(
        data.catalog, data.train, context=context, validate=validation_of(data)
    )
    assert hits(fitted, data, 1) > 0.5
    assert hits(Popularity().fit(data.catalog, data.train, context=context), data, 1) < 0.1
