"""A user's own tables, CSV, TSV or Parquet: interactions and, if there is one, a table of items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, NonNegativeInt, model_validator

from genrec.datasets._columns import is_of_behavior, refuse_behavior
from genrec.datasets.readers.csv import Layout
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import RelativePath, find, require
from genrec.datasets.readers.interaction_parts import check_core, read_parts
from genrec.datasets.readers.interaction_tables import InteractionColumns, check_time_settings, read_interactions
from genrec.datasets.readers.interactions import Duplicates, Order, order_histories
from genrec.datasets.readers.item_tables import ItemColumns, Items, catalog_of, read_items
from genrec.datasets.readers.json_tables import JsonLinesTable
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import TimeFormat, TimeUnit
from genrec.families import DatasetSource, datasets
from genrec.types import ColumnKind, Dataset

_SEPARATORS = {".tsv": "\t", ".tab": "\t"}
"""By ending; all others use commas."""
_JSON_LINES = (".jsonl", ".ndjson")
_OF_ITEMS = ("key", "title", "text_fields", "attributes", "columns", "image")
"""Fields that name columns of the table of items."""
_LISTS = "|"
"""Separator of lists in a CSV or TSV file."""


def _without_leaks(columns: dict[str, ColumnKind]) -> dict[str, ColumnKind]:
    refuse_behavior(columns)
    return columns


def _one_character(separator: str) -> str:
    if len(set(separator)) != 1 or separator in ('"', "\n", "\r"):
        raise ValueError(f"{separator!r} is not a separator; expected one character, any number of times")
    return separator


class Parts(BaseModel):
    """Three tables of interactions with the same columns, which are a finished split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    train: RelativePath
    """The table that is trained on."""
    valid: RelativePath
    """The targets of validation, each after its user's rows of ``train``."""
    test: RelativePath
    """The targets of the test, each after its user's rows of ``train`` and ``valid``."""


