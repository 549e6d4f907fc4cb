"""The same histories, written in every format and read back: equal users, items, order and times."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amazon_files import write_2014, write_2018, write_2023, write_2023_ratings
from table_files import (
    write_movielens,
    write_movielens_1m,
    write_movielens_10m,
    write_movielens_100k,
    write_recbole,
    write_table_csv,
    write_table_parquet,
    write_table_tsv,
)

from genrec.datasets.movielens import MovieLens
from genrec.families import datasets
from genrec.types import Dataset

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[2] / "../shared/data"
FIRST_OF_2019 = 1_546_300_800
CORE = 5
Row = tuple[int, int, int]
"""User, item, Unix time."""


def made_up_rows() -> list[Row]:
    """Interactions in the order of a file that knows no users: rare ones, repeated ones, and a third with ties."""
    random = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 121) ** 0.9
    rows: list[Row] = []
    for user in range(101, 241):
        items = random.choice(np.arange(201, 321), size=random.integers(2, 16), p=popularity / popularity.sum())
        minutes = np.sort(random.choice(400, size=len(items), replace=False)) * 1000
        if user % 3 == 0:
            minutes = minutes // 60_000 * 60_000
        rows += [
            (user, int(item), FIRST_OF_2019 + 60 * int(minute)) for item, minute in zip(items, minutes, strict=True)
        ]
    return [rows[place] for place in random.permutation(len(rows))]


def five_core(rows: list[Row]) -> tuple[list[Row], int]:
    """What is left when rare users and items are removed until there are none, and in how many rounds."""
    rounds = 0
    while True:
        users, items = (Counter(map(itemgetter(column), rows)) for column in (0, 1))
        kept = [row for row in rows if users[row[0]] >= CORE and items[row[1]] >= CORE]
        if len(kept) == len(rows):
            return rows, rounds
        rows, rounds = kept, rounds + 1


def histories(rows: Iterable[Row]) -> dict[str, list[tuple[str, int]]]:
    """Items and times of each user, oldest first, equal times as the rows have them."""
    found: dict[str, list[tuple[str, int]]] = {}
    for user, item, time in rows:
        found.setdefault(str(user), []).append((str(item), time))
    return {user: sorted(of_user, key=itemgetter(1)) for user, of_user in found.items()}


def histories_of(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """The same of what was read."""
    assert dataset.times is not None
    starts = dataset.histories.offsets.tolist()
    keys = [dataset.catalog.keys[item] for item in dataset.histories.items.tolist()]
    pairs = list(zip(keys, dataset.times.tolist(), strict=True))
    return {user: pairs[starts[u] : starts[u + 1]] for u, user in enumerate(dataset.user_keys)}


def items_of(dataset: Dataset) -> dict[str, list[str]]:
    """Items alone, for data without times."""
    starts = dataset.histories.offsets.tolist()
    keys = [dataset.catalog.keys[item] for item in dataset.histories.items.tolist()]
    return {user: keys[starts[u] : starts[u + 1]] for u, user in enumerate(dataset.user_keys)}


def load(block: Mapping[str, Any], data: Path) -> Dataset:
    fields = {name: value for name, value in block.items() if name != "type"}
    return datasets.get(block["type"])(**fields).load(data)


def write_sequences(folder: Path, found: Mapping[str, Iterable[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (" ".join((user, *items)) for user, items in found.items())
    (folder / "sequences.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_yelp(folder: Path, rows: Iterable[tuple[str, str, int]]) -> None:
    """``yelp_academic_dataset_review.json`` and ``.._business.json``, no photos."""
    rows = list(rows)
    date_of = {time: f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}" for time in {time for _, _, time in rows}}
    reviews = (
        {
            "review_id": f"r{place}",
            "user_id": user,
            "business_id": item,
            "stars": 4.0,
            "text": "Nice.\n\nAgain \u2028 soon",
            "date": date_of[time],
        }
        for place, (user, item, time) in enumerate(rows)
    )
    businesses = (
        {"business_id": item, "name": f"Place {item}", "city": "Tucson", "attributes": None, "categories": "Bars, Food"}
        for item in sorted({item for _, item, _ in rows})
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in (("review", reviews), ("business", businesses)):
        with (folder / f"yelp_academic_dataset_{name}.json").open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(entry)}\n" for entry in entries)


def with_text_keys(write: Callable[[Path, list[tuple[str, str, int]]], None]) -> Callable[[Path, list[Row]], None]:
    return lambda folder, rows: write(folder, [(str(user), str(item), time) for user, item, time in rows])


FORMATS: list[tuple[str, Callable[[Path, list[Row]], None], dict[str, Any]]] = [
    ("amazon 2014", with_text_keys(write_2014), {"type": "amazon_reviews"}),
    ("amazon 2018", with_text_keys(write_2018), {"type": "amazon_reviews"}),
    ("amazon 2023", with_text_keys(write_2023), {"type": "amazon_reviews"}),
    ("amazon 2023 5-core", with_text_keys(write_2023_ratings), {"type": "amazon_reviews", "metadata": False}),
    ("yelp", with_text_keys(write_yelp), {"type": "yelp"}),
    ("recbole", write_recbole, {"type": "recbole"}),
    ("csv", write_table_csv, {"type": "table", "interactions": "interactions.csv"}),
    ("tsv", write_table_tsv, {"type": "table", "interactions": "interactions.tsv"}),
    ("parquet", write_table_parquet, {"type": "table", "interactions": "interactions.parquet"}),
    ("movielens 100k", write_movielens_100k, {"type": "movielens"}),
    ("movielens 1m", write_movielens_1m, {"type": "movielens"}),
    ("movielens 10m", write_movielens_10m, {"type": "movielens"}),
    ("movielens latest", write_movielens, {"type": "movielens"}),
]
BY_PLACE = [form for form in FORMATS if form[2]["type"] != "movielens"]
BY_ITEM = [form for form in FORMATS if form[2]["type"] == "movielens"]


def ids(forms: list[Any]) -> list[str]:
    return [name for name, _, _ in forms]


def test_the_histories_are_hard_enough():
    rows = made_up_rows()
    kept, rounds = five_core(rows)
    found = histories(kept)
    ties = sum(a[1] == b[1] for of_user in found.values() for a, b in pairwise(of_user))
    repeats = sum(len(of_user) - len({item for item, _ in of_user}) for of_user in found.values())
    assert rounds >= 3
    assert 0 < len(kept) < 0.9 * len(rows)
    assert min(ties, repeats) > 20


@pytest.mark.parametrize(("_name", "write", "block"), BY_PLACE, ids=ids(BY_PLACE))
def test_raw_files_give_the_sequences_of_the_5_core(tmp_path, _name, write, block):
    rows = made_up_rows()
    expected = histories(five_core(rows)[0])
    write(tmp_path / "raw", rows)
    write_sequences(tmp_path / "ready", {user: [item for item, _ in found] for user, found in expected.items()})
    raw = load({**block, "core": CORE}, tmp_path / "raw")
    ready = load({"type": "sequences", "items_file": None}, tmp_path / "ready")
    assert histories_of(raw) == expected
    assert items_of(raw) == items_of(ready)
    assert set(raw.catalog.keys) == set(ready.catalog.keys)


@pytest.mark.parametrize(("_name", "write", "block"), BY_ITEM, ids=ids(BY_ITEM))
def test_movielens_gives_them_with_ties_by_film(tmp_path, _name, write, block):
    rows = made_up_rows()
    expected = histories(sorted(five_core(rows)[0], key=itemgetter(1)))
    write(tmp_path / "raw", rows)
    write_sequences(tmp_path / "ready", {user: [item for item, _ in found] for user, found in expected.items()})
    raw = load({**block, "core": CORE}, tmp_path / "raw")
    assert histories_of(raw) == expected
    assert items_of(raw) == items_of(load({"type": "sequences", "items_file": None}, tmp_path / "ready"))


@pytest.mark.parametrize(("_name", "write", "block"), FORMATS, ids=ids(FORMATS))
def test_without_a_core_everything_comes_back(tmp_path, _name, write, block):
    rows = sorted(made_up_rows(), key=itemgetter(1))  # then place and film agree on ties
    write(tmp_path, rows)
    reviews = {"reviews": "5core"} if block.get("metadata") is False else {}
    assert histories_of(load({**block, **reviews, "core": 0}, tmp_path)) == histories(rows)


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    return folder


def test_movielens_and_its_prepared_sequences_agree():
    shared("movielens-posters")
    ready = load({"type": "sequences", "folder": "movielens-posters", "sequences_file": "sequences_5core.txt"}, SHARED)
    raw = MovieLens(core=CORE).load(SHARED)
    assert items_of(raw) == items_of(ready)
    assert raw.catalog.keys == ready.catalog.keys


def shared_rows(name: str, key: str) -> tuple[dict[str, list[str]], list[tuple[str, str, int]]]:
    """Prepared histories by the publisher's own keys, and the same as reviews, an hour apart, sorted by item."""
    folder = shared(name)
    with (folder / "items.jsonl").open(encoding="utf-8") as file:
        key_of = {str(entry["item_id"]): str(entry[key]) for entry in map(json.loads, file)}
    found: dict[str, list[str]] = {}
    for line in (folder / "sequences.txt").read_text(encoding="utf-8").splitlines():
        user, *items = line.split()
        found[user] = [key_of[item] for item in items]
    rows = [
        (user, item, FIRST_OF_2019 + 3600 * place) for user, items in found.items() for place, item in enumerate(items)
    ]
    return found, sorted(rows, key=itemgetter(1))


def test_yelp_comes_back_from_the_files_of_its_open_dataset(tmp_path):
    found, rows = shared_rows("yelp-2019", "business_id")
    write_yelp(tmp_path, rows)
    dataset = load({"type": "yelp", "core": CORE}, tmp_path)
    assert items_of(dataset) == found
    assert (len(dataset.user_keys), dataset.num_items, len(dataset.histories.items)) == (30_431, 20_033, 316_354)


def test_beauty_comes_back_from_the_files_of_2014(tmp_path):
    found, rows = shared_rows("amazon-beauty", "asin")
    write_2014(tmp_path, rows, ending=".json")
    dataset = load({"type": "amazon_reviews", "core": CORE}, tmp_path)
    assert items_of(dataset) == found
    assert (len(dataset.user_keys), dataset.num_items, len(dataset.histories.items)) == (22_363, 12_101, 198_502)
