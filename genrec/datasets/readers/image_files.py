"""Image files of a catalog, opened one at a time, in any format and mode."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import leaves_folder
from genrec.errors import DataError, ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
"""Larger images are rejected before they are decoded: a few kilobytes can decode to gigabytes."""

ENOUGH_PIXELS = 640
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as no side falls below this; no encoder reads more."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Supported formats; Pillow reads more, but EPS by starting another program."""


_SAMPLE_BYTES = 4096


class ImageFiles:
    """The image files of each item."""

    def __init__(self, folder: Path, names: Sequence[Sequence[str]]) -> None:
        """Look which files exist.

        Args:
            folder: what the names are relative to.
            names: the images of each item, in the order in which they are opened. Missing files are
                ignored.

        Raises:
            DataError: a path leads out of the folder.
        """
        for name in chain.from_iterable(names):
            if leaves_folder(name):
                raise DataError(
                    f"{folder}: image {name!r} is outside of the folder; expected a path inside this folder"
                )
        self._folder = folder
        self._names = [[name for name in of_item if is_there(folder, name)] for of_item in names]
        self.counts_I = np.array([len(of_item) for of_item in self._names], dtype=np.int32)
        """How many images item i has, int32 (I,)."""

    def open(self, item: int, number: int = 0) -> Image:
        """An image of an item: RGB, upright, on white where it is transparent, the first frame of an animation.

        Raises:
            DataError: the item has no such image.
            ImageError: the file is gone, empty, truncated, damaged, not an image or too large.
        """
        if number >= len(self._names[item]):
            raise DataError(f"{self._folder}: item {item} has no image {number}")
        path = self._folder / self._names[item][number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of sizes that are rejected here anyway
            return _read(path)

    def add_to(self, fingerprint: Fingerprint) -> None:
        """Add name, size and the middle of each file: hashing all bytes of thousands of images would take too long."""
        for item, of_item in enumerate(self._names):
            for name in of_item:
                fingerprint.add(f"{item}:{name}", _sample(self._folder / name))


def is_there(folder: Path, name: str) -> bool:
    """Whether there is a file of that name; some names are invalid, such as a long URL."""
    try:
        return (folder / name).is_file()
    except OSError:
        return False


def _sample(path: Path) -> bytes:
    """Size and some bytes from the middle, where images of the same size differ."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            file.seek(max(size - _SAMPLE_BYTES, 0) // 2)
            return f"{size}:".encode() + file.read(_SAMPLE_BYTES)
    except OSError:  # reported when the image is opened
        return f"{size}:".encode()


def _read(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        if path.stat().st_size == 0:
            raise ImageError(path, "empty", "the image is an empty file", "replace or remove the file")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path, f"{image.width} x {image.height}")
            image.draft(None, (ENOUGH_PIXELS, ENOUGH_PIXELS))
            image.load()
            return _as_rgb(_upright(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far too many") from error
    except Exception as error:  # Pillow's decoders raise almost anything on a broken file
        if isinstance(error, FileNotFoundError):
            kind = "missing"
        elif isinstance(error, UnidentifiedImageError):
            kind = "not an image"
        else:
            kind = "truncated" if "truncated" in str(error).lower() else "damaged"
        problem = f"the image cannot be read ({type(error).__name__}: {error})"
        raise ImageError(path, kind, problem, "replace or remove the file") from error


def _too_large(path: Path, size: str) -> ImageError:
    problem = f"the image has {size} pixels, more than {MAX_PIXELS:,}"
    return ImageError(path, "too large", problem, "scale it down or remove the file")


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block is no reason to lose the image
        return image


def _as_rgb(image: Image) -> Image:
    """Eight bits a channel, transparent parts on white."""
    from PIL import Image

    if image.mode[0] in "IF":
        return _in_eight_bits(np.asarray(image)).convert("RGB")
    if "A" not in image.mode and "a" not in image.mode and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _in_eight_bits(values_HW: np.ndarray) -> Image:
    """Gray values of 16 or 32 bits or floats, scaled to 0..255; Pillow would clip them.

    Sixteen bits have their whole range, floats 0..1 or 0..255; values outside of what is usual are stretched.
    """
    from PIL import Image

    gray_HW = np.nan_to_num(values_HW.astype(np.float64))
    low, high = float(gray_HW.min()), float(gray_HW.max())
    top = (1.0 if high <= 1 else 255.0) if values_HW.dtype.kind == "f" else 65535.0
    if low < 0 or high > top:
        gray_HW, top = gray_HW - low, max(high - low, 1e-12)
    return Image.fromarray(np.rint(gray_HW * (255 / top)).astype(np.uint8))
