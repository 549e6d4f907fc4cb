"""Data that the stages exchange: small frozen dataclasses of NumPy arrays, validated on construction.

Shapes are named by their axes: B batch, T history length, I items, L levels, V codes per level, D width, E width of
item vectors, K beam, N list length, C candidates, S streams, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.histories import Histories, Split, Splits

if TYPE_CHECKING:
    from PIL.Image import Image

ABSENT = -1
"""Placeholder for no item, no code or no rank."""


class Images(Protocol):
    """The images of a catalog: files on disk, or generated on demand."""

    @property
    def counts_I(self) -> np.ndarray:
        """How many images item i has, int32 (I,)."""
        ...

    def open(self, item: int, number: int = 0) -> Image:
        """An image of an item that has more than ``number`` of them, as RGB.

        Raises:
            DataError: the image cannot be read; the message names the file.
        """
        ...


ColumnKind = Literal["numeric", "categorical", "datetime"]
_COLUMN_DTYPES = {"numeric": "float64", "categorical": "object", "datetime": "datetime64[s]"}


@dataclass(frozen=True, eq=False)
class Column:
    """One typed field of all items: a price, a brand, a release date."""

    kind: ColumnKind
    values_I: np.ndarray
    """numeric: float64 (I,), NaN where missing. datetime: datetime64[s] (I,) in UTC, NaT where missing.
    categorical: a tuple of texts each, object (I,), () where missing."""

    def __post_init__(self) -> None:
        values_I, dtype = self.values_I, _COLUMN_DTYPES[self.kind]
        if values_I.ndim != 1 or values_I.dtype != dtype:
            raise ValueError(f"a {self.kind} column must be {dtype} (I,), got {values_I.dtype} {values_I.shape}")
        if self.kind == "numeric" and np.isinf(values_I).any():
            raise ValueError(f"the value of item {int(np.isinf(values_I).argmax())} is not finite")
        if self.kind == "categorical" and not all(isinstance(of_item, tuple) for of_item in values_I):
            raise ValueError("a categorical column must hold a tuple of texts for each item")

    def __len__(self) -> int:
        return len(self.values_I)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Column) or self.kind != other.kind:
            return False
        present_I = self.present_I
        same_present = np.array_equal(present_I, other.present_I)
        return same_present and bool((self.values_I[present_I] == other.values_I[present_I]).all())

    @property
    def present_I(self) -> np.ndarray:
        """Whether an item has a value, bool (I,)."""
        if self.kind == "categorical":
            return np.array([bool(of_item) for of_item in self.values_I], dtype=bool)
        return ~np.isnan(self.values_I)


@dataclass(frozen=True)
class Catalog:
    """All items. Row i of every matrix in genrec is item i of its catalog."""

    keys: tuple[str, ...]
    """The source's own key of each item, unique."""
    titles: tuple[str, ...]
    """Titles; "" where the source has none."""
    texts: tuple[str, ...]
    """Input of text encoders; "" where the source has none."""
    attributes: tuple[tuple[str, ...], ...]
    """Categories, brand, tags: discrete descriptions, for audits and slices."""
    images: Images | None = None
    columns: Mapping[str, Column] = field(default_factory=dict, hash=False)
    """Typed item metadata by name (price, year, brand, category), as far as the source has it. Never computed from
    user behavior, such as a mean rating or a sales rank: it would leak test interactions."""

    def __post_init__(self) -> None:
        sizes = {len(self.keys), len(self.titles), len(self.texts), len(self.attributes)}
        if len(sizes) != 1:
            raise DataError(f"catalog: keys, titles, texts and attributes differ in length: {sorted(sizes)}")
        for name, column in self.columns.items():
            if len(column) != len(self.keys):
                raise DataError(f"catalog: column {name!r} has {len(column)} values for {len(self.keys)} items")
        if len(set(self.keys)) != len(self.keys):
            raise DataError("catalog: an item key appears twice")

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Item number by key."""
        return {key: row for row, key in enumerate(self.keys)}


@dataclass(frozen=True)
class Dataset:
    """A catalog, the users' histories and their split, by default leave-one-out.

    Leave-one-out: the last item of a user is the test target, the one before the validation target, the rest is for
    training. Users with fewer than three items are used for training only.
    """

    name: str
    catalog: Catalog
    user_keys: tuple[str, ...]
    histories: Histories
    fingerprint: str
    """Hash of the content: datasets with equal fingerprints are equal."""
    notes: tuple[str, ...] = ()
    """Remarks for the report (order, repeats, missing metadata)."""
    order: str = "as in the source, assumed oldest first"
    """How the items of a history are ordered; printed with every table."""
    times: np.ndarray | None = None
    """When each interaction of ``histories.items`` happened, int64 (total,): Unix time in seconds, or counters; None
    where the source has no times."""
    times_are_dates: bool = True
    """Whether ``times`` are Unix times; counters only order."""
    findings: tuple[Finding, ...] = ()
    """What the reader found in the files: skipped rows, duplicate events, keys that match nothing. Part of the audit;
    the notes have their texts."""
    parts: np.ndarray | None = None
    """The part of each interaction of ``histories.items`` in a source whose files are split, int8 (total,): 0 training,
    1 validation, 2 test, in this order in each history; None: the source is not split."""
    texts_until: Callable[[np.ndarray, int], tuple[str, ...]] | None = None
    """Of a source whose texts are written by users (tags): the texts of all items from what each user had written
    before a time, int64 (U,), and others before another one. ``catalog.texts`` are for leave-one-out."""
    trains_on_validation: bool = False
    """Whether validation items are part of the training histories (refit for the test split), without validation."""
    whole: Dataset | None = None
    """The dataset with the cold items that ``evaluation.cold_items`` held out of this one; None: none were."""
    splits: Splits | None = None
    """The parts by another rule than leave-one-out (``evaluation.split``); None: leave-one-out."""

    def __post_init__(self) -> None:
        items = self.histories.items
        if len(items) and (items.min() < 0 or items.max() >= len(self.catalog)):
            raise DataError(f"{self.name}: a history holds an item that is not in the catalog")
        if len(self.user_keys) != len(self.histories):
            raise DataError(f"{self.name}: {len(self.user_keys)} user keys for {len(self.histories)} histories")
        if self.times is not None and self.times.shape != items.shape:
            raise DataError(f"{self.name}: {len(self.times)} times for {len(items)} interactions")
        if self.parts is not None and self.parts.shape != items.shape:
            raise DataError(f"{self.name}: {len(self.parts)} parts for {len(items)} interactions")

    @property
    def num_items(self) -> int:
        return len(self.catalog)

    @cached_property
    def _evaluated(self) -> np.ndarray:
        return np.flatnonzero(self.histories.lengths >= 3)

    @cached_property
    def train(self) -> Histories:
        """Histories without the held-out items: the training data of encoders, tokenizers, models and baselines."""
        if self.splits is not None:
            return self.splits.train_and_valid if self.trains_on_validation else self.splits.train
        lengths = self.histories.lengths
        train_lengths = np.where(lengths >= 3, lengths - (1 if self.trains_on_validation else 2), lengths)
        offsets = np.concatenate([[0], np.cumsum(train_lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], train_lengths)
        return Histories(self.histories.items[np.repeat(self.histories.offsets[:-1], train_lengths) + within], offsets)

    @cached_property
    def valid(self) -> Split:
        if self.splits is not None:
            return self.splits.valid.take(np.arange(0 if self.trains_on_validation else len(self.splits.valid)))
        users = self._evaluated[:0] if self.trains_on_validation else self._evaluated
        evaluated = self.histories.take(users)
        targets = evaluated.items[evaluated.offsets[1:] - 2].astype(np.int64)
        return Split(users, evaluated.without_last(2), targets)

    @cached_property
    def test(self) -> Split:
        if self.splits is not None:
            return self.splits.test
        evaluated = self.histories.take(self._evaluated)
        targets = evaluated.items[evaluated.offsets[1:] - 1].astype(np.int64)
        return Split(self._evaluated, evaluated.without_last(1), targets)

    def with_validation(self) -> Dataset:
        """The same with all validation items in the training histories, and the same test users."""
        return replace(self, trains_on_validation=True, fingerprint=f"{self.fingerprint} train + validation")


@dataclass(frozen=True)
class ItemVectors:
    """One vector for each item, from an item encoder."""

    vectors_IE: np.ndarray
    """float32 (I, E); rows of absent items are zero and are never used."""
    present_I: np.ndarray
    """Whether the item has the encoder's input (a text, an image), bool (I,)."""
    notes: tuple[str, ...] = ()
    """Remarks for the report, e.g. that the encoder's weights are random."""
    num_added: int = 0
    """How many of the last items were added after the model was trained; no statistic of the vectors counts them."""

    def __post_init__(self) -> None:
        vectors, present = self.vectors_IE, self.present_I
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ValueError(f"item vectors must be float32 (I, E), got {vectors.dtype} {vectors.shape}")
        if present.shape != (len(vectors),) or present.dtype != np.bool_:
            raise ValueError(f"present_I must be bool ({len(vectors)},), got {present.dtype} {present.shape}")
        if not np.isfinite(vectors[present]).all():
            row = int(np.flatnonzero(present)[~np.isfinite(vectors[present]).all(axis=1)][0])
            raise ValueError(f"the vector of item {row} is not finite")


