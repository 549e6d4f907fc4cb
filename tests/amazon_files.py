"""Reviews and metadata written as the three editions of the Amazon review data, one function each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Interaction = tuple[str, str, int]
"""User, item, Unix time in seconds."""

Item = Mapping[str, Any]
"""Any of title, brand, categories (a path), description, price, images (addresses)."""


def write_2014(
    folder: Path,
    interactions: Iterable[Interaction],
    items: Mapping[str, Item] | None = None,
    *,
    category: str = "Beauty",
    ending: str = ".json.gz",
    stars: Mapping[int, float] | None = None,
) -> None:
    """``reviews_X_5.json.gz``, and ``meta_X.json.gz``, whose lines are Python dicts.

    Args:
        folder: made if need be.
        interactions: in the order of the file.
        items: what the metadata tells; None writes titles.
        category: X.
        ending: ``.json`` writes it unpacked.
        stars: of the interaction with this number; 5 otherwise.
    """
    rows = list(interactions)
    reviews = [
        {
            "reviewerID": user,
            "asin": item,
            "reviewerName": f'"{user}"',
            "helpful": [0, 0],
            "reviewText": "Great \u2028 for\n dry skin.",
            "overall": (stars or {}).get(place, 5.0),
            "summary": "as said",
            "unixReviewTime": time,
            "reviewTime": "01 30, 2014",
        }
        for place, (user, item, time) in enumerate(rows)
    ]
    _write(folder / f"reviews_{category}_5{ending}", map(json.dumps, reviews))
    lines = []
    for key, item in _items(rows, items):
        line: dict[str, Any] = {"asin": key}
        line |= {name: item[name] for name in ("title", "description", "price", "brand") if name in item}
        if "categories" in item:
            line["categories"] = [item["categories"]]
        if "images" in item:
            line["imUrl"] = item["images"][0]
        line |= {"salesRank": {"Beauty": 7}, "related": {"also_bought": ["0000000001"], "buy_after_viewing": [key]}}
        lines.append(repr(line))
    _write(folder / f"meta_{category}{ending}", lines)


def write_2018(
    folder: Path,
    interactions: Iterable[Interaction],
    items: Mapping[str, Item] | None = None,
    *,
    category: str = "Beauty",
    ending: str = ".json.gz",
    stars: Mapping[int, float] | None = None,
) -> None:
    """``X_5.json.gz`` and ``meta_X.json.gz``, JSON both; arguments as of :func:`write_2014`."""
    rows = list(interactions)
    reviews = [
        {
            "overall": (stars or {}).get(place, 5.0),
            "verified": True,
            "reviewTime": "01 30, 2014",
            "reviewerID": user,
            "asin": item,
            "style": {"Size:": " 1"},
            "reviewerName": user,
            "reviewText": "Great.",
            "summary": "as said",
            "unixReviewTime": time,
        }
        | ({"vote": "2", "image": ["https://images.example/of-a-customer.jpg"]} if place % 3 == 0 else {})
        for place, (user, item, time) in enumerate(rows)
    ]
    _write(folder / f"{category}_5{ending}", map(json.dumps, reviews))
    lines = []
    for key, item in _items(rows, items):
        images = list(item.get("images", ()))
        line = {
            "category": list(item.get("categories", ())),
            "tech1": "",
            "description": [item["description"]] if "description" in item else [],
            "fit": "",
            "title": item.get("title", ""),
            "also_buy": ["0000000001", key],
            "image": images,
            "tech2": "",
            "brand": item.get("brand", ""),
            "feature": [],
            "rank": "7 in Beauty (",
            "also_view": [],
            "details": {},
            "main_cat": "All Beauty",
            "similar_item": "",
            "date": "",
            "price": f"${item['price']}" if "price" in item else ".a-box-inner{background-color:#fff}",
            "asin": key,
            "imageURL": [address.replace(".jpg", "._SS40_.jpg") for address in images],
            "imageURLHighRes": images,
        }
        lines.append(json.dumps(line))
    _write(folder / f"meta_{category}{ending}", lines)


def write_2023(
    folder: Path,
    interactions: Iterable[Interaction],
    items: Mapping[str, Item] | None = None,
    *,
    category: str = "Beauty",
    ending: str = ".jsonl.gz",
    stars: Mapping[int, float] | None = None,
) -> None:
    """``X.jsonl.gz`` and ``meta_X.jsonl.gz``; times in milliseconds; arguments as of :func:`write_2014`."""
    rows = list(interactions)
    reviews = [
        {
            "rating": (stars or {}).get(place, 5.0),
            "title": "as said",
            "text": "Great.",
            "images": [],
            "asin": f"{item}-variant-{place % 2}",
            "parent_asin": item,
            "user_id": user,
            "timestamp": 1000 * time,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for place, (user, item, time) in enumerate(rows)
    ]
    _write(folder / f"{category}{ending}", map(json.dumps, reviews))
    lines = []
    for key, item in _items(rows, items):
        images = [
            {"thumb": f"{url}?thumb", "large": url, "variant": f"PT{place:02}" if place else "MAIN", "hi_res": None}
            for place, url in enumerate(item.get("images", ()))
        ]
        line = {
            "main_category": "All Beauty",
            "title": item.get("title", ""),
            "average_rating": 4.8,
            "rating_number": 10,
            "features": [],
            "description": [item["description"]] if "description" in item else [],
            "price": item.get("price"),
            "images": images,
            "videos": [],
            "store": item.get("brand"),
            "categories": list(item.get("categories", ())),
            "details": {"Best Sellers Rank": {"Beauty": 7}},
            "parent_asin": key,
            "bought_together": None,
        }
        lines.append(json.dumps(line))
    _write(folder / f"meta_{category}{ending}", lines)


def write_2023_ratings(folder: Path, interactions: Iterable[Interaction], *, category: str = "Beauty") -> None:
    """``X.csv``, the 5-core of 2023, which has no metadata of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{user},{item},5.0,{1000 * time}\n" for user, item, time in interactions)
    (folder / f"{category}.csv").write_text(f"user_id,parent_asin,rating,timestamp\n{rows}", encoding="utf-8")


def _items(rows: list[Interaction], items: Mapping[str, Item] | None) -> Iterable[tuple[str, Item]]:
    if items is not None:
        return items.items()
    return ((key, {"title": f"Item {key}"}) for key in dict.fromkeys(item for _, item, _ in rows))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content, compresslevel=1) if path.suffix == ".gz" else content)
