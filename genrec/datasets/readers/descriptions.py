"""Item metadata: ``items.jsonl`` -> entries, and an entry -> its text and its attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec.datasets.readers.findings import repeated_keys
from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.keys import MISSING, key_text
from genrec.formats.text import listed, numbered_lines, shown

Entry = Mapping[str, Any]
"""One item's fields, as JSON has them."""

_EXAMPLE = '{"item_id": 1, "title": "..."}'
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")
"""Control characters, which a terminal would interpret."""
_ITEM_ID = re.compile(r"\d{1,18}", re.ASCII)
_BARE_FIELDS = ("title", "description")


def read_entries(path: Path, content: bytes) -> tuple[dict[int, Entry], list[Finding]]:
    """Read ``items.jsonl``: one JSON object a line, with the integer ``item_id`` that the histories use.

    Returns:
        The entries by ``item_id``, and a finding if an object has a key twice.

    Raises:
        DataError: a line is not such an object, or an ``item_id`` occurs twice.
    """
    entries: dict[int, Entry] = {}
    repeated: list[tuple[int, str]] = []
    for number, line in numbered_lines(path, content):
        try:
            entry = parse_json(line, lambda key, line=number: repeated.append((line, key)))
        except JsonError as error:
            raise DataError(f"{path}:{number}: not valid JSON ({error}); expected {_EXAMPLE}") from None
        if not isinstance(entry, dict):
            raise DataError(f"{path}:{number}: found a {type(entry).__name__}, expected an object like {_EXAMPLE}")
        item = _item_id(entry, f"{path}:{number}")
        if item in entries:
            raise DataError(f"{path}:{number}: item_id {item} was on an earlier line; every item has one line")
        entries[item] = entry
    return entries, repeated_keys(repeated, path)


def _item_id(entry: Entry, where: str) -> int:
    if "item_id" not in entry:
        raise DataError(f"{where}: no key 'item_id'; found {listed(entry)}; expected {_EXAMPLE}")
    value = entry["item_id"]
    text = key_text(value)  # 7, "7" and 7.0, as pandas writes a column with missing values
    if text is None or not _ITEM_ID.fullmatch(text):
        raise DataError(f"{where}: item_id is {shown(value)}, expected a whole number as in the histories")
    return int(text)


def words(value: Any) -> list[str]:
    """A field's value as plain strings: nested lists flattened, blanks and control characters collapsed, empty
    strings, NaN and repeats removed.
    """
    return list(dict.fromkeys(_flat(value)))


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)
    elif value is not None and not (isinstance(value, float) and not math.isfinite(value)):
        text = " ".join(str(value).translate(_CONTROLS).split())
        if not text.isascii():
            # A lone surrogate is valid JSON but not valid text; encoders and files fail on it later.
            text = text.encode("utf-8", "replace").decode()
        if text not in MISSING:
            yield text


def title(entry: Entry) -> str:
    """A short name to show, "" where there is none."""
    return ", ".join(words(entry.get("title")))


def describe(entry: Entry, fields: Sequence[str]) -> str:
    """The text of an item: one line for each field that it has, in the order given.

    Title and description have no label, other fields have their name: ``Brand: OPI``.
    """
    lines = []
    for field in fields:
        if value := ", ".join(words(entry.get(field))):
            lines.append(value if field in _BARE_FIELDS else f"{field.replace('_', ' ').capitalize()}: {value}")
    return "\n".join(lines)


def leaf_categories(value: Any) -> list[str]:
    """The last category of each path; of a list without paths, every category."""
    paths = value if isinstance(value, list | tuple) else [value]
    leaves = (words(path)[-1:] if isinstance(path, list | tuple) else words(path) for path in paths)
    return list(dict.fromkeys(leaf for found in leaves for leaf in found))


def coverage(entries: Iterable[Entry], fields: Sequence[str]) -> str:
    """For the notes: which share of the items has each field, e.g. ``title 100 %, brand 62 %``."""
    entries = list(entries)
    counts = {field: sum(any(_flat(entry.get(field))) for entry in entries) for field in fields}
    return ", ".join(f"{field} {100 * count / len(entries):.3g} %" for field, count in counts.items() if count)
