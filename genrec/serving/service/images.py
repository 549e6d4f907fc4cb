"""Thumbnails of a run's items, from the images of its dataset."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Literal

from genrec.errors import GenrecError
from genrec.experiment.dataset import load_dataset
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment
from genrec.runtime.progress import console
from genrec.types import Images

MIN_SIZE, MAX_SIZE = 16, 512
"""Pixels of the longer side of a thumbnail."""
_CACHE_BYTES = 64 * 2**20
_QUALITY = 85


class ItemImages:
    """The images of a run's items, once :meth:`load` has found them."""

    def __init__(self) -> None:
        self.state: Literal["loading", "available", "none"] = "none"
        self._images: Images | None = None
        self._sources: Mapping[int, int] = {}
        """By item of the run: the item of the dataset that has its image."""
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()

    def load(self, recipe: Recipe, folder: RunFolder, keys: Sequence[str], environment: Environment) -> None:
        """Find the images in the dataset of a run; without the data there are none, which is logged.

        Args:
            recipe: of the run.
            folder: of the run; it knows where its data was.
            keys: of the items of the run.
            environment: with a data folder to use instead.
        """
        self.state = "loading"
        try:
            catalog = load_dataset(recipe, folder.located(environment)).catalog
        except GenrecError as error:
            console.print(f"{folder.path}: no images: {error}", markup=False)
            self.state = "none"
            return
        if catalog.images is None or not catalog.images.counts_I.any():
            self.state = "none"
            return
        counts, row_of = catalog.images.counts_I, catalog.row_of
        found = ((row, row_of.get(key)) for row, key in enumerate(keys))
        self._sources = {row: source for row, source in found if source is not None and counts[source]}
        self._images = catalog.images
        self.state = "available"

    def has(self, row: int) -> bool:
        """Whether an item has an image."""
        return row in self._sources

    def thumbnail(self, row: int, size: int) -> bytes | None:
        """The first image of an item as JPEG; None if it has none that can be read.

        Args:
            row: number of the item.
            size: pixels of the longer side; smaller images are not enlarged.
        """
        source = self._sources.get(row)
        if source is None or self._images is None:
            return None
        with self._lock:
            if (known := self._cache.get((row, size))) is not None:
                self._cache.move_to_end((row, size))
                return known
        try:
            image = self._images.open(source)
        except GenrecError as error:
            console.print(f"image of item {row}: {error}", markup=False)
            return None
        image.thumbnail((size, size))
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=_QUALITY)
        content = file.getvalue()
        with self._lock:
            if (row, size) not in self._cache:
                self._cache[row, size] = content
                self._cached_bytes += len(content)
            while self._cached_bytes > _CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return content
