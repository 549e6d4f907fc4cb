"""All pictures of a catalog as one list: whose they are, which cannot be read, and the mean over an item's pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genrec.errors import DataError, PictureError
from genrec.item_encoders._rows import place, unit_rows
from genrec.types import Catalog, ItemVectors, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_NAMES = 20


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read."""

    name: str
    """The file, or whatever the data set says of it."""
    kind: str
    """What is wrong, in a word or two."""


@dataclass(frozen=True)
class PictureList:
    """Every picture of a catalog, those of an item side by side, in catalog order."""

    pictures: Pictures
    item_N: np.ndarray
    """The item that picture n shows, int64 (N,)."""
    number_N: np.ndarray
    """Which of the item's pictures it is, int64 (N,)."""

    @classmethod
    def of(cls, catalog: Catalog, encoder: str) -> PictureList:
        """List the pictures of a catalog.

        Raises:
            DataError: there are none.
        """
        if catalog.pictures is None or not catalog.pictures.counts_I.any():
            raise DataError(
                f"{encoder}: no item of this dataset has a picture; choose an item encoder that reads text, or put the "
                "pictures where the dataset looks for them"
            )
        counts_I = catalog.pictures.counts_I.astype(np.int64)
        item_N = np.repeat(np.arange(len(counts_I)), counts_I)
        number_N = np.arange(len(item_N)) - np.repeat(np.cumsum(counts_I) - counts_I, counts_I)
        return cls(catalog.pictures, item_N, number_N)

    def __len__(self) -> int:
        return len(self.item_N)

    def read(self, row: int) -> Image | Unreadable:
        """Picture ``row`` as RGB, or what is wrong with it."""
        try:
            return self.pictures.open(int(self.item_N[row]), int(self.number_N[row])).convert("RGB")
        except PictureError as error:
            return Unreadable(error.name, error.kind)
        except DataError as error:  # pictures that are no files
            return Unreadable(str(error), "unreadable")

    def mean_vectors(
        self, vectors_NE: np.ndarray, read_N: np.ndarray, unreadable: Sequence[Unreadable], *, normalize: bool
    ) -> ItemVectors:
        """One vector an item: the mean over those of its pictures that could be read; items without one are absent.

        Args:
            vectors_NE: of the pictures that could be read alone, in order.
            read_N: which pictures could be read, bool (N,).
            unreadable: the others.
            normalize: scale to length 1 before and after taking the mean.

        Returns:
            Item vectors, whose notes say what could not be read.
        """
        item_N, num_items = self.item_N[read_N], len(self.pictures.counts_I)
        sums_IE = np.zeros((num_items, vectors_NE.shape[1]))
        np.add.at(sums_IE, item_N, unit_rows(vectors_NE) if normalize else vectors_NE)
        count_I = np.bincount(item_N, minlength=num_items)
        present_I = count_I > 0
        mean_NE = sums_IE[present_I] / count_I[present_I, None]
        return place(unit_rows(mean_NE) if normalize else mean_NE, present_I, self._notes(unreadable))

    def demand_some(self, unreadable: Sequence[Unreadable], encoder: str) -> None:
        """Check that a picture is left.

        Raises:
            DataError: not a single one could be read.
        """
        if len(unreadable) == len(self):
            told = f"none of {len(self):,} pictures can be read ({_kinds(unreadable)}), e.g. {unreadable[0].name}"
            raise DataError(f"{encoder}: {told}; look at the file")

    def _notes(self, unreadable: Sequence[Unreadable]) -> tuple[str, ...]:
        if not unreadable:
            return ()
        names = ", ".join(picture.name for picture in unreadable[:_MOST_NAMES])
        more = f" and {len(unreadable) - _MOST_NAMES:,} more" if len(unreadable) > _MOST_NAMES else ""
        share = f"{len(unreadable):,} of {len(self):,} pictures could not be read"
        return (f"{share} ({_kinds(unreadable)}): {names}{more}",)


def _kinds(unreadable: Sequence[Unreadable]) -> str:
    """How many of each kind, the commonest first: ``7 truncated, 2 empty``."""
    kinds = Counter(picture.kind for picture in unreadable)
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
