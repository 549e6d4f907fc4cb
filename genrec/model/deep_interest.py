"""The network of DIN (Zhou et al. 2018) on item ids: history items, weighted for each candidate, give its score."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_POSITIONS_AT_ONCE, _ITEMS_AT_ONCE = 256, 64
"""History items and candidates whose activation units are in memory together."""


class Dice(nn.Module):
    """Data-adaptive activation (DIN, eq. 6): p(x) x + (1 - p(x)) alpha x, p the sigmoid of x standardized.

    Mean and variance are those of the batch while training and running ones afterwards; alpha is learned. Both count
    as constants for the gradient, which halves the cost of the step.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x_NH: Tensor) -> Tensor:
        mean_H, variance_H = self.mean, self.variance
        if self.training and len(x_NH) > 1:
            values_NH = x_NH.detach().float()
            mean_H = values_NH.mean(0)
            variance_H = (values_NH - mean_H).square_().mean(0)
            self.mean.lerp_(mean_H, 0.1)
            self.variance.lerp_(variance_H, 0.1)
        scale_H = (variance_H + 1e-6).rsqrt()
        gate_NH = torch.sigmoid(torch.addcmul(-mean_H * scale_H, x_NH, scale_H))
        if not torch.is_grad_enabled():  # in place, which takes a third less time
            return torch.addcmul(self.alpha, gate_NH, 1.0 - self.alpha, out=gate_NH).mul_(x_NH)
        return x_NH * torch.addcmul(self.alpha, gate_NH, 1.0 - self.alpha)


