"""The Yelp Open Dataset as published: reviews as histories, metadata and photos of the businesses."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import NonNegativeInt, PositiveInt, field_validator

from genrec.datasets._columns import categorical, filled, numeric
from genrec.datasets.readers.descriptions import Entry, coverage, describe, title, words
from genrec.datasets.readers.findings import repeated_keys, skipped, texts_of, unmatched
from genrec.datasets.readers.fingerprint import content_fingerprint
from genrec.datasets.readers.folder import RelativePath, find, require
from genrec.datasets.readers.image_files import ImageFiles, is_there
from genrec.datasets.readers.interactions import Duplicates, Order, Ordered, order_histories
from genrec.datasets.readers.json_lines import BrokenLines, json_objects, read_json_lines, refuse
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.formats.finding import Finding
from genrec.formats.text import listed
from genrec.types import Catalog, Dataset

PhotoLabel = Literal["food", "drink", "inside", "outside", "menu"]

_PREFIX = "yelp_academic_dataset_"
_PLACES = ("", "yelp_dataset", "yelp_photos", "Yelp JSON", "Yelp JSON/yelp_dataset", "Yelp Photos")
"""Folders of the files, depending on how they were unpacked."""
_PHOTO_FILES = ("photos.json", "photo.json", f"{_PREFIX}photo.json", f"{_PREFIX}photos.json")
_SOURCE = (
    "accept Yelp's terms on business.yelp.com/data/resources/open-dataset (formerly yelp.com/dataset): "
    "download the JSON archive there, unpack it"
)
_WORD_STARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST_VALUE = 10_000
"""Characters; parsing takes about a hundred times as much memory."""
_OF_BEHAVIOR = frozenset({"stars", "review_count"})
_COLUMNS = (("category", "categories"), ("attribute", "attribute"), ("city", "city"), ("state", "state"))
"""Name of each column of the catalog, and its field."""
_PRICE = "RestaurantsPriceRange2"
"""The attribute that says how expensive a business is, 1 to 4; it is stated on its page, not computed from reviews."""
_FALSE = ("", "no", "none", "false", "null")


@datasets.register("yelp")
class Yelp(DatasetSource):
    """Businesses reviewed by users: yelp_academic_dataset_review.json, .._business.json, photos.json, photos/.

    Reviews are read as a stream: the 5 GB take seconds and little memory. Keys are Yelp's own ids. The number of users
    of one year depends on Yelp's edition: current ones have fewer for 2019 than the papers report.
    Columns: category, attribute, city, state, price (1 to 4).
    """

    folder: RelativePath = "yelp"
    """Folder inside ``--data`` that holds the files."""
    year: int | tuple[int, int] | None = 2019
    """Reviews of this year, or from the first to the last of two, are interactions; null keeps all years."""
    min_stars: float | None = None
    """Reviews with fewer stars are dropped; null keeps all."""
    core: NonNegativeInt = 5
    """Users and businesses with fewer interactions are removed repeatedly (k-core); 0 or 1 keeps all."""
    order: Order = "time"
    """``time`` sorts by time; ``file`` keeps the order of the file."""
    duplicates: Duplicates = "keep"
    """What happens to reviews with the same user, business and time as an earlier one."""
    text_fields: tuple[str, ...] = ("title", "categories", "attributes", "city", "state")
    """What the text of a business consists of, in this order: its name is ``title``; fields that it lacks are left
    out."""
    max_images: PositiveInt | None = None
    """Photos of a business that are used, the first in photos.json; null for all of them."""
    photo_labels: tuple[PhotoLabel, ...] | None = None
    """Only photos with one of these labels; null for all of them."""
    broken_lines: BrokenLines = "error"
    """Whether an unreadable line is an error, or is skipped and counted."""

    @field_validator("text_fields")
    @classmethod
    def _without_leaks(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        for field in fields:
            if field in _OF_BEHAVIOR:
                raise ValueError(f"{field!r} would leak: it is computed from all reviews, test interactions included")
        return fields

    @field_validator("year")
    @classmethod
    def _years_in_order(cls, year: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if isinstance(year, tuple) and year[0] > year[1]:
            raise ValueError(f"the first year, {year[0]}, comes after the last, {year[1]}")
        return year

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        folder = find(data, self.folder)
        reviews_path = _require(folder, "review", "the reviews")
        business_path = _require(folder, "business", "the metadata of the businesses")
        ordered, findings = self._histories(reviews_path)
        entries, business_findings, business_notes = self._businesses(business_path, ordered.item_keys)
        images, image_findings, image_notes = self._images(folder, ordered.item_keys)
        findings += business_findings + image_findings
        catalog = Catalog(
            keys=ordered.item_keys,
            titles=tuple(map(title, entries)),
            texts=tuple(describe(entry, self.text_fields) for entry in entries),
            attributes=tuple(tuple(words(entry.get("categories"))) for entry in entries),
            images=images,
            columns=filled(
                {name: categorical(entry.get(field) for entry in entries) for name, field in _COLUMNS}
                | {"price": numeric(entry.get("price") for entry in entries)}
            ),
        )
        return Dataset(
            name=folder.resolve().name,
            catalog=catalog,
            user_keys=ordered.user_keys,
            histories=ordered.histories,
            fingerprint=content_fingerprint(self.block(), ordered, catalog, images),
            notes=(*ordered.notes, *texts_of(findings), *business_notes, *image_notes),
            order=ordered.order,
            times=ordered.times,
            findings=(*ordered.findings, *findings),
        )

    def _histories(self, path: Path) -> tuple[Ordered, list[Finding]]:
        first, last = self.year if isinstance(self.year, tuple) else (self.year, self.year)
        years: set[int] = set()

        def keep(table: pl.DataFrame) -> pl.DataFrame:
            year = table["date"].dt.year()
            years.update(year.unique().to_list())
            if first is not None and last is not None:
                table = table.filter(year.is_between(first, last))
            if self.min_stars is not None:
                table = table.filter(pl.col("stars") >= self.min_stars)
            return table.select(
                pl.col("user_id").alias("user"),
                pl.col("business_id").alias("item"),
                pl.col("date").dt.epoch("s").alias("time"),
            )

        columns: dict[str, type[pl.DataType]] = {
            "user_id": pl.Categorical,
            "business_id": pl.Categorical,
            "date": pl.Datetime,
        }
        if self.min_stars is not None:
            columns["stars"] = pl.Float64
        table, num_skipped = read_json_lines(
            path, columns, title=f"reading {path.name}", keep=keep, broken_lines=self.broken_lines
        )
        if not len(table):
            raise DataError(
                f"{path}: no review is left with year {self.year} and min_stars {self.min_stars}; the file has reviews "
                f"of {min(years)} to {max(years)}"
            )
        ordered = order_histories(table, path=path, core=self.core, order=self.order, duplicates=self.duplicates)
        return ordered, skipped(num_skipped, "broken lines", path)

    def _businesses(self, path: Path, keys: tuple[str, ...]) -> tuple[list[Entry], list[Finding], list[str]]:
        """Metadata of each business in catalog order, empty where missing; findings and notes."""
        wanted = set(keys)
        found: dict[str, Entry] = {}
        others: list[str] = []
        broken: list[DataError] = []
        repeated: list[tuple[int, str]] = []
        for number, entry in self._objects(path, ("business_id",), broken, repeated):
            key = entry["business_id"]
            if len(others) < 3:
                others.append(key)
            if key in found:
                self._on_broken(broken)(DataError(f"{path}:{number}: business {key!r} was on an earlier line"))
            elif key in wanted:
                attributes = entry.get("attributes")
                labels = list(_labels(attributes))
                found[key] = {
                    **entry,
                    "title": entry.get("name"),
                    "categories": _categories(entry.get("categories")),
                    "attributes": "; ".join(labels),
                    "attribute": labels,
                    "price": attributes.get(_PRICE) if isinstance(attributes, dict) else None,
                }
        entries = [found.get(key, {}) for key in keys]
        findings = [*skipped(len(broken), "broken lines", path), *repeated_keys(repeated, path)]
        findings += unmatched(keys, len(found), others, path)
        notes = []
        if fields := coverage(entries, self.text_fields):
            notes.append(f"share of businesses with each text field: {fields}")
        if unknown := len(keys) - len(found):
            notes.append(f"{unknown:,} reviewed businesses are not in {path.name}; they have no name and no text")
        return entries, findings, notes

    def _images(self, folder: Path, keys: tuple[str, ...]) -> tuple[ImageFiles | None, list[Finding], list[str]]:
        """The photos of each business that exist on disk, None if there are none; findings and notes."""
        path = next((path for name in _PHOTO_FILES if (path := _placed(folder, name)).is_file()), None)
        photos = _placed(folder, "photos")
        if path is None or not photos.is_dir():
            missing = [name for name, here in (("photos.json", path), ("photos/", photos.is_dir())) if not here]
            return None, [], [f"no photos: {' and '.join(missing)} not found in {folder.name}"]
        inside = photos.relative_to(folder).as_posix()
        names: dict[str, list[str]] = {key: [] for key in keys}
        broken: list[DataError] = []
        repeated: list[tuple[int, str]] = []
        lost = 0
        for _, entry in self._objects(path, ("photo_id", "business_id"), broken, repeated):
            of_item = names.get(entry["business_id"])
            if of_item is None or (self.photo_labels is not None and entry.get("label") not in self.photo_labels):
                continue
            if self.max_images is None or len(of_item) < self.max_images:
                name = f"{inside}/{entry['photo_id']}.jpg"
                if is_there(folder, name):
                    of_item.append(name)
                else:
                    lost += 1
        images = ImageFiles(folder, list(names.values()))
        findings = [*skipped(len(broken), "broken lines", path), *repeated_keys(repeated, path)]
        notes = []
        if lost:
            notes.append(f"{lost:,} photos named in {path.name} are missing from photos/ and are skipped")
        if not images.counts_I.any():
            labels = "" if self.photo_labels is None else f" with a label of {', '.join(self.photo_labels)}"
            return None, findings, [*notes, f"no photos: none of {path.name}{labels} shows a business of the catalog"]
        return images, findings, notes

    def _objects(
        self, path: Path, ids: tuple[str, ...], broken: list[DataError], repeated: list[tuple[int, str]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and object of each line with these ids; broken lines are handled as ``broken_lines`` sets."""
        report = self._on_broken(broken)
        for number, entry in json_objects(path, title=f"reading {path.name}", broken=report, repeated=repeated):
            missing = [name for name in ids if not isinstance(entry.get(name), str) or not entry[name].strip()]
            if missing:
                found = listed(entry)
                report(DataError(f"{path}:{number}: no text under the key {', '.join(missing)}; keys found: {found}"))
            else:
                yield number, entry

    def _on_broken(self, broken: list[DataError]) -> Callable[[DataError], None]:
        return broken.append if self.broken_lines == "skip" else refuse


