"""A small shop, the same on every machine, in the file formats that datasets and components read."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import amazon_files
import numpy as np
import polars as pl
import table_files
from PIL import Image, ImageDraw
from safetensors.numpy import load_file, save_file
from yelp_files import write_yelp

FIRST_OF_2019 = 1_546_300_800
"""Unix time, seconds: the dataset yelp reads the reviews of one year."""
NUM_ITEMS = 60
NUM_USERS = 120
WITHOUT_IMAGE = 5
"""The first items of the shop have no image."""

_COLORS = ("red", "green", "blue", "white", "black", "yellow", "gray")
_MATERIALS = ("oak", "steel", "wool", "glass", "paper")
_KINDS = ("chair", "lamp", "table", "shelf", "rug", "clock", "vase", "desk")


def item_keys() -> list[int]:
    """Keys of the items, whole numbers, because MovieLens wants them."""
    return [201 + item for item in range(NUM_ITEMS)]


def words_of(key: int) -> tuple[str, str, str]:
    """Color, material and kind of an item."""
    return _COLORS[key % 7], _MATERIALS[key // 3 % 5], _KINDS[key % 8]


def interactions(hours: int = 1) -> list[tuple[int, int, int]]:
    """User, item and Unix time of each interaction, in the order of time; the next item mostly follows the last.

    A user has one every few ``hours``; all users begin within twelve days.
    """
    draw = random.Random(0).random  # the one method whose numbers Python promises to keep
    keys, rows = item_keys(), []
    for user in range(101, 101 + NUM_USERS):
        item, start = int(NUM_ITEMS * draw()), int(1_000_000 * draw())
        for place in range(6 + int(7 * draw())):
            rows.append((user, keys[item], FIRST_OF_2019 + start + 3600 * hours * place))
            item = (item + 1 + int(3 * draw())) % NUM_ITEMS if draw() < 0.7 else int(NUM_ITEMS * draw() ** 2)
    return sorted(rows, key=lambda row: row[2])


def write_amazon_2014(data: Path) -> None:
    """``amazon/reviews_Beauty_5.json.gz``, ``amazon/meta_Beauty.json.gz`` and ``amazon/images/``."""
    amazon_files.write_2014(data / "amazon", _amazon_rows(), _amazon_items())
    _draw_images(data / "amazon" / "images", [f"B{key}" for key in item_keys()])


def write_amazon_2018(data: Path) -> None:
    """``amazon/Beauty_5.json.gz`` and ``amazon/meta_Beauty.json.gz``."""
    amazon_files.write_2018(data / "amazon", _amazon_rows(), _amazon_items())


def write_amazon_2023(data: Path) -> None:
    """``amazon/Beauty.jsonl.gz`` and ``amazon/meta_Beauty.jsonl.gz``."""
    amazon_files.write_2023(data / "amazon", _amazon_rows(), _amazon_items())


def write_movielens(data: Path, hours: int = 1) -> None:
    """``movielens-posters/``: ratings, films and tags of the latest edition, plots in items.jsonl, posters."""
    folder = data / "movielens-posters"
    table_files.write_movielens(folder, interactions(hours))
    rows = [f'{key},"{" ".join(words_of(key))} (1995)",{words_of(key)[1]}|{words_of(key)[2]}' for key in item_keys()]
    _write_lines(folder / "movies.csv", ["movieId,title,genres", *rows])
    _write_items(folder)
    _draw_images(folder / "images", item_keys())


def write_slow_movielens(data: Path) -> None:
    """The same with two days between the ratings of a user, so that many users have ratings on both sides of a cut."""
    write_movielens(data, hours=48)


def write_movielens_100k(data: Path) -> None:
    """``movielens-posters/``: the three files of the oldest edition."""
    table_files.write_movielens_100k(data / "movielens-posters", interactions())


def write_yelp_dataset(data: Path) -> None:
    """``yelp/``: businesses, reviews and photos."""
    write_movielens(data)
    write_yelp(data / "movielens-posters", data / "yelp")


def write_sequences(data: Path) -> None:
    """``amazon-beauty/``: sequences.txt, items.jsonl and images that it names."""
    folder = data / "amazon-beauty"
    histories: dict[int, list[int]] = {}
    for user, item, _ in interactions():
        histories.setdefault(user, []).append(item)
    lines = [" ".join(map(str, (user, *items))) for user, items in sorted(histories.items())]
    _write_lines(folder / "sequences.txt", lines)
    _write_items(folder)
    _draw_images(folder / "images", item_keys())


def write_recbole(data: Path) -> None:
    """``recbole/shop.inter`` and ``recbole/shop.item``."""
    table_files.write_recbole(data / "recbole", interactions())
    rows = [f"{key}\t{' '.join(words_of(key))}\t{words_of(key)[1]} {words_of(key)[2]}" for key in item_keys()]
    _write_lines(data / "recbole" / "shop.item", ["item_id:token\tmovie_title:token_seq\tclass:token_seq", *rows])


def write_table(data: Path) -> None:
    """``my-shop/``: interactions.csv, items.csv and images by key."""
    folder = data / "my-shop"
    table_files.write_table_csv(folder, interactions())
    rows = [f"{key},{' '.join(words_of(key))},{words_of(key)[1]}|{words_of(key)[2]}" for key in item_keys()]
    _write_lines(folder / "items.csv", ["item,title,tags", *rows])
    _draw_images(folder / "images", item_keys())


def write_table_in_parts(data: Path) -> None:
    """The tables, and the interactions again in train.csv, valid.csv and test.csv: of each ten six, two and two."""
    write_table(data)
    head, *rows = (data / "my-shop" / "interactions.csv").read_text(encoding="utf-8").splitlines()
    for name, places in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 10))):
        found = [row for place, row in enumerate(rows) if place % 10 in places]
        _write_lines(data / "my-shop" / f"{name}.csv", [head, *found])


def write_table_and_vectors(data: Path) -> None:
    """The tables, and item vectors in three formats, the last of which lacks some items."""
    write_table(data)
    keys = [str(key) for key in item_keys()]
    angles_NE = np.array(item_keys())[:, None] * np.arange(1, 9)[None, :]
    np.save(data / "vectors.npy", np.sin(angles_NE))
    (data / "vectors.npy.keys.json").write_text(json.dumps(keys), encoding="utf-8")
    named = {"key": keys, "vector": np.cos(angles_NE).astype(np.float32).tolist()}
    pl.DataFrame(named).write_parquet(data / "vectors.parquet")
    some_NE = np.ascontiguousarray(np.sin(2.0 * angles_NE)[7:], dtype=np.float32)
    save_file({"vectors": some_NE}, data / "vectors.safetensors", metadata={"keys": json.dumps(keys[7:])})


def write_table_and_codes(data: Path) -> None:
    """The tables, and codes in two formats: of all items, and of most items with collisions."""
    write_table(data)
    codes = {str(key): [key % 6, key // 6 % 12] for key in item_keys()}
    (data / "codes.json").write_text(json.dumps(codes), encoding="utf-8")
    colliding = {str(key): [key % 5, key % 4] for key in item_keys()[4:]}
    named = {"key": list(colliding), "codes": list(colliding.values())}
    pl.DataFrame(named).write_parquet(data / "codes.parquet")


def write_table_and_sentence_t5(data: Path) -> None:
    """The tables, and a small Sentence-T5 in ``small-sentence-t5/``."""
    from sentence_t5_files import write_sentence_t5

    write_table(data)
    words = [*_COLORS, *_MATERIALS, *_KINDS]
    _redraw(write_sentence_t5(data / "small-sentence-t5", words))


def write_table_and_clip(data: Path) -> None:
    """The tables with images, and a small OpenCLIP model in ``small-clip/``."""
    from open_clip_files import write_open_clip

    write_table(data)
    _redraw(write_open_clip(data / "small-clip"))


def _redraw(model: Path) -> None:
    """Draw all weights below a folder anew, by NumPy: libraries differ in how they start a network."""
    for file in sorted(model.rglob("*.safetensors")):
        generator = np.random.default_rng(0)
        tensors = {}
        for name, weights in sorted(load_file(file).items()):
            drawn = 0.2 * generator.standard_normal(weights.shape) + (weights.ndim == 1)
            tensors[name] = np.asarray(drawn, dtype=np.float32) if weights.dtype.kind == "f" else weights
        save_file(tensors, file, metadata={"format": "pt"})


def _amazon_rows() -> list[tuple[str, str, int]]:
    return [(f"U{user}", f"B{item}", time) for user, item, time in interactions()]


def _amazon_items() -> dict[str, amazon_files.Item]:
    return {
        f"B{key}": {
            "title": " ".join(words_of(key)),
            "brand": f"Brand {key % 9}",
            "categories": ["Beauty", words_of(key)[2]],
            "description": f"A {words_of(key)[2]} of {words_of(key)[1]}.",
            "price": float(key),
        }
        for key in item_keys()
    }


def _write_items(folder: Path) -> None:
    """``items.jsonl``, as the datasets sequences and movielens read it."""
    lines = []
    for key in item_keys():
        color, material, kind = words_of(key)
        entry = {"item_id": key, "title": f"{color} {material} {kind}", "brand": f"Brand {key % 9}"}
        entry |= {"categories": [[material, kind]], "description": f"A {kind} of {material}, painted {color}."}
        if key >= item_keys()[WITHOUT_IMAGE]:
            entry["image"] = f"images/{key}.jpg"
        lines.append(json.dumps(entry))
    _write_lines(folder / "items.jsonl", lines)


def _draw_images(folder: Path, names: Sequence[int | str]) -> None:
    """One image an item, ``<name>.jpg``: a square on a ground, its color and size telling the item."""
    folder.mkdir(parents=True)
    for item, name in enumerate(names):
        if item < WITHOUT_IMAGE:
            continue
        image = Image.new("RGB", (32, 32), (240, 240, 240))
        edge, color = 3 + item % 9, (37 * item % 256, 91 * item % 256, 151 * item % 256)
        ImageDraw.Draw(image).rectangle((edge, edge, 31 - edge, 31 - edge), fill=color)
        image.save(folder / f"{name}.jpg")


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
