"""Columns of times in any format -> whole numbers without loss of precision; each value is checked against its unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator

TimeUnit = Literal["auto", "s", "ms", "us", "ns", "order"]
"""Unit of times that are numbers. ``auto``: by the size of each value."""

EXPECTED = "a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z"
_UNITS: tuple[TimeUnit, ...] = ("order", "s", "ms", "us", "ns")
_BOUNDS = (1e8, 1e11, 1e14, 1e17)
"""Size from which a number has the next unit. Counters end, and seconds begin, in March 1973."""
_PER_SECOND = {"order": 1, "s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NAMES = {
    "order": "counters",
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
}
_FIRST, _LAST = 631_152_000, 4_102_444_800
"""The years 1990 to 2100: a date of an item outside of them does not show its unit."""
_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_DIGIT_DATES = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%Y%m%d%H%M%S", "%Y%m%d%H%M")
"""Dates that look like a number."""
_COMMON = (*(day + time for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
             for time in ("", " %H:%M", " %H:%M:%S")), *_DIGIT_DATES, "%Y")  # fmt: skip
"""Formats that a message proposes."""
_MOSTLY = 0.9
"""Share of the values that look like dates from which a column of numbers is taken for dates."""
_EXAMPLE = pl.Series([datetime(2024, 5, 31, 18, 30, 7, tzinfo=UTC)])


def _readable(formats: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not formats:
        raise ValueError("there is no format; leave the field out to detect Unix times and ISO 8601")
    for form in (formats,) if isinstance(formats, str) else formats:
        try:
            read = _by_format(_EXAMPLE.dt.strftime(_for_polars(form)), form)[0]
        except pl.exceptions.PolarsError:
            read = None
        if read is None or read.year != _EXAMPLE[0].year or "%" not in form:
            raise ValueError(
                f"{form!r} is no format of dates; expected codes of strftime, with a year, such as "
                '"%d.%m.%Y" or "%Y-%m-%d %H:%M:%S"'
            )
        if "%Z" in form:
            raise ValueError(f"{form!r} has the name of a time zone, which is not read; expected an offset, %z")
    return formats


TimeFormat = Annotated[str | tuple[str, ...], AfterValidator(_readable)]
"""A format of times in codes of ``strftime``, or several; each value is read by the first that fits it."""


@dataclass(frozen=True)
class Ticks:
    """Times as whole numbers since 1970, or counters."""

    values: pl.Series
    """int64, null where a value is not a time, or is in another unit than the others."""
    per_second: int
    """Ticks per second; 1 for counters."""
    unit: TimeUnit | None
    """Unit of the numbers in the column, ``order`` for counters; None for dates and texts."""

    @property
    def are_dates(self) -> bool:
        """Whether they are times and not counters."""
        return self.unit != "order"

    @property
    def what(self) -> str:
        """What the values are in the file, for messages."""
        return "dates" if self.unit is None else _NAMES[self.unit]


class DateNumbersError(ValueError):
    """Most numbers of a column are dates in digits, such as 20231229."""

    def __init__(self, value: str, form: str) -> None:
        super().__init__(f"{value} looks like a date of the format {form}")
        self.value = value
        self.form = form


def to_ticks(
    column: pl.Series,
    time_format: str | Sequence[str] | None = None,
    unit: TimeUnit = "auto",
    *,
    of_items: bool = False,
) -> Ticks:
    """Turn a column of times into whole numbers since 1970, or into counters.

    With unit ``auto``, each number has a unit by its size: below 100 million a counter, then seconds, milliseconds,
    microseconds and nanoseconds. Values of another unit than most are null, and so are texts among numbers and numbers
    among texts. Times without a zone are UTC.

    Args:
        column: numbers, dates, times or texts (numbers or ISO 8601).
        time_format: formats of numbers and texts, in codes of ``strftime``; the first that fits a value is used.
        unit: of numbers.
        of_items: release dates and the like: numbers are times of any century, never counters.

    Raises:
        DateNumbersError: without a format, most numbers look like dates.
        polars.exceptions.PolarsError: the type of the column has no times.
    """
    kind = column.dtype
    if kind == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        return _epoch(column)
    if kind.is_float():
        column = column.set(~column.is_finite(), None)
    if time_format is not None:
        texts = _as_digits(column) if kind.is_numeric() else column.cast(pl.String).str.strip_chars()
        formats = (time_format,) if isinstance(time_format, str) else time_format
        return _epoch(_coalesce([_by_format(texts, form) for form in formats]))
    if kind.is_integer():
        return _numbers(column.cast(pl.Int64, strict=False), unit, of_items)
    if kind.is_numeric():
        return _numbers(column.cast(pl.Float64), unit, of_items)
    texts = column.cast(pl.String).str.strip_chars()
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.null_count() > texts.null_count():
        floats = texts.cast(pl.Float64, strict=False)
        floats = floats.set(~floats.is_finite(), None)
        numbers = floats if floats.null_count() < numbers.null_count() else numbers
    if unit == "auto" and numbers.null_count() > texts.null_count():
        dates = _iso(texts)
        if dates.null_count() < numbers.null_count():
            return _epoch(dates)
    return _numbers(numbers, unit, of_items)


def expected(value: str, ticks: Ticks, time_format: str | Sequence[str] | None = None, unit: TimeUnit = "auto") -> str:
    """The end of a message on a value that is null in ``ticks``: what it should have been.

    Args:
        value: as in the file.
        ticks: the result of :func:`to_ticks` for its column.
        time_format: as given to it.
        unit: as given to it.
    """
    if time_format is not None:
        return f"expected {time_format if isinstance(time_format, str) else ' or '.join(time_format)}"
    if unit != "auto":
        return f"expected a number: {_NAMES[unit]}"
    if not is_number(value) or not ticks.values.count():
        return f"expected {EXPECTED}"
    own = _UNITS[int(np.searchsorted(_BOUNDS, abs(float(value)), side="right"))]
    one = "a counter" if own == "order" else _NAMES[own]
    return f"{one} by its size, but most values are {ticks.what}; expected one unit in a column"


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    number = pl.Series([text]).cast(pl.Float64, strict=False)[0]
    return number is not None and math.isfinite(number)


def proposal(text: str) -> str:
    """A common format that fits a text, for messages; the most common one if none does."""
    return next((form for form in _COMMON if _by_format(pl.Series([text]), form)[0] is not None), _COMMON[0])


def _for_polars(form: str) -> str:
    """Python's fractions of a second have another code in polars, where ``%f`` are nanoseconds."""
    return form.replace(".%f", "%.f").replace("%f", "%6f")


