"""The S3-Rec format: numbering, texts, notes, and errors of broken files by line."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genrec.datasets.sequences import Sequences
from genrec.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data"
ENTRIES = [
    {"item_id": 10, "title": "  Red\nlamp ", "brand": "Lux", "categories": [["Home", "Lamps"], ["Home", "Gifts"]]},
    {"item_id": 2, "title": "Chair", "brand": "", "categories": ["Seats", "Wood", "Seats"], "keywords": "oak seat"},
    {"item_id": "7", "title": "Never bought"},
]


def write(folder, sequences="u 10 2 2\nv 2 30 10\n", entries=ENTRIES, **files):
    (folder / "sequences.txt").write_text(sequences, encoding="utf-8")
    (folder / "items.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def load(data, **fields):
    return Sequences(**fields).load(data)


def test_items_are_numbered_by_id_and_unused_ones_left_out(tmp_path):
    dataset = load(write(tmp_path))
    assert dataset.catalog.keys == ("2", "10", "30")
    assert dataset.user_keys == ("u", "v")
    assert [dataset.histories[user].tolist() for user in range(2)] == [[1, 0, 0], [0, 2, 1]]
    assert dataset.catalog.titles == ("Chair", "Red lamp", "")
    assert dataset.catalog.texts == (
        "Chair\nCategories: Seats, Wood\nKeywords: oak seat",
        "Red lamp\nBrand: Lux\nCategories: Home, Lamps, Gifts",
        "",
    )
    assert dataset.catalog.attributes == (("Seats", "Wood"), ("Lamps", "Gifts", "Lux"), ())
    assert dataset.catalog.images is None
    assert dataset.notes == (
        "1 interactions (17 %) repeat an item that the user already had",
        "share of items with each text field: title 66.7 %, brand 33.3 %, categories 66.7 %, keywords 33.3 %",
        "1 items have no metadata in items.jsonl; their text is empty",
        "1 items of items.jsonl are in no history and are left out of the catalog",
    )


def test_unused_items_can_be_kept(tmp_path):
    dataset = load(write(tmp_path), unused_items="keep")
    assert dataset.catalog.keys == ("2", "7", "10", "30")
    assert dataset.histories[0].tolist() == [2, 0, 0]


def test_text_fields_decide_what_and_in_which_order(tmp_path):
    assert load(write(tmp_path), text_fields=("brand", "title")).catalog.texts[1] == "Brand: Lux\nRed lamp"


def test_columns_are_what_is_known_of_an_item_by_itself(tmp_path):
    entries = [
        {"item_id": 2, "price": "$4.99 - $1,009.01", "brand": " Lux ", "categories": [["Home", "Lamps"], ["Home"]]},
        {
            "item_id": 10,
            "price": 3,
            "year": "1995",
            "average_rating": 4.5,
            "rating_number": 7,
            "salesRank": {"Home": 1},
        },
        {"item_id": 30, "price": ".a-box{}", "stars": 4.5, "review_count": 9},
    ]
    catalog = load(write(tmp_path, entries=entries)).catalog
    assert list(catalog.columns) == ["price", "year", "brand", "category"]
    assert catalog.columns["price"].values_I[:2].tolist() == [507, 3]
    assert catalog.columns["price"].present_I.tolist() == [True, True, False]
    assert catalog.columns["year"].values_I[1] == 1995
    assert catalog.columns["brand"].values_I.tolist() == [("Lux",), (), ()]
    assert catalog.columns["category"].values_I.tolist() == [("Home", "Lamps"), (), ()]
    assert load(write(tmp_path, entries=[{"item_id": 2, "title": "Chair"}])).catalog.columns == {}


def test_works_without_texts_and_reads_attribute_ids(tmp_path):
    write(tmp_path, **{"item2attributes.json": b'{"2": [5, 6], "99": [1]}'})
    (tmp_path / "items.jsonl").unlink()
    dataset = load(tmp_path, items_file=None)
    assert dataset.catalog.texts == ("", "", "")
    assert dataset.catalog.attributes == (("attribute:5", "attribute:6"), (), ())


def test_categories_come_before_attribute_ids(tmp_path):
    dataset = load(write(tmp_path, **{"item2attributes.json": b'{"2": [5]}'}))
    assert dataset.catalog.attributes[0] == ("Seats", "Wood")


def test_images_are_those_that_exist(tmp_path):
    entries = [{"item_id": 2, "image": "a.png"}, {"item_id": 10, "image": "gone.png"}, {"item_id": 30, "image": ""}]
    write(tmp_path, entries=entries)
    Image.new("RGB", (2, 2), "blue").save(tmp_path / "a.png")
    dataset = load(tmp_path)
    assert dataset.catalog.images.counts_I.tolist() == [1, 0, 0]
    assert dataset.catalog.images.open(0).getpixel((0, 0)) == (0, 0, 255)
    assert "1 images named in items.jsonl are missing" in dataset.notes


def test_a_image_outside_the_folder_is_rejected(tmp_path):
    with pytest.raises(DataError, match=r"'\.\./secret\.png' is outside"):
        load(write(tmp_path, entries=[{"item_id": 2, "image": "../secret.png"}]))


def test_byte_order_mark_windows_lines_blank_lines_and_line_separators_do_no_harm(tmp_path):
    write(tmp_path)
    (tmp_path / "sequences.txt").write_bytes(b"\xef\xbb\xbfu 10 2 2\r\n\r\nv 2 30 10\r\n\r\n")
    text = '{"item_id": 2, "title": "one\u2028two\u0085three"}'
    (tmp_path / "items.jsonl").write_text(text, encoding="utf-8")
    dataset = load(tmp_path)
    assert dataset.user_keys == ("u", "v")
    assert dataset.catalog.titles[0] == "one two three"


def test_a_lone_surrogate_becomes_text_that_can_be_written(tmp_path):
    write(tmp_path)
    (tmp_path / "items.jsonl").write_text('{"item_id": 2, "title": "a\\ud800b"}')
    assert load(tmp_path).catalog.titles[0].encode("utf-8") == b"a?b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1: the file is empty"),
        (b"\n \n", "1: the file is empty"),
        (b"u 1 2\nv 3 x\n", "2: 'x' is not an item number; expected 'user item item ...' with whole numbers as items"),
        (b"u 1 -2\n", "1: '-2' is not an item number; expected 'user item item ...' with whole numbers as items"),
        (b"u 1_0\n", "1: '1_0' is not an item number; expected 'user item item ...' with whole numbers as items"),
        ("u\u2028v 1\n".encode(), "1: 'v' is not an item number; expected 'user item item ...' with whole numbers as "
         "items"),
        ("u \u0661\n".encode(), "1: '\u0661' is not an item number; expected 'user item item ...' with whole numbers "
         "as items"),
        (b"u 1\n\nv\n", "3: user 'v' has no items; expected 'user item item ...' with whole numbers as items"),
        (b"u 1\nv 2\nu 3\n", "3: user 'u' was on line 1; every user has one line"),
        (b"u 1\nv \xff\n", "2: not UTF-8: byte 0xff; save the file as UTF-8 and run again"),
        (b"u 99999999999999999999\n", "1: '99999999999999999999' is not an item number; expected 'user item item ...' "
         "with whole numbers as items"),
    ],
)  # fmt: skip
def test_broken_histories_are_reported_by_line(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / "sequences.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'sequences.txt'}:{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1: the file is empty"),
        (b'{"item_id": 1}\n{"item_id": 2,\n', "2: not valid JSON (Expecting property name enclosed in double quotes); "
         'expected {"item_id": 1, "title": "..."}'),
        (b"[1]\n", '1: found a list, expected an object like {"item_id": 1, "title": "..."}'),
        (b'{"id": 1, "title": "x"}', "1: no key 'item_id'; found id, title; expected "
         '{"item_id": 1, "title": "..."}'),
        (b'{"item_id": "B00X"}', "1: item_id is 'B00X', expected a whole number as in the histories"),
        (b'{"item_id": true}', "1: item_id is True, expected a whole number as in the histories"),
        (b'{"item_id": 1}\n{"item_id": 1}', "2: item_id 1 was on an earlier line; every item has one line"),
        (b'{"item_id": 1}\n{"item_id": 2, "title": "caf\xe9"}', "2: not UTF-8: byte 0xe9; save the file as UTF-8 and "
         "run again"),
    ],
)  # fmt: skip
def test_broken_items_are_reported_by_line(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / "items.jsonl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'items.jsonl'}:{message}"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"2": 5}'])
def test_broken_attributes_are_reported(tmp_path, content):
    write(tmp_path, entries=[{"item_id": 2}], **{"item2attributes.json": content})
    with pytest.raises(DataError, match=r"item2attributes\.json:1: "):
        load(tmp_path)


@pytest.mark.parametrize("name", ["sequences.txt", "items.jsonl"])
def test_missing_files_say_what_to_do(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: missing file: ")
    assert str(caught.value).endswith("put it there (or point --data elsewhere)")


def test_fingerprint_follows_content_and_settings(tmp_path):
    before = load(write(tmp_path)).fingerprint
    assert load(tmp_path).fingerprint == before
    assert load(tmp_path, unused_items="keep").fingerprint != before
    assert load(write(tmp_path, sequences="u 10 2 2\nv 2 10 30\n")).fingerprint != before


@pytest.mark.parametrize(
    ("folder", "users", "items", "interactions"),
    [
        ("amazon-beauty", 22_363, 12_101, 198_502),
        ("amazon-sports", 35_598, 18_357, 296_337),
        ("yelp-2019", 30_431, 20_033, 316_354),
    ],
)
def test_published_sets_have_their_published_size(folder, users, items, interactions):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not here")
    start = time.process_time()
    dataset = load(SHARED, folder=folder)
    assert time.process_time() - start < 4
    assert (len(dataset.histories), dataset.num_items, len(dataset.histories.items)) == (users, items, interactions)
    assert dataset.name == folder
    assert all(dataset.catalog.texts)
    assert all(dataset.catalog.attributes)
    first = (SHARED / folder / "sequences.txt").read_text().split("\n")[0].split()[1:]
    assert [dataset.catalog.keys[item] for item in dataset.histories[0]] == first
    assert (np.diff([int(key) for key in dataset.catalog.keys]) > 0).all()
