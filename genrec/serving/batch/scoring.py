"""Histories of some users -> their recommendations as rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from typing import Literal

import polars as pl

from genrec.serving.batch.histories import FileFormat, UserHistory
from genrec.serving.recommender import Recommender

_TYPES: dict[str, type[pl.DataType]] = {
    "rank": pl.Int32,
    "item": pl.String,
    "title": pl.String,
    "score": pl.Float32,
    "fallback": pl.Boolean,
    "log_prob": pl.Float32,
    "share": pl.Float32,
    "semantic_id": pl.String,
}
"""Types of columns by name; those of streams without the stream's name."""


@dataclass(frozen=True)
class Settings:
    """What to recommend; see :meth:`Recommender.recommend`."""

    k: int = 20
    seen: Literal["keep", "filter"] | None = "filter"
    exclude: tuple[str, ...] = ()
    """Keys of items that no list may have."""
    merge: str | None = None
    explain: bool = True
    """Whether each row also has rank, log-probability, share and semantic ID of each stream."""


@dataclass
class Counts:
    """Sums over some users."""

    users: int = 0
    rows: int = 0
    unknown_items: int = 0
    """Items of histories that are not in the catalog."""
    users_with_unknown_items: int = 0
    fallbacks: int = 0
    """Users with popular items, because the catalog has none of their items."""
    users_without_rows: int = 0
    skipped_rows: int = 0
    """Rows of the input, see :class:`~genrec.serving.batch.histories.Inspection`."""
    missing_items: int = 0

    def add(self, other: Counts) -> None:
        """Add the sums over other users."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


def recommend_part(
    recommender: Recommender,
    users: Sequence[UserHistory],
    settings: Settings,
    file_format: FileFormat,
    user_type: type[pl.DataType],
) -> tuple[bytes, Counts]:
    """The recommendations of some users as a Parquet file, as rows of CSV without a header line, or as JSON lines.

    Each row is a recommendation: ``user``, then the columns of :meth:`Recommendations.table` with underscores for
    blanks (``behavior_log_prob``).

    Args:
        recommender: of the run.
        users: in the order of the rows.
        settings: what to recommend.
        file_format: of the content.
        user_type: of the column ``user``.
    """
    found = recommender.recommend(
        [user.items for user in users],
        settings.k,
        seen=settings.seen,
        exclude=settings.exclude,
        merge=settings.merge,
        explain=settings.explain,
    )
    table = found.table().to_polars()
    keys = pl.Series("user", [user.user for user in users], dtype=pl.String).gather(table["history"].cast(pl.Int64))
    columns = [keys.cast(user_type)]
    for column in table.drop("history"):
        label = column.name.rpartition(" ")[2]
        columns.append(column.cast(_TYPES[label]).rename(column.name.replace(" ", "_")))
    frame = pl.DataFrame(columns)
    counts = Counts(
        users=len(users),
        rows=len(frame),
        unknown_items=sum(found.unknown),
        users_with_unknown_items=sum(count > 0 for count in found.unknown),
        fallbacks=sum(found.is_fallback),
        users_without_rows=len(users) - table["history"].n_unique(),
    )
    return content_of(frame, file_format), counts


def content_of(frame: pl.DataFrame, file_format: FileFormat) -> bytes:
    """A table as a Parquet file, as rows of CSV without a header line, or as JSON lines."""
    file = BytesIO()
    match file_format:
        case "parquet":
            frame.write_parquet(file)
        case "csv":
            frame.write_csv(file, include_header=False)
        case "jsonl":
            frame.write_ndjson(file)
    return file.getvalue()


def header(recommender: Recommender, settings: Settings) -> bytes:
    """The header line of the CSV file of :func:`recommend_part`."""
    content, _ = recommend_part(recommender, [], settings, "parquet", pl.String)
    return (",".join(pl.read_parquet(BytesIO(content)).columns) + "\n").encode()
