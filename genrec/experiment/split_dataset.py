"""A dataset with the parts that ``evaluation.split`` gave, and without the items that left its catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from genrec.errors import DataError
from genrec.experiment.cold_items import some_items
from genrec.types import Dataset, Histories, Split, Splits


def with_splits(dataset: Dataset, splits: Splits) -> Dataset:
    """A dataset with other parts than leave-one-out.

    Users keep their rows. If the split drops items, they leave catalog and histories, and the others are renumbered.

    Args:
        dataset: as loaded by its source.
        splits: its parts.

    Raises:
        DataError: texts of the dataset have what users wrote, and the split does not say until when it is known.
    """
    if dataset.texts_until is not None:
        if splits.known_until_U is None:
            raise DataError(
                f"{dataset.name}: the texts have tags of users, and the split does not say until when they are known; "
                "expected known_until_U of its Splits, or text_fields without tags"
            )
        texts = dataset.texts_until(splits.known_until_U, splits.known_until)
        dataset = replace(dataset, catalog=replace(dataset.catalog, texts=texts))
    digest = hashlib.blake2b(digest_size=8)
    for array in _arrays(splits):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        digest.update(len(array).to_bytes(8, "big"))
    return replace(
        dataset,
        fingerprint=f"{dataset.fingerprint} split {digest.hexdigest()}",
        notes=(*dataset.notes, *splits.notes),
        splits=splits.with_kept_items(),
        texts_until=None,
        **({} if splits.kept_I is None else _without_items(dataset, splits.kept_I)),
    )


def _without_items(dataset: Dataset, kept_I: np.ndarray) -> dict[str, object]:
    """The fields of a dataset that have items, for those that are kept."""
    histories, is_kept_N = dataset.histories, kept_I[dataset.histories.items]
    kept = histories.where(is_kept_N)
    number_I = (np.cumsum(kept_I) - 1).astype(np.int32)
    return {
        "catalog": some_items(dataset.catalog, np.flatnonzero(kept_I)),
        "histories": Histories(number_I[kept.items], kept.offsets),
        "times": None if dataset.times is None else dataset.times[is_kept_N],
        "parts": None if dataset.parts is None else dataset.parts[is_kept_N],
    }


def _arrays(splits: Splits) -> Iterator[np.ndarray]:
    """All numbers of the parts, in a fixed order."""
    for histories in (splits.train, splits.train_and_valid):
        yield from (histories.items, histories.offsets)
    for split in (splits.valid, splits.test):
        yield from _of_users(split)
    yield np.arange(0) if splits.known_until_U is None else splits.known_until_U
    yield np.arange(0) if splits.kept_I is None else np.flatnonzero(splits.kept_I)


def _of_users(split: Split) -> Iterator[np.ndarray]:
    yield split.users
    for histories in (split.histories, split.target_lists):
        yield from (histories.items, histories.offsets)
