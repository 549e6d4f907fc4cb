"""Histories of users, evaluation users with their targets, and the parts of a split.

Shapes are named by their axes: U users, T history length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Histories:
    """The items of each user, oldest first, end to end in one array."""

    items: np.ndarray
    """Item numbers, int32 (total,)."""
    offsets: np.ndarray
    """User u owns items[offsets[u]:offsets[u + 1]], int64 (U + 1,)."""

    @classmethod
    def of(cls, sequences: list[list[int]] | list[np.ndarray]) -> Histories:
        """Build from one sequence of item numbers for each user."""
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        flat = np.concatenate([np.asarray(s, dtype=np.int32) for s in sequences]) if len(sequences) else []
        return cls(np.asarray(flat, dtype=np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, user: int) -> np.ndarray:
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each user, int64 (U,)."""
        return np.diff(self.offsets)

    def take(self, users: np.ndarray) -> Histories:
        """The histories of some users, in the order given."""
        lengths = self.lengths[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Histories(self.items[np.repeat(self.offsets[:-1][users], lengths) + within], offsets)

    @property
    def users(self) -> np.ndarray:
        """The user of each item, int64 (total,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def where(self, is_kept_N: np.ndarray) -> Histories:
        """The same users with some of their items (a history may become empty).

        Args:
            is_kept_N: whether each of ``items`` stays, bool (total,).
        """
        lengths = np.bincount(self.users[is_kept_N], minlength=len(self))
        return Histories(self.items[is_kept_N], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def without_last(self, count: int) -> Histories:
        """Every user's history without its last ``count`` items (a shorter history becomes empty)."""
        lengths = np.maximum(self.lengths - count, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Histories(self.items[np.repeat(self.offsets[:-1], lengths) + within], offsets)

    def last(self, size: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
        """The last ``size`` items of each user, padded at the end.

        Returns:
            ``history_UT`` int64 (U, size) and ``length_U`` int64 (U,).
        """
        length_U = np.minimum(self.lengths, size)
        column = np.arange(size)[None, :]
        index = (self.offsets[1:] - length_U)[:, None] + column
        inside = column < length_U[:, None]
        history_UT = np.full((len(self), size), padding, dtype=np.int64)
        history_UT[inside] = self.items[index[inside]]
        return history_UT, length_U


@dataclass(frozen=True)
class Split:
    """Evaluation users: their histories, and what comes next for each."""

    users: np.ndarray
    """Row of each evaluation user in the dataset, int64 (U,); no user twice."""
    histories: Histories
    """At least one item each."""
    targets: np.ndarray
    """The next item, int64 (U,): for checkpoint selection, merges that are fitted, audits and slices."""
    all_targets: Histories | None = None
    """Every target of each user in order of time, no item twice, ``targets`` first; None: only ``targets``."""

    def __post_init__(self) -> None:
        sizes = {len(self.users), len(self.histories), len(self.targets)}
        if self.all_targets is not None:
            sizes.add(len(self.all_targets))
            if len(sizes) == 1 and len(self):
                if not self.all_targets.lengths.all():
                    raise ValueError("a split holds a user without a target")
                if (self.all_targets.items[self.all_targets.offsets[:-1]] != self.targets).any():
                    raise ValueError("the first of a user's targets is not the next item")
        if len(sizes) != 1:
            raise ValueError(f"users, histories and targets of a split differ in length: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def target_lists(self) -> Histories:
        """Every target of each user, at least one."""
        if self.all_targets is not None:
            return self.all_targets
        return Histories(self.targets.astype(np.int32), np.arange(len(self) + 1, dtype=np.int64))

    def take(self, rows: np.ndarray) -> Split:
        """Some of the users, in the order given."""
        targets = None if self.all_targets is None else self.all_targets.take(rows)
        return Split(self.users[rows], self.histories.take(rows), self.targets[rows], targets)

    def sample(self, size: int, seed: int) -> Split:
        """A random subset in the original order; all of it when it is not larger than ``size``."""
        if len(self) <= size:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), size, replace=False)))


@dataclass(frozen=True)
class Splits:
    """The parts of a dataset: what is trained on, and the users of validation and test."""

    train: Histories
    """Training histories, none of them empty: for encoders, tokenizers, counts, models and baselines."""
    train_and_valid: Histories
    """Training histories of a final fit, which include what validation held out."""
    valid: Split
    test: Split
    text: str
    """The rule in a few words, for the protocol: ``global time split, test from 2014-03-01 on``."""
    valid_target: str = "the last item"
    """What the target of a validation user is, for the protocol."""
    test_target: str = "the last item"
    """What the target of a test user is."""
    kept_I: np.ndarray | None = None
    """Items that stay in the catalog, bool (I,); the others are in no part. None: all stay."""
    known_until_U: np.ndarray | None = None
    """When what a user did outside the histories (a tag) is no longer known to what is fitted, in the unit of
    ``Dataset.times``, int64 (U,); None: unknown, so that datasets with such texts cannot be split."""
    known_until: int = np.iinfo(np.int64).max
    """The same for users without a history."""
    notes: tuple[str, ...] = ()
    """What was left out, with counts: items without training, users without a history."""

    def with_kept_items(self) -> Splits:
        """The same for a catalog of the kept items alone: items have their numbers in it."""
        if self.kept_I is None:
            return self
        number_I = (np.cumsum(self.kept_I) - 1).astype(np.int32)

        def renumbered(histories: Histories) -> Histories:
            return Histories(number_I[histories.items], histories.offsets)

        def of(split: Split) -> Split:
            several = None if split.all_targets is None else renumbered(split.all_targets)
            targets = number_I[split.targets].astype(np.int64)
            return Split(split.users, renumbered(split.histories), targets, several)

        return replace(
            self,
            train=renumbered(self.train),
            train_and_valid=renumbered(self.train_and_valid),
            valid=of(self.valid),
            test=of(self.test),
            kept_I=None,
        )
