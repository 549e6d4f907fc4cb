"""The editions of MovieLens as GroupLens publishes them: their files and formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genrec.datasets.readers.csv import CSV, Layout, read_csv
from genrec.datasets.readers.folder import require
from genrec.errors import DataError
from genrec.formats.text import shown, split_lines

SOURCE = "unpack ml-latest-small.zip or another MovieLens (files.grouplens.org/datasets/movielens)"
_NO_GENRES = ("(no genres listed)", "unknown")
_COLUMNS = ("userId", "movieId", "rating", "timestamp")
_WORDS_OF_100K = 5
"""Fields of u.item before the genres' flags."""

Films = Iterator[tuple[int, str, list[str]]]
"""Id, title and genres of each film."""


@dataclass(frozen=True)
class Edition:
    """File names and formats of an edition."""

    ratings: str
    layout: Layout
    films: str
    read_films: Callable[[Path], Films]
    tags: str | None = None
    read_tags: Callable[[Path], pl.DataFrame] | None = None
    """``user``, ``item``, ``tag`` and ``time`` of each tag."""


def find_edition(folder: Path) -> tuple[Path, Edition]:
    """The folder with the ratings, this one or one named ``ml-...`` in it, and their edition.

    Raises:
        DataError: there are none, or several folders have ratings.
    """
    found = [(place, edition) for place in [folder] for edition in EDITIONS if (place / edition.ratings).is_file()]
    if not found:
        inside = sorted(place for place in folder.glob("ml-*") if place.is_dir())
        found = [(place, edition) for place in inside for edition in EDITIONS if (place / edition.ratings).is_file()]
        if len({place for place, _ in found}) > 1:
            names = ", ".join(dict.fromkeys(place.name for place, _ in found))
            raise DataError(f"{folder}: there are several MovieLens datasets; set folder: one of {names}")
    if not found:
        others = " (or ratings.dat of 1M and 10M, u.data of 100K)"
        require(folder, EDITIONS[0].ratings, f"the ratings{others}", SOURCE)
    return found[0]


def read_ratings(path: Path, edition: Edition, min_rating: float | None) -> pl.DataFrame:
    """``user`` and ``item`` (int32) and ``time`` (int64) of each selected rating, in the order of the file.

    Raises:
        DataError: a line is broken, or no rating is high enough.
    """
    columns: dict[str, type[pl.DataType]] = {"userId": pl.Int32, "movieId": pl.Int32, "timestamp": pl.Int64}
    if min_rating is None:
        table = read_csv(path, columns, edition.layout)
    else:
        table = read_csv(path, {**columns, "rating": pl.Float64}, edition.layout)
        table = table.filter(pl.col("rating") >= min_rating)
        if not len(table):
            raise DataError(f"{path}: no rating is {min_rating} or more; lower min_rating")
    return table.select(user="userId", item="movieId", time="timestamp")


def _csv_films(path: Path) -> Films:
    films = read_csv(path, {"movieId": pl.Int64, "title": pl.String, "genres": pl.String})
    for item, name, genres in films.iter_rows():
        yield item, name, _genres(genres)


def _dat_films(path: Path) -> Films:
    for number, line in _lines(path):
        item, _, rest = line.partition("::")
        name, colons, genres = rest.rpartition("::")
        if not colons or not _is_number(item):
            raise DataError(f"{path}:{number}: found {shown(line)}, expected movieId::title::genres")
        yield int(item), name, _genres(genres)


def _tab_films(path: Path) -> Films:
    genres_path = require(path.parent, "u.genre", "the names of the genres", SOURCE)
    genres = [line.partition("|")[0] for _, line in _lines(genres_path)]
    width = _WORDS_OF_100K + len(genres)
    for number, line in _lines(path):
        fields = line.split("|")
        if len(fields) != width or not _is_number(fields[0]):
            raise DataError(
                f"{path}:{number}: {len(fields)} fields, starting with {shown(fields[0])}; expected {width}: "
                f"id|title|release|video release|address|{len(genres)} flags"
            )
        flags = zip(genres, fields[_WORDS_OF_100K:], strict=True)
        yield int(fields[0]), fields[1], [genre for genre, flag in flags if flag == "1" and genre not in _NO_GENRES]


def _csv_tags(path: Path) -> pl.DataFrame:
    columns = {"userId": pl.Int64, "movieId": pl.Int64, "tag": pl.String, "timestamp": pl.Int64}
    return read_csv(path, columns).select(user="userId", item="movieId", tag="tag", time="timestamp")


def _dat_tags(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in _lines(path):
        user, item, rest = (*line.split("::", 2), "", "")[:3]
        tag, colons, time = rest.rpartition("::")
        if not colons or not all(map(_is_number, (user, item, time))):
            raise DataError(f"{path}:{number}: found {shown(line)}, expected userId::movieId::tag::timestamp")
        rows.append((int(user), int(item), tag, int(time)))
    schema = {"user": pl.Int64, "item": pl.Int64, "tag": pl.String, "time": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _genres(text: str) -> list[str]:
    return [] if text in _NO_GENRES else text.split("|")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their number; the older editions are Latin-1 where they are not UTF-8."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not text.strip():
        raise DataError(f"{path}:1: the file is empty")
    for number, line in enumerate(split_lines(text), start=1):
        if line:
            yield number, line


EDITIONS = (
    Edition("ratings.csv", CSV, "movies.csv", _csv_films, "tags.csv", _csv_tags),
    Edition("ratings.dat", Layout("::", quoted=False, names=_COLUMNS), "movies.dat", _dat_films, "tags.dat", _dat_tags),
    Edition("u.data", Layout("\t", quoted=False, names=_COLUMNS), "u.item", _tab_films),
)
"""20M, 25M, 32M and latest; 1M and 10M; 100K."""
