"""Small catalogs for the item encoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from genrec.errors import DataError
from genrec.types import Catalog, Histories, Images

CatalogOf = Callable[..., Catalog]
Color = tuple[int, int, int] | str


class Swatches:
    """Images of one color each; None is no image, a list is several, a text is why one cannot be read."""

    def __init__(self, colors: list[Color | list[Color] | None]) -> None:
        self.colors = [[] if of is None else of if isinstance(of, list) else [of] for of in colors]
        self.counts_I = np.array([len(of_item) for of_item in self.colors], dtype=np.int32)

    def open(self, item: int, number: int = 0) -> Image.Image:
        color = self.colors[item][number]
        if isinstance(color, str):
            raise DataError(color)
        return Image.new("RGB", (20, 30), color)


@pytest.fixture
def swatches() -> type[Swatches]:
    return Swatches


@pytest.fixture
def catalog_of() -> CatalogOf:
    def make(texts: list[str], images: Images | None = None) -> Catalog:
        keys = tuple(f"item-{row}" for row in range(len(texts)))
        return Catalog(keys, tuple(texts), tuple(texts), ((),) * len(texts), images)

    return make


@pytest.fixture
def no_histories() -> Histories:
    return Histories.of([])
