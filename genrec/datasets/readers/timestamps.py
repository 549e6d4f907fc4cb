"""Columns of times in any format -> whole numbers without loss of precision, and their unit."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

EXPECTED = "a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z"

_UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
"""Ticks per second, and the name of the unit."""
_LARGEST_OF_UNIT = 1e11
"""Seconds of the year 5138; as milliseconds the year 1973. Larger medians have a finer unit."""
_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True)
class Ticks:
    """Times as whole numbers since 1970."""

    values: pl.Series
    """int64, null where a value is not a time."""
    per_second: int = 1
    """Ticks per second."""
    unit: str = "seconds"
    """Unit of the numbers in the column."""


def to_ticks(column: pl.Series, time_format: str | None = None) -> Ticks:
    """Turn a column of times into whole numbers since 1970.

    Numbers are seconds, or milliseconds, microseconds or nanoseconds if their median is too large for seconds. Texts
    are numbers if the first one is, otherwise ISO 8601. Times without a zone are UTC.

    Args:
        column: numbers, dates, times or texts.
        time_format: format of texts, in codes of ``strftime``; None detects it.
    """
    kind = column.dtype
    if kind == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        return _epoch(column)
    if kind.is_integer():
        return _numbers(column.cast(pl.Int64, strict=False))
    if kind.is_float():
        return _numbers(column)
    texts = column.cast(pl.String).str.strip_chars()
    if time_format is not None:
        return _epoch(texts.str.to_datetime(time_format, time_unit="us", strict=False))
    first = texts.drop_nulls().head(1).cast(pl.Float64, strict=False)
    if len(first) and first[0] is not None:
        whole = texts.cast(pl.Int64, strict=False)
        return _numbers(whole if not whole.null_count() else texts.cast(pl.Float64, strict=False))
    return _epoch(_iso(texts))


def _epoch(times: pl.Series) -> Ticks:
    ticks = times.dt.epoch("us")
    return Ticks(ticks, 10**6) if (ticks % 10**6 != 0).any() else Ticks(ticks // 10**6)


def _numbers(column: pl.Series) -> Ticks:
    if column.dtype.is_float():
        column = column.set(~column.is_finite(), None)
    middle = column.abs().median()
    typical = float(middle) if isinstance(middle, int | float) else 0.0
    per_second = next((unit for unit in _UNITS if typical <= _LARGEST_OF_UNIT * unit), 10**9)
    unit = _UNITS[per_second]
    if column.dtype.is_float():
        finer = 1 if (column == column.floor()).all() else min(10**6, 10**9 // per_second)
        column = (column * finer).round().cast(pl.Int64, strict=False)
        per_second *= finer
    return Ticks(column, per_second, unit)


def _iso(texts: pl.Series) -> pl.Series:
    """ISO 8601, parsed value by value: some may have fractions or zones and others not."""
    frame = texts.str.replace("T", " ", literal=True).str.replace(r"[Zz]$", "+00:00").alias("time").to_frame()
    time = pl.col("time")
    zoned = time.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", strict=False).dt.replace_time_zone(None)
    plain = [time.str.to_datetime(form, time_unit="us", strict=False) for form in _ISO_FORMATS]
    return frame.select(pl.coalesce(zoned, *plain)).to_series()
