"""Losses of the next item: over the whole catalog, or against one sampled item."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

LossName = Literal["cross_entropy", "binary_cross_entropy", "bpr"]

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
"""(state, item) pairs that are in memory at a time."""
_REDRAWS = 16
"""How often a sampled item is drawn again; only a user who has nearly the whole catalog needs as many."""


def next_item_loss(name: LossName, states_ND: Tensor, items_ID: Tensor, target_N: Tensor, known_NT: Tensor) -> Tensor:
    """The mean loss of N targets, a scalar.

    Args:
        name: ``cross_entropy`` over the whole catalog; or of the target and one item that is drawn uniformly:
            ``binary_cross_entropy`` of both scores, or ``bpr``, -log sigmoid of their difference.
        states_ND: what is multiplied with item vectors.
        items_ID: vectors of the catalog.
        target_N: the next items.
        known_NT: items that are not drawn, besides the target; other numbers stand for padding.
    """
    if name == "cross_entropy":
        return catalog_cross_entropy(states_ND, items_ID, target_N)
    negative_N = draw_negatives(torch.cat([known_NT, target_N[:, None]], 1), len(items_ID))
    # One look-up: each makes a gradient of the size of the table.
    target_2ND = items_ID[torch.stack([target_N, negative_N])]
    positive_N, negative_N = (states_ND * target_2ND).sum(2)
    if name == "bpr":
        return -functional.logsigmoid(positive_N - negative_N).mean()
    return -(functional.logsigmoid(positive_N) + functional.logsigmoid(-negative_N)).mean()


def draw_negatives(known_NT: Tensor, num_items: int) -> Tensor:
    """One item for each row, uniformly from those that are not in the row, int64 (N,)."""
    negative_N = torch.randint(num_items, known_NT.shape[:1], device=known_NT.device)
    for _ in range(_REDRAWS):
        is_known_N = (known_NT == negative_N[:, None]).any(1)
        if not is_known_N.any():
            break
        other_N = torch.randint(num_items, known_NT.shape[:1], device=known_NT.device)
        negative_N = torch.where(is_known_N, other_N, negative_N)
    return negative_N


def catalog_cross_entropy(states_ND: Tensor, items_ID: Tensor, target_N: Tensor) -> Tensor:
    """Mean of -log softmax(states items')[target], a scalar; the (N, I) logits are never in memory at once."""
    return _CatalogCrossEntropy.apply(states_ND, items_ID, target_N)  # type: ignore[return-value]


class _CatalogCrossEntropy(torch.autograd.Function):
    """Computes the gradient beside the loss, a block of states at a time, while their probabilities are in memory."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, items_ID: Tensor, target_N: Tensor) -> Tensor:
        grad_states_ND, grad_items_ID = torch.empty_like(states_ND), torch.zeros_like(items_ID)
        loss, count = states_ND.new_zeros(()), len(states_ND)
        size = max(1, LOGITS_AT_ONCE.get(states_ND.device.type, 2**21) // len(items_ID))
        for start in range(0, count, size):
            part = slice(start, start + size)
            states_nD, target_n1 = states_ND[part], target_N[part, None]
            log_probs_nI = (states_nD @ items_ID.T).log_softmax(1)
            loss -= log_probs_nI.gather(1, target_n1).sum()
            # d loss / d logits: the probabilities, less 1 at the target.
            error_nI = log_probs_nI.exp_().scatter_add_(1, target_n1, -torch.ones_like(target_n1, dtype=loss.dtype))
            grad_states_ND[part] = error_nI @ items_ID
            grad_items_ID.addmm_(error_nI.T, states_nD)
        ctx.save_for_backward(grad_states_ND.div_(count), grad_items_ID.div_(count))
        return loss / count

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_states_ND, grad_items_ID = ctx.saved_tensors
        return grad_states_ND * grad_outputs[0], grad_items_ID * grad_outputs[0], None
