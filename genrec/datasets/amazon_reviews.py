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
from genrec.datasets.readers.fingerprint import content_fingerprint
from genrec.datasets.readers.folder import RelativePath, find
from genrec.datasets.readers.image_files import ImageFiles
from genrec.datasets.readers.interactions import Order, Ordered, order_histories
from genrec.datasets.readers.json_lines import BrokenLines, read_json_lines
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.types import Catalog, Dataset

_OF_BEHAVIOR = frozenset(
    {
        *("related", "also_bought", "also_viewed", "bought_together", "buy_after_viewing", "also_buy", "also_view"),
        *("rank", "salesRank", "average_rating", "rating_number"),
        *("reviews", "reviewText", "summary", "text"),
    }
)
_ADVICE = "genrec data images lists the addresses: save them in {}/ as <key>.jpg or under the address's own last part"


def _told_by_the_shop(fields: tuple[str, ...]) -> tuple[str, ...]:
    for field in fields:
        if field in _OF_BEHAVIOR:
            raise ValueError(
                f"{field!r} would leak: it is made from what all customers did, the test interactions among it; "
                f"expected any of {', '.join(FIELDS)}"
            )
        if field not in FIELDS:
            raise ValueError(f"no field {field!r} in the metadata; expected any of {', '.join(FIELDS)}")
    return fields


@datasets.register("amazon_reviews")
class AmazonReviews(DatasetSource):
    """Products reviewed by customers of Amazon, oldest review first; files packed (.gz) or unpacked.

    2014: ``reviews_X_5.json.gz`` and ``meta_X.json.gz``. 2018: ``X_5.json.gz`` and ``meta_X.json.gz``. 2023:
    ``X.jsonl.gz`` and ``meta_X.jsonl.gz``, or its 5-core ``X.csv``; an item is a ``parent_asin``.

    The first two editions know the day of a review alone, so ties are many. They keep their order in the file, which
    goes item by item: within a day, the order is that of the ASINs. Columns: price (the middle of a range), brand,
    category (every level).
    """

    folder: RelativePath = "amazon"
    """Folder inside ``--data`` that holds the files."""
    category: Annotated[str, StringConstraints(pattern=r"^\w+$")] = "Beauty"
    """The X of the file names above. 2018 and 2023 call it ``All_Beauty``."""
    edition: Literal["auto", 2014, 2018, 2023] = "auto"
    """The year it was published in; ``auto``: the one whose files are there."""
    reviews: Reviews = "auto"
    """``5core``: the publisher's 5-core; ``all``: the file of all reviews; ``auto``: the first that is there, or the
    second if ``core`` is below 5. The 5-core of 2023 has a customer's repeated reviews of an item once."""
    min_rating: float | None = None
    """Reviews with fewer stars are no interaction; null keeps them all."""
    core: NonNegativeInt = 5
    """Customers and items with fewer reviews are removed until none is left; 0 or 1 keeps all."""
    order: Order = "time"
    """``file`` takes a customer's reviews as they stand, for those who want what other people's code did."""
    metadata: bool = True
    """Whether the file on the items is read; without it there are no texts and no images by address."""
    text_fields: Annotated[tuple[str, ...], AfterValidator(_told_by_the_shop)] = ("title", "brand", "categories")
    """What the text of an item consists of, in this order: any of title, brand (2023: the store), categories,
    description, features, main_category, price. What customers did (also bought, rank, ratings) is refused."""
    max_images: PositiveInt | None = 1
    """Images of an item, the main one first; null takes all."""
    images: RelativePath = "images"
    """Folder of the images inside ``folder``."""
    broken_lines: BrokenLines = "error"
    """``skip`` leaves out lines that cannot be read, and counts them."""

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        files, ordered, skipped = self._interactions(data)
        told, unread = self._told(files, ordered.item_keys)
        entries = [told.get(key, {}) for key in ordered.item_keys]
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
        if skipped + unread:
            notes.append(f"lines that cannot be read were left out: {skipped} of reviews, {unread} of items")
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
        )

    def image_urls(self, data: Path | None) -> Iterator[tuple[str, str]]:
        """The key of each item and the address of each of its images, at most ``max_images``, in catalog order.

        Raises:
            DataError: as :meth:`load`.
        """
        files, ordered, _ = self._interactions(data)
        told, _ = self._told(files, ordered.item_keys)
        for key in ordered.item_keys:
            for url in told.get(key, {}).get("images", [])[: self.max_images]:
                yield key, url

    def _interactions(self, data: Path | None) -> tuple[Files, Ordered, int]:
        """The files, the histories, and how many lines were skipped; times are in the edition's ticks."""
        year = None if self.edition == "auto" else self.edition
        folder = find(data, self.folder)
        files = find_files(folder, self.category, year, self.reviews, self.core, metadata=self.metadata)
        edition = files.edition
        table, skipped = self._reviews(files.reviews, edition)
        if not len(table):
            raise DataError(f"{files.reviews}: no review is left with min_rating {self.min_rating}; lower it")
        table = table.rename({edition.user: "user", edition.item: "item", edition.time: "time"})
        ordered = order_histories(table, path=files.reviews, core=self.core, order=self.order, ties_by=edition.ties_by)
        return files, ordered, skipped

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
            table, skipped = read_csv_skipping(path, columns, filled=keys)
        else:
            table, skipped = read_csv(path, columns, filled=keys), 0
        return self._kept(table, edition.rating), skipped

    def _kept(self, rows: pl.DataFrame, rating: str) -> pl.DataFrame:
        return rows if self.min_rating is None else rows.filter(pl.col(rating) >= self.min_rating).drop(rating)

    def _told(self, files: Files, keys: tuple[str, ...]) -> tuple[dict[str, Entry], int]:
        """What the metadata tells of these items, the first line about each, and how many lines cannot be read."""
        if files.about is None:
            return {}, 0
        return read_items(files.about, files.edition, keys, self.broken_lines)

    def _images(self, files: Files, keys: tuple[str, ...], entries: list[Entry]) -> ImageFiles:
        folder = ImageFolder(files.reviews.parent / self.images)
        names = [folder.names(key, entry.get("images", ())) for key, entry in zip(keys, entries, strict=True)]
        return ImageFiles(folder.folder, [of_item[: self.max_images] for of_item in names])

    def _notes(self, about: Path, entries: list[Entry], images: ImageFiles) -> list[str]:
        notes = [f"items with each text field: {coverage(entries, self.text_fields) or 'none'}"]
        if silent := sum(not entry for entry in entries):
            notes.append(f"{silent} items have no line in {about.name}: their text is empty")
        addresses = sum("images" in entry for entry in entries)
        there = int((images.counts_I > 0).sum())
        if addresses or there:
            advice = f"; {_ADVICE.format(self.images)}" if there < addresses else ""
            notes.append(
                f"{addresses} of {len(entries)} items have the address of an image, {there} have one in "
                f"{self.images}{advice}"
            )
        return notes
