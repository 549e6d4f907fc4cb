"""All images of a catalog as one list: their items, unreadable ones, and the mean over an item's images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genrec.errors import DataError, ImageError
from genrec.item_encoders._rows import place, unit_rows
from genrec.types import Catalog, Images, ItemVectors

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_NAMES = 20


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read."""

    name: str
    """The file name, or the message of the dataset."""
    kind: str
    """The problem in a word or two."""


@dataclass(frozen=True)
class ImageList:
    """Every image of a catalog, grouped by item, in catalog order."""

    images: Images
    item_N: np.ndarray
    """The item of image n, int64 (N,)."""
    number_N: np.ndarray
    """Which of the item's images it is, int64 (N,)."""

    @classmethod
    def of(cls, catalog: Catalog, encoder: str) -> ImageList:
        """List the images of a catalog.

        Raises:
            DataError: there are none.
        """
        if catalog.images is None or not catalog.images.counts_I.any():
            raise DataError(
                f"{encoder}: no item of this dataset has an image; choose an item encoder that reads text, or put the "
                "images where the dataset looks for them"
            )
        counts_I = catalog.images.counts_I.astype(np.int64)
        item_N = np.repeat(np.arange(len(counts_I)), counts_I)
        number_N = np.arange(len(item_N)) - np.repeat(np.cumsum(counts_I) - counts_I, counts_I)
        return cls(catalog.images, item_N, number_N)

    def __len__(self) -> int:
        return len(self.item_N)

    def read(self, row: int) -> Image | Unreadable:
        """Image ``row`` as RGB, or its problem."""
        try:
            return self.images.open(int(self.item_N[row]), int(self.number_N[row])).convert("RGB")
        except ImageError as error:
            return Unreadable(error.name, error.kind)
        except DataError as error:  # images that are not files
            return Unreadable(str(error), "unreadable")

    def mean_vectors(
        self, vectors_NE: np.ndarray, read_N: np.ndarray, unreadable: Sequence[Unreadable], *, normalize: bool
    ) -> ItemVectors:
        """One vector for each item: the mean over its readable images; items without one are absent.

        Args:
            vectors_NE: of the readable images only, in order.
            read_N: whether an image is readable, bool (N,).
            unreadable: the others.
            normalize: scale to length 1 before and after taking the mean.

        Returns:
            Item vectors with notes on unreadable images.
        """
        item_N, num_items = self.item_N[read_N], len(self.images.counts_I)
        sums_IE = np.zeros((num_items, vectors_NE.shape[1]))
        np.add.at(sums_IE, item_N, unit_rows(vectors_NE) if normalize else vectors_NE)
        count_I = np.bincount(item_N, minlength=num_items)
        present_I = count_I > 0
        mean_NE = sums_IE[present_I] / count_I[present_I, None]
        return place(unit_rows(mean_NE) if normalize else mean_NE, present_I, self._notes(unreadable))

    def demand_some(self, unreadable: Sequence[Unreadable], encoder: str) -> None:
        """Check that at least one image is readable.

        Raises:
            DataError: all images are unreadable.
        """
        if len(unreadable) == len(self):
            problem = f"none of {len(self):,} images can be read ({_kinds(unreadable)}), e.g. {unreadable[0].name}"
            raise DataError(f"{encoder}: {problem}; check the file")

    def _notes(self, unreadable: Sequence[Unreadable]) -> tuple[str, ...]:
        if not unreadable:
            return ()
        names = ", ".join(image.name for image in unreadable[:_MOST_NAMES])
        more = f" and {len(unreadable) - _MOST_NAMES:,} more" if len(unreadable) > _MOST_NAMES else ""
        share = f"{len(unreadable):,} of {len(self):,} images could not be read"
        return (f"{share} ({_kinds(unreadable)}): {names}{more}",)


def _kinds(unreadable: Sequence[Unreadable]) -> str:
    """Counts by kind, the most frequent first: ``7 truncated, 2 empty``."""
    kinds = Counter(image.kind for image in unreadable)
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
