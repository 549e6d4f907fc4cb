"""Training batches of histories and next items, made by array indexing: no Python loop over samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genrec.errors import DataError
from genrec.runtime.seeds import derive
from genrec.types import ABSENT, Histories

_BATCHES_IN_A_BUCKET = 32
"""Samples are sorted by length within random buckets of this many batches, so that little is padded."""


@dataclass(frozen=True)
class HistoryBatch:
    """Histories and what came next."""

    history_BT: Tensor
    """Item numbers, padded at the end with ``num_items``."""
    target_BQ: Tensor
    """Items to be predicted; ABSENT is left out."""
    all_positions: bool
    """Whether query q is what follows history item q (Q = T); otherwise it follows the whole history (Q = 1)."""

    def __len__(self) -> int:
        """Number of targets."""
        return int((self.target_BQ >= 0).sum())


class HistoryBatches:
    """The batches of one epoch after another.

    Args:
        train: training histories.
        num_items: size of the catalog; stands for padding.
        max_history: T at most.
        batch_size: samples in a batch.
        all_positions: train all positions of a sequence at once (a causal history encoder); otherwise every prefix is
            a sample.
        seed: decides the order.
        device: where the batches go.

    Raises:
        DataError: there is nothing to learn from.
    """

    def __init__(
        self,
        train: Histories,
        *,
        num_items: int,
        max_history: int,
        batch_size: int,
        all_positions: bool,
        seed: int,
        device: torch.device,
    ) -> None:
        self._items, self._padding, self._batch_size = train.items.astype(np.int64), num_items, batch_size
        self._all_positions, self._seed, self._device = all_positions, seed, device
        lengths = train.lengths
        # Every item except a user's first is a target; `last` is its index, `before` the items before it.
        is_target = np.ones(len(train.items), dtype=bool)
        is_target[train.offsets[:-1][lengths > 0]] = False
        last = np.flatnonzero(is_target)
        if not len(last):
            raise DataError(
                f"training: none of the {len(train):,} training histories has two items, expected at least one that "
                "has (a user with n >= 3 items trains on n - 2); give a larger dataset"
            )
        before = last - np.repeat(train.offsets[:-1], np.maximum(lengths - 1, 0))
        if all_positions:
            # A window ends at every max_history-th target, counted back from the user's last: each target once.
            from_end = np.repeat(train.offsets[1:], np.maximum(lengths - 1, 0)) - 1 - last
            chosen = from_end % max_history == 0
            last, before = last[chosen], before[chosen]
        self._last, self._length = last, np.minimum(before, max_history)

    def __len__(self) -> int:
        return -(-len(self._last) // self._batch_size)

    @property
    def num_samples(self) -> int:
        """Samples in an epoch."""
        return len(self._last)

    def epoch(self, number: int) -> EpochBatches:
        """The batches of one epoch, in the order of its number."""
        return EpochBatches(self, number)

    def order(self, number: int) -> list[np.ndarray]:
        """The samples of each batch of an epoch."""
        generator = np.random.default_rng(derive(self._seed, "batches", number))
        shuffled = generator.permutation(len(self._last))
        bucket = self._batch_size * _BATCHES_IN_A_BUCKET
        batches = []
        for start in range(0, len(shuffled), bucket):
            part = shuffled[start : start + bucket]
            part = part[np.argsort(self._length[part], kind="stable")]
            batches += [part[at : at + self._batch_size] for at in range(0, len(part), self._batch_size)]
        return [batches[index] for index in generator.permutation(len(batches))]

    def batch(self, samples: np.ndarray) -> HistoryBatch:
        """The given samples."""
        last, length = self._last[samples], self._length[samples]
        column = np.arange(length.max())[None, :]
        inside = column < length[:, None]
        index = np.where(inside, (last - length)[:, None] + column, 0)
        history_BT = np.where(inside, self._items[index], self._padding)
        if self._all_positions:
            target_BQ = np.where(inside, self._items[np.where(inside, index + 1, 0)], ABSENT)
        else:
            target_BQ = self._items[last][:, None]
        return HistoryBatch(
            torch.from_numpy(history_BT).to(self._device),
            torch.from_numpy(target_BQ).to(self._device),
            self._all_positions,
        )


@dataclass(frozen=True)
class EpochBatches:
    """One epoch's batches: sized, iterable once or more."""

    source: HistoryBatches
    number: int

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[HistoryBatch]:
        for samples in self.source.order(self.number):
            yield self.source.batch(samples)
