"""Which weights decay, and the learning rate by hand."""

import math

import pytest
import torch
from torch import nn

from genrec.training.optimizer import build_optimizer, learning_rate, warmup_steps
from genrec.training.settings import TrainingSettings


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.linear, self.norm = nn.Embedding(4, 3), nn.Linear(3, 3), nn.LayerNorm(3)
        self.token, self.frozen = nn.Parameter(torch.ones(3)), nn.Linear(3, 3)
        self.frozen.requires_grad_(False)


def test_matrices_alone_decay():
    module = Parts()
    optimizer = build_optimizer(module, TrainingSettings(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    by_name = {name: decay.get(id(weight)) for name, weight in module.named_parameters()}
    assert by_name == {
        "token": 0.0,
        "table.weight": 0.0,
        "linear.weight": 0.3,
        "linear.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "frozen.weight": None,
        "frozen.bias": None,
    }


def test_decay_is_decoupled_in_adamw_alone():
    """Without a gradient AdamW shrinks a matrix by rate * decay; a table stays as it is."""
    settings = TrainingSettings(weight_decay=0.5, learning_rate=0.1)
    module = Parts()
    before, table = module.linear.weight.detach().clone(), module.table.weight.detach().clone()
    for weight in module.parameters():
        weight.grad = torch.zeros_like(weight)
    build_optimizer(module, settings).step()
    torch.testing.assert_close(module.linear.weight, before * (1 - 0.1 * 0.5))
    assert torch.equal(module.table.weight, table)
    assert type(build_optimizer(module, settings)) is torch.optim.AdamW
    assert type(build_optimizer(module, settings.model_copy(update={"optimizer": "adam"}))) is torch.optim.Adam


def test_a_module_of_tables_alone_can_be_trained():
    assert len(build_optimizer(nn.Embedding(3, 2), TrainingSettings()).param_groups) == 1


def rates(steps, steps_per_epoch=5, **changes):
    settings = TrainingSettings(**{"learning_rate": 0.8, "warmup_steps": 4, "max_epochs": 4} | changes)
    return [learning_rate(step, settings, steps_per_epoch) for step in steps]


def test_warm_up_is_linear_and_reaches_the_peak():
    assert rates(range(6)) == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert rates([0, 1], warmup_steps=0) == [0.8, 0.8]


def test_by_default_warm_up_is_a_share_of_all_steps_and_capped():
    """400 users in batches of 256 are 2 steps an epoch, 200 in 100 epochs; large data warms up for 2,000."""
    assert TrainingSettings().warmup_steps is None
    assert [warmup_steps(TrainingSettings(), steps) for steps in (1, 2, 400, 10_000)] == [5, 10, 2_000, 2_000]
    assert warmup_steps(TrainingSettings(warmup_steps=0), 10) == 0
    assert rates(range(3), warmup_steps=None, max_epochs=8) == pytest.approx([0.4, 0.8, 0.8]), "2 of 40 steps"


def test_inverse_square_root():
    expected = [0.8, 0.8 * math.sqrt(4 / 5), 0.8 * math.sqrt(4 / 8), 0.4]
    assert rates([3, 4, 7, 15], schedule="inverse_sqrt") == pytest.approx(expected)
    assert rates([0, 3], schedule="inverse_sqrt", warmup_steps=0) == pytest.approx([0.8, 0.4])


def test_cosine_ends_at_zero_after_the_last_epoch():
    """20 steps, of which 4 warm up: halfway at step 12."""
    assert rates([4, 8, 12, 20, 99], schedule="cosine") == pytest.approx(
        [0.8, 0.4 * (1 + math.cos(math.pi / 4)), 0.4, 0.0, 0.0]
    )
    assert rates([0, 9], schedule="cosine", warmup_steps=100) == pytest.approx([0.008, 0.08])
