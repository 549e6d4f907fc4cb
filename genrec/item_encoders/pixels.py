"""Thumbnails of the items' images, reduced by PCA; needs no weights."""

from __future__ import annotations

import numpy as np

from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import place
from genrec.item_encoders.images.files import ImageList, Unreadable
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Width
from genrec.runtime.progress import track
from genrec.types import Catalog, Histories, ItemVectors


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
        from sklearn.decomposition import PCA

        images = ImageList.of(catalog, self.type_name)
        thumbnails_NP, read_N, unreadable = _thumbnails(images, self.size)
        images.demand_some(unreadable, self.type_name)
        mean = images.mean_vectors(thumbnails_NP, read_N, unreadable, normalize=False)
        thumbnails_NP = mean.vectors_IE[mean.present_I].astype(np.float64)
        dim = min(self.dim, *thumbnails_NP.shape)
        return place(PCA(dim, svd_solver="full").fit_transform(thumbnails_NP), mean.present_I, mean.notes)


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
