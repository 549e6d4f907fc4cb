"""Pictures of a catalog that lie on disk, opened one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrec.datasets._fingerprint import Fingerprint
from genrec.datasets._folder import leaves_folder
from genrec.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
"""Larger pictures are refused: a few kilobytes of file can unpack to gigabytes."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened; Pillow would read more, EPS among it, by starting another program."""


class PictureFiles:
    """One file an item, where there is one."""

    def __init__(self, folder: Path, names: Sequence[str | None]) -> None:
        """Look which files exist.

        Args:
            folder: what the names are relative to.
            names: the picture of each item, None for none. A file that does not exist counts as none.

        Raises:
            DataError: a name leads out of the folder.
        """
        for name in names:
            if name is not None and leaves_folder(name):
                raise DataError(f"{folder}: picture {name!r} lies outside; expected a path inside this folder")
        self._folder = folder
        self._names = [name if name is not None and (folder / name).is_file() else None for name in names]
        self._present_I = np.array([name is not None for name in self._names], dtype=np.bool_)

    @property
    def present_I(self) -> np.ndarray:
        """Whether item i has a picture, bool (I,)."""
        return self._present_I

    def open(self, item: int) -> Image:
        """The picture of an item that has one, as RGB, upright, on white where it is transparent.

        Raises:
            DataError: it has none, or the file is unreadable, truncated or too large.
        """
        from PIL import Image, ImageOps

        name = self._names[item]
        if name is None:
            raise DataError(f"{self._folder}: item {item} has no picture")
        path = self._folder / name
        try:
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{path}: the picture has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; "
                        "scale it down or remove the file"
                    )
                image.load()
                return _on_white(ImageOps.exif_transpose(image))
        except DataError:
            raise
        except Exception as error:  # Pillow's decoders raise almost anything on a broken file
            raise DataError(
                f"{path}: the picture cannot be read ({type(error).__name__}: {error}); replace or remove the file"
            ) from error

    def add_to(self, fingerprint: Fingerprint) -> None:
        """Add names and sizes of the files, not their bytes: thousands of pictures would take longer than the rest."""
        sizes = [f"{name}:{(self._folder / name).stat().st_size}" for name in self._names if name is not None]
        fingerprint.add("pictures", "\n".join(sizes).encode())


def _on_white(image: Image) -> Image:
    from PIL import Image

    if "A" not in image.mode and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
