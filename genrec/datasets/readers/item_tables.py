"""A table of items -> the catalog of the items in the histories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from genrec.datasets._columns import column_of, filled
from genrec.datasets.readers.descriptions import Entry, coverage, describe, title, words
from genrec.datasets.readers.findings import skipped, texts_of, unmatched
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import leaves_folder
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.key_columns import with_keys
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import EXPECTED, DateNumbersError, expected, proposal, to_ticks
from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.keys import match_keys, sorted_keys
from genrec.formats.text import shown
from genrec.types import Catalog, ColumnKind

_WRITTEN = "\0written"
"""Column of the keys as the file has them; no file has a column of this name."""
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
    unsold: tuple[str, ...] = ()
    """Keys of items without interactions that are kept as cold items."""
    notes: tuple[str, ...] = ()
    """Items without interactions, and the texts of the findings."""
    findings: tuple[Finding, ...] = ()
    """Items without a row, skipped rows and unreadable values."""


def read_items(
    file: TableFile,
    key: str,
    fields: Mapping[str, str],
    separators: Mapping[str, str | None],
    keys: Sequence[str],
    *,
    sold: Collection[str],
    keep_unsold: bool = False,
    typed: Mapping[str, tuple[str, ColumnKind]] | None = None,
    formats: Mapping[str, str | tuple[str, ...]] | None = None,
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
        keys: of the items of the histories.
        sold: of all items with an interaction, also those that the core removed.
        keep_unsold: also read the items without any.
        typed: column and kind of each typed field; ``separators`` applies to them too.
        formats: formats of typed times; Unix times and ISO 8601 need none.
        skip: skip broken rows and repeated items instead of raising at the first.
        skip_values: treat unreadable typed values as missing instead of raising at the first.

    Raises:
        DataError: a column is missing, a row is broken, an item has two rows, a number or time cannot be read (with
            file and line), or no item of the histories has a row.
    """
    typed = typed or {}
    names = list(dict.fromkeys([key, *fields.values(), *(column for column, _ in typed.values())]))
    table, num_skipped = file.read(dict.fromkeys(names), filled=[key], skip=skip)
    table, num_keyless = with_keys(file, table.with_columns(pl.col(key).alias(_WRITTEN)), [key], skip=skip)
    table = table.with_columns(pl.col(_WRITTEN).cast(pl.String))
    num_skipped += num_keyless
    own = table[key].cast(pl.String)
    distinct = own.unique(maintain_order=True).to_list()
    matches = match_keys(sold, distinct)
    unsold = sorted_keys(set(distinct).difference(matches))
    of_histories = frozenset(keys)
    known = {found: wanted for found, wanted in matches.items() if wanted in of_histories}
    findings = unmatched(keys, len(known), distinct, file.path)
    notes = []
    if unsold:
        fate = "cold items of the catalog" if keep_unsold else "left out; unsold_items: keep makes them cold items"
        notes.append(f"{len(unsold):,} items of {file.path.name} are in no interaction: they are {fate}")
    if keep_unsold:
        known |= {item: item for item in unsold}
    table = table.with_columns(own.replace_strict(known, default=None, return_dtype=pl.String))
    table = table.filter(pl.col(key).is_not_null())
    again = table[key].is_duplicated() & ~table[key].is_first_distinct()
    if again.any():
        if not skip:
            row = int(again.arg_true()[0])
            value = table[_WRITTEN][row]
            where = file.place_of(key, value, occurrence=int((table[_WRITTEN][: row + 1] == value).sum()))
            raise DataError(f"{where}: {key} {value!r} occurs twice; expected one row for each item")
        num_skipped += int(again.sum())
        table = table.filter(~again)
    findings += skipped(num_skipped, "broken or repeated rows", file.path)
    values = {field: _values(file, table[column], field, separators) for field, column in fields.items()}
    rows = zip(*values.values(), strict=True) if values else ([] for _ in range(len(table)))
    keys_N = table[key].to_list()
    entries = {item: dict(zip(values, row, strict=True)) for item, row in zip(keys_N, rows, strict=True)}
    typed_values: dict[str, Mapping[str, Any]] = {}
    for name, (column, kind) in typed.items():
        num_unread = 0
        if kind == "categorical":
            found = _values(file, table[column], name, separators)
        else:
            form = (formats or {}).get(name)
            read, num_unread = _numbers_or_seconds(file, table[column], kind, form, skip=skip_values)
            found = read.to_list()
        if num_unread:
            text = f"{num_unread:,} unreadable values of {column} in {file.path.name} are treated as missing"
            findings.append(Finding("unreadable values", "warning", text, "correct them in the file"))
        typed_values[name] = dict(zip(keys_N, found, strict=True))
    notes += texts_of(findings)
    return Items(entries, typed_values, tuple(unsold if keep_unsold else ()), tuple(notes), tuple(findings))


def _numbers_or_seconds(
    file: TableFile, column: pl.Series, kind: ColumnKind, time_format: str | tuple[str, ...] | None, *, skip: bool
) -> tuple[pl.Series, int]:
    """The numbers of a column, or its times in seconds since 1970, null where missing; and how many are unreadable."""
    given = column
    if given.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = given.cast(pl.String).str.strip_chars()
        given = texts.set(texts.str.to_lowercase().is_in(_MISSING), None)
    ticks = None
    try:
        if kind == "datetime":
            ticks = to_ticks(given, time_format, of_items=True)
            read = ticks.values // ticks.per_second
        elif given.dtype.is_temporal():
            raise pl.exceptions.InvalidOperationError(f"it is of type {given.dtype}")
        else:
            read = given.cast(pl.Float64, strict=False)
            read = read.set(read.is_infinite() | read.is_nan(), None)
    except DateNumbersError as error:
        raise DataError(
            f"{file.path}: {column.name} is {error.value}, which looks like a date; set column_formats: "
            f'{{{column.name}: "{error.form}"}}'
        ) from None
    except pl.exceptions.PolarsError as error:
        problem = str(error).strip().partition("\n")[0]
        wanted = EXPECTED if kind == "datetime" else "a number"
        raise DataError(f"{file.path}: {column.name} cannot be read as {wanted} ({problem})") from None
    unread = read.is_null() & given.is_not_null()
    if unread.any() and not skip:
        value = str(column.cast(pl.String)[int(unread.arg_true()[0])])
        wanted = "expected a number"
        if ticks is not None:
            advice = f'for another format set column_formats: {{{column.name}: "{proposal(value)}"}}'
            wanted = f"{expected(value, ticks, time_format)}; {advice}"
        raise DataError(f"{file.place_of(column.name, value)}: {column.name} is {shown(value)}, {wanted}")
    return read, int(unread.sum())


def _values(file: TableFile, column: pl.Series, field: str, separators: Mapping[str, str | None]) -> list[Any]:
    """The values of a column, lists if the field has a separator.

    Raises:
        DataError: they cannot be read, such as durations and dates after the year 9999.
    """
    try:
        return _parts(column, separators[field]) if field in separators else column.to_list()
    except (pl.exceptions.PolarsError, OverflowError, ValueError) as error:
        problem = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{file.path}: {column.name} is of type {column.dtype} and cannot be read ({problem}), expected texts"
        ) from None


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
