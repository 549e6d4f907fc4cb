"""Files of new items: every format gives the same catalog, and mistakes have file and line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from genrec.datasets.sequences import Sequences
from genrec.datasets.showroom import Showroom
from genrec.datasets.table import Table
from genrec.errors import DataError
from genrec.growth.item_file import read_item_file

KNOWN = ("1", "2", "3")
TABLE = Table(items="items.csv", key="sku", title="name", attributes=("tags",), columns={"price": "numeric"})
ROWS = [
    {"sku": "b", "name": "Blue lamp", "tags": ["home", "light"], "price": 12.5},
    {"sku": "a", "name": "Red chair", "tags": ["home"], "price": None},
]


def written(folder: Path, suffix: str) -> Path:
    file = folder / f"new{suffix}"
    if suffix == ".jsonl":
        file.write_text("\n".join(map(json.dumps, ROWS)) + "\n", encoding="utf-8")
    elif suffix == ".parquet":
        pl.DataFrame(ROWS).write_parquet(file)
    else:
        lines = ["sku,name,tags,price"]
        lines += [f"{row['sku']},{row['name']},{'|'.join(row['tags'])},{row['price'] or ''}" for row in ROWS]
        separator = "\t" if suffix == ".tsv" else ","
        file.write_text("\n".join(lines).replace(",", separator) + "\n", encoding="utf-8")
    return file


def refusal(file: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        read_item_file(file, Showroom(), KNOWN, **options)
    return str(caught.value).replace(str(file), "FILE")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_catalog_in_the_order_of_the_file(tmp_path: Path, suffix: str) -> None:
    catalog, notes = read_item_file(written(tmp_path, suffix), TABLE, KNOWN)
    assert catalog.keys == ("b", "a")
    assert catalog.titles == ("Blue lamp", "Red chair")
    assert catalog.texts == ("Blue lamp\nTags: home, light", "Red chair\nTags: home")
    assert catalog.attributes == (("home", "light"), ("home",))
    assert catalog.columns["price"].kind == "numeric"
    assert catalog.columns["price"].values_I[0] == 12.5
    assert np.isnan(catalog.columns["price"].values_I[1])
    assert notes == []


def test_a_text_is_taken_as_it_is_and_else_made_of_the_text_fields(tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl"
    entry = {"item_id": 9, "title": "Oil", "brand": "Zed", "categories": [["Beauty", "Hair"]], "description": "Soft."}
    file.write_text(json.dumps(entry), encoding="utf-8")
    catalog, _ = read_item_file(file, Sequences(), KNOWN)
    assert catalog.keys == ("9",)
    assert catalog.texts == ("Oil\nBrand: Zed\nCategories: Beauty, Hair\nSoft.",)
    assert catalog.columns["category"].values_I[0] == ("Beauty", "Hair")
    whole = {**entry, "text": "The whole text.\nTwo lines."}
    others = [{"item_id": 10, "title": "Soap"}, {"item_id": 11, "title": "Comb", "text": ""}]
    file.write_text("\n".join(map(json.dumps, [whole, *others])), encoding="utf-8")
    assert read_item_file(file, Sequences(), KNOWN)[0].texts == ("The whole text.\nTwo lines.", "Soap", "Comb")


def test_half_characters_are_replaced_as_in_datasets(tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl"
    file.write_text('{"key": "a", "title": "Oil \\ud83d", "text": "\\ud83d"}\n{"key": "b", "title": "Soap"}\n')
    catalog, _ = read_item_file(file, Showroom(), KNOWN)
    assert (catalog.titles, catalog.texts) == (("Oil ?", "Soap"), ("?", "Soap"))


def test_images_are_relative_to_the_file_and_missing_ones_are_noted(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    file = tmp_path / "new.csv"
    file.write_text("key,image\na,red.png\nb,blue.png\n", encoding="utf-8")
    catalog, notes = read_item_file(file, Showroom(), KNOWN)
    assert catalog.images is not None
    assert catalog.images.counts_I.tolist() == [1, 0]
    assert catalog.images.open(0).getpixel((0, 0)) == (255, 0, 0)
    assert notes == [f"1 of 2 images named in new.csv are not in {tmp_path}"]
    file.write_text("key,image\na,../red.png\n", encoding="utf-8")
    assert "outside of the folder" in refusal(file)


def test_known_items_are_an_error_or_left_out(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("key,title\n4,a\n2,b\n03,c\n", encoding="utf-8")
    assert refusal(file) == (
        "FILE:3: key '2' is an item of the run already (2 such items, e.g. '2', '03'); remove these rows, or pass "
        "--new-only to leave them out"
    )
    assert read_item_file(file, Showroom(), KNOWN, new_only=True)[0].keys == ("4",)
    file.write_text("key,title\n2,b\n", encoding="utf-8")
    assert refusal(file, new_only=True) == ("FILE: the run has all its items (1) already; there is nothing to add")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("n.csv", "key,title\na,x\na,y\n", "FILE:3: key 'a' occurs twice; expected one row for each item"),
        ("n.jsonl", '{"key": "a"}\n{"key": "a"}\n', "FILE:2: key 'a' occurs twice; expected one row for each item"),
        ("n.jsonl", '{"key": "a"}\n{"title": "x"}\n', "FILE:2: key is empty, no text or number, or not valid Unicode"),
        (
            "n.csv",
            "title,text\nx,y\n",
            "FILE: no column of item keys, found title, text; expected one that is called key or item_id",
        ),
        ("n.jsonl", '{"key": "\\ud83d"}\n', "FILE:1: key is empty, no text or number, or not valid Unicode"),
        ("n.txt", "a", "FILE: files that end in '.txt' are not read; expected .jsonl, .csv, .tsv or .parquet"),
    ],
)
def test_mistakes_have_one_message(tmp_path: Path, name: str, text: str, error: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert refusal(file) == error


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == "FILE: no such file; expected new items, .jsonl, .csv, .tsv or .parquet"
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    assert refusal(tmp_path / "bad.jsonl").startswith("FILE:1: ")
    (tmp_path / "bad.parquet").write_text("no", encoding="utf-8")
    assert refusal(tmp_path / "bad.parquet").startswith("FILE: ")
    file = tmp_path / "new.csv"
    file.write_text("sku,name,tags,price\nz,a,b,much\n", encoding="utf-8")
    with pytest.raises(DataError, match="price is 'much', expected a number"):
        read_item_file(file, TABLE, KNOWN)
