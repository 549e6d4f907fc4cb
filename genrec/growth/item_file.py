"""A file of new items -> their catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from genrec.datasets._columns import is_of_behavior
from genrec.datasets.readers.csv import Layout
from genrec.datasets.readers.descriptions import words
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.item_tables import ItemColumns, catalog_of, read_items
from genrec.datasets.readers.json_tables import JsonLinesTable
from genrec.datasets.readers.key_columns import with_keys
from genrec.datasets.readers.tables import TableFile
from genrec.errors import DataError
from genrec.families import DatasetSource
from genrec.formats.keys import examples, match_keys
from genrec.types import Catalog, ColumnKind

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON = (".jsonl", ".json", ".gz")
_PARQUET = (".parquet", ".pq")
_KEYS = ("key", "item_id", "item", "id")
"""Columns of the key, where the dataset of the recipe names none that the file has."""
_LISTS = "|"
"""Separator of lists in texts."""
_ALIASES = {"categories": "category", "genres": "genre"}
"""Fields of items that are columns of a catalog under another name."""


def read_item_file(
    path: Path,
    dataset: DatasetSource,
    known: Sequence[str],
    *,
    kinds: Mapping[str, ColumnKind] = {},
    new_only: bool = False,
) -> tuple[Catalog, list[str]]:
    """Read new items: ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``.

    Columns have the names of the recipe's dataset (``key``, ``title``, ``text_fields``, ``image``, ``columns`` of a
    ``table``; ``text_fields`` of the others), else ``key`` or ``item_id``, ``title``, ``text`` and ``image``. A column
    ``text`` is the whole text of an item; items without it have that of the dataset's text fields, as others do.
    Images are paths relative to the folder of the file. Other columns are columns of the catalog.

    Args:
        path: the file.
        dataset: of the recipe.
        known: keys of the items that the run has.
        kinds: columns of the catalog and their kinds, where the dataset does not declare them; by default what the
            types of the file say.
        new_only: leave items out that the run has, instead of raising at the first.

    Returns:
        The catalog of the new items, in the order of the file, and notes on missing images.

    Raises:
        DataError: the file cannot be read, has no column of keys, an item twice, an item that the run has, or no new
            item.
    """
    file = _table(path)
    key = _first([getattr(dataset, "key", None), getattr(dataset, "item", None), *_KEYS], file.columns)
    if key is None:
        raise DataError(
            f"{path}: no column of item keys, found {', '.join(file.columns)}; expected one that is called "
            f"{' or '.join(_KEYS[:2])}"
        )
    keys, table = _new_keys(file, key, known, new_only=new_only)
    columns, typed, formats = _roles(file, key, dataset, kinds, table)
    lists = [*columns.attributes, *([columns.image] if columns.image else [])]
    lists += [name for name, (_, kind) in typed.items() if kind == "categorical"]
    fields = {name: name for name in [*columns.names, *(["text"] if "text" in file.columns else [])]}
    items = read_items(
        file,
        key,
        fields,
        dict.fromkeys(lists, _LISTS),
        (),
        sold=known,
        keep_unsold=True,
        typed=typed,
        formats=formats,
    )
    catalog, _ = catalog_of(keys, items, columns, path.parent, Fingerprint({}))
    if "text" in file.columns:
        texts = tuple(
            str(items.entries[key].get("text") or "") or text for key, text in zip(keys, catalog.texts, strict=True)
        )
        catalog = replace(catalog, texts=texts)
    named = sum(len(words(items.entries[key].get(columns.image or ""))) for key in keys)
    lost = named - (0 if catalog.images is None else int(catalog.images.counts_I.sum()))
    notes = [f"{lost:,} of {named:,} images named in {path.name} are not in {path.parent}"] if named and lost else []
    return catalog, notes


def _table(path: Path) -> TableFile:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected new items, .jsonl, .csv, .tsv or .parquet")
    suffix = path.suffix.lower()
    if suffix in _JSON:
        return JsonLinesTable(path)
    if suffix in _SEPARATORS:
        return TableFile(path, Layout(_SEPARATORS[suffix], quoted=True))
    if suffix in _PARQUET:
        return TableFile(path)
    raise DataError(f"{path}: files that end in {suffix!r} are not read; expected .jsonl, .csv, .tsv or .parquet")


def _first(names: Sequence[str | None], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name is not None and name in columns), None)


def _new_keys(
    file: TableFile, key: str, known: Sequence[str], *, new_only: bool
) -> tuple[tuple[str, ...], pl.DataFrame]:
    """The keys of the new items, in the order of the file, and all its columns."""
    table, _ = file.read(dict.fromkeys(file.columns), filled=[key])
    found, _ = with_keys(file, table.select(key), [key], skip=False)
    keys = found[key].cast(pl.String).unique(maintain_order=True).to_list()
    matches = match_keys(known, keys)
    if matches and not new_only:
        first = next(name for name in keys if name in matches)
        raise DataError(
            f"{file.place_of(key, first)}: {key} {first!r} is an item of the run already ({len(matches):,} such items, "
            f"e.g. {examples(name for name in keys if name in matches)}); remove these rows, or pass --new-only to "
            "leave them out"
        )
    new = tuple(name for name in keys if name not in matches)
    if not new:
        raise DataError(f"{file.path}: the run has all its items ({len(keys):,}) already; there is nothing to add")
    return new, table


def _roles(
    file: TableFile, key: str, dataset: DatasetSource, kinds: Mapping[str, ColumnKind], table: pl.DataFrame
) -> tuple[ItemColumns, dict[str, tuple[str, ColumnKind]], dict[str, Any]]:
    """The roles of the columns, column and kind of each typed field, and formats of times."""
    names = file.columns
    title = _first([getattr(dataset, "title", None), "title"], names)
    image = _first([getattr(dataset, "image", None), "image"], names)
    given: Any = getattr(dataset, "attributes", ())
    attributes = tuple(name for name in given if name in names) if isinstance(given, tuple) else ()
    texts = getattr(dataset, "text_fields", None)
    if texts is None:
        texts = [name for name in (title, *attributes) if name is not None]
    declared: Any = getattr(dataset, "columns", None)
    if isinstance(declared, dict):
        kinds = {**dict.fromkeys(attributes, "categorical"), **declared}
    others = [name for name in names if name not in (key, title, image, "text") and not is_of_behavior(name)]
    typed: dict[str, tuple[str, ColumnKind]] = {}
    for name in others:
        column = name if name in kinds else _ALIASES.get(name, name)
        if column in kinds or not kinds:
            typed[column] = (name, kinds[column] if kinds else _kind(table.schema[name]))
    columns = ItemColumns(
        title,
        tuple(name for name in texts if name in names),
        attributes,
        image,
        {name: kind for name, (_, kind) in typed.items()},
    )
    return columns, typed, dict(getattr(dataset, "column_formats", {}))


def _kind(dtype: pl.DataType) -> ColumnKind:
    if dtype.is_numeric():
        return "numeric"
    return "datetime" if dtype.is_temporal() else "categorical"
