"""The optimizer, its state as tensors, and its learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genrec.training.settings import OptimizationSettings


def build_optimizer(module: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """Adam or AdamW; tables, norms and biases are not decayed."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.dim() > 1 and id(parameter) not in tables]
    ids = {id(parameter) for parameter in decayed}
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trained if id(parameter) not in ids], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind([group for group in groups if group["params"]], lr=settings.learning_rate, fused=True)


def warmup_steps(settings: OptimizationSettings, steps_per_epoch: int) -> int:
    """Steps of linear warm-up: as set, or 5 % of the steps of ``max_epochs`` and at most ``longest_warmup``."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return min(max(settings.max_epochs * steps_per_epoch // 20, 1), settings.longest_warmup)


def learning_rate(step: int, settings: OptimizationSettings, steps_per_epoch: int) -> float:
    """The rate of optimizer step ``step`` (from 0): linear warm-up, then the schedule."""
    peak, warmup = settings.learning_rate, warmup_steps(settings, steps_per_epoch)
    if step < warmup:
        return peak * (step + 1) / warmup
    if settings.schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup, 1) / (step + 1))
    if settings.schedule == "cosine":
        total = max(settings.max_epochs * steps_per_epoch - warmup, 1)
        return peak * 0.5 * (1 + math.cos(math.pi * min((step - warmup) / total, 1.0)))
    return peak


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors (``optimizer/<parameter number>/<name>``)."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{number}/{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer/"):
            _, number, name = key.split("/")
            state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
