"""A table of interactions -> the input of :func:`genrec.datasets.readers.interactions.order_histories`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import EXPECTED, Ticks, to_ticks
from genrec.errors import DataError


@dataclass(frozen=True)
class InteractionColumns:
    """Column names of a table of interactions."""

    user: str
    item: str
    time: str | None = None
    rating: str | None = None


@dataclass(frozen=True)
class Interactions:
    """The selected rows, in the order of the file."""

    table: pl.DataFrame
    """``user``, ``item`` and, if there is a time, ``time`` in ticks, int64."""
    ticks_per_second: int
    notes: tuple[str, ...]


def read_interactions(
    file: TableFile,
    columns: InteractionColumns,
    *,
    min_rating: float | None = None,
    time_format: str | None = None,
    skip: bool = False,
) -> Interactions:
    """Read a table of interactions.

    Args:
        file: the table.
        columns: its column names.
        min_rating: rows with a lower rating are dropped; None does not read the rating.
        time_format: format of times; None detects it, see :func:`to_ticks`.
        skip: skip and count broken rows instead of raising at the first.

    Raises:
        DataError: a column is missing, a row is broken, no row is left; with file and line.
    """
    rating = columns.rating if min_rating is not None else None
    named = [name for name in (columns.user, columns.item, columns.time, rating) if name is not None]
    table, num_skipped = file.read(
        {name: pl.Float64 if name == rating else None for name in named},
        filled=[name for name in named if name != rating],
        skip=skip,
    )
    chosen = [pl.col(columns.user).alias("user"), pl.col(columns.item).alias("item")]
    notes = []
    ticks = Ticks(pl.Series(dtype=pl.Int64))
    if columns.time is not None:
        written = table[columns.time]
        try:
            ticks = to_ticks(written, time_format)
        except pl.exceptions.PolarsError as error:
            problem = str(error).strip().partition("\n")[0]
            raise DataError(
                f"{file.path}: {columns.time} cannot be read as {time_format or EXPECTED} ({problem})"
            ) from None
        if (unread := ticks.values.is_null()).any():
            if not skip:
                value = str(written.cast(pl.String)[int(unread.arg_true()[0])])
                where = file.place_of(columns.time, value)
                raise DataError(f"{where}: {columns.time} is {value!r}, expected {time_format or EXPECTED}")
            num_skipped += int(unread.sum())
        table = table.with_columns(ticks.values.alias(columns.time)).filter(~unread)
        chosen.append(pl.col(columns.time).alias("time"))
        if ticks.unit != "seconds":
            notes.append(f"{columns.time} is read as {ticks.unit} since 1970")
    if num_skipped:
        notes.append(f"{num_skipped:,} broken rows of {file.path.name} were skipped")
    if not len(table):
        raise DataError(f"{file.path}: all {num_skipped:,} rows are broken; read it with broken_rows: error to see why")
    if rating is not None:
        table = table.filter(pl.col(rating) >= min_rating)
        if not len(table):
            raise DataError(f"{file.path}: no {rating} is {min_rating} or more; lower min_rating")
    table = table.select(chosen)
    return Interactions(table.with_columns(_keys(file, table, named[:2])), ticks.per_second, tuple(notes))


def _keys(file: TableFile, table: pl.DataFrame, named: Sequence[str]) -> list[pl.Series]:
    """Users and items as text, categories or whole numbers."""
    keys = []
    for name, written in zip(("user", "item"), named, strict=True):
        column = table[name]
        if column.dtype.is_float() and (column == column.floor()).all():
            column = column.cast(pl.Int64)
        if not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
            raise DataError(f"{file.path}: {written} is of type {column.dtype}, expected text or whole numbers")
        keys.append(column)
    return keys
