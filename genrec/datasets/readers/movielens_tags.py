"""Tags of films: removal of tags that leak, and the tags of each film."""

from __future__ import annotations

import numpy as np
import polars as pl

from genrec.datasets.readers.interactions import Ordered


def without_held_out(tags: pl.DataFrame, ordered: Ordered) -> pl.DataFrame:
    """Drop tags that leak a user's validation and test film.

    A tag is dropped if its user gave it to one of these two films, or at the time of the former or later. Tags of users
    who are not evaluated, and of other users at any time, stay: leave-one-out holds out the end of each history, not
    a period of time.

    Args:
        tags: ``user``, ``item`` and ``time`` of each, and further columns.
        ordered: histories with their times.
    """
    histories, times = ordered.histories, ordered.times
    evaluated = np.flatnonzero(histories.lengths >= 3)
    ends = histories.offsets[evaluated + 1]
    items = np.array(ordered.item_keys).astype(np.int64)
    assert times is not None
    held_out = pl.DataFrame(
        {
            "user": np.array(ordered.user_keys).astype(np.int64)[evaluated],
            "since": times[ends - 2],
            "valid": items[histories.items[ends - 2]],
            "test": items[histories.items[ends - 1]],
        }
    )
    item, since = pl.col("item"), pl.col("since")
    is_held_out = (pl.col("time") >= since) | (item == pl.col("valid")) | (item == pl.col("test"))
    joined = tags.join(held_out, on="user", how="left", maintain_order="left")
    return joined.filter(~is_held_out.fill_null(False)).select(tags.columns)


def until(tags: pl.DataFrame, ordered: Ordered, until_U: np.ndarray, others: int) -> pl.DataFrame:
    """The tags that each user gave before a time.

    Args:
        tags: ``user``, ``item`` and ``time`` of each, and further columns.
        ordered: histories, whose users have a time each.
        until_U: the time of each of them, int64 (U,).
        others: the time of users without a history.
    """
    limits = pl.DataFrame({"user": np.array(ordered.user_keys).astype(np.int64), "until": until_U})
    joined = tags.join(limits, on="user", how="left", maintain_order="left")
    return joined.filter(pl.col("time") < pl.col("until").fill_null(others)).select(tags.columns)


def tags_by_film(tags: pl.DataFrame) -> dict[int, list[str]]:
    """Tags of each film, most frequent first, then oldest in the file; upper and lower case count as one."""
    by_film = (
        tags.with_columns(tag=pl.col("tag").str.strip_chars())
        .group_by("item", pl.col("tag").str.to_lowercase().alias("folded"), maintain_order=True)
        .agg(pl.col("tag").first(), pl.len().alias("uses"))
        .sort("uses", descending=True, maintain_order=True)
        .group_by("item", maintain_order=True)
        .agg("tag")
    )
    return dict(by_film.iter_rows())
