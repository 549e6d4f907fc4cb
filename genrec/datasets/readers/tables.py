"""A file of rows, CSV or Parquet: selected columns, and places of values for messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from genrec.datasets.readers.csv import CSV, Layout, header, line_of, read_csv, read_csv_skipping, require_columns
from genrec.errors import DataError
from genrec.formats.parquet import parquet_schema, reading_parquet

Kind = type[pl.DataType] | None
"""Type of a column: a number, a text (``pl.String``), or None for the type in the file (keys, times, lists)."""


@dataclass(frozen=True)
class TableFile:
    """An existing file."""

    path: Path
    layout: Layout = CSV
    """Format of the file, unless it is Parquet."""

    @property
    def is_parquet(self) -> bool:
        """Whether it is read as Parquet, by its ending."""
        return self.path.suffix.lower() in (".parquet", ".pq")

    @cached_property
    def columns(self) -> list[str]:
        """The names of its columns.

        Raises:
            DataError: there are none, or no rows.
        """
        return self._parquet_schema.names() if self.is_parquet else header(self.path, self.layout)

    def require(self, wanted: Collection[str]) -> None:
        """Raise :class:`DataError`, with a suggestion, if a column is missing."""
        require_columns(f"{self.path}" if self.is_parquet else f"{self.path}:1", self.columns, wanted)

    def read(
        self, columns: Mapping[str, Kind], *, filled: Collection[str] = (), skip: bool = False
    ) -> tuple[pl.DataFrame, int]:
        """Read some columns and no others.

        Args:
            columns: name and type of each; columns without a type are texts in CSV.
            filled: columns that must not be empty; numbers never may.
            skip: skip broken rows instead of raising at the first.

        Returns:
            The rows in the order of the file, and the number of skipped rows.

        Raises:
            DataError: the file cannot be read, a column is missing, or a row is broken; with file and line or row.
        """
        if self.is_parquet:
            return self._read_parquet(columns, filled, skip)
        kinds = {name: kind or pl.String for name, kind in columns.items()}
        if skip:
            return read_csv_skipping(self.path, kinds, self.layout, filled=filled)
        return read_csv(self.path, kinds, self.layout, filled=filled), 0

    def place_of(self, name: str, value: str, *, occurrence: int = 1) -> str:
        """Where the n-th row with this value in this column is: the file with its line, or its row in Parquet."""
        if not self.is_parquet:
            return f"{self.path}:{line_of(self.path, self.layout, name, value, occurrence=occurrence)}"
        column = pl.scan_parquet(self.path, glob=False).select(pl.col(name).cast(pl.String)).collect().to_series()
        return f"{self.path}: row {int((column == value).arg_true()[occurrence - 1]) + 1}"

    @cached_property
    def _parquet_schema(self) -> pl.Schema:
        with reading_parquet(self.path):
            return parquet_schema(self.path)

    def _read_parquet(
        self, columns: Mapping[str, Kind], filled: Collection[str], skip: bool
    ) -> tuple[pl.DataFrame, int]:
        self.require(list(columns))
        wanted = [pl.col(name).cast(kind, strict=False) if kind else pl.col(name) for name, kind in columns.items()]
        with reading_parquet(self.path):
            table = pl.scan_parquet(self.path, glob=False).select(wanted).collect(engine="streaming")
        if not len(table):
            raise DataError(f"{self.path}: there are no rows")
        table = table.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))  # NaN is missing, as null is
        required = [name for name, kind in columns.items() if name in filled or (kind and kind is not pl.String)]
        broken = {
            name: pl.col(name).fill_null("") == "" if table.schema[name] == pl.String else pl.col(name).is_null()
            for name in required
        }
        is_broken = table.select(pl.any_horizontal(list(broken.values()) or False)).to_series()
        if is_broken.any() and not skip:
            row = int(is_broken.arg_true()[0])
            name = next(name for name, test in broken.items() if table[row].select(test).item())
            raise DataError(f"{self.path}: row {row + 1}: {name} is empty or of the wrong kind")
        table = table.filter(~is_broken) if is_broken.any() else table
        return table.with_columns(pl.col(pl.String).fill_null("")), int(is_broken.sum())
