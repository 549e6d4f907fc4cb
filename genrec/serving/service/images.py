"""Thumbnails of a run's items: those of an export, or made from the images of the dataset."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence, Set
from threading import Lock
from typing import Literal

from genrec.errors import GenrecError
from genrec.experiment.dataset import load_dataset
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment
from genrec.runtime.progress import console
from genrec.serving.images import ItemImages
from genrec.types import Images

MIN_SIZE, MAX_SIZE = 16, 512
"""Pixels of the longer side of a thumbnail."""
_CACHE_BYTES = 64 * 2**20
_QUALITY = 85


class Thumbnails:
    """The images of a run's items, once :meth:`load` has found them."""

    def __init__(self) -> None:
        self.state: Literal["loading", "available", "none"] = "none"
        self._rows: Set[int] = frozenset()
        """Items with an image."""
        self._read: Callable[[int, int], bytes | None] = lambda row, size: None
        self._cache: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()

    def load(self, recipe: Recipe, folder: RunFolder, keys: Sequence[str], environment: Environment) -> None:
        """Find the images in the folder of an export, else in the dataset of a run; if there are none, log why.

        Args:
            recipe: of the run.
            folder: of the run; it knows where its data was.
            keys: of the items of the run.
            environment: with a data folder to use instead.
        """
        self.state = "loading"
        try:
            exported = ItemImages.of(folder.path)
            if exported is not None:
                self._rows = {row for row in range(len(keys)) if exported.has(row)}
                self._read = lambda row, size: exported.jpeg(row)
            else:
                environment = folder.located(environment).for_dataset(recipe.dataset.block())
                catalog = load_dataset(recipe, environment).catalog
                if (images := catalog.images) is not None:
                    counts, row_of = images.counts_I, catalog.row_of
                    found = ((row, row_of.get(key)) for row, key in enumerate(keys))
                    sources = {row: source for row, source in found if source is not None and counts[source]}
                    self._rows = sources.keys()
                    self._read = lambda row, size: _thumbnail(images, sources[row], size)
        except GenrecError as error:
            console.print(f"{folder.path}: no images: {error}", markup=False)
        finally:
            self.state = "available" if self._rows else "none"

    def has(self, row: int) -> bool:
        """Whether an item has an image."""
        return row in self._rows

    def jpeg(self, row: int, size: int) -> bytes | None:
        """The image of an item as JPEG; None if it has none that can be read.

        Args:
            row: number of the item.
            size: pixels of the longer side. Smaller images are not enlarged, and those of an export have the size that
                they have.
        """
        if row not in self._rows:
            return None
        with self._lock:
            if (known := self._cache.get((row, size))) is not None:
                self._cache.move_to_end((row, size))
                return known
        try:
            content = self._read(row, size)
        except GenrecError as error:
            console.print(f"image of item {row}: {error}", markup=False)
            return None
        if content is not None:
            with self._lock:
                if (row, size) not in self._cache:
                    self._cache[row, size] = content
                    self._cached_bytes += len(content)
                while self._cached_bytes > _CACHE_BYTES:
                    self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return content


def _thumbnail(images: Images, item: int, size: int) -> bytes:
    image = images.open(item)
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
