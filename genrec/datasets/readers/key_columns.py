"""Columns of keys of any type -> texts, whole numbers or categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from genrec.datasets.readers.tables import TableFile
from genrec.errors import DataError
from genrec.formats.keys import MISSING, key_text
from genrec.formats.text import shown

_LARGEST_EXACT = 2**53
"""Floats above it stand for several whole numbers."""


def with_keys(file: TableFile, table: pl.DataFrame, names: Sequence[str], *, skip: bool) -> tuple[pl.DataFrame, int]:
    """Keys as texts without surrounding blanks, or as whole numbers.

    Args:
        file: the table's.
        table: its rows.
        names: the columns of keys.
        skip: leave rows without a key out instead of raising at the first.

    Returns:
        The rows that have all keys, and the number of the others.

    Raises:
        DataError: a row lacks a key, with file and line or row; or a column has no keys.
    """
    keyed = table.with_columns(_text_keys(table[name], file.path) for name in names)
    has_keys = keyed.select(pl.all_horizontal(pl.col(names).is_not_null())).to_series()
    if not has_keys.all() and not skip:
        row = int((~has_keys).arg_true()[0])
        name = next(name for name in names if keyed[name][row] is None)
        value = str(table[name].cast(pl.String)[row])
        raise DataError(f"{file.place_of(name, value)}: {name} is {shown(value)}, expected a key")
    return keyed.filter(has_keys), int((~has_keys).sum())


def _text_keys(column: pl.Series, path: Path) -> pl.Series:
    """The keys of a column, null where one is missing: null, NaN, a blank text.

    Texts lose surrounding blanks. Floats are whole numbers if all are; otherwise texts, 1.5 as ``1.5``.

    Args:
        column: keys as the file has them.
        path: the file, for messages.

    Raises:
        DataError: the type of the column has no keys, or the numbers are too large to be exact.
    """
    kind = column.dtype
    if kind.is_integer():
        return column
    if kind.is_float():
        numbers = column.fill_nan(None).cast(pl.Float64)
        if (numbers.abs() > _LARGEST_EXACT).any():
            raise DataError(
                f"{path}: {column.name} has floats above 2^53, which are not exact; expected texts or whole numbers"
            )
        if (numbers == numbers.floor()).all():
            return numbers.cast(pl.Int64)
        return pl.Series(column.name, [key_text(number) for number in numbers.to_list()], dtype=pl.String)
    if kind in (pl.String, pl.Categorical, pl.Enum):
        texts = column.cast(pl.String).str.strip_chars()
        return texts.set(texts.is_in(MISSING), None)
    raise DataError(f"{path}: {column.name} is of type {kind}, expected text or whole numbers")