@dataclass(frozen=True)
class SemanticIds:
    """The semantic ID of every item in one stream: codes of equal length, unique to the item."""

    codes_IL: np.ndarray
    """int32 (I, L); the rows of absent items are ABSENT."""
    vocabulary_sizes: tuple[int, ...]
    """Number of codes at each level: 0 <= codes_IL[:, l] < vocabulary_sizes[l]."""
    codebook: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Arrays from which ``assign`` computes the codes of new items."""
    collisions: int = 0
    """Items whose codes were not unique before collisions were resolved."""
    notes: tuple[str, ...] = ()
    """Remarks for the report, e.g. that a file of codes has unknown items."""

    def __post_init__(self) -> None:
        codes = self.codes_IL
        if codes.ndim != 2 or codes.dtype != np.int32:
            raise ValueError(f"codes must be int32 (I, L), got {codes.dtype} {codes.shape}")
        if codes.shape[1] != len(self.vocabulary_sizes):
            raise ValueError(f"codes have {codes.shape[1]} levels, vocabulary_sizes {len(self.vocabulary_sizes)}")
        present = codes[self.present_I]
        if len(present) == 0:
            raise ValueError("no item has a code")
        if (present < 0).any() or (present >= np.array(self.vocabulary_sizes)).any():
            raise ValueError("a code is outside its level's vocabulary")
        if len(np.unique(present, axis=0)) != len(present):
            raise ValueError("two items share one semantic ID")

    @property
    def present_I(self) -> np.ndarray:
        """Whether the item has codes in this stream, bool (I,)."""
        return self.codes_IL[:, 0] != ABSENT

    @property
    def num_levels(self) -> int:
        return self.codes_IL.shape[1]


@dataclass(frozen=True)
class StreamCandidates:
    """Candidates of one stream for each user, best first, no item twice."""

    items_BN: np.ndarray
    """int64; ABSENT where a list ends early."""
    log_probs_BN: np.ndarray
    """Log-probability of the whole code, float32; -inf where ABSENT."""

    def __post_init__(self) -> None:
        if self.items_BN.shape != self.log_probs_BN.shape or self.items_BN.ndim != 2:
            raise ValueError(
                f"stream candidates: items {self.items_BN.shape} and log_probs {self.log_probs_BN.shape} must agree"
            )

    def entropy_B(self) -> np.ndarray:
        """Entropy (nats) of the list's renormalized probabilities: the uncertainty of the stream, float32 (B,)."""
        log_probs = np.where(self.items_BN == ABSENT, -np.inf, self.log_probs_BN).astype(np.float64)
        top = np.max(log_probs, axis=1, keepdims=True, initial=-np.inf)
        weights = np.exp(log_probs - np.where(np.isfinite(top), top, 0.0))
        shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
        return -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1).astype(np.float32)


