"""Check of the dates of interactions: a wrong unit or format gives dates that cannot be."""

from __future__ import annotations

import time

import numpy as np

from genrec.dataset_audit.finding import Finding, percent, share
from genrec.types import Dataset

EARLIEST = 631_152_000
"""The year 1990, in seconds since 1970: no dataset for recommendation is older."""
_DAY = 86_400


def first_and_last(dataset: Dataset) -> tuple[int, int] | None:
    """The earliest and the latest time, in seconds since 1970; None without dates."""
    if dataset.times is None or not dataset.times_are_dates or not len(dataset.times):
        return None
    return int(dataset.times.min()), int(dataset.times.max())


def date_text(seconds: int) -> str:
    """A time as a date in UTC, such as ``2014-07-23``."""
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))


def period(dataset: Dataset) -> str | None:
    """The dates of the interactions in a sentence; None without dates."""
    ends = first_and_last(dataset)
    return None if ends is None else f"interactions are from {date_text(ends[0])} to {date_text(ends[1])}"


def dates_finding(dataset: Dataset) -> Finding | None:
    """Interactions before 1990 or more than a day in the future; None without dates."""
    dates = period(dataset)
    if dates is None or dataset.times is None:
        return None
    early = int((dataset.times < EARLIEST).sum())
    late = int((dataset.times > time.time() + _DAY).sum())
    if not early + late:
        return Finding("dates", "ok", dates)
    parts = [(early, "before 1990"), (late, "in the future")]
    found = " and ".join(
        f"{count:,} ({percent(share(count, len(dataset.times)))}) are {when}" for count, when in parts if count
    )
    advice = "set the unit or the format of the times (time_unit, time_format), or correct them in the file"
    return Finding("dates", "error", f"{dates}: {found}", advice)
