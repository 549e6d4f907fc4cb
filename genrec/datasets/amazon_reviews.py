"""The Amazon review data of McAuley's group as published, editions of 2014, 2018 and 2023: reviews and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, NonNegativeInt, PositiveInt, StringConstraints

from genrec.datasets._columns import categorical, filled, numeric
from genrec.datasets.readers.amazon_editions import Edition, Files, Reviews, find_files
from genrec.datasets.readers.amazon_images import ImageFolder
from genrec.datasets.readers.amazon_items import FIELDS, read_items
from genrec.datasets.readers.csv import read_csv, read_csv_skipping
from genrec.datasets.readers.descriptions import Entry, coverage, describe, leaf_categories, title, words
from genrec.datasets.readers.findings import skipped, texts_of
from genrec.datasets.readers.fingerprint import content_fingerprint
from genrec.datasets.readers.folder import RelativePath, find
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.interactions import Duplicates, Order, Ordered, order_histories
from genrec.datasets.readers.json_lines import BrokenLines, read_json_lines
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.formats.finding import Finding
from genrec.types import Catalog, Dataset

_OF_BEHAVIOR = frozenset(
    {
        *("related", "also_bought", "also_viewed", "bought_together", "buy_after_viewing", "also_buy", "also_view"),
        *("rank", "salesRank", "average_rating", "rating_number"),
        *("reviews", "reviewText", "summary", "text"),
    }
)
_ADVICE = "download the URLs of 'genrec data images' to {}/, as <key>.jpg or under the file name of the URL"


def _without_leaks(fields: tuple[str, ...]) -> tuple[str, ...]:
    for field in fields:
        if field in _OF_BEHAVIOR:
            raise ValueError(
                f"{field!r} would leak: it is computed from all interactions, test interactions included; "
                f"expected any of {', '.join(FIELDS)}"
            )
        if field not in FIELDS:
            raise ValueError(f"no field {field!r} in the metadata; expected any of {', '.join(FIELDS)}")
    return fields


@datasets.register("amazon_reviews")
class AmazonReviews(DatasetSource):
    """Amazon products and their reviews, oldest review first; files packed (.gz) or unpacked.

    2014: ``reviews_X_5.json.gz`` and ``meta_X.json.gz``. 2018: ``X_5.json.gz`` and ``meta_X.json.gz``. 2023:
    ``X.jsonl.gz`` and ``meta_X.jsonl.gz``, or its 5-core ``X.csv``; an item is a ``parent_asin``.

    The first two editions have the day of a review only, so ties are frequent. Ties keep the order of the file, grouped
    by item: within a day, the order is that of the ASINs. Columns: price (the middle of a range), brand,
    category (every level).
    """

    folder: RelativePath = "amazon"
    """Folder inside ``--data`` that holds the files."""
    category: Annotated[str, StringConstraints(pattern=r"^\w+$")] = "Beauty"
    """The X of the file names above. 2018 and 2023 call it ``All_Beauty``."""
    edition: Literal["auto", 2014, 2018, 2023] = "auto"
    """Year of publication; ``auto``: the one whose files exist."""
    reviews: Reviews = "auto"
    """``5core``: the publisher's 5-core; ``all``: the file of all reviews; ``auto``: the first that exists, or the
    second if ``core`` is below 5. The 5-core of 2023 has repeated reviews of an item by a user once."""
    min_rating: float | None = None
    """Reviews with fewer stars are dropped; null keeps all."""
    core: NonNegativeInt = 5
    """Users and items with fewer reviews are removed repeatedly (k-core); 0 or 1 keeps all."""
    order: Order = "time"
    """``file`` keeps the order of the file, to reproduce code that does not sort by time."""
    duplicates: Duplicates = "keep"
    """What happens to reviews with the same user, item and time as an earlier one."""
    metadata: bool = True
    """Whether the metadata file is read; without it there are no texts and no image URLs."""
    text_fields: Annotated[tuple[str, ...], AfterValidator(_without_leaks)] = ("title", "brand", "categories")
    """What the text of an item consists of, in this order: any of title, brand (2023: the store), categories,
    description, features, main_category, price. Fields computed from user behavior (also bought, rank) are rejected."""
    max_images: PositiveInt | None = 1
    """Images of an item, the main one first; null uses all."""
    images: RelativePath = "images"
    """Folder of the images inside ``folder``."""
    broken_lines: BrokenLines = "error"
    """Whether an unreadable line is an error, or is skipped and counted."""

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        files, ordered, num_skipped = self._interactions(data)
        findings = skipped(num_skipped, "unreadable lines", files.reviews)
        metadata, metadata_findings = self._metadata(files, ordered.item_keys)
        findings += metadata_findings
        entries = [metadata.get(key, {}) for key in ordered.item_keys]
        images = self._images(files, ordered.item_keys, entries)
        catalog = Catalog(
            keys=ordered.item_keys,
            titles=tuple(map(title, entries)),
            texts=tuple(describe(entry, self.text_fields) for entry in entries),
            attributes=tuple(
                tuple(dict.fromkeys([*leaf_categories(entry.get("categories")), *words(entry.get("brand"))]))
                for entry in entries
            ),
            images=images if images.counts_I.any() else None,
            columns=filled(
                {
                    "price": numeric(entry.get("price") for entry in entries),
                    "brand": categorical(entry.get("brand") for entry in entries),
                    "category": categorical(entry.get("categories") for entry in entries),
                }
            ),
        )
        notes = [f"read from {files.reviews.name}, edition of {files.edition.year}", *ordered.notes]
        notes += texts_of(findings)
        if files.about is not None:
            notes += self._notes(files.about, entries, images)
        return Dataset(
            name=f"Amazon {self.category} {files.edition.year}",
            catalog=catalog,
            user_keys=ordered.user_keys,
            histories=ordered.histories,
            fingerprint=content_fingerprint(self.block(), ordered, catalog, images),
            notes=tuple(notes),
            order=ordered.order,
            times=None if ordered.times is None else ordered.times // files.edition.ticks,
            findings=(*ordered.findings, *findings),
        )

    def image_urls(self, data: Path | None) -> Iterator[tuple[str, str]]:
        """Item key and image URL of each image, at most ``max_images`` an item, in catalog order.

        Raises:
            DataError: as :meth:`load`.
        """
        files, ordered, _ = self._interactions(data)
        metadata, _ = self._metadata(files, ordered.item_keys)
        for key in ordered.item_keys:
            for url in metadata.get(key, {}).get("images", [])[: self.max_images]:
                yield key, url

    def _interactions(self, data: Path | None) -> tuple[Files, Ordered, int]:
        """The files, the histories, and how many lines were skipped; times are in the edition's ticks."""
        year = None if self.edition == "auto" else self.edition
        folder = find(data, self.folder)
        files = find_files(folder, self.category, year, self.reviews, self.core, metadata=self.metadata)
        edition = files.edition
        table, num_skipped = self._reviews(files.reviews, edition)
        if not len(table):
            raise DataError(f"{files.reviews}: no review is left with min_rating {self.min_rating}; lower it")
        table = table.rename({edition.user: "user", edition.item: "item", edition.time: "time"})
        ordered = order_histories(
            table,
            path=files.reviews,
            core=self.core,
            order=self.order,
            ties_by=edition.ties_by,
            duplicates=self.duplicates,
        )
        return files, ordered, num_skipped

    def _reviews(self, path: Path, edition: Edition) -> tuple[pl.DataFrame, int]:
        is_csv = path.suffix == ".csv"
        key_type = pl.String if is_csv else pl.Categorical
        columns: dict[str, type[pl.DataType]] = {
            edition.user: key_type,
            edition.item: key_type,
            edition.time: pl.Int64,
        }
        if self.min_rating is not None:
            columns[edition.rating] = pl.Float64
        if not is_csv:
            return read_json_lines(
                path,
                columns,
                title=f"reading {path.name}",
                keep=lambda rows: self._kept(rows, edition.rating),
                broken_lines=self.broken_lines,
            )
        keys = (edition.user, edition.item)
        if self.broken_lines == "skip":
            table, num_skipped = read_csv_skipping(path, columns, filled=keys)
        else:
            table, num_skipped = read_csv(path, columns, filled=keys), 0
        return self._kept(table, edition.rating), num_skipped

    def _kept(self, rows: pl.DataFrame, rating: str) -> pl.DataFrame:
        return rows if self.min_rating is None else rows.filter(pl.col(rating) >= self.min_rating).drop(rating)

    def _metadata(self, files: Files, keys: tuple[str, ...]) -> tuple[dict[str, Entry], list[Finding]]:
        """The metadata of these items, the first line of each, and findings."""
        if files.about is None:
            return {}, []
        return read_items(files.about, files.edition, keys, self.broken_lines)

    def _images(self, files: Files, keys: tuple[str, ...], entries: list[Entry]) -> ImageFiles:
        folder = ImageFolder(files.reviews.parent / self.images)
        names = [folder.names(key, entry.get("images", ())) for key, entry in zip(keys, entries, strict=True)]
        return ImageFiles(folder.folder, [of_item[: self.max_images] for of_item in names])

    def _notes(self, about: Path, entries: list[Entry], images: ImageFiles) -> list[str]:
        notes = [f"share of items with each text field: {coverage(entries, self.text_fields) or 'none'}"]
        if silent := sum(not entry for entry in entries):
            notes.append(f"{silent} items have no metadata in {about.name}; their text is empty")
        addresses = sum("images" in entry for entry in entries)
        there = int((images.counts_I > 0).sum())
        if addresses or there:
            advice = f"; {_ADVICE.format(self.images)}" if there < addresses else ""
            notes.append(
                f"{addresses} of {len(entries)} items have an image URL, {there} have an image in {self.images}{advice}"
            )
        return notes
