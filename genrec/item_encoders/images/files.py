"""All images of a catalog as one list: whose they are, which cannot be read, and the mean over an item's images."""

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
    """The file, or whatever the dataset says of it."""
    kind: str
    """What is wrong, in a word or two."""


@dataclass(frozen=True)
class ImageList:
    """Every image of a catalog, those of an item side by side, in catalog order."""

    images: Images
    item_N: np.ndarray
    """The item that image n shows, int64 (N,)."""
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
        """Image ``row`` as RGB, or what is wrong with it."""
        try:
            return self.images.open(int(self.item_N[row]), int(self.number_N[row])).convert("RGB")
        except ImageError as error:
            return Unreadable(error.name, error.kind)
        except DataError as error:  # images that are no files
            return Unreadable(str(error), "unreadable")

    def mean_vectors(
        self, vectors_NE: np.ndarray, read_N: np.ndarray, unreadable: Sequence[Unreadable], *, normalize: bool
    ) -> ItemVectors:
        """One vector an item: the mean over those of its images that could be read; items without one are absent.

        Args:
            vectors_NE: of the images that could be read alone, in order.
            read_N: which images could be read, bool (N,).
            unreadable: the others.
            normalize: scale to length 1 before and after taking the mean.

        Returns:
            Item vectors, whose notes say what could not be read.
        """
        item_N, num_items = self.item_N[read_N], len(self.images.counts_I)
        sums_IE = np.zeros((num_items, vectors_NE.shape[1]))
        np.add.at(sums_IE, item_N, unit_rows(vectors_NE) if normalize else vectors_NE)
        count_I = np.bincount(item_N, minlength=num_items)
        present_I = count_I > 0
        mean_NE = sums_IE[present_I] / count_I[present_I, None]
        return place(unit_rows(mean_NE) if normalize else mean_NE, present_I, self._notes(unreadable))

    def demand_some(self, unreadable: Sequence[Unreadable], encoder: str) -> None:
        """Check that an image is left.

        Raises:
            DataError: not a single one could be read.
        """
        if len(unreadable) == len(self):
            told = f"none of {len(self):,} images can be read ({_kinds(unreadable)}), e.g. {unreadable[0].name}"
            raise DataError(f"{encoder}: {told}; check the file")

    def _notes(self, unreadable: Sequence[Unreadable]) -> tuple[str, ...]:
        if not unreadable:
            return ()
        names = ", ".join(image.name for image in unreadable[:_MOST_NAMES])
        more = f" and {len(unreadable) - _MOST_NAMES:,} more" if len(unreadable) > _MOST_NAMES else ""
        share = f"{len(unreadable):,} of {len(self):,} images could not be read"
        return (f"{share} ({_kinds(unreadable)}): {names}{more}",)


def _kinds(unreadable: Sequence[Unreadable]) -> str:
    """How many of each kind, the commonest first: ``7 truncated, 2 empty``."""
    kinds = Counter(image.kind for image in unreadable)
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
