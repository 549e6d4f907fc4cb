"""Thumbnails of the items' pictures, reduced by PCA; needs no weights."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveInt

from genrec.errors import DataError
from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import place
from genrec.progress import track
from genrec.types import Catalog, Histories, ItemVectors, Pictures


@item_encoders.register("pixels")
class Pixels(ItemEncoder):
    """Small RGB thumbnails reduced by PCA: colour and layout of the pictures, no weights."""

    size: PositiveInt = 16
    """Side of the thumbnail in pixels."""
    dim: PositiveInt = 64
    """Width of the vectors; smaller where there are fewer pictures or pixels."""

    def encode(self, catalog: Catalog, train: Histories, *, seed: int) -> ItemVectors:
        from sklearn.decomposition import PCA

        if catalog.pictures is None or not catalog.pictures.present_I.any():
            raise DataError("pixels: no item of this dataset has a picture; choose an item encoder that reads text")
        thumbnails_NP, present_I, unreadable = _thumbnails(catalog.pictures, self.size)
        if unreadable and not present_I.any():
            raise DataError(f"pixels: none of {len(unreadable)} pictures can be read, e.g. {unreadable[0]}")
        dim = min(self.dim, *thumbnails_NP.shape)
        vectors_NE = PCA(dim, svd_solver="full").fit_transform(thumbnails_NP)
        notes = (f"{len(unreadable)} pictures could not be read, e.g. {unreadable[0]}",) if unreadable else ()
        return place(vectors_NE, present_I, notes)


def _thumbnails(pictures: Pictures, size: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Readable pictures as float64 (N, 3 size^2) in 0..1, their items, and what was wrong with others."""
    from PIL.Image import Resampling

    present_I = np.array(pictures.present_I, dtype=bool)
    rows, unreadable = [], []
    for item in track(np.flatnonzero(present_I).tolist(), "pixels"):
        try:
            picture = pictures.open(item)
        except DataError as error:
            unreadable.append(str(error))
            present_I[item] = False
            continue
        thumbnail = picture.convert("RGB").resize((size, size), Resampling.BOX)
        rows.append(np.asarray(thumbnail, dtype=np.float64).ravel() / 255.0)
    return np.array(rows).reshape(len(rows), 3 * size * size), present_I, unreadable
