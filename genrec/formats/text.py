"""Text files: strict UTF-8, with or without a byte order mark, any line ends; errors with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from genrec.errors import DataError

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character: a lone surrogate, which JSON can write and UTF-8 cannot."""
_LONGEST_SHOWN = 60
_MOST_LISTED = 50


def decode(path: Path, content: bytes) -> str:
    """Bytes of a file -> text, without a byte order mark.

    Raises:
        DataError: the content is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(split_lines(content[: error.start].decode("latin-1")))
        raise not_utf8(path, line, content[error.start]) from None


def not_utf8(path: Path, line: int, byte: int) -> DataError:
    """The error of a byte that is not UTF-8."""
    if line == 1 and byte == 0x8B:  # the second byte of a gzip file; the first is a letter of no text
        return DataError(f"{path}: compressed with gzip, expected text in UTF-8; unpack it")
    return DataError(f"{path}:{line}: not UTF-8: byte 0x{byte:02x}; save the file as UTF-8 and run again")


def split_lines(text: str) -> list[str]:
    r"""Lines that end in \n, \r\n or, in a file without any \n, in \r, without their ends.

    Not ``splitlines``: it also splits at U+2028 and U+0085, which may occur inside a JSON string.
    """
    return [line.removesuffix("\r") for line in text.split("\n")] if "\n" in text else text.split("\r")


def numbered_lines(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, stripped, with their number from 1.

    Raises:
        DataError: the content is blank or not UTF-8.
    """
    text = decode(path, content)
    if not text.strip():
        raise DataError(f"{path}:1: the file is empty")
    for number, line in enumerate(split_lines(text), start=1):
        if line := line.strip():
            yield number, line


def listed(names: Iterable[object]) -> str:
    """Names for a message, the first 50 of them, without half characters that a terminal refuses."""
    some = [str(name).encode("utf-8", "replace").decode() for name in islice(names, _MOST_LISTED + 1)]
    return ", ".join(some[:_MOST_LISTED] + ["..."] * (len(some) > _MOST_LISTED)) or "none"


def check_writable(what: str, keys: Sequence[str], texts: Sequence[str]) -> None:
    """Reject half characters (lone surrogates), which no file, terminal or text encoder takes.

    Args:
        what: the texts are, for the message.
        keys: the item of each text.
        texts: to check.

    Raises:
        DataError: a text has one.
    """
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        key = next(key for key, text in zip(keys, texts, strict=True) if HALF.search(text))
        raise DataError(
            f"{what} of item {key!r} has half of a character (a lone surrogate); expected Unicode text: correct it in "
            "the source"
        ) from None


def shown(value: object) -> str:
    """A value for a message, cut after 60 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
