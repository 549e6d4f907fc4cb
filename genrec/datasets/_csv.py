"""CSV files through polars; where polars gives up, the line that broke is looked for and named."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from genrec.datasets._lines import decode
from genrec.errors import DataError


def read_csv(path: Path, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """Read some columns of a CSV file with a header line, in the order asked for.

    Args:
        path: the file.
        columns: name and type of each; numbers must all be there, an empty text becomes "".

    Raises:
        DataError: empty, not UTF-8, a column is missing, or a line has too few or too many fields or no number
            where one belongs; with file and line.
    """
    _check_header(path, list(columns))
    problem: str | None = None
    try:
        # All columns are read: where polars skips some, it does not see that a line has too many fields.
        everything = pl.scan_csv(path, schema_overrides=dict(columns), infer_schema=False).collect(engine="streaming")
        table = everything.select(list(columns))
    except pl.exceptions.PolarsError as error:
        table, problem = None, str(error).strip().partition("\n")[0]
    if table is None or sum(table.null_count().row(0)):
        _raise_at_line(path, columns)
        if table is None or table.select(_numbers(columns)).null_count().sum_horizontal().sum():
            raise DataError(f"{path}: not a CSV file that can be read ({problem or 'a number is missing'})")
        table = table.fill_null("")
    return table


def _numbers(columns: Mapping[str, type[pl.DataType]]) -> list[str]:
    return [name for name, kind in columns.items() if kind is not pl.String]


def _check_header(path: Path, wanted: list[str]) -> None:
    with path.open("rb") as file:
        first = decode(path, file.readline()).strip()
        empty = not first or not file.read(1)
    if not first:
        raise DataError(f"{path}:1: the file is empty; expected a header line {','.join(wanted)}")
    header = next(csv.reader([first]))
    if missing := [name for name in wanted if name not in header]:
        raise DataError(f"{path}:1: no column {', '.join(missing)}; found {', '.join(header)}")
    if empty:
        raise DataError(f"{path}:2: there is nothing below the header line")


def _raise_at_line(path: Path, columns: Mapping[str, type[pl.DataType]]) -> None:
    """Read again, slowly, up to the first line that is wrong; return if there is none."""
    reader = csv.reader(io.StringIO(decode(path, path.read_bytes()), newline=""))
    header = next(reader)
    at = {name: header.index(name) for name in columns}
    start = reader.line_num + 1
    for row in reader:
        if row and len(row) != len(header):
            raise DataError(f"{path}:{start}: {len(row)} fields, the header line has {len(header)}")
        for name in _numbers(columns) if row else ():
            kind = columns[name]
            try:
                int(row[at[name]]) if kind.is_integer() else float(row[at[name]])
            except ValueError:
                expected = "a whole number" if kind.is_integer() else "a number"
                raise DataError(f"{path}:{start}: {name} is {row[at[name]]!r}, expected {expected}") from None
        start = reader.line_num + 1