@datasets.register("table")
class Table(DatasetSource):
    """Your own tables, with a map of their columns: a row an interaction, and a row an item.

    Files are read as CSV, TSV (``.tsv``, ``.tab``), Parquet (``.parquet``, ``.pq``) or JSON lines (``.jsonl``) by their
    ending, and only the columns that are named. Lists are lists, or in CSV and TSV texts with ``|`` between the parts.
    """

    folder: RelativePath = "my-shop"
    """Folder inside ``--data`` that holds the files."""
    interactions: RelativePath = "interactions.csv"
    """The table of interactions, one row each."""
    parts: Parts | None = None
    """Three tables in place of ``interactions``, for ``evaluation.split: files``: ``{train: FILE, valid: FILE, test:
    FILE}``. Requires ``core: 0``. null: one table."""
    user: str = "user"
    """Column of the user's key, text or whole numbers."""
    item: str = "item"
    """Column of the item's key."""
    time: str | None = "time"
    """Column of the time: Unix time, ISO 8601 (UTC without a zone), or a counter; null without times (requires
    ``order: file``)."""
    time_format: TimeFormat | None = None
    """Format of other times, in codes of ``strftime``: ``"%d.%m.%Y %H:%M"``; also of times that are written as numbers,
    such as 20240531. Several formats are a list; each time is read by the first that fits."""
    time_unit: TimeUnit = "auto"
    """Unit of times that are numbers: s, ms, us or ns since 1970, or ``order`` for counters without dates. ``auto``: by
    the size of each number, below 100 million a counter; a column with two units is an error."""
    duplicates: Duplicates = "keep"
    """What happens to interactions with the same user, item and time as an earlier one."""
    rating: str | None = None
    """Column of the rating, read only with ``min_rating``."""
    min_rating: float | None = None
    """Rows with a lower rating are dropped; null keeps all."""
    core: NonNegativeInt = 5
    """Users and items with fewer interactions are removed repeatedly (k-core); 0 or 1 keeps all."""
    order: Order = "time"
    """``time`` sorts by time, equal times in the order of the file; ``file`` keeps the order of the file."""
    items: RelativePath | None = None
    """The table of items, one row each; null without metadata."""
    key: str | None = None
    """Column of the item's key; null: the name of that column in the interactions."""
    title: str | None = None
    """Column of the title."""
    text_fields: tuple[str, ...] | None = None
    """Columns that make up an item's text, in this order; null: title and attributes."""
    attributes: tuple[str, ...] = ()
    """Columns of categories, brand, tags; values may be lists. They are categorical columns of the catalog."""
    columns: Annotated[dict[str, ColumnKind], AfterValidator(_without_leaks)] = {}
    """Further columns of the catalog, each numeric, categorical or datetime: ``{price: numeric, released:
    datetime}``. Numbers have a point and no thousands separator; times are Unix times or ISO 8601; empty is missing.
    Fields computed from user behavior, such as a mean rating or a sales rank, are rejected."""
    column_formats: dict[str, TimeFormat] = {}
    """Formats of datetime columns that are neither Unix times nor ISO 8601: ``{released: "%Y%m%d"}``."""
    unsold_items: Literal["drop", "keep"] = "drop"
    """What happens to items of the table of items that have no interaction: ``keep`` makes them cold items, the last of
    the catalog."""
    image: str | None = None
    """Column of the image path inside the folder, or of a list of them; null: ``images/<key>.jpg``."""
    separator: Annotated[str, AfterValidator(_one_character)] | None = None
    """Separator of the fields; null: a tab in TSV, a comma otherwise."""
    broken_rows: Literal["error", "skip"] = "error"
    """Whether an unreadable row or a repeated item is an error, or is skipped and counted."""

    @model_validator(mode="after")
    def _columns_belong_to_a_table(self) -> Table:
        chosen = [name for name in _OF_ITEMS if getattr(self, name)]
        if self.items is None and chosen:
            raise ValueError(f"{chosen[0]} needs a table of items; set items: FILE")
        if self.items is None and self.unsold_items == "keep":
            raise ValueError("unsold_items: keep needs a table of items; set items: FILE")
        if self.items is not None and chosen in ([], ["key"]):
            named = "title:, text_fields:, attributes:, columns: or image:"
            raise ValueError(f"no column of {self.items} is named; set {named}")
        if self.min_rating is not None and self.rating is None:
            raise ValueError("min_rating needs the column that has the rating; set rating: COLUMN")
        check_time_settings("time", self.time, self.time_format, self.time_unit, self.duplicates)
        if wrong := [name for name in self.column_formats if self.columns.get(name) != "datetime"]:
            raise ValueError(
                f"column_formats names {wrong[0]!r}, which is no datetime column; set columns: {{{wrong[0]}: datetime}}"
            )
        if self.parts is not None:
            check_core(self.core, "parts")
        if self.time is None and self.order == "time":
            raise ValueError("histories cannot be ordered by time without a time column; set order: file")
        return self

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        folder = find(data, self.folder)
        block = self.block()
        if self.parts is None:
            del block["parts"]  # as before there were parts
        fingerprint = Fingerprint(block)
        skip = self.broken_rows == "skip"
        what = f"a row an interaction, columns {', '.join(filter(None, (self.user, self.item, self.time)))}"
        columns = InteractionColumns(self.user, self.item, self.time, self.rating)
        settings: dict[str, Any] = {"min_rating": self.min_rating, "skip": skip}
        settings |= {"time_format": self.time_format, "time_unit": self.time_unit}
        if self.parts is None:
            files = [self._file(folder, self.interactions, what, "name yours in interactions:")]
            interactions = read_interactions(files[0], columns, **settings)
        else:
            names = (self.parts.train, self.parts.valid, self.parts.test)
            files = [self._file(folder, name, what, "name yours in parts:") for name in names]
            interactions = read_parts(files, [columns] * 3, **settings)
        for file in files:
            fingerprint.add_file(file.path)
        ordered = order_histories(
            interactions.table, path=files[0].path, core=self.core, order=self.order, duplicates=self.duplicates
        )
        notes = [*ordered.notes, *interactions.notes]
        items, fields = Items(), ItemColumns()
        if self.items is not None:
            file = self._file(folder, self.items, "a row an item", "name yours in items:, or set items: null")
            texts = self.text_fields
            if texts is None:
                texts = tuple(name for name in (self.title, *self.attributes) if name is not None)
            attributes: dict[str, ColumnKind] = {
                name: "categorical" for name in self.attributes if not is_of_behavior(name)
            }
            fields = ItemColumns(self.title, texts, self.attributes, self.image, {**attributes, **self.columns})
            lists = [*self.attributes, *filter(None, [self.image])]
            lists += [name for name, kind in self.columns.items() if kind == "categorical"]
            items = read_items(
                file,
                self.key or self.item,
                {name: name for name in fields.names},
                dict.fromkeys(lists, _LISTS),
                ordered.item_keys,
                sold=interactions.items,
                keep_unsold=self.unsold_items == "keep",
                typed={name: (name, kind) for name, kind in fields.typed.items()},
                formats=self.column_formats,
                skip=skip,
                skip_values=skip,
            )
            fingerprint.add_file(file.path)
            notes += items.notes
        keys = (*ordered.item_keys, *items.unsold)
        catalog, missing = catalog_of(keys, items, fields, folder, fingerprint)
        times = None if ordered.times is None else ordered.times // interactions.ticks_per_second
        return Dataset(
            name=folder.resolve().name,
            catalog=catalog,
            user_keys=ordered.user_keys,
            histories=ordered.histories,
            fingerprint=fingerprint.hexdigest(),
            notes=(*notes, *missing),
            order=ordered.order,
            times=times,
            times_are_dates=interactions.times_are_dates,
            parts=ordered.parts,
            findings=(*ordered.findings, *interactions.findings, *items.findings),
        )

    def _file(self, folder: Path, name: str, what: str, source: str) -> TableFile:
        path = require(folder, name, what, source)
        if path.suffix.lower() in _JSON_LINES:
            return JsonLinesTable(path)
        separator = self.separator or _SEPARATORS.get(path.suffix.lower(), ",")
        return TableFile(path, Layout(separator, quoted=len(separator) == 1))
