"""Text files by line: strict UTF-8, errors with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genrec.errors import DataError


def numbered_lines(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, stripped, with their number from 1.

    Raises:
        DataError: the content is empty or not UTF-8.
    """
    text = decode(path, content)
    if not text.strip():
        raise DataError(f"{path}:1: the file is empty")
    # Not splitlines(): it also splits at U+2028 and U+0085, which may occur inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line := line.strip():
            yield number, line


def decode(path: Path, content: bytes) -> str:
    """Bytes of a file -> text, without a byte order mark.

    Raises:
        DataError: the content is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8: byte 0x{content[error.start]:02x}; save the file as UTF-8 and run again"
        ) from None