def _placed(folder: Path, name: str) -> Path:
    """The file or folder of this name in one of the usual folders; in the first of them if it does not exist."""
    places = [folder / place / name for place in _PLACES]
    return next((path for path in places if path.exists()), places[0])


def _require(folder: Path, name: str, what: str) -> Path:
    for path in (_placed(folder, f"{_PREFIX}{name}.json"), _placed(folder, f"{name}.json")):
        if path.is_file():
            return path
    return require(folder, f"{_PREFIX}{name}.json", what, _SOURCE)


def _categories(value: Any) -> list[str]:
    """Categories as a list: Yelp has them in one text, ``Bars, Food``; older editions as a list."""
    return words(value.split(",") if isinstance(value, str) else value)


def _labels(attributes: Any) -> Iterator[str]:
    """The attributes of a business as texts such as ``bike parking`` or ``alcohol: full bar``.

    Values are Python literals: ``"True"``, ``"u'free'"``, ``"{'garage': False, 'lot': True}"``. False, none and
    null are left out, and so are groups without a true value.
    """
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        value = _plain(value) if isinstance(value, str) else value
        name = _readable(str(key))
        if isinstance(value, dict):
            if labels := ", ".join(_labels(value)):
                yield f"{name}: {labels}"
        elif value is True:
            yield name
        elif text := ", ".join(word for word in words(value) if word.lower() not in _FALSE):
            yield f"{name}: {text.replace('_', ' ')}"


@lru_cache(maxsize=10_000)
def _plain(text: str) -> Any:
    """The value of a Python literal; the text itself if it is not one."""
    if len(text) > _LONGEST_VALUE:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return text
    return text if isinstance(value, set | bytes | complex) else value


def _readable(key: str) -> str:
    """``RestaurantsPriceRange2`` -> ``restaurants price range``."""
    return _WORD_STARTS.sub(" ", key.replace("WiFi", "Wifi").rstrip("2")).replace("_", " ").lower()