@dataclass(frozen=True)
class Candidates:
    """Input of a merge: every item that at least one stream proposed, with its scores and ranks in each stream."""

    streams: tuple[str, ...]
    items_BC: np.ndarray
    """int64, no item twice in a row; ABSENT where a row ends early."""
    log_probs_BCS: np.ndarray
    """float32; NaN where a stream did not propose the item (unless the merge ``needs_scores``: then exact
    everywhere, -inf for an item that has no code in that stream)."""
    ranks_BCS: np.ndarray
    """int32, 0 is the stream's best; ABSENT where it did not propose the item."""
    entropy_BS: np.ndarray
    """float32: entropy of each stream's list for this user."""
    code_lengths_S: np.ndarray
    """int32: levels of each stream's codes (1 for a stream without codes)."""

    def __post_init__(self) -> None:
        rows, width = self.items_BC.shape
        expected = (rows, width, len(self.streams))
        for name in ("log_probs_BCS", "ranks_BCS"):
            if getattr(self, name).shape != expected:
                raise ValueError(f"candidates: {name} must be {expected}, got {getattr(self, name).shape}")
        if self.entropy_BS.shape != (rows, len(self.streams)):
            raise ValueError(f"candidates: entropy_BS must be {(rows, len(self.streams))}, got {self.entropy_BS.shape}")
        if self.code_lengths_S.shape != (len(self.streams),):
            raise ValueError(f"candidates: code_lengths_S must be ({len(self.streams)},)")

    def __len__(self) -> int:
        return len(self.items_BC)

    def take(self, rows: np.ndarray) -> Candidates:
        """The candidates of some users (indices or a slice)."""
        return Candidates(
            self.streams,
            self.items_BC[rows],
            self.log_probs_BCS[rows],
            self.ranks_BCS[rows],
            self.entropy_BS[rows],
            self.code_lengths_S,
        )

    def without_scores(self) -> Candidates:
        """The same without exact scores: NaN where a stream did not propose the item."""
        own_BCS = np.where(self.ranks_BCS != ABSENT, self.log_probs_BCS, np.float32(np.nan))
        return replace(self, log_probs_BCS=own_BCS)

    def of_streams(self, names: Sequence[str]) -> Candidates:
        """The candidates of some streams alone."""
        columns = [self.streams.index(name) for name in names]
        is_found_BC = (self.ranks_BCS[:, :, columns] != ABSENT).any(axis=2)
        order_BC = np.argsort(~is_found_BC, axis=1, kind="stable")[:, : int(is_found_BC.sum(axis=1).max(initial=0))]
        rows_B1 = np.arange(len(self))[:, None]
        is_found_BC = is_found_BC[rows_B1, order_BC]
        return Candidates(
            tuple(names),
            np.where(is_found_BC, self.items_BC[rows_B1, order_BC], ABSENT),
            np.where(is_found_BC[:, :, None], self.log_probs_BCS[rows_B1, order_BC][:, :, columns], np.nan),
            np.where(is_found_BC[:, :, None], self.ranks_BCS[rows_B1, order_BC][:, :, columns], ABSENT),
            self.entropy_BS[:, columns],
            self.code_lengths_S[columns],
        )


