"""Cold items for evaluation: held out from catalog and histories, and catalogs of some items."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genrec.errors import DataError
from genrec.types import Catalog, Column, Dataset, Histories, Images

if TYPE_CHECKING:
    from PIL.Image import Image


def hold_out_items(dataset: Dataset, ratio: float, seed: int) -> Dataset:
    """A dataset without a random share of its items, which is in ``whole`` of the result.

    The held-out items leave the catalog and every history, so that nothing that is fitted has seen them. The split is
    that of the shorter histories; users without any other item are left out.

    Args:
        dataset: all items.
        ratio: share of the items that occur in a history, above 0.
        seed: of the choice.

    Raises:
        DataError: no item or no user that can be evaluated is left.
    """
    sold_N = np.unique(dataset.histories.items)
    count = round(ratio * len(sold_N))
    if not 0 < count < len(sold_N):
        raise DataError(
            f"{dataset.name}: evaluation.cold_items {ratio:g} of {len(sold_N):,} items are {count:,}, expected one "
            "item at least, and others that are left"
        )
    cold_C = np.sort(np.random.default_rng(seed).choice(sold_N, count, replace=False))
    is_warm_I = np.ones(dataset.num_items, dtype=bool)
    is_warm_I[cold_C] = False
    histories, kept_N, users = _of_items(dataset.histories, is_warm_I)
    digest = hashlib.blake2b(cold_C.astype("<i8").tobytes(), digest_size=8).hexdigest()
    warm = replace(
        dataset,
        catalog=some_items(dataset.catalog, np.flatnonzero(is_warm_I)),
        user_keys=tuple(dataset.user_keys[user] for user in users),
        histories=histories,
        fingerprint=f"{dataset.fingerprint} without {digest}",
        notes=(*dataset.notes, f"{count:,} of {len(sold_N):,} items are held out as cold items"),
        times=None if dataset.times is None else dataset.times[kept_N],
        parts=None if dataset.parts is None else dataset.parts[kept_N],
        whole=dataset,
    )
    if not len(warm.valid):
        raise DataError(f"{dataset.name}: without its cold items no user has three items or more; lower cold_items")
    return warm


def some_items(catalog: Catalog, rows: np.ndarray) -> Catalog:
    """Some items of a catalog, in the order given."""
    return Catalog(
        keys=tuple(catalog.keys[row] for row in rows),
        titles=tuple(catalog.titles[row] for row in rows),
        texts=tuple(catalog.texts[row] for row in rows),
        attributes=tuple(catalog.attributes[row] for row in rows),
        images=None if catalog.images is None else SomeImages(catalog.images, rows),
        columns={name: Column(column.kind, column.values_I[rows]) for name, column in catalog.columns.items()},
    )


@dataclass(frozen=True)
class SomeImages:
    """The images of some items of a catalog."""

    images: Images
    rows: np.ndarray
    """The item of the catalog that each item is."""

    @property
    def counts_I(self) -> np.ndarray:
        """How many images item i has, int32 (I,)."""
        return self.images.counts_I[self.rows]

    def open(self, item: int, number: int = 0) -> Image:
        """An image of an item; see :class:`~genrec.types.Images`."""
        return self.images.open(int(self.rows[item]), number)


def _of_items(histories: Histories, is_kept_I: np.ndarray) -> tuple[Histories, np.ndarray, list[int]]:
    """The kept items of each history by new numbers, the kept interactions, and the users that have any."""
    kept_N = is_kept_I[histories.items]
    user_N = np.repeat(np.arange(len(histories)), histories.lengths)[kept_N]
    lengths_U = np.bincount(user_N, minlength=len(histories))
    users = np.flatnonzero(lengths_U)
    number_I = np.cumsum(is_kept_I) - 1
    offsets = np.concatenate([[0], np.cumsum(lengths_U[users])]).astype(np.int64)
    items = number_I[histories.items[kept_N]].astype(np.int32)
    return Histories(items, offsets), kept_N, users.tolist()
