"""Files: written whole or not at all, read with one clear error, and fingerprints of their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from genrec.errors import DataError, StorageError
from genrec.runtime.progress import log_detail

PARTIAL = ".partial"
"""How the names of unfinished files end."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside a path, which replaces it when the block ends without an error.

    After a kill, on a full disk and after a power cut the path has its old content or the new one, never a part: the
    new file is on disk before it is renamed, and so is the rename before the block ends. A symbolic link is replaced,
    not followed. A kill leaves the temporary file ``<name>.<pid>.partial``.

    Raises:
        StorageError: the file cannot be written, e.g. because the disk is full.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise StorageError(f"{path}: cannot be written: is not a regular file")
        partial.unlink(missing_ok=True)
        partial.touch()  # with the rights that new files have here; libraries may give others
        rights = partial.stat().st_mode
        yield partial
        if partial.stat().st_mode != rights:
            partial.chmod(rights)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path}: cannot be written: {reason(error)}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def is_abandoned(partial: Path) -> bool:
    """Whether the process of this machine that wrote a temporary file of :func:`replacing` has ended.

    False on Windows, where it is not known.
    """
    number = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
    if not number.isdecimal():
        return True
    if sys.platform == "win32":  # signal 0 is Ctrl-C there
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # a process of another user
        return False
    return False


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as :func:`replacing` does."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Any, *, indent: int = 1, allow_nan: bool = True) -> None:
    """Write JSON, as :func:`replacing` does."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan) + "\n")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, as :func:`replacing` does.

    The copy is independent of the source. On file systems that can (Btrfs, XFS), both share their blocks on disk until
    one of them changes.
    """
    with replacing(target) as partial:
        try:
            with source.open("rb") as old, partial.open("wb") as new:
                left = os.fstat(old.fileno()).st_size
                while left > 0 and (count := os.copy_file_range(old.fileno(), new.fileno(), left)) > 0:
                    left -= count
        except (OSError, AttributeError):  # not on Linux, or between file systems
            left = 1
        if left:
            shutil.copyfile(source, partial)


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: it is missing, a folder, cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: as :func:`read_text`, or it is empty or not valid JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: empty, expected JSON")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise DataError(f"{path}: not valid JSON: it is nested too deeply") from None
    except ValueError:
        raise DataError(f"{path}: not valid JSON: a number has too many digits") from None


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason(error: OSError | SafetensorError) -> str:
    """Why a file cannot be read or written, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if number := re.search(r"(?:code: |os error )(\d+)", str(error)):
        return os.strerror(int(number[1]))
    return str(error)


def fingerprint(path: Path) -> str:
    """Hash of the content of a file, or of the names and contents of all files below a folder."""
    log_detail(f"reads {path}")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if "__pycache__" not in file.parts:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            stat = file.stat()
            digest.update(f"{name}\0{_content_hash(file, stat.st_size, stat.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


@cache
def _content_hash(file: Path, size: int, changed: int) -> str:
    """Hash of a file's content; size and time of change make a changed file a new question."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
