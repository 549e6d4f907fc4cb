"""A table of interactions -> histories: k-core filter, order within users, notes on ties."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from genrec.datasets.readers.findings import duplicate_events, texts_of
from genrec.datasets.readers.notes import repeats, ties
from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.keys import sorted_keys
from genrec.types import Histories

Order = Literal["time", "file"]
"""Order of a user's interactions: by time, ties in the order of the source; or the order of the source."""

Duplicates = Literal["keep", "drop"]
"""What happens to interactions with the same user, item and time as an earlier one: they are kept, or dropped."""


@dataclass(frozen=True)
class Ordered:
    """Histories by the source's own keys. Users and items are in the order of their keys, numbers as numbers."""

    user_keys: tuple[str, ...]
    item_keys: tuple[str, ...]
    """Item i of ``histories`` is ``item_keys[i]``."""
    histories: Histories
    times: np.ndarray | None
    """Time of each interaction in the table's unit, int64; None where the table has none."""
    order: str
    """For :attr:`genrec.types.Dataset.order`."""
    notes: tuple[str, ...]
    """For :attr:`genrec.types.Dataset.notes`: ties, repeats, removed interactions, and the findings."""
    findings: tuple[Finding, ...] = ()
    """For :attr:`genrec.types.Dataset.findings`: duplicate events."""
    parts: np.ndarray | None = None
    """For :attr:`genrec.types.Dataset.parts`; None where the table has no column ``part``."""


def order_histories(
    table: pl.DataFrame,
    *,
    path: Path,
    core: int,
    order: Order = "time",
    ties_by: str = "place in the file",
    duplicates: Duplicates = "keep",
) -> Ordered:
    """Turn interactions into histories.

    Args:
        table: a row an interaction, in the order of the source: ``user`` and ``item`` (text, categories or whole
            numbers) and, if the source has it, ``time`` (int64, Unix seconds) and ``part`` (int8), which comes before
            the time in the order of a history.
        path: the file, for messages.
        core: users and items with fewer interactions are removed repeatedly, until all have as many; 0 or 1 keeps
            all.
        order: ``file`` reproduces code that does not sort by time.
        ties_by: order of rows with equal times in the table, for the notes.
        duplicates: rows with the same user, item and time as an earlier one; ``drop`` removes them before the core.
            Without times there are none: a repeated pair may be a second purchase.

    Raises:
        DataError: nothing is left, or ``order`` is ``time`` and the table has no times.
    """
    if order == "time" and "time" not in table.columns:
        raise DataError(
            f"{path}: no time column to order the histories by; set order: file to keep the order of the file"
        )
    findings: list[Finding] = []
    if "time" in table.columns:
        is_again = ~table.select(pl.struct("user", "item", "time").is_first_distinct()).to_series()
        if is_again.any():
            findings = duplicate_events(int(is_again.sum()), len(table), dropped=duplicates == "drop")
            table = table.filter(~is_again) if duplicates == "drop" else table
    total = len(table)
    before = table["user"].n_unique(), table["item"].n_unique()
    table = _core(table, core)
    if not len(table):
        raise DataError(f"{path}: none of {total:,} interactions is left with core {core}; lower it")
    user_keys, user_N = _numbered(table["user"])
    item_keys, item_N = _numbered(table["item"])
    time_N = table["time"].to_numpy().astype(np.int64) if "time" in table.columns else None
    part_N = table["part"].to_numpy() if "part" in table.columns else None
    columns = {"user": user_N, "part": part_N, "time": None if order == "file" else time_N}
    rows = pl.DataFrame({name: column for name, column in columns.items() if column is not None})
    keys = rows.columns
    place_N = rows.select(pl.arg_sort_by(keys, maintain_order=True)).to_series().to_numpy()  # ties keep their order
    offsets = np.concatenate([[0], np.cumsum(np.bincount(user_N, minlength=len(user_keys)))]).astype(np.int64)
    histories = Histories(item_N[place_N].astype(np.int32), offsets)
    times = None if time_N is None else time_N[place_N]
    notes = repeats(histories)
    text = "as in the source"
    if order == "time" and times is not None:
        text = f"by time; equal times by {ties_by}"
        within = np.diff(user_N[place_N]) == 0
        notes = ties(float((np.diff(times) == 0)[within].mean()) if within.any() else 0.0, ties_by) + notes
    if total != len(table):
        users, items = (
            f"{count - len(keys):,} of {count:,}" for count, keys in zip(before, (user_keys, item_keys), strict=True)
        )
        notes.append(
            f"{total - len(table):,} of {total:,} interactions, {users} users and {items} items were removed by the "
            f"{core}-core filter"
        )
    notes += texts_of(findings)
    if part_N is not None:
        part_N, text = part_N[place_N], f"training, validation, test; in each {text}"
    return Ordered(user_keys, item_keys, histories, times, text, tuple(notes), tuple(findings), part_N)


def _core(table: pl.DataFrame, core: int) -> pl.DataFrame:
    """Remove rare users and items until every remaining one has ``core`` interactions."""
    while core > 1:
        often = (pl.len().over("item") >= core) & (pl.len().over("user") >= core)
        left = table.filter(often)
        if len(left) == len(table):
            break
        table = left
    return table


def _numbered(column: pl.Series) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct keys, ordered (as numbers if all are digits), and each row's place among them, int64."""
    distinct = column.unique()
    keys = [str(key) for key in distinct.to_list()]
    in_order = tuple(sorted_keys(keys))
    place_of = {key: place for place, key in enumerate(in_order)}
    places = pl.Series([place_of[key] for key in keys], dtype=pl.Int64)
    return in_order, column.replace_strict(distinct, places, return_dtype=pl.Int64).to_numpy()
