"""Interactions with known times, written as MovieLens and as Amazon files, and a split that shares no code."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import amazon_files
import table_files

from genrec.datasets.amazon_reviews import AmazonReviews
from genrec.datasets.movielens import MovieLens
from genrec.types import Dataset, Histories

START = 1_388_534_400
"""2014-01-01, Unix time."""
DAY = 86_400


class Row(NamedTuple):
    """An interaction."""

    user: str
    item: str
    time: int


def rows(seed: int = 0, users: int = 40, items: int = 30) -> list[Row]:
    """Users come and go over 400 days; items appear one after the other, so that the last ones are new at any cut."""
    draw, found = random.Random(seed).random, []
    for user in range(1, users + 1):
        day = int(330 * draw())
        for _ in range(2 + int(9 * draw())):
            known = 1 + min(items - 1, day * items // 400)
            found.append(Row(str(user), str(100 + int(known * draw() ** 0.5)), START + DAY * day + int(DAY * draw())))
            day += int(25 * draw())
    return sorted(found, key=lambda row: (row.time, row.user, row.item))


def movielens(folder: Path, found: list[Row]) -> Dataset:
    """The rows read from ``ratings.csv`` and ``movies.csv``."""
    data = folder / "ml"
    table_files.write_movielens(data, [(int(row.user), int(row.item), row.time) for row in found])
    films = [f"{item},Film {item} (1990),Drama" for item in sorted({row.item for row in found})]
    (data / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    return MovieLens(folder="ml", core=0, text_fields=("title", "genres")).load(folder)


def amazon(folder: Path, found: list[Row]) -> Dataset:
    """The rows read from the reviews of 2023, whose times are milliseconds."""
    amazon_files.write_2023(folder / "amazon", found)
    return AmazonReviews(folder="amazon", core=0).load(folder)


def keys(dataset: Dataset, histories: Histories) -> list[list[str]]:
    """Histories as item keys."""
    return [[dataset.catalog.keys[item] for item in histories[row]] for row in range(len(histories))]


class Independent(NamedTuple):
    """What the split below gives: item keys by user key."""

    train: dict[str, list[str]]
    valid: dict[str, tuple[list[str], list[str]]]
    """History and targets."""
    test: dict[str, tuple[list[str], list[str]]]
    new: tuple[int, int]
    """Users without a history, of validation and test."""


def independent_split(found: list[Row], cut: int, valid_cut: int, targets: str, *, drop: bool) -> Independent:
    """A global time split in plain Python, row by row."""
    known = {row.item for row in found if row.time < valid_cut}
    kept = [row for row in found if row.time < valid_cut or row.item in known or not drop]
    train: dict[str, list[str]] = {}
    for row in kept:
        if row.time < valid_cut:
            train.setdefault(row.user, []).append(row.item)
    parts, new = [], []
    for since, until in ((valid_cut, cut), (cut, 1 << 60)):
        users: dict[str, tuple[list[str], list[str]]] = {}
        without = 0
        for user in sorted({row.user for row in kept}, key=int):
            before = [row.item for row in kept if row.user == user and row.time < since]
            after = [row.item for row in kept if row.user == user and since <= row.time < until]
            if targets == "last":
                before, after = before + after[:-1], after[-1:]
            if after and not before:
                without += 1
            elif after:
                wanted = after[:1] if targets == "next" else list(dict.fromkeys(after))
                users[user] = (before, wanted)
        parts.append(users)
        new.append(without)
    return Independent(train, parts[0], parts[1], (new[0], new[1]))
