"""Small catalogs for the item encoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from genrec.errors import DataError
from genrec.types import Catalog, Histories, Pictures

CatalogOf = Callable[..., Catalog]


class Swatches:
    """Pictures of one colour each; None is no picture, a text is why it cannot be read."""

    def __init__(self, colours: list[tuple[int, int, int] | str | None]) -> None:
        self.colours = colours

    @property
    def present_I(self) -> np.ndarray:
        return np.array([colour is not None for colour in self.colours])

    def open(self, item: int) -> Image.Image:
        colour = self.colours[item]
        if isinstance(colour, str):
            raise DataError(colour)
        return Image.new("RGB", (20, 30), colour)


@pytest.fixture
def swatches() -> type[Swatches]:
    return Swatches


@pytest.fixture
def catalog_of() -> CatalogOf:
    def make(texts: list[str], pictures: Pictures | None = None) -> Catalog:
        keys = tuple(f"item-{row}" for row in range(len(texts)))
        return Catalog(keys, tuple(texts), tuple(texts), ((),) * len(texts), pictures)

    return make


@pytest.fixture
def no_histories() -> Histories:
    return Histories.of([])
