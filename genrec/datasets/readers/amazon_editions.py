"""The three editions of the Amazon review data: file names and field names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from genrec.errors import DataError

Reviews = Literal["auto", "5core", "all"]

_PACKED = (".json.gz", ".json")
_GROUPED = "place in the file (item by item)"
_PAGES = "jmcauley.ucsd.edu/data/amazon (2014), nijianmo.github.io/amazon (2018), amazon-reviews-2023.github.io (2023)"


@dataclass(frozen=True)
class Edition:
    """One edition. ``{}`` in a file's name is the category; names are tried in order."""

    year: int
    core_names: tuple[str, ...]
    """The publisher's own 5-core."""
    all_names: tuple[str, ...]
    about_names: tuple[str, ...]
    """The metadata of the items."""
    user: str
    item: str
    rating: str
    time: str
    ticks: int
    """Units of ``time`` per second."""
    ties_by: str
    """Order of reviews with equal times."""


_EDITION_2014 = Edition(
    year=2014,
    core_names=tuple("reviews_{}_5" + ending for ending in _PACKED),
    all_names=tuple("reviews_{}" + ending for ending in _PACKED),
    about_names=tuple("meta_{}" + ending for ending in _PACKED),
    user="reviewerID",
    item="asin",
    rating="overall",
    time="unixReviewTime",
    ticks=1,
    ties_by=_GROUPED,
)
EDITIONS = (
    _EDITION_2014,
    replace(
        _EDITION_2014,
        year=2018,
        core_names=tuple("{}_5" + ending for ending in _PACKED),
        all_names=tuple("{}" + ending for ending in _PACKED),
    ),
    Edition(
        year=2023,
        core_names=("{}.csv",),
        all_names=("{}.jsonl.gz", "{}.jsonl"),
        about_names=("meta_{}.jsonl.gz", "meta_{}.jsonl"),
        user="user_id",
        item="parent_asin",
        rating="rating",
        time="timestamp",
        ticks=1000,
        ties_by="place in the file",
    ),
)


@dataclass(frozen=True)
class Files:
    """The files of one category."""

    edition: Edition
    reviews: Path
    about: Path | None
    """The metadata of the items."""


def find_files(folder: Path, category: str, year: int | None, reviews: Reviews, core: int, *, metadata: bool) -> Files:
    """Recognize the edition by its files.

    Args:
        folder: from :func:`genrec.datasets.readers.folder.find`.
        category: as in the files' names.
        year: the edition, None for the one whose files exist.
        reviews: ``auto`` prefers the publisher's 5-core, unless ``core`` is below 5.
        core: of the dataset.
        metadata: whether the metadata file is required.

    Raises:
        DataError: reviews or metadata are missing, or there are two editions and ``year`` is None.
    """
    editions = [edition for edition in EDITIONS if year in (None, edition.year)]
    found: list[tuple[Edition, Path]] = []
    for edition in editions:
        path = _first(folder, category, _review_names(edition, reviews, core))
        if path is not None:
            found.append((edition, path))
    if not found:
        raise DataError(_no_reviews(folder, category, editions, reviews, core))
    if len(found) > 1:
        there = " and ".join(f"{edition.year} ({path.name})" for edition, path in found)
        raise DataError(f"{folder}: found more than one edition: {there}; choose one, e.g. edition: {found[0][0].year}")
    [(edition, path)] = found
    about = _first(folder, category, edition.about_names) if metadata else None
    if metadata and about is None:
        raise DataError(
            f"{folder / edition.about_names[0].format(category)}: missing file: titles, categories and image URLs of "
            f"the items; it is published beside the reviews ({_PAGES}); put it there, or set metadata: false to "
            "run without it"
        )
    return Files(edition, path, about)


def _review_names(edition: Edition, reviews: Reviews, core: int) -> tuple[str, ...]:
    if reviews == "5core":
        return edition.core_names
    if reviews == "all":
        return edition.all_names
    names = (edition.core_names, edition.all_names)
    return tuple(name for part in (names if core >= 5 else reversed(names)) for name in part)


def _first(folder: Path, category: str, names: tuple[str, ...]) -> Path | None:
    paths = (folder / name.format(category) for name in names)
    return next((path for path in paths if path.is_file()), None)


def _no_reviews(folder: Path, category: str, editions: list[Edition], reviews: Reviews, core: int) -> str:
    names = [_review_names(edition, reviews, core)[0].format(category) for edition in editions]
    wanted = ", ".join(f"{name} ({edition.year})" for name, edition in zip(names, editions, strict=True))
    others = sorted({path.name[len("meta_") :].partition(".")[0] for path in folder.glob("meta_*.json*")} - {category})
    hint = f"the folder has files of {', '.join(others)}: set category: {others[0]}; else " if others else ""
    return (
        f"{folder}: no reviews of category {category!r}; expected {wanted}; {hint}get them from McAuley's group at "
        f"UCSD ({_PAGES}) and put them there (or point --data elsewhere)"
    )
