"""Paths of a dataset's files from ``--data`` and a component's ``folder``, with clear errors."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator

from genrec.errors import DataError


def leaves_folder(path: str) -> bool:
    """Whether a path in a recipe or a data file leads out of its base folder, on any system."""
    windows = PureWindowsPath(path)
    return PurePosixPath(path).is_absolute() or bool(windows.anchor) or ".." in windows.parts


def _stay_inside(path: str) -> str:
    if leaves_folder(path):
        raise ValueError(f"{path!r} is absolute or contains '..'; expected a path inside the data folder (see --data)")
    return path


RelativePath = Annotated[str, AfterValidator(_stay_inside)]
"""A path inside the data folder: neither absolute nor with ``..``."""


def find(data: Path | None, folder: str) -> Path:
    """The folder to read: ``data/folder`` if it exists, else ``data`` itself.

    Args:
        data: value of ``--data`` or ``GENREC_DATA``.
        folder: from the dataset block of the recipe.

    Raises:
        DataError: ``data`` is None or not a folder.
    """
    if data is None:
        raise DataError(
            f"dataset: no data folder for {folder!r}: pass --data DIR or set GENREC_DATA=DIR, where DIR/{folder} (or "
            f"DIR itself) holds the files, or put {folder} or data/{folder} beside the recipe"
        )
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; --data or GENREC_DATA must name the folder that holds {folder!r}")
    inside = data / folder
    return inside if inside.is_dir() else data


def require(folder: Path, name: str, what: str, source: str) -> Path:
    """The path of a required file.

    Args:
        folder: from :func:`find`.
        name: path of the file inside it.
        what: what the file is, for the message.
        source: where to get it.

    Raises:
        DataError: it is missing; the message explains what to put where.
    """
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path}: missing file: {what}; {source}, and put it there (or point --data elsewhere)")
    return path
