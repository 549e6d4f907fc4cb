"""A table of items -> the catalog of the items in the histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from genrec.datasets._columns import column_of, filled
from genrec.datasets.readers.descriptions import Entry, coverage, describe, title, words
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import leaves_folder
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import EXPECTED, to_ticks
from genrec.errors import DataError
from genrec.types import Catalog, ColumnKind

_MISSING = ("", "na", "n/a", "nan", "none", "null")
"""Texts for missing numbers and times, in any case."""


@dataclass(frozen=True)
class ItemColumns:
    """Roles of the columns of a table of items."""

    title: str | None = None
    texts: tuple[str, ...] = ()
    """Fields of an item's text, in this order."""
    attributes: tuple[str, ...] = ()
    image: str | None = None
    """Paths of images inside the data folder; None for ``images/<key>.jpg``."""
    typed: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Columns of the catalog, and their kinds."""

    @property
    def names(self) -> list[str]:
        """All fields of title, texts, attributes and images, each once."""
        named = [self.title, *self.texts, *self.attributes, self.image]
        return list(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class Items:
    """Metadata of some items, by key."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    """The fields of each item that has a row, texts or lists of texts."""
    typed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The values of each typed field: numbers, seconds since 1970, texts or lists of texts; None where missing."""
    notes: tuple[str, ...] = ()
    """Skipped rows and unreadable values."""


def read_items(
    file: TableFile,
    key: str,
    fields: Mapping[str, str],
    separators: Mapping[str, str | None],
    keys: Sequence[str],
    *,
    typed: Mapping[str, tuple[str, ColumnKind]] | None = None,
    skip: bool = False,
    skip_values: bool = False,
) -> Items:
    """Read the metadata of some items.

    Args:
        file: the table.
        key: the column of item keys.
        fields: the column of each field.
        separators: separator of each field that is a list; None detects it: a comma if the column has any, else a
            blank.
        keys: of the items to read.
        typed: column and kind of each typed field; ``separators`` applies to them too.
        skip: skip broken rows and repeated items instead of raising at the first.
        skip_values: treat unreadable typed values as missing instead of raising at the first.

    Raises:
        DataError: a column is missing, a row is broken, an item has two rows, or a number or time cannot be read; with
            file and line.
    """
    typed = typed or {}
    names = list(dict.fromkeys([key, *fields.values(), *(column for column, _ in typed.values())]))
    table, num_skipped = file.read(dict.fromkeys(names), filled=[key], skip=skip)
    as_keys = table[key].cast(pl.Int64) if table[key].dtype.is_float() else table[key]
    table = table.with_columns(as_keys.cast(pl.String)).filter(pl.col(key).is_in(list(keys)))
    again = table[key].is_duplicated() & ~table[key].is_first_distinct()
    if again.any():
        if not skip:
            value = table[key].filter(again)[0]
            where = file.place_of(key, value, occurrence=2)
            raise DataError(f"{where}: {key} {value!r} occurs twice; expected one row for each item")
        num_skipped += int(again.sum())
        table = table.filter(~again)
    values = {
        field: _parts(table[column], separators[field]) if field in separators else table[column].to_list()
        for field, column in fields.items()
    }
    rows = zip(*values.values(), strict=True) if values else ([] for _ in range(len(table)))
    keys_N = table[key].to_list()
    entries = {item: dict(zip(values, row, strict=True)) for item, row in zip(keys_N, rows, strict=True)}
    notes = [f"{num_skipped:,} broken or repeated rows of {file.path.name} were skipped"] if num_skipped else []
    typed_values: dict[str, Mapping[str, Any]] = {}
    for name, (column, kind) in typed.items():
        num_unread = 0
        if kind == "categorical":
            found = _parts(table[column], separators[name]) if name in separators else table[column].to_list()
        else:
            read, num_unread = _numbers_or_seconds(file, table[column], kind, skip=skip_values)
            found = read.to_list()
        if num_unread:
            notes.append(f"{num_unread:,} unreadable values of {column} in {file.path.name} are treated as missing")
        typed_values[name] = dict(zip(keys_N, found, strict=True))
    return Items(entries, typed_values, tuple(notes))


