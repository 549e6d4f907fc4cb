"""Training of the network of DIN: settings, samples of training histories, sampled negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from genrec.errors import DataError
from genrec.model.deep_interest import DinBatch, DinNetwork, sampled_softmax
from genrec.runtime.limits import Count, Length, Width
from genrec.runtime.seeds import derive
from genrec.training import trainer
from genrec.training.settings import OptimizationSettings
from genrec.types import Histories


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


class DinSettings(BaseModel):
    """Fields of the components that train a :class:`DinNetwork`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

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
    training: DinTraining = DinTraining()
    """Optimization and stopping; ``validation_users`` have their last training item held out."""


def train_network(
    settings: DinSettings,
    train: Histories,
    num_items: int,
    validate: Callable[[DinNetwork, Histories, np.ndarray], float],
    *,
    seed: int,
    device: torch.device,
    folder: Path | None = None,
) -> DinNetwork:
    """Train to predict the next item of training histories, and keep the best epoch.

    Args:
        settings: of the network and its training.
        train: training histories.
        num_items: size of the catalog.
        validate: network, histories of some users and the item held out of each -> the score of an epoch.
        seed: decides weights, negatives, order and who is held out.
        device: where the network is trained.
        folder: for checkpoints; None: nothing is stored.

    Raises:
        DataError: no training history has two items.
    """
    if not (train.lengths > 1).any():
        raise DataError(
            "din: no training history has two items, expected at least one that has; choose a component that does not "
            "need them, or give a larger dataset"
        )
    count_I = np.bincount(train.items, minlength=num_items)
    torch.manual_seed(derive(seed, "din", "weights"))
    network = DinNetwork(num_items, settings.dim, settings.attention_hidden, settings.max_history, settings.dropout)
    network.to(device)
    shortened, prefixes, targets = held_out(train, settings.training.validation_users, derive(seed, "din", "held out"))
    samples = DinSamples(shortened, settings.max_history)
    q_I = np.where(count_I > 0, np.maximum(count_I, 1) ** settings.popularity_power, 0.0)
    q_I = q_I / q_I.sum()
    log_q_I = torch.from_numpy(np.log(np.maximum(q_I * settings.num_negatives, 1e-12))).float().to(device)

    def batches(epoch: int) -> DinEpoch:
        generator = np.random.default_rng(derive(seed, "din", "batches", epoch))
        return DinEpoch(samples, settings.training.batch_size, settings.num_negatives, q_I, generator)

    def loss(batch: DinBatch) -> dict[str, Tensor]:
        batch = batch.to(device)
        return {"sampled_softmax": sampled_softmax(network(batch), batch, log_q_I)}

    validation = (lambda: validate(network, prefixes, targets)) if len(targets) else None
    trainer.train(network, batches, loss, settings.training, validate=validation, seed=seed, title="din", folder=folder)
    return network


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
