"""Interactions in three files, one for training, one for validation and one for the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from genrec.datasets.readers.interaction_tables import InteractionColumns, Interactions, read_interactions
from genrec.datasets.readers.tables import TableFile
from genrec.errors import DataError

NAMES = ("train", "validation", "test")
"""The parts, in the order of their numbers in the column ``part``."""


def check_core(core: int, name: str) -> None:
    """Reject a k-core filter of files that are a finished split.

    Args:
        core: of the dataset.
        name: the setting that names the files, for the message.

    Raises:
        ValueError: the filter would remove interactions of the split.
    """
    if core > 1:
        raise ValueError(
            f"found core: {core} with {name}, expected core: 0: the files are a finished split, which a filter would "
            "change"
        )


def read_parts(files: Sequence[TableFile], columns: Sequence[InteractionColumns], **settings: Any) -> Interactions:
    """Read the three files and put them one after the other, with a column ``part``, int8.

    Args:
        files: of training, validation and test.
        columns: their column names.
        settings: of :func:`~genrec.datasets.readers.interaction_tables.read_interactions`.

    Returns:
        All interactions, with times in one unit.

    Raises:
        DataError: a file cannot be read, or some have dates and others counters.
    """
    parts = [read_interactions(file, of, **settings) for file, of in zip(files, columns, strict=True)]
    if len({part.times_are_dates for part in parts}) > 1:
        with_dates = [file.path.name for file, part in zip(files, parts, strict=True) if part.times_are_dates]
        raise DataError(
            f"{files[0].path.parent}: times are dates in {', '.join(with_dates)} and counters in the others, expected "
            "one kind; set time_unit or time_format"
        )
    ticks = max(part.ticks_per_second for part in parts)
    tables = []
    for number, part in enumerate(parts):
        table = part.table.with_columns(pl.col("user", "item").cast(pl.String), part=pl.lit(number, dtype=pl.Int8))
        if "time" in table.columns:
            table = table.with_columns(pl.col("time") * (ticks // part.ticks_per_second))
        tables.append(table)
    return replace(
        parts[0],
        table=pl.concat(tables),
        ticks_per_second=ticks,
        items=frozenset().union(*(part.items for part in parts)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        findings=tuple(finding for part in parts for finding in part.findings),
    )
