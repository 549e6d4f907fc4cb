"""Thumbnails of a catalog in the folder ``images/`` of an export: JPEG files packed into a few safetensors files.

One file for each item would be 100,000 files in a repository. The images of items 2,048 s to 2,048 s + 2,047 are in
``images/<s with five digits>.safetensors``: ``bytes`` holds their JPEG files one after another, uint8 (N,), and
``offsets`` where each begins, int64 (items of the file + 1,). An item without an image has no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from genrec.errors import DataError
from genrec.runtime.checksums import verify
from genrec.runtime.files import replacing
from genrec.runtime.progress import track

if TYPE_CHECKING:
    from genrec.types import Images

FOLDER = "images"
LONGEST_SIDE = 256
"""Pixels."""
_PER_FILE = 2048
_QUALITY = 85


class ItemImages:
    """The thumbnails of an export. Threads may share it; it keeps no image in memory.

    A server sends what :meth:`jpeg` returns as ``image/jpeg``, and 404 for None.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._offsets: dict[int, np.ndarray] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, folder: Path) -> ItemImages | None:
        """The thumbnails in the folder of an export; None if it has none."""
        return cls(folder) if (folder / FOLDER).is_dir() else None

    def jpeg(self, item: int) -> bytes | None:
        """The thumbnail of an item as a JPEG file; None if it has no image.

        Args:
            item: number of the item, from 0.

        Raises:
            DataError: the file that holds it is damaged.
        """
        number, row = divmod(item, _PER_FILE)
        file = _file(self._folder, number)
        try:
            offsets = self._offsets_of(number, file)
            if row + 1 >= len(offsets) or offsets[row] == offsets[row + 1]:
                return None
            with safe_open(file, "numpy") as tensors:
                return tensors.get_slice("bytes")[int(offsets[row]) : int(offsets[row + 1])].tobytes()
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from None

    def has(self, item: int) -> bool:
        """Whether an item has a thumbnail.

        Raises:
            DataError: the file that holds it is damaged.
        """
        number, row = divmod(item, _PER_FILE)
        file = _file(self._folder, number)
        try:
            offsets = self._offsets_of(number, file)
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from None
        return row + 1 < len(offsets) and bool(offsets[row] < offsets[row + 1])

    def _offsets_of(self, number: int, file: Path) -> np.ndarray:
        with self._lock:
            if number not in self._offsets:
                if file.is_file():
                    with safe_open(verify(file), "numpy") as tensors:
                        self._offsets[number] = tensors.get_tensor("offsets")
                else:
                    self._offsets[number] = np.zeros(1, dtype=np.int64)
            return self._offsets[number]


def write_thumbnails(images: Images, rows: Sequence[int | None], folder: Path) -> tuple[int, int]:
    """Write the first image of each item as a JPEG file of at most 256 pixels a side.

    Args:
        images: of a catalog.
        rows: for each item of the export its row in that catalog; None for items that were added later.
        folder: of the export.

    Returns:
        How many were written, and how many were left out because they cannot be read.
    """
    num_items, written, broken = len(rows), 0, 0
    for start in track(range(0, num_items, _PER_FILE), "thumbnails"):
        parts = []
        for row in rows[start : start + _PER_FILE]:
            part = b""
            if row is not None and images.counts_I[row]:
                try:
                    part = _thumbnail(images, row)
                    written += 1
                except DataError:
                    broken += 1
            parts.append(part)
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        with replacing(_file(folder / FOLDER, start // _PER_FILE)) as partial:
            partial.write_bytes(save({"bytes": np.frombuffer(b"".join(parts), dtype=np.uint8), "offsets": offsets}))
    return written, broken


def thumbnail_files(folder: Path) -> Iterator[str]:
    """The names of the files of thumbnails in an export, relative to its folder."""
    return (f"{FOLDER}/{file.name}" for file in sorted((folder / FOLDER).glob("*.safetensors")))


def _thumbnail(images: Images, item: int) -> bytes:
    image = images.open(item)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file}: expected thumbnails, found something else ({error}); export the run again")


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"