@dataclass(frozen=True)
class Ranking:
    """Ranked items, best first, and their scores."""

    items_BN: np.ndarray
    """int64, no item twice in a row; ABSENT where a list ends early."""
    scores_BN: np.ndarray
    """float32, not increasing along a row; -inf where ABSENT."""

    def __post_init__(self) -> None:
        if self.items_BN.shape != self.scores_BN.shape or self.items_BN.ndim != 2:
            raise ValueError(f"ranking: items {self.items_BN.shape} and scores {self.scores_BN.shape} must agree")

    @classmethod
    def top(cls, items_BC: np.ndarray, scores_BC: np.ndarray, top_n: int) -> Ranking:
        """The ``top_n`` best of scored candidates; equal scores keep their order; NaN and ABSENT come last."""
        scores = np.where((items_BC == ABSENT) | np.isnan(scores_BC), -np.inf, scores_BC)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top_n]
        items, scores = np.take_along_axis(items_BC, order, 1), np.take_along_axis(scores, order, 1)
        items = np.where(np.isneginf(scores), ABSENT, items)
        if items.shape[1] < top_n:
            pad = ((0, 0), (0, top_n - items.shape[1]))
            items, scores = np.pad(items, pad, constant_values=ABSENT), np.pad(scores, pad, constant_values=-np.inf)
        return cls(items.astype(np.int64), scores.astype(np.float32))