def _by_format(texts: pl.Series, form: str) -> pl.Series:
    """Times of one format, null where it does not fit; numbers may lack leading zeros, as in 1012024."""
    digits = _EXAMPLE.dt.strftime(_for_polars(form))[0]
    if digits.isdigit() and form != "%s":
        texts = texts.str.zfill(len(digits))
    times = texts.str.to_datetime(_for_polars(form), time_unit="us", strict=False)
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.set(times.dt.year() < 1000, None)  # the year 24 is a format that does not fit


def _coalesce(columns: Sequence[pl.Series]) -> pl.Series:
    named = [column.alias(str(place)) for place, column in enumerate(columns)]
    return pl.DataFrame(named).select(pl.coalesce(pl.all())).to_series()


def _epoch(times: pl.Series) -> Ticks:
    ticks = times.dt.epoch("us")
    return Ticks(ticks, 10**6, None) if (ticks % 10**6 != 0).any() else Ticks(ticks // 10**6, 1, None)


def _as_digits(column: pl.Series) -> pl.Series:
    """Numbers as texts of digits; fractions are null."""
    return column.set(column != column.floor(), None).cast(pl.Int64, strict=False).cast(pl.String)


def _numbers(column: pl.Series, unit: TimeUnit, of_items: bool) -> Ticks:
    """Numbers of one unit; null where ``auto`` finds another unit than for most."""
    if unit != "auto":
        return _scaled(column, unit)
    _check_dates(column)
    is_there_N = column.is_not_null().to_numpy()
    size_N = column.abs().cast(pl.Float64).fill_null(0).to_numpy()
    unit_N = np.searchsorted(_BOUNDS, size_N, side="right")
    counts = np.bincount(unit_N[is_there_N], minlength=len(_UNITS))
    if of_items:
        counts[0] = 0
    most = int(counts.argmax())
    is_other_N = unit_N != most
    if of_items:
        seconds_N = size_N / np.array(list(_PER_SECOND.values()))[unit_N]
        is_other_N &= (seconds_N >= _FIRST) & (seconds_N < _LAST)
        is_other_N |= not counts.any()  # years, or numbers of days: no Unix times
    return _scaled(column.set(pl.Series(is_other_N), None), _UNITS[most])


def _scaled(column: pl.Series, unit: TimeUnit) -> Ticks:
    """Numbers of a known unit as whole numbers: fractions make the ticks finer."""
    per_second = _PER_SECOND[unit]
    if column.dtype.is_float():
        finer = 1 if (column == column.floor()).all() else min(10**6, 10**9 // per_second)
        column = (column * finer).round().cast(pl.Int64, strict=False)
        per_second *= finer
    return Ticks(column, 1 if unit == "order" else per_second, unit)


def _check_dates(column: pl.Series) -> None:
    """Raise if most of the first numbers are dates in digits, such as 20231229."""
    texts = _as_digits(column.drop_nulls().head(1000)).drop_nulls()
    if not len(texts):
        return
    fits = {form: _by_format(texts, form).dt.year().is_between(1900, 2100).sum() for form in _DIGIT_DATES}
    form = max(fits, key=lambda form: fits[form])
    if fits[form] >= _MOSTLY * len(texts):
        raise DateNumbersError(texts[0], form)


def _iso(texts: pl.Series) -> pl.Series:
    """ISO 8601, parsed value by value: some may have fractions or zones and others not."""
    frame = texts.str.replace("T", " ", literal=True).str.replace(r"[Zz]$", "+00:00").alias("time").to_frame()
    time = pl.col("time")
    zoned = time.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", strict=False).dt.replace_time_zone(None)
    plain = [time.str.to_datetime(form, time_unit="us", strict=False) for form in _ISO_FORMATS]
    return frame.select(pl.coalesce(zoned, *plain)).to_series()
