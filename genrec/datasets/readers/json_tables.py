"""A file of JSON objects, one a line, read as a table of any columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from genrec.datasets.readers.csv import require_columns
from genrec.datasets.readers.descriptions import words
from genrec.datasets.readers.json_lines import json_objects
from genrec.datasets.readers.tables import Kind, TableFile
from genrec.errors import DataError
from genrec.formats.keys import key_text
from genrec.formats.text import HALF

_INT64 = 2**63


@dataclass(frozen=True)
class JsonLinesTable(TableFile):
    """An existing file; each key of its objects is a column, null where an object lacks it."""

    @cached_property
    def _objects(self) -> tuple[list[int], list[dict[str, Any]]]:
        """Line and content of each object."""
        found = list(json_objects(self.path, title=self.path.name))
        return [line for line, _ in found], [entry for _, entry in found]

    @cached_property
    def columns(self) -> list[str]:
        """The keys of all objects, in the order in which they turn up."""
        return list(dict.fromkeys(key for entry in self._objects[1] for key in entry))

    def require(self, wanted: Collection[str]) -> None:
        """As :meth:`TableFile.require`."""
        require_columns(f"{self.path}:1", self.columns, wanted)

    def read(
        self, columns: Mapping[str, Kind], *, filled: Collection[str] = (), skip: bool = False
    ) -> tuple[pl.DataFrame, int]:
        """As :meth:`TableFile.read`: numbers, texts, and lists of texts for columns that have any list."""
        self.require(list(columns))
        lines, entries = self._objects
        is_filled = [all(_is_key(entry.get(name)) for name in filled) for entry in entries]
        if not all(is_filled) and not skip:
            place = is_filled.index(False)
            name = next(name for name in filled if not _is_key(entries[place].get(name)))
            raise DataError(f"{self.path}:{lines[place]}: {name} is empty, no text or number, or not valid Unicode")
        kept = [entry for entry, is_kept in zip(entries, is_filled, strict=True) if is_kept]
        table = pl.DataFrame([_series(name, [entry.get(name) for entry in kept]) for name in columns])
        return table, len(entries) - len(kept)

    def place_of(self, name: str, value: str, *, occurrence: int = 1) -> str:
        """As :meth:`TableFile.place_of`."""
        lines, entries = self._objects
        found = [
            line for line, entry in zip(lines, entries, strict=True) if key_text(entry.get(name)) == key_text(value)
        ]
        return f"{self.path}:{found[occurrence - 1]}" if len(found) >= occurrence else f"{self.path}"


def _is_key(value: Any) -> bool:
    text = key_text(value)
    return text is not None and not HALF.search(text)


def _series(name: str, values: list[Any]) -> pl.Series:
    present = [value for value in values if value is not None]
    if any(isinstance(value, list | dict) for value in present):
        return pl.Series(name, [words(value) for value in values], dtype=pl.List(pl.String))
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        is_whole = all(isinstance(value, int) and abs(value) < _INT64 for value in present)
        if is_whole or not any(isinstance(value, int) and abs(value) >= _INT64 for value in present):
            return pl.Series(name, values, dtype=pl.Int64 if is_whole else pl.Float64, strict=False)
    texts = ["" if value is None else str(value).encode("utf-8", "replace").decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String)
