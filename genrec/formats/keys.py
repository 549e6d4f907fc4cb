"""Keys of users and items from any file: one text for each, lists of keys, and keys that mean the same number."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from genrec.errors import DataError
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.text import decode, numbered_lines, shown

MISSING = ("", "nan", "NaN")
"""Texts of a missing value: an empty one, and NaN as pandas writes it."""

_LONGEST_NUMBER = 1000
_NUMBER = re.compile(r"(-?)0*(\d{1,40})(?:\.0*)?", re.ASCII)


def key_text(value: Any) -> str | None:
    """The text of a key: a text without surrounding blanks, a whole number without a point, 1.5 as ``1.5``.

    None if it is missing (None, NaN, a blank text) or no key (a list, a truth value).
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text in MISSING else text
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def match_keys(wanted: Iterable[str], found: Iterable[str]) -> dict[str, str]:
    """Which found key is which wanted one: the same text, or the same number.

    ``1.0`` and ``01`` match ``1`` unless another key of either side is that number too.

    Args:
        wanted: the keys of the catalog.
        found: the keys of a file.

    Returns:
        The wanted key of each found key that matches one.
    """
    wanted, found = dict.fromkeys(wanted), dict.fromkeys(found)
    matches = {key: key for key in found if key in wanted}
    if len(matches) < min(len(wanted), len(found)):
        wanted_of, found_of = _by_number(wanted), _by_number(found)
        for number, key in found_of.items():
            if key not in matches and number in wanted_of and wanted_of[number] not in found:
                matches[key] = wanted_of[number]
    return matches


def _by_number(keys: Collection[str]) -> dict[str, str]:
    """The key of each number that exactly one key is."""
    numbers = {key: number[1] + number[2] for key in keys if (number := _NUMBER.fullmatch(key))}
    counts = Counter(numbers.values())
    return {number: key for key, number in numbers.items() if counts[number] == 1}


def sorted_keys(keys: Iterable[str]) -> list[str]:
    """Keys in order: as numbers if all are digits, else as texts."""
    keys = list(keys)
    by_number = all(key.isascii() and key.isdigit() and len(key) < _LONGEST_NUMBER for key in keys)
    return sorted(keys, key=lambda key: (int(key), key)) if by_number else sorted(keys)


def examples(keys: Iterable[str]) -> str:
    """The first three keys, for messages."""
    first = [shown(key) for key, _ in zip(keys, range(3), strict=False)]
    return ", ".join(first) or "none"


def read_keys(file: Path) -> list[str]:
    """Item keys from a file: a JSON list, or one per line.

    Raises:
        DataError: the file is empty, is not UTF-8, or is not a list of keys.
    """
    content = file.read_bytes()
    if not decode(file, content).lstrip().startswith("["):
        return [line for _, line in numbered_lines(file, content)]
    return key_list(decode(file, content), str(file))


def key_list(text: str, where: str) -> list[str]:
    """Item keys from a JSON list.

    Args:
        text: the JSON text.
        where: the file, for messages.

    Raises:
        DataError: it is not a list of texts and numbers.
    """
    try:
        values = parse_json(text)
    except JsonError as error:
        raise DataError(f"{where}: not a JSON list of keys (line {error.line}: {error})") from None
    if not isinstance(values, list):
        raise DataError(f"{where}: found a JSON {type(values).__name__}, expected a list of item keys")
    keys = [key_text(value) for value in values]
    for place, key in enumerate(keys):
        if key is None:
            raise DataError(f"{where}: key {place + 1} is {shown(values[place])}, expected texts or whole numbers")
    return [key for key in keys if key is not None]