def _numbers_or_seconds(file: TableFile, column: pl.Series, kind: ColumnKind, *, skip: bool) -> tuple[pl.Series, int]:
    """The numbers of a column, or its times in seconds since 1970, null where missing; and how many are unreadable."""
    expected = "a number" if kind == "numeric" else EXPECTED
    given = column.fill_nan(None) if column.dtype.is_float() else column
    if given.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = given.cast(pl.String).str.strip_chars()
        given = texts.set(texts.str.to_lowercase().is_in(_MISSING), None)
    try:
        if kind == "datetime":
            ticks = to_ticks(given)
            read = ticks.values // ticks.per_second
        elif given.dtype.is_temporal():
            raise pl.exceptions.InvalidOperationError(f"it is of type {given.dtype}")
        else:
            read = given.cast(pl.Float64, strict=False)
            read = read.set(read.is_infinite() | read.is_nan(), None)
    except pl.exceptions.PolarsError as error:
        problem = str(error).strip().partition("\n")[0]
        raise DataError(f"{file.path}: {column.name} cannot be read as {expected} ({problem})") from None
    unread = read.is_null() & given.is_not_null()
    if unread.any() and not skip:
        value = str(column.cast(pl.String)[int(unread.arg_true()[0])])
        raise DataError(f"{file.place_of(column.name, value)}: {column.name} is {value!r}, expected {expected}")
    return read, int(unread.sum())


def _parts(column: pl.Series, separator: str | None) -> list[list[str]]:
    """Each value of a column as a list, without the brackets and quotes of a printed list."""
    if isinstance(column.dtype, pl.List | pl.Array):
        return [words(value.to_list() if isinstance(value, pl.Series) else value) for value in column]
    texts = column.cast(pl.String).fill_null("")
    if separator is None:
        separator = "," if texts.str.contains(",", literal=True).any() else " "
    return [[part.strip().strip("[]'\"") for part in text.split(separator) if part.strip()] for text in texts.to_list()]


def catalog_of(
    keys: tuple[str, ...], items: Items, columns: ItemColumns, folder: Path, fingerprint: Fingerprint
) -> tuple[Catalog, list[str]]:
    """The catalog of some items, and notes on missing metadata.

    Args:
        keys: of the items, in their order.
        items: their metadata.
        columns: the role of each field.
        folder: base folder of the image paths.
        fingerprint: the images are added to it; the caller adds the table.
    """
    entries = [items.entries.get(key, {}) for key in keys]
    images = ImageFiles(folder, _images(keys, entries, columns, folder))
    images.add_to(fingerprint)
    catalog = Catalog(
        keys=keys,
        titles=tuple(title({"title": entry.get(columns.title or "")}) for entry in entries),
        texts=tuple(_text(entry, columns) for entry in entries),
        attributes=tuple(tuple(words([entry.get(name) for name in columns.attributes])) for entry in entries),
        images=images if images.counts_I.any() else None,
        columns=filled(
            {
                name: column_of(kind, (items.typed.get(name, {}).get(key) for key in keys))
                for name, kind in columns.typed.items()
            }
        ),
    )
    notes = []
    if items.entries and (fields := coverage(entries, columns.texts)):
        notes.append(f"share of items with each text field: {fields}")
    if silent := sum(not entry for entry in entries):
        notes.append(f"{silent:,} of {len(keys):,} items have no metadata; their text is empty")
    if columns.image is not None:
        named = sum(len(words(entry.get(columns.image))) for entry in entries)
        if lost := named - int(images.counts_I.sum()):
            notes.append(f"{lost:,} of {named:,} images named in the metadata are missing")
    return catalog, notes


def _text(entry: Mapping[str, Any], columns: ItemColumns) -> str:
    """The title has no label, other fields have their names."""
    lines = [
        describe({"title": entry.get(name)}, ("title",)) if name == columns.title else describe(entry, (name,))
        for name in columns.texts
    ]
    return "\n".join(line for line in lines if line)


def _images(keys: Sequence[str], entries: list[Entry], columns: ItemColumns, folder: Path) -> list[list[str]]:
    if columns.image is not None:
        return [words(entry.get(columns.image)) for entry in entries]
    if not (folder / "images").is_dir():
        return [[] for _ in keys]
    return [[name] if not leaves_folder(name := f"images/{key}.jpg") else [] for key in keys]