@dataclass(frozen=True)
class DinBatch:
    """B concatenated histories without padding, and the candidates."""

    items_P: Tensor
    """History items."""
    row_P: Tensor
    """The row of each, 0..B-1."""
    steps_P: Tensor
    """Distance of each to the target in steps, from 0."""
    target_B: Tensor
    negatives_C: Tensor
    """Items drawn for the whole batch, shared by its rows."""

    def __len__(self) -> int:
        """B."""
        return len(self.target_B)

    def to(self, device: torch.device) -> DinBatch:
        """The same on another device."""
        return DinBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class DinNetwork(nn.Module):
    """Score of candidate t: its bias plus the sum over history items h of a(h, t) h.t, a the local activation unit.

    The unit (DIN, fig. 2) is an MLP on [h, t, h - t, h * t] with Dice, whose output is a weight without softmax, so
    that the strength of an interest remains. Its first layer is applied to each term apart: W[h, t, h - t, h * t] =
    (Wh + Wd) h + (Wt - Wd) t + Wp (h * t), which turns all candidates of a batch into one matrix product.
    """

    def __init__(self, num_items: int, dim: int, hidden: tuple[int, ...], max_history: int, dropout: float) -> None:
        super().__init__()
        first = hidden[0]
        self.item_table = nn.Embedding(num_items, dim)
        self.dropout = nn.Dropout(dropout)
        self.item_bias = nn.Parameter(torch.zeros(num_items))
        self.of_history = nn.Linear(dim, first)
        self.of_target = nn.Linear(dim, first, bias=False)
        self.of_product = nn.Linear(dim, first, bias=False)
        self.of_steps = nn.Embedding(max_history, first)
        deeper = [layer for a, b in pairwise(hidden) for layer in (nn.Linear(a, b), Dice(b))]
        self.rest = nn.Sequential(Dice(first), *deeper)
        self.last = nn.Linear(hidden[-1], 1)
        nn.init.normal_(self.item_table.weight, std=dim**-0.5)
        nn.init.zeros_(self.of_steps.weight)
        nn.init.ones_(self.last.bias)

    def weights(self, history_PD: Tensor, steps_P: Tensor, target_PD: Tensor, shared_CD: Tensor) -> Tensor:
        """The local activation unit.

        Args:
            history_PD: vectors of history items.
            steps_P: distance of each to the target in steps.
            target_PD: the target of each history item's row.
            shared_CD: candidates that all rows share.

        Returns:
            weights (P, 1 + C): of every history item for its target and for each shared candidate.
        """
        history_PH = self.of_history(history_PD) + self.of_steps(steps_P)
        own_PH = self.of_target(target_PD) + self.of_product(history_PD * target_PD)
        others_PCH = self._of_shared(history_PD, shared_CD)
        hidden_PCH = torch.cat([own_PH[:, None], others_PCH], dim=1) + history_PH[:, None]
        return self._output(hidden_PCH)

    def _of_shared(self, history_PD: Tensor, shared_CD: Tensor) -> Tensor:
        """What shared candidates add to the first layer of the unit, (P, C, H)."""
        product_DCH = torch.einsum("cd,hd->dch", shared_CD, self.of_product.weight)
        return (history_PD @ product_DCH.flatten(1)).view(len(history_PD), len(shared_CD), -1) + self.of_target(
            shared_CD
        )

    def _output(self, hidden_PCH: Tensor) -> Tensor:
        """The first layer of the unit -> weights (P, C)."""
        return self.last(self.rest(hidden_PCH.flatten(0, 1))).view(hidden_PCH.shape[:2])

    def forward(self, batch: DinBatch) -> Tensor:
        """Scores (B, 1 + C): of each row's target, then of the shared negatives."""
        history_PD = self.dropout(self.item_table(batch.items_P))
        target_PD = self.dropout(self.item_table(batch.target_B))[batch.row_P]
        shared_CD = self.dropout(self.item_table(batch.negatives_C))
        weight_PC = self.weights(history_PD, batch.steps_P, target_PD, shared_CD)
        affinity_PC = torch.cat([(history_PD * target_PD).sum(1, keepdim=True), history_PD @ shared_CD.T], dim=1)
        bias_BC = torch.cat(
            [
                self.item_bias[batch.target_B][:, None],
                self.item_bias[batch.negatives_C].expand(len(batch.target_B), -1),
            ],
            dim=1,
        )
        return bias_BC.float().index_add(0, batch.row_P, (weight_PC * affinity_PC).float())

    @torch.no_grad()
    def scores_of_all(self, items_P: Tensor, row_P: Tensor, steps_P: Tensor, num_rows: int) -> Tensor:
        """Scores (B, I) of the whole catalog, in eval mode, in blocks whose activations stay in the cache.

        Args:
            items_P: history items of B rows.
            row_P: the row of each, ascending.
            steps_P: distance of each to the target in steps.
            num_rows: B.
        """
        items_ID = self.item_table.weight
        scores_BI = self.item_bias.expand(num_rows, -1).clone()
        for part in torch.arange(len(items_P), device=items_P.device).split(_POSITIONS_AT_ONCE):
            history_PD = items_ID[items_P[part]]
            history_PH = self.of_history(history_PD) + self.of_steps(steps_P[part])
            for start in range(0, len(items_ID), _ITEMS_AT_ONCE):
                shared_CD = items_ID[start : start + _ITEMS_AT_ONCE]
                hidden_PCH = self._of_shared(history_PD, shared_CD)
                weight_PC = self._output(hidden_PCH.add_(history_PH[:, None]))
                columns = slice(start, start + len(shared_CD))
                scores_BI[:, columns].index_add_(0, row_P[part], weight_PC * (history_PD @ shared_CD.T))
        return scores_BI


def sampled_softmax(scores_BC: Tensor, batch: DinBatch, log_q_I: Tensor) -> Tensor:
    """Cross-entropy of the target against sampled negatives, each score less its log expected count (log-q).

    A negative that is a row's target is masked in that row (Bengio and Senecal 2008).
    """
    candidates_BC = torch.cat([batch.target_B[:, None], batch.negatives_C.expand(len(batch.target_B), -1)], dim=1)
    corrected_BC = scores_BC - log_q_I[candidates_BC]
    hit_BC = candidates_BC == batch.target_B[:, None]
    hit_BC[:, 0] = False
    corrected_BC = corrected_BC.masked_fill(hit_BC, float("-inf"))
    return functional.cross_entropy(
        corrected_BC, torch.zeros(len(corrected_BC), dtype=torch.long, device=corrected_BC.device)
    )
