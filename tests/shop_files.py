"""A small showroom written in the file formats of real datasets, so that every recipe can run without downloads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from genrec.datasets.showroom import Showroom
from genrec.types import Dataset

FIRST_RATING = 1_000_000_000
"""Unix time, seconds."""


def small_shop() -> Dataset:
    """80 items, 200 users: all that a smoke run needs."""
    return Showroom(items=80, users=200).load()


def write_sequences(shop: Dataset, folder: Path) -> None:
    """S3-Rec's format: ``sequences.txt`` and ``items.jsonl``, users and items numbered from 1."""
    folder.mkdir(parents=True)
    lines = [" ".join(str(n) for n in (user + 1, *(shop.histories[user] + 1))) for user in range(len(shop.histories))]
    (folder / "sequences.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_items(folder, [_entry(shop, item) for item in range(shop.num_items)])


def write_movielens(shop: Dataset, folder: Path) -> None:
    """GroupLens' format, with plots in ``items.jsonl`` and posters in ``images/``; one rating a minute."""
    (folder / "images").mkdir(parents=True)
    entries = [_entry(shop, item) for item in range(shop.num_items)]
    assert shop.catalog.images is not None
    for item in shop.catalog.images.counts_I.nonzero()[0].tolist():
        entries[item]["image"] = f"images/{item + 1}.jpg"
        shop.catalog.images.open(item).save(folder / "images" / f"{item + 1}.jpg")
    _write_items(folder, entries)
    films = [(entry["item_id"], entry["title"], "|".join(entry["categories"][0])) for entry in entries]
    _write_csv(folder / "movies.csv", ("movieId", "title", "genres"), films)
    ratings = [
        (user + 1, item + 1, 4.0, FIRST_RATING + 60 * place)
        for user in range(len(shop.histories))
        for place, item in enumerate(shop.histories[user].tolist())
    ]
    _write_csv(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"), ratings)


def _entry(shop: Dataset, item: int) -> dict[str, Any]:
    catalog = shop.catalog
    material, use, kind, brand = catalog.attributes[item]
    description = catalog.texts[item].splitlines()[-1]
    return {
        "item_id": item + 1,
        "title": catalog.titles[item],
        "brand": brand,
        "categories": [[use, material, kind]],
        "description": description,
    }


def _write_items(folder: Path, entries: list[dict[str, Any]]) -> None:
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
