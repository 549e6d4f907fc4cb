"""Parquet files through polars: whatever it raises on a damaged file is one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from genrec.errors import DataError


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Report errors of polars, its panics and values that Python does not have included, as errors of the file.

    Raises:
        DataError: the file is damaged or not Parquet, or a column cannot be read as wanted.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, OverflowError, ValueError) as error:
        problem = str(error).strip().partition("\n")[0]
        raise DataError(f"{path}: not a Parquet file that can be read ({problem:.200})") from None


def parquet_schema(path: Path) -> pl.Schema:
    """Names and types of the columns. A path is one file, whatever ``*`` and ``[`` it contains."""
    return pl.scan_parquet(path, glob=False).collect_schema()
