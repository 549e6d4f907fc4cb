"""A table with a row an item -> the catalog of the items that histories have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genrec.datasets._descriptions import Entry, coverage, describe, title, words
from genrec.datasets._fingerprint import Fingerprint
from genrec.datasets._folder import leaves_folder
from genrec.datasets._picture_files import PictureFiles
from genrec.datasets._table_files import TableFile
from genrec.errors import DataError
from genrec.types import Catalog


@dataclass(frozen=True)
class ItemColumns:
    """What is told of items under which name."""

    title: str | None = None
    texts: tuple[str, ...] = ()
    """What an item's text consists of, in this order."""
    attributes: tuple[str, ...] = ()
    picture: str | None = None
    """Paths of pictures inside the data folder; None stands for ``images/<key>.jpg``."""

    @property
    def names(self) -> list[str]:
        """All of them, each once."""
        named = [self.title, *self.texts, *self.attributes, self.picture]
        return list(dict.fromkeys(name for name in named if name is not None))


def read_items(
    file: TableFile,
    key: str,
    fields: Mapping[str, str],
    separators: Mapping[str, str | None],
    keys: Sequence[str],
    *,
    skip: bool = False,
) -> tuple[Mapping[str, Entry], int]:
    """Read what is told of some items.

    Args:
        file: the table.
        key: the column with the items' keys.
        fields: the column of each field.
        separators: of each field that is a list, what stands between its parts; None finds out: commas if the column
            has any, else blanks.
        keys: of the items that are wanted.
        skip: leave broken rows and repeated items out, rather than to raise at the first.

    Returns:
        The fields of each item that has a row, texts or lists of texts; and how many rows were left out.

    Raises:
        DataError: a column is missing, a row is broken, or an item has two rows; with file and line.
    """
    names = list(dict.fromkeys([key, *fields.values()]))
    table, num_skipped = file.read(dict.fromkeys(names), filled=[key], skip=skip)
    as_keys = table[key].cast(pl.Int64) if table[key].dtype.is_float() else table[key]
    table = table.with_columns(as_keys.cast(pl.String)).filter(pl.col(key).is_in(list(keys)))
    again = table[key].is_duplicated() & ~table[key].is_first_distinct()
    if again.any():
        if not skip:
            value = table[key].filter(again)[0]
            where = file.place_of(key, value, occurrence=2)
            raise DataError(f"{where}: {key} {value!r} was on an earlier row; every item has one row")
        num_skipped += int(again.sum())
        table = table.filter(~again)
    values = {
        field: _parts(table[column], separators[field]) if field in separators else table[column].to_list()
        for field, column in fields.items()
    }
    rows = zip(*values.values(), strict=True) if values else ([] for _ in range(len(table)))
    told = {item: dict(zip(values, row, strict=True)) for item, row in zip(table[key].to_list(), rows, strict=True)}
    return told, num_skipped


def _parts(column: pl.Series, separator: str | None) -> list[list[str]]:
    """Each value of a column as a list, without the brackets and quotes of a list that was printed."""
    if isinstance(column.dtype, pl.List | pl.Array):
        return [words(value.to_list() if isinstance(value, pl.Series) else value) for value in column]
    texts = column.cast(pl.String).fill_null("")
    if separator is None:
        separator = "," if texts.str.contains(",", literal=True).any() else " "
    return [[part.strip().strip("[]'\"") for part in text.split(separator) if part.strip()] for text in texts.to_list()]


def catalog_of(
    keys: tuple[str, ...], told: Mapping[str, Entry], columns: ItemColumns, folder: Path, fingerprint: Fingerprint
) -> tuple[Catalog, list[str]]:
    """The catalog of some items, and notes of what is missing.

    Args:
        keys: of the items, in their order.
        told: the fields of each item that something is told of.
        columns: which field is what.
        folder: what the pictures' paths are relative to.
        fingerprint: gets the pictures; the table itself is the caller's.
    """
    entries = [told.get(key, {}) for key in keys]
    pictures = PictureFiles(folder, _pictures(keys, entries, columns, folder))
    pictures.add_to(fingerprint)
    catalog = Catalog(
        keys=keys,
        titles=tuple(title({"title": entry.get(columns.title or "")}) for entry in entries),
        texts=tuple(_text(entry, columns) for entry in entries),
        attributes=tuple(tuple(words([entry.get(name) for name in columns.attributes])) for entry in entries),
        pictures=pictures if pictures.counts_I.any() else None,
    )
    notes = []
    if told and (fields := coverage(entries, columns.texts)):
        notes.append(f"items with each text field: {fields}")
    if silent := sum(not entry for entry in entries):
        notes.append(f"nothing is told of {silent:,} of {len(keys):,} items: their text is empty")
    if columns.picture is not None:
        named = sum(len(words(entry.get(columns.picture))) for entry in entries)
        if lost := named - int(pictures.counts_I.sum()):
            notes.append(f"{lost:,} of {named:,} pictures that are named are not there")
    return catalog, notes


def _text(entry: Mapping[str, Any], columns: ItemColumns) -> str:
    """The title stands alone, whatever its column is called; the others behind their names."""
    lines = [
        describe({"title": entry.get(name)}, ("title",)) if name == columns.title else describe(entry, (name,))
        for name in columns.texts
    ]
    return "\n".join(line for line in lines if line)


def _pictures(keys: Sequence[str], entries: list[Entry], columns: ItemColumns, folder: Path) -> list[list[str]]:
    if columns.picture is not None:
        return [words(entry.get(columns.picture)) for entry in entries]
    if not (folder / "images").is_dir():
        return [[] for _ in keys]
    return [[name] if not leaves_folder(name := f"images/{key}.jpg") else [] for key in keys]
