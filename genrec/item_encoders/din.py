"""Deep Interest Network (Zhou et al. 2018) on item ids: behavior vectors learned from training histories alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from genrec.errors import DataError
from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import fill_unseen, unit_rows
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count, Length, Width
from genrec.runtime.seeds import derive
from genrec.training import trainer
from genrec.training.settings import OptimizationSettings
from genrec.types import Catalog, Histories, ItemVectors


class DinTraining(OptimizationSettings):
    """Training settings with DIN's defaults."""

    longest_warmup: ClassVar[int] = 200

    learning_rate: PositiveFloat = 3e-3
    """Peak learning rate."""
    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; by default 5 % of the steps of ``max_epochs``, at most 200."""
    batch_size: Count = 256
    """Targets in a batch."""
    max_epochs: Count = 12
    """Passes over the training histories at most."""
    patience: PositiveInt = 2
    """Epochs without improvement on the held-out items before training stops."""


@item_encoders.register("din")
class Din(ItemEncoder):
    """Item table of a Deep Interest Network trained to predict the next item of training histories (EAGER, 4.1).

    Differs from the paper: DIN's click head (an MLP on the pooled history and the candidate) is a dot product, the
    two-tower form that EAGER requires, so that the tokenizer clusters by the similarity that training optimizes; the
    activation unit also reads an item's distance from the target, in place of the released code's windows by age.
    """

    is_random = True

    dim: Width = 96
    """Width of the item table."""
    max_history: Length = 20
    """Most recent items of a history to read."""
    attention_hidden: Annotated[tuple[Width, ...], Field(min_length=1)] = (36,)
    """Hidden layers of the local activation unit (DIN: one of 36; EAGER's released code: 64 and 16)."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout of item vectors while training; without it the table overfits in two epochs."""
    num_negatives: Count = 32
    """Negatives drawn for each batch and shared by its targets (sampled softmax with log-q correction)."""
    popularity_power: float = Field(default=0.75, ge=0, le=1)
    """Negatives are drawn in proportion to an item's count to this power; 0 draws uniformly."""
    normalize: bool = True
    """Scale vectors to length 1, so that an item's frequency does not affect its position."""
    training: DinTraining = DinTraining()
    """Optimization and stopping; ``validation_users`` have their last training item held out."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        count_I = np.bincount(train.items, minlength=len(catalog))
        if not (train.lengths > 1).any():
            raise DataError("din: no training history has two items; choose an item encoder that does not need them")
        vectors_IE = self._trained_table(train, count_I, context).astype(np.float32)
        if self.normalize:
            vectors_IE = unit_rows(vectors_IE)
        vectors_IE, notes = fill_unseen(vectors_IE, count_I > 0)
        return ItemVectors(vectors_IE.astype(np.float32), np.ones(len(catalog), dtype=bool), notes)

    def _trained_table(self, train: Histories, count_I: np.ndarray, context: WorkContext) -> np.ndarray:
        """The item table after training, (I, dim)."""
        seed, device = context.seed, context.device
        torch.manual_seed(derive(seed, "din", "weights"))
        network = DinNetwork(len(count_I), self.dim, self.attention_hidden, self.max_history, self.dropout).to(device)
        shortened, prefixes, targets = held_out(train, self.training.validation_users, derive(seed, "din", "held out"))
        samples = DinSamples(shortened, self.max_history)
        q_I = np.where(count_I > 0, np.maximum(count_I, 1) ** self.popularity_power, 0.0)
        q_I = q_I / q_I.sum()
        log_q_I = torch.from_numpy(np.log(np.maximum(q_I * self.num_negatives, 1e-12))).float().to(device)

        def batches(epoch: int) -> DinEpoch:
            generator = np.random.default_rng(derive(seed, "din", "batches", epoch))
            return DinEpoch(samples, self.training.batch_size, self.num_negatives, q_I, generator)

        def loss(batch: DinBatch) -> dict[str, Tensor]:
            batch = batch.to(device)
            return {"sampled_softmax": sampled_softmax(network(batch), batch, log_q_I)}

        def table() -> np.ndarray:
            return network.item_table.weight.detach().float().cpu().numpy()

        def validate() -> float:
            return neighbor_ndcg(table(), prefixes, targets)

        validation = validate if len(targets) else None
        trainer.train(network, batches, loss, self.training, validate=validation, seed=seed, title="din")
        return table()


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
        positions, shared = len(history_PD), len(shared_CD)
        history_PH = self.of_history(history_PD) + self.of_steps(steps_P)
        own_PH = self.of_target(target_PD) + self.of_product(history_PD * target_PD)
        product_DCH = torch.einsum("cd,hd->dch", shared_CD, self.of_product.weight)
        others_PCH = (history_PD @ product_DCH.flatten(1)).view(positions, shared, -1) + self.of_target(shared_CD)
        hidden_PCH = torch.cat([own_PH[:, None], others_PCH], dim=1) + history_PH[:, None]
        return self.last(self.rest(hidden_PCH.flatten(0, 1))).view(positions, 1 + shared)

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


class DinSamples:
    """Every training item with a predecessor is a target, read with up to ``max_history`` items before it."""

    def __init__(self, histories: Histories, max_history: int) -> None:
        lengths = histories.lengths
        place = np.arange(lengths.sum()) - np.repeat(histories.offsets[:-1], lengths)
        self._items = histories.items.astype(np.int64)
        self._targets = np.flatnonzero(place > 0)
        self._num_read = np.minimum(place[self._targets], max_history)

    def __len__(self) -> int:
        return len(self._targets)

    def batch(self, chosen: np.ndarray, negatives: np.ndarray) -> DinBatch:
        target, size = self._targets[chosen], self._num_read[chosen]
        row_P = np.repeat(np.arange(len(chosen)), size)
        steps_P = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        items_P = self._items[target[row_P] - 1 - steps_P]
        arrays = items_P, row_P, steps_P, self._items[target], negatives
        return DinBatch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


@dataclass(frozen=True)
class DinEpoch:
    """One pass in random order, with negatives drawn from the distribution ``q_I``; can be iterated once."""

    samples: DinSamples
    batch_size: int
    num_negatives: int
    q_I: np.ndarray
    generator: np.random.Generator

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[DinBatch]:
        cumulated_I = np.cumsum(self.q_I)
        order = self.generator.permutation(len(self.samples))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            draws_J = self.generator.random(self.num_negatives) * cumulated_I[-1]
            yield self.samples.batch(chosen, np.searchsorted(cumulated_I, draws_J, side="right"))


def held_out(train: Histories, num_users: int, seed: int) -> tuple[Histories, Histories, np.ndarray]:
    """Hold out the last training item of some users that keep two or more.

    Returns:
        all histories without the held-out items, the shortened histories alone, and the items held out.
    """
    eligible = np.flatnonzero(train.lengths >= 3)
    size = min(num_users, len(eligible) // 2)
    users = np.sort(np.random.default_rng(seed).choice(eligible, size, replace=False))
    last = train.offsets[users + 1] - 1
    keep = np.ones(len(train.items), dtype=bool)
    keep[last] = False
    lengths = train.lengths.copy()
    lengths[users] -= 1
    shortened = Histories(train.items[keep], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return shortened, shortened.take(users), train.items[last].astype(np.int64)


def neighbor_ndcg(vectors_IE: np.ndarray, histories: Histories, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG of the targets when items are ranked by cosine with the mean of a history's last 5 vectors.

    Items of the history are excluded.
    """
    unit_IE = unit_rows(vectors_IE)
    gain = 0.0
    for start in range(0, len(targets), 512):
        rows = np.arange(start, min(start + 512, len(targets)))
        history_BT, length_B = histories.take(rows).last(5, padding=len(unit_IE))
        padded = np.vstack([unit_IE, np.zeros_like(unit_IE[:1])])
        score_BI = (padded[history_BT].sum(1) / length_B[:, None]) @ unit_IE.T
        target_B = targets[rows]
        own_B = score_BI[np.arange(len(rows)), target_B].copy()
        seen = history_BT < len(unit_IE)
        score_BI[np.nonzero(seen)[0], history_BT[seen]] = -np.inf
        rank_B = (score_BI > own_B[:, None]).sum(1)
        gain += float((1.0 / np.log2(rank_B[rank_B < cutoff] + 2.0)).sum())
    return gain / len(targets)
