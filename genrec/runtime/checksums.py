"""Checksums: whether the files of a run and of the cache are as they were written."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genrec.errors import DataError, GenrecError, PluginError
from genrec.runtime.files import read_json, reason

MARK = "run.json"
"""The file that marks the folder of a run. Its ``files`` are the checksums of the files of a finished run."""

_DEPTH = 4
"""Maximum depth of a file in the folder of a run (``train_only/streams/<name>/ids.safetensors``)."""
_EXPORT_AGAIN = "export the run or download the export again"
"""What to do about a damaged export."""


def checksum(file: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it.

    It detects truncation, changed bytes and exchanged files. It does not protect from a person who changes a file and
    its checksum.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {reason(error)}") from None


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with a checksum of itself, for JSON files that hold the checksums of others."""
    return {**content, "checksum": _digest(content)}


def is_intact(content: Any) -> bool:
    """Whether plain data is as it was sealed; data without a checksum, from an earlier version, is."""
    return isinstance(content, dict) and content.get("checksum") in (None, _digest(content))


def read_mark(folder: Path) -> dict[str, Any]:
    """The content of ``run.json`` in the folder of a run.

    Raises:
        DataError: it is missing, malformed or damaged.
    """
    try:
        content = read_json(folder / MARK)
    except DataError as error:
        raise DataError(f"{error}; {remedy(folder)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("files", {}), dict):
        raise DataError(f"{folder / MARK}: not the record of a run; {remedy(folder)}")
    if not is_intact(content):
        repair = _EXPORT_AGAIN if content.get("exported") else remedy(folder)
        raise DataError(f"{folder / MARK}: damaged, its content does not match its checksum; {repair}")
    return content


def is_export(folder: Path) -> bool:
    """Whether a folder is an export of a run, which has no data of users.

    Raises:
        DataError: its ``run.json`` is damaged.
    """
    return (folder / MARK).is_file() and bool(read_mark(folder).get("exported"))


def verify(file: Path) -> Path:
    """Check a file of a finished run against the checksum in ``run.json``.

    Files outside of runs, and of runs of versions that recorded no checksums, are not checked.

    Returns:
        The file.

    Raises:
        DataError: the file or ``run.json`` is damaged.
    """
    for folder in list(file.parents)[:_DEPTH]:
        if (folder / MARK).is_file():
            mark = read_mark(folder)
            expected = mark.get("files", {}).get(file.relative_to(folder).as_posix())
            if expected is not None and file.is_file() and checksum(file) != expected:
                repair = _EXPORT_AGAIN if mark.get("exported") else remedy(folder, file.name)
                raise DataError(f"{file}: its checksum is not the one in {folder / MARK}; {repair}")
            break
    return file


@contextmanager
def parsing(file: Path, what: str) -> Iterator[None]:
    """Turn any error of a block that interprets the content of a file into one that names the file.

    Args:
        file: of a run.
        what: its content, e.g. "the weights of a model".

    Raises:
        DataError: the block fails.
    """
    try:
        yield
    except (DataError, PluginError) as error:
        if file.name in str(error):
            raise
        raise type(error)(f"{file}: {error}") from None
    except GenrecError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(
            f"{file}: expected {what}, found something else ({type(error).__name__}: {text}); run the recipe again"
        ) from error


def remedy(folder: Path, name: str = MARK) -> str:
    """What to do about a damaged file in the folder of a run."""
    recipe = folder / "recipe.yaml"
    if name == recipe.name:
        return "restore it, or copy it to another folder to change it"
    if not recipe.is_file():
        return "run the same command again"
    output = ["--output", str(folder)] if (folder / ".stages").is_dir() else []
    return f"repair: {shlex.join(['genrec', 'run', str(recipe), *output])}"


def _digest(content: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
