"""MovieLens in every edition that GroupLens ships; with plots and posters if they are in the folder."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import NonNegativeInt

from genrec.datasets._columns import categorical, filled, numeric
from genrec.datasets.readers.descriptions import Entry, coverage, describe, read_entries, title, words
from genrec.datasets.readers.findings import texts_of, unmatched
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import RelativePath, find, require
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.interactions import Duplicates, Ordered, order_histories
from genrec.datasets.readers.movielens_files import SOURCE, Edition, find_edition, read_ratings
from genrec.datasets.readers.movielens_tags import tags_by_film, until, without_held_out
from genrec.families import DatasetSource, datasets
from genrec.formats.finding import Finding
from genrec.types import Catalog, Dataset

_YEAR = re.compile(r"\((\d{4})(?:\s?[-–]\s?(?:\d{4})?)?\)$")
"""At the end of a title; of a series, the first."""


@datasets.register("movielens")
class MovieLens(DatasetSource):
    """Films rated by users, oldest rating first; equal times are ordered by film id.

    The edition is recognized by its files, in the folder or in the only ``ml-...`` folder in it: ``ratings.csv``,
    ``movies.csv``, ``tags.csv`` (latest, 20M, 25M, 32M), ``ratings.dat``, ``movies.dat``, ``tags.dat`` (1M, 10M) or
    ``u.data``, ``u.item``, ``u.genre`` (100K). If there is an ``items.jsonl`` (see ``sequences``), plot, cast and the
    image names come from it; other images are ``images/<movieId>.jpg``. Columns: year, genre.
    """

    folder: RelativePath = "movielens-posters"
    """Folder inside ``--data`` that holds the files."""
    min_rating: float | None = None
    """Lower ratings are dropped; null keeps all."""
    core: NonNegativeInt = 5
    """Users and films with fewer interactions are removed repeatedly (k-core); 0 or 1 keeps all."""
    duplicates: Duplicates = "keep"
    """What happens to ratings with the same user, film and time as an earlier one."""
    text_fields: tuple[str, ...] = ("title", "genres", "tags", "description", "director", "actors")
    """What the text of a film consists of, in this order; fields that a film lacks are left out."""
    max_tags: NonNegativeInt = 10
    """Most frequent tags of a film that are read."""
    held_out_tags: Literal["drop", "keep"] = "drop"
    """What happens to tags that a user gave to the own validation or test film, or at the time of the former or later:
    they would leak held-out films into the texts. Under other splits than leave-one-out: to tags that were given after
    training ends, or by users who are not trained on."""

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        folder, edition = find_edition(find(data, self.folder))
        fingerprint = Fingerprint(self.block())
        ratings_path = folder / edition.ratings
        films_path = require(folder, edition.films, "title and genres of each film", SOURCE)
        # Equal times keep this order: by film, which is uninformative, unlike the page on which films were rated.
        ratings = read_ratings(ratings_path, edition, self.min_rating).sort("item", maintain_order=True)
        fingerprint.add_file(ratings_path)
        ordered = order_histories(
            ratings, path=ratings_path, core=self.core, ties_by="movieId", duplicates=self.duplicates
        )
        findings: list[Finding] = []
        metadata: dict[int, dict[str, Any]] = {}
        if (path := folder / "items.jsonl").is_file():
            entries, findings = read_entries(path, fingerprint.read(path))
            metadata = {item: dict(entry) for item, entry in entries.items()}
        fingerprint.add_file(films_path)
        for item, name, genres in edition.read_films(films_path):
            metadata.setdefault(item, {}).update(title=name, genres=words(genres))
        titled = {str(item) for item, film in metadata.items() if "genres" in film}
        num_titled = len(titled.intersection(ordered.item_keys))
        findings += unmatched(ordered.item_keys, num_titled, titled, films_path)
        notes = [*ordered.notes, *texts_of(findings)]
        tag_notes, tags = self._add_tags(metadata, folder, edition, ordered, fingerprint)
        notes += tag_notes
        films: list[Entry] = [metadata.get(int(key), {}) for key in ordered.item_keys]
        notes.append(f"share of films with each text field: {coverage(films, self.text_fields)}")
        if nameless := len(ordered.item_keys) - num_titled:
            notes.append(f"{nameless} rated films are not in {edition.films}; they have no title and no genres")
        images = ImageFiles(
            folder,
            [
                words(film.get("image")) or [f"images/{key}.jpg"]
                for key, film in zip(ordered.item_keys, films, strict=True)
            ],
        )
        images.add_to(fingerprint)
        catalog = Catalog(
            keys=ordered.item_keys,
            titles=tuple(map(title, films)),
            texts=tuple(describe(film, self.text_fields) for film in films),
            attributes=tuple(tuple(film.get("genres", ())) for film in films),
            images=images if images.counts_I.any() else None,
            columns=filled(
                {
                    "year": numeric(film.get("year") or _year(title(film)) for film in films),
                    "genre": categorical(film.get("genres") for film in films),
                }
            ),
        )
        return Dataset(
            name=folder.resolve().name,
            catalog=catalog,
            user_keys=ordered.user_keys,
            histories=ordered.histories,
            fingerprint=fingerprint.hexdigest(),
            notes=tuple(notes),
            order=ordered.order,
            times=ordered.times,
            texts_until=None if tags is None else partial(self._texts_until, films, tags, ordered),
            findings=(*ordered.findings, *findings),
        )

    def _add_tags(
        self,
        metadata: dict[int, dict[str, Any]],
        folder: Path,
        edition: Edition,
        ordered: Ordered,
        fingerprint: Fingerprint,
    ) -> tuple[list[str], pl.DataFrame | None]:
        """Add the tags with times if there are any, else those of ``items.jsonl``; at most ``max_tags`` a film.

        Returns:
            Notes, and the tags with times of which the texts have only those that are known; None if they have all.
        """
        notes, timed = [], None
        is_read = "tags" in self.text_fields
        if edition.tags and edition.read_tags and (path := folder / edition.tags).is_file():
            fingerprint.add_file(path)
            everything = tags = edition.read_tags(path)
            if self.held_out_tags == "drop":
                timed = everything if is_read else None
                tags = without_held_out(tags, ordered)
            for film in metadata.values():
                film.pop("tags", None)
            for item, of_film in tags_by_film(tags).items():
                metadata.setdefault(item, {})["tags"] = of_film
            if is_read and (left_out := len(everything) - len(tags)):
                why = "given to held-out films of the same user, or later"
                notes.append(f"{left_out:,} of {len(everything):,} tags are dropped: {why}")
        elif is_read and any(metadata.get(int(key), {}).get("tags") for key in ordered.item_keys):
            notes.append("tags of items.jsonl have no user and no time: some may leak held-out interactions")
        for film in metadata.values():
            film["tags"] = words(film.get("tags"))[: self.max_tags]
        return notes, timed

    def _texts_until(
        self, films: list[Entry], tags: pl.DataFrame, ordered: Ordered, until_U: np.ndarray, others: int
    ) -> tuple[str, ...]:
        """The texts of all films with the tags given before a time; see :attr:`genrec.types.Dataset.texts_until`."""
        found = tags_by_film(until(tags, ordered, until_U, others))
        return tuple(
            describe({**film, "tags": words(found.get(int(key)))[: self.max_tags]}, self.text_fields)
            for key, film in zip(ordered.item_keys, films, strict=True)
        )


def _year(name: str) -> int | None:
    """The year at the end of a title such as ``Gate, The (1987)``."""
    found = _YEAR.search(name)
    return None if found is None else int(found[1])
