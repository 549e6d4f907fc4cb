"""A table of interactions -> the input of :func:`genrec.datasets.readers.interactions.order_histories`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from genrec.datasets.readers.findings import skipped, texts_of
from genrec.datasets.readers.interactions import Duplicates
from genrec.datasets.readers.key_columns import with_keys
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import (
    EXPECTED,
    DateNumbersError,
    Ticks,
    TimeUnit,
    expected,
    is_number,
    proposal,
    to_ticks,
)
from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.text import shown


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
    times_are_dates: bool
    """Whether times are Unix times and not counters."""
    items: frozenset[str]
    """The keys of all items in the file, also those of rows with a low rating."""
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    """Skipped rows; the notes have their texts."""


def check_time_settings(
    name: str, column: str | None, time_format: str | Sequence[str] | None, time_unit: TimeUnit, duplicates: Duplicates
) -> None:
    """Reject settings of times that exclude each other, or that no column of times is there for.

    Args:
        name: of the setting that names the column, for messages.
        column: of the times.
        time_format: as given to :func:`read_interactions`.
        time_unit: as given to :func:`read_interactions`.
        duplicates: as given to :func:`~genrec.datasets.readers.interactions.order_histories`.

    Raises:
        ValueError: some of the settings would be ignored.
    """
    used = {
        "time_format": time_format is not None,
        "time_unit": time_unit != "auto",
        "duplicates": duplicates != "keep",
    }
    if column is None and (ignored := [setting for setting, is_used in used.items() if is_used]):
        raise ValueError(f"{ignored[0]} needs the column of the times; set {name}: COLUMN")
    if used["time_format"] and used["time_unit"]:
        raise ValueError("time_format and time_unit exclude each other; set the one that the file needs")


def read_interactions(
    file: TableFile,
    columns: InteractionColumns,
    *,
    min_rating: float | None = None,
    time_format: str | Sequence[str] | None = None,
    time_unit: TimeUnit = "auto",
    skip: bool = False,
) -> Interactions:
    """Read a table of interactions.

    Args:
        file: the table.
        columns: its column names.
        min_rating: rows with a lower rating are dropped; None does not read the rating.
        time_format: formats of times; None detects them, see :func:`to_ticks`.
        time_unit: unit of times that are numbers.
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
    table, num_keyless = with_keys(file, table, named[:2], skip=skip)
    num_skipped += num_keyless
    notes = []
    ticks = Ticks(pl.Series(dtype=pl.Int64), 1, None)
    if columns.time is not None:
        ticks = _ticks(file, table[columns.time], time_format, time_unit)
        unread = ticks.values.is_null()
        if unread.any() and not skip:
            value = str(table[columns.time].cast(pl.String)[int(unread.arg_true()[0])])
            wanted = expected(value, ticks, time_format, time_unit)
            where = file.place_of(columns.time, value)
            raise DataError(f"{where}: {columns.time} is {shown(value)}, {wanted}{_advice(value, ticks, time_format)}")
        num_skipped += int(unread.sum())
        table = table.with_columns(ticks.values.alias(columns.time)).filter(~unread)
        if time_unit == "auto" and ticks.unit not in (None, "s"):
            no_dates = "" if ticks.are_dates else ", which order interactions but are no dates"
            notes.append(f"{columns.time} is read as {ticks.what}{no_dates}")
    findings = skipped(num_skipped, "broken rows", file.path)
    if not len(table):
        raise DataError(f"{file.path}: all {num_skipped:,} rows are broken; read it with broken_rows: error to see why")
    items = frozenset(map(str, table[columns.item].unique().to_list()))
    if rating is not None:
        table = table.filter(pl.col(rating) >= min_rating)
        if not len(table):
            raise DataError(f"{file.path}: no {rating} is {min_rating} or more; lower min_rating")
    roles = zip(("user", "item", "time"), (columns.user, columns.item, columns.time), strict=True)
    table = table.select(pl.col(name).alias(role) for role, name in roles if name is not None)
    notes += texts_of(findings)
    return Interactions(table, ticks.per_second, ticks.are_dates, items, tuple(notes), tuple(findings))


def _ticks(file: TableFile, column: pl.Series, time_format: str | Sequence[str] | None, unit: TimeUnit) -> Ticks:
    try:
        return to_ticks(column, time_format, unit)
    except DateNumbersError as error:
        raise DataError(
            f"{file.path}: {column.name} is {error.value}, which looks like a date; set time_format: "
            f'"{error.form}", or time_unit: order if it is a counter'
        ) from None
    except pl.exceptions.PolarsError as error:
        problem = str(error).strip().partition("\n")[0]
        raise DataError(f"{file.path}: {column.name} cannot be read as {EXPECTED} ({problem})") from None


def _advice(value: str, ticks: Ticks, time_format: str | Sequence[str] | None) -> str:
    """What to do about an unreadable time."""
    skip = "broken_rows: skip leaves such rows out"
    if time_format is not None:
        formats = [time_format] if isinstance(time_format, str) else list(time_format)
        if (another := proposal(value)) in formats:
            return f"; {skip}"
        several = ", ".join(f'"{form}"' for form in [*formats, another])
        return f"; for several formats set time_format: [{several}]; {skip}"
    if not is_number(value) or not ticks.values.count():
        return f'; for another format set time_format: "{proposal(value)}"; {skip}'
    if ticks.unit is None:
        return f"; {skip}"
    return f"; time_unit: {ticks.unit} reads all values as {ticks.what}; {skip}"
