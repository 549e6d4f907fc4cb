"""Thumbnails of the items' images, reduced by PCA; needs no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import all_absent, demand_equal
from genrec.item_encoders._rows import place
from genrec.item_encoders.images.files import ImageList, Unreadable
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Width
from genrec.runtime.progress import track
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from sklearn.decomposition import PCA


@item_encoders.register("pixels")
class Pixels(ItemEncoder):
    """Small RGB thumbnails, averaged over an item's images and reduced by PCA: color and layout, no weights."""

    reads_histories = False

    size: Width = 16
    """Side of the thumbnail in pixels."""
    dim: Width = 64
    """Width of the vectors; smaller where there are fewer images or pixels."""

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Check that there are images."""
        ImageList.of(catalog, self.type_name)

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        return self._fit(catalog)[0]

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Reduce the thumbnails of the new items as those of the known ones, to which all is fitted again."""
        if new.images is None or not new.images.counts_I.any():
            return all_absent(new, known)
        catalog = known.read_catalog()
        vectors, pca = self._fit(catalog)
        demand_equal(known.vectors, vectors.vectors_IE, catalog.keys, self.type_name)
        mean = self._mean_thumbnails(new)
        thumbnails_NP = mean.vectors_IE[mean.present_I].astype(np.float64)
        return place(pca.transform(thumbnails_NP), mean.present_I, mean.notes)

    def _fit(self, catalog: Catalog) -> tuple[ItemVectors, PCA]:
        """The vectors of a catalog, and the fitted reduction of thumbnails."""
        from sklearn.decomposition import PCA

        mean = self._mean_thumbnails(catalog)
        thumbnails_NP = mean.vectors_IE[mean.present_I].astype(np.float64)
        pca = PCA(min(self.dim, *thumbnails_NP.shape), svd_solver="full")
        return place(pca.fit_transform(thumbnails_NP), mean.present_I, mean.notes), pca

    def _mean_thumbnails(self, catalog: Catalog) -> ItemVectors:
        """The mean of the thumbnails of each item, not reduced."""
        images = ImageList.of(catalog, self.type_name)
        thumbnails_NP, read_N, unreadable = _thumbnails(images, self.size)
        images.demand_some(unreadable, self.type_name)
        return images.mean_vectors(thumbnails_NP, read_N, unreadable, normalize=False)


def _thumbnails(images: ImageList, size: int) -> tuple[np.ndarray, np.ndarray, list[Unreadable]]:
    """Readable images as float64 (N, 3 size^2) in 0..1, a mask of them, and the unreadable ones."""
    from PIL.Image import Resampling

    rows, unreadable, read_N = [], [], np.ones(len(images), dtype=bool)
    for row in track(range(len(images)), "pixels"):
        image = images.read(row)
        if isinstance(image, Unreadable):
            unreadable.append(image)
            read_N[row] = False
        else:
            thumbnail = image.resize((size, size), Resampling.BOX)
            rows.append(np.asarray(thumbnail, dtype=np.float64).ravel() / 255.0)
    return np.array(rows).reshape(len(rows), 3 * size * size), read_N, unreadable
