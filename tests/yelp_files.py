"""MovieLens with posters as a Yelp Open Dataset: films are businesses, ratings 2019 reviews, posters photos.

By hand: ``python tests/yelp_files.py MOVIELENS_FOLDER TARGET``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

NEW_YEAR = datetime(2019, 1, 1, tzinfo=UTC)
SECONDS_OF_2019 = 365 * 24 * 3600
CITIES = (("Philadelphia", "PA"), ("Tucson", "AZ"), ("Santa Barbara", "CA"), (None, None))
"""Each film plays in one of them; every fourth is nowhere."""


@cache
def yelp_id(kind: str, key: object) -> str:
    """22 characters such as Yelp's ids have, the same for the same thing."""
    digest = hashlib.blake2b(f"{kind} {key}".encode(), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def write_yelp(movielens: Path, target: Path, *, place: Callable[[Path, Path], object] = shutil.copyfile) -> None:
    """Write business, review, photos.json and photos/.

    Times become as many seconds of 2019 as there are distinct ones, so that their order stays and ties stay ties.

    Args:
        movielens: a folder with ratings.csv and movies.csv; items.jsonl and images/ if there are any.
        target: the folder to write, with nothing in it yet.
        place: brings a poster to its place; a link is faster than a copy.
    """
    (target / "photos").mkdir(parents=True)
    films = _read_csv(movielens / "movies.csv")
    told = _told(movielens / "items.jsonl")
    _write(target / "yelp_academic_dataset_business.json", (_business(film) for film in films))
    titles = {film["movieId"]: film["title"] for film in films}
    ratings = _read_csv(movielens / "ratings.csv")
    moments = sorted({int(rating["timestamp"]) for rating in ratings})
    step = SECONDS_OF_2019 // len(moments)
    if step == 0:
        raise ValueError(f"{len(moments):,} distinct times do not fit into the seconds of a year")
    times = (NEW_YEAR + timedelta(seconds=place * step) for place in range(len(moments)))
    date_of = dict(zip(map(str, moments), (f"{time:%Y-%m-%d %H:%M:%S}" for time in times), strict=True))
    _write(
        target / "yelp_academic_dataset_review.json",
        (_review(rating, date_of[rating["timestamp"]], titles, told) for rating in ratings),
    )
    photos = []
    for film in films:
        for number, image in enumerate(_images(movielens, film["movieId"], told)):
            photo = yelp_id("photo", f"{film['movieId']} {number}")
            place(image, target / "photos" / f"{photo}.jpg")
            business = yelp_id("business", film["movieId"])
            photos.append({"photo_id": photo, "business_id": business, "caption": film["title"], "label": "outside"})
    _write(target / "photos.json", photos)


def _business(film: dict[str, str]) -> dict[str, Any]:
    film_id = film["movieId"]
    genres = [] if film["genres"] == "(no genres listed)" else film["genres"].split("|")
    city, state = CITIES[int(film_id) % len(CITIES)]
    ambience = {mood: genre in genres for mood, genre in (("romantic", "Romance"), ("dark", "Film-Noir"))}
    attributes = {"GoodForKids": str("Children" in genres), "WiFi": "u'no'", "Ambience": str(ambience)}
    return {
        "business_id": yelp_id("business", film_id),
        "name": film["title"],
        "address": "",
        **({} if city is None else {"city": city, "state": state}),
        "stars": 4.0,
        "is_open": 1,
        "attributes": attributes if genres else None,
        "categories": ", ".join(genres) or None,
        "hours": None,
    }


def _review(
    rating: dict[str, str], date: str, titles: dict[str, str], told: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    film_id = rating["movieId"]
    plot = told.get(film_id, {}).get("description", "")
    return {
        "review_id": yelp_id("review", " ".join(rating.values())),
        "user_id": yelp_id("user", rating["userId"]),
        "business_id": yelp_id("business", film_id),
        "stars": float(rating["rating"]),
        "useful": 0,
        "funny": 0,
        "cool": 0,
        "text": f'Went to see "{titles.get(film_id, "a film")}".\n\n{plot}',
        "date": date,
    }


def _images(movielens: Path, film_id: str, told: dict[str, dict[str, Any]]) -> list[Path]:
    """The posters of a film that are there, by their names in items.jsonl, else ``images/<movieId>.jpg``."""
    named = told.get(film_id, {}).get("image") or f"images/{film_id}.jpg"
    paths = [movielens / name for name in ([named] if isinstance(named, str) else named)]
    return [path for path in paths if path.suffix == ".jpg" and path.is_file()]


def _told(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    entries = map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])
    return {str(entry["item_id"]): entry for entry in entries}


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for entry in entries:
            file.write(json.dumps(entry) + "\n")  # Yelp too writes ASCII with \u escapes


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tests/yelp_files.py MOVIELENS_FOLDER TARGET")
    write_yelp(Path(sys.argv[1]), Path(sys.argv[2]))
