"""MovieLens as GroupLens ships it: ``ratings.csv``, ``movies.csv``, ``tags.csv``; plots and posters if beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import NonNegativeInt

from genrec.datasets._csv import read_csv
from genrec.datasets._descriptions import Entry, coverage, describe, read_entries, title, words
from genrec.datasets._fingerprint import Fingerprint
from genrec.datasets._folder import RelativePath, find, require
from genrec.datasets._notes import repeats, ties
from genrec.datasets._picture_files import PictureFiles
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.types import Catalog, Dataset, Histories

_SOURCE = "unpack ml-latest-small.zip or a larger one in this format (files.grouplens.org/datasets/movielens)"
_NO_GENRES = "(no genres listed)"


@datasets.register("movielens")
class MovieLens(DatasetSource):
    """Films rated by users, oldest rating first; ratings of one moment are ordered by film id.

    Titles and genres come from ``movies.csv``. If the folder has an ``items.jsonl`` (see ``sequences``), plot, cast and
    the pictures' names come from it; pictures are also found as ``images/<movieId>.jpg``.
    """

    folder: RelativePath = "movielens-posters"
    """Folder inside ``--data`` that holds the files."""
    min_rating: float | None = None
    """Ratings below this are no interaction; null keeps them all."""
    core: NonNegativeInt = 5
    """Users and films with fewer interactions are removed until none is left; 0 or 1 keeps all."""
    text_fields: tuple[str, ...] = ("title", "genres", "tags", "description", "director", "actors")
    """What the text of a film consists of, in this order; fields that a film lacks are left out."""
    max_tags: NonNegativeInt = 10
    """Most frequent tags of a film that are read."""

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        folder = find(data, self.folder)
        fingerprint = Fingerprint(self.block())
        ratings_path = require(folder, "ratings.csv", "who rated which film when", _SOURCE)
        movies_path = require(folder, "movies.csv", "title and genres of each film", _SOURCE)
        ratings = self._ratings(ratings_path)
        fingerprint.add_file(ratings_path)
        ids = ratings["movieId"].unique().sort().to_numpy()
        films = self._films(folder, movies_path, ids, fingerprint)
        pictures = PictureFiles(folder, [_picture(item, film) for item, film in zip(ids.tolist(), films, strict=True)])
        pictures.add_to(fingerprint)
        catalog = Catalog(
            keys=tuple(map(str, ids.tolist())),
            titles=tuple(map(title, films)),
            texts=tuple(describe(film, self.text_fields) for film in films),
            attributes=tuple(tuple(film.get("genres", ())) for film in films),
            pictures=pictures if pictures.present_I.any() else None,
        )
        users = ratings["userId"].to_numpy()
        starts = np.flatnonzero(np.diff(users, prepend=users[0] - 1))
        offsets = np.append(starts, len(users)).astype(np.int64)
        histories = Histories(np.searchsorted(ids, ratings["movieId"].to_numpy()).astype(np.int32), offsets)
        return Dataset(
            name=folder.resolve().name,
            catalog=catalog,
            user_keys=tuple(map(str, users[starts].tolist())),
            histories=histories,
            fingerprint=fingerprint.hexdigest(),
            notes=tuple(self._notes(ratings, histories, films)),
            order="by time of rating; equal times by movieId",
        )

    def _ratings(self, path: Path) -> pl.DataFrame:
        """Interactions that are kept, users one after the other, each oldest first."""
        columns = {"userId": pl.Int64, "movieId": pl.Int64, "timestamp": pl.Int64}
        if self.min_rating is None:
            ratings = read_csv(path, columns)
        else:
            ratings = read_csv(path, {**columns, "rating": pl.Float64}).filter(pl.col("rating") >= self.min_rating)
        ratings = _core(ratings, self.core)
        if not len(ratings):
            raise DataError(
                f"{path}: no rating is left with min_rating {self.min_rating} and core {self.core}; lower one of them"
            )
        return ratings.sort("userId", "timestamp", "movieId")

    def _films(self, folder: Path, movies_path: Path, ids: np.ndarray, fingerprint: Fingerprint) -> list[Entry]:
        """What is told of each film of the catalogue, in its order; empty where nothing is."""
        told: dict[int, dict[str, Any]] = {}
        if (path := folder / "items.jsonl").is_file():
            told = {item: dict(entry) for item, entry in read_entries(path, fingerprint.read(path)).items()}
        fingerprint.add_file(movies_path)
        movies = read_csv(movies_path, {"movieId": pl.Int64, "title": pl.String, "genres": pl.String})
        for item, name, genres in movies.filter(pl.col("movieId").is_in(ids.tolist())).iter_rows():
            film = told.setdefault(item, {})
            film["title"] = name
            film["genres"] = [] if genres == _NO_GENRES else words(genres.split("|"))
        if (path := folder / "tags.csv").is_file():
            fingerprint.add_file(path)
            for item, tags in _tags(path).items():
                told.setdefault(item, {})["tags"] = tags
        for film in told.values():
            film["tags"] = words(film.get("tags"))[: self.max_tags]
        return [told.get(item, {}) for item in ids.tolist()]

    def _notes(self, ratings: pl.DataFrame, histories: Histories, films: list[Entry]) -> list[str]:
        same = (ratings["userId"].diff() == 0) & (ratings["timestamp"].diff() == 0)
        notes = ties(int(same.sum()) / max(len(ratings) - len(histories), 1)) + repeats(histories)
        notes.append(f"films with each text field: {coverage(films, self.text_fields)}")
        if nameless := sum(not film.get("title") for film in films):
            notes.append(f"{nameless} rated films are not in movies.csv: they have no title and no genres")
        return notes


def _core(ratings: pl.DataFrame, core: int) -> pl.DataFrame:
    """Remove rare users and films until every one left has ``core`` interactions."""
    while core > 1:
        often = (pl.len().over("movieId") >= core) & (pl.len().over("userId") >= core)
        kept = ratings.filter(often)
        if len(kept) == len(ratings):
            break
        ratings = kept
    return ratings


def _tags(path: Path) -> dict[int, list[str]]:
    """Tags of each film, most frequent first, then oldest in the file; upper and lower case count as one."""
    tags = (
        read_csv(path, {"movieId": pl.Int64, "tag": pl.String})
        .with_columns(tag=pl.col("tag").str.strip_chars())
        .group_by("movieId", pl.col("tag").str.to_lowercase().alias("folded"), maintain_order=True)
        .agg(pl.col("tag").first(), pl.len().alias("uses"))
        .sort("uses", descending=True, maintain_order=True)
        .group_by("movieId", maintain_order=True)
        .agg("tag")
    )
    return dict(tags.iter_rows())


def _picture(item: int, film: Entry) -> str:
    return next(iter(words(film.get("image"))), f"images/{item}.jpg")
