"""Interactions written in the formats of MovieLens, RecBole and one's own tables, for tests that read them back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

Rows = Sequence[tuple[int | str, int | str, int]]
"""User, item and Unix time in seconds of each interaction, in the order of the file; MovieLens wants whole numbers."""


def write_movielens_100k(folder: Path, rows: Rows) -> None:
    """``u.data``, ``u.item`` in Latin-1 and ``u.genre``."""
    _write(folder / "u.data", [f"{user}\t{item}\t4\t{time}" for user, item, time in rows])
    _write(folder / "u.genre", ["unknown|0", "Action|1", "Drama|2", ""])
    films = [f"{item}|Café {item} (1995)|01-Jan-1995||http://example.org/{item}|0|1|1" for item in _items(rows)]
    _write(folder / "u.item", films, "latin-1")


def write_movielens_1m(folder: Path, rows: Rows) -> None:
    """``ratings.dat`` and ``movies.dat`` in Latin-1."""
    _write(folder / "ratings.dat", [f"{user}::{item}::4::{time}" for user, item, time in rows])
    films = [f"{item}::Café: the {item}::Action|Drama" for item in _items(rows)]
    _write(folder / "movies.dat", films, "latin-1")


def write_movielens_10m(folder: Path, rows: Rows) -> None:
    """``ratings.dat``, ``movies.dat`` in UTF-8, and ``tags.dat`` with a tag by the first user."""
    _write(folder / "ratings.dat", [f"{user}::{item}::3.5::{time}" for user, item, time in rows])
    _write(folder / "movies.dat", [f"{item}::Café: the {item}::Action|Drama" for item in _items(rows)])
    user, item, time = rows[0]
    _write(folder / "tags.dat", [f"{user}::{item}::old::{time}"])


def write_movielens(folder: Path, rows: Rows) -> None:
    """``ratings.csv``, ``movies.csv`` and ``tags.csv`` of the latest edition, 20M, 25M and 32M."""
    columns = ("userId", "movieId", "rating", "timestamp")
    _write_csv(folder / "ratings.csv", columns, [(user, item, 4.0, time) for user, item, time in rows])
    films = [(item, f"Café, the {item} (1995)", "Action|Drama") for item in _items(rows)]
    _write_csv(folder / "movies.csv", ("movieId", "title", "genres"), films)
    user, item, time = rows[0]
    _write_csv(folder / "tags.csv", ("userId", "movieId", "tag", "timestamp"), [(user, item, "old", time)])


def write_recbole(folder: Path, rows: Rows, name: str = "shop") -> None:
    """``<name>.inter`` and ``<name>.item``, times as floats."""
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    _write(folder / f"{name}.inter", [header, *(f"{user}\t{item}\t4.0\t{time}.0" for user, item, time in rows)])
    items = [f'{item}\tA "fine" thing {item}\tAction Drama' for item in _items(rows)]
    _write(folder / f"{name}.item", ["item_id:token\tmovie_title:token_seq\tclass:token_seq", *items])


def write_table_csv(folder: Path, rows: Rows) -> None:
    """``interactions.csv`` (columns user, item, time) and ``items.csv`` (item, title, tags)."""
    _write_table(folder, ".csv", rows, ",")


def write_table_tsv(folder: Path, rows: Rows) -> None:
    """``interactions.tsv`` and ``items.tsv``, as in :func:`write_table_csv`, times in milliseconds."""
    _write_table(folder, ".tsv", [(user, item, 1000 * time) for user, item, time in rows], "\t")


def write_table_parquet(folder: Path, rows: Rows) -> None:
    """``interactions.parquet`` and ``items.parquet``, as in :func:`write_table_csv`, times as such."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(list(rows), schema=["user", "item", "time"], orient="row")
    table.with_columns(pl.from_epoch("time")).write_parquet(folder / "interactions.parquet")
    items = _items(rows)
    told = {"item": items, "title": [f"Thing {item}" for item in items], "tags": [["a", "b"] for _ in items]}
    pl.DataFrame(told).write_parquet(folder / "items.parquet")


def _write_table(folder: Path, ending: str, rows: Rows, separator: str) -> None:
    _write_csv(folder / f"interactions{ending}", ("user", "item", "time"), rows, separator)
    items = [(item, f"Thing, {item}", "a|b") for item in _items(rows)]
    _write_csv(folder / f"items{ending}", ("item", "title", "tags"), items, separator)


def _items(rows: Rows) -> list[int | str]:
    return sorted({item for _, item, _ in rows}, key=str)


def _write(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(rows)
