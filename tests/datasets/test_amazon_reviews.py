"""Amazon reviews: the three editions, item metadata, images, and errors of broken files by their line."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from amazon_files import write_2014, write_2018, write_2023, write_2023_ratings
from datasets_read import keys_of
from PIL import Image
from pydantic import ValidationError

from genrec.datasets.amazon_reviews import AmazonReviews
from genrec.datasets.readers import amazon_items as _amazon_items
from genrec.datasets.readers.html import plain_text
from genrec.errors import DataError

DAY = 86_400
REVIEWS = [
    ("ann", "B02", 3 * DAY),
    ("bob", "B02", 2 * DAY),
    ("ann", "B01", 2 * DAY),
    ("bob", "B03", 2 * DAY),
    ("ann", "B03", 2 * DAY),
]
ITEMS = {
    "B02": {
        "title": "Shampoo &amp; <b>Rinse</b>, don't dry",
        "brand": "Holm",
        "categories": ["Beauty", "Hair Care", "Shampoos &amp; Rinses"],
        "description": "<p>For <i>dry</i> hair.</p>\nSize < 5 oz",
        "price": 5.99,
        "images": ["http://images.example/I/41%2Bv.jpg", "http://images.example/I/52.jpg"],
    },
    "B01": {"title": 'Say "asin": "B09"', "images": ["http://images.example/I/63.jpg"]},
    "B99": {"title": "Nobody has it"},
}
WRITERS = {2014: write_2014, 2018: write_2018, 2023: write_2023}
EDITIONS = pytest.mark.parametrize("year", WRITERS)
REVIEWS_NAME = {2014: "reviews_Beauty_5.json.gz", 2018: "Beauty_5.json.gz", 2023: "Beauty.jsonl.gz"}
META_NAME = {2014: "meta_Beauty.json.gz", 2018: "meta_Beauty.json.gz", 2023: "meta_Beauty.jsonl.gz"}


def load(folder, **fields):
    return AmazonReviews(**{"core": 0, **fields}).load(folder)


def add_line(path, line):
    with gzip.open(path, "ab") as file:
        file.write(line.encode() + b"\n")


@EDITIONS
def test_histories_go_by_time_and_ties_by_place(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    dataset = load(tmp_path)
    assert keys_of(dataset) == {"ann": ["B01", "B03", "B02"], "bob": ["B02", "B03"]}
    assert dataset.times.tolist() == [2 * DAY, 2 * DAY, 3 * DAY, 2 * DAY, 2 * DAY]
    assert dataset.name == f"Amazon Beauty {year}"
    ties_by = "place in the file" if year == 2023 else "place in the file (item by item)"
    assert dataset.order == f"by time; equal times by {ties_by}"
    assert dataset.notes == (
        f"read from {REVIEWS_NAME[year]}, edition of {year}",
        f"67 % of consecutive interactions have equal timestamps; their order is by {ties_by}",
        "share of items with each text field: title 66.7 %, brand 33.3 %, categories 33.3 %",
        f"1 items have no metadata in {META_NAME[year]}; their text is empty",
        "2 of 3 items have an image URL, 0 have an image in images; download the URLs of 'genrec data images' to "
        "images/, as <key>.jpg or under the file name of the URL",
    )
    assert keys_of(load(tmp_path, order="file"))["ann"] == ["B02", "B01", "B03"]


@EDITIONS
def test_what_is_reported_of_items_is_the_same_in_all_editions(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    fields = ("title", "brand", "categories", "description", "price")
    catalog = load(tmp_path, text_fields=fields).catalog
    assert catalog.keys == ("B01", "B02", "B03")
    assert catalog.titles == ('Say "asin": "B09"', "Shampoo & Rinse, don't dry", "")
    assert catalog.texts == (
        'Say "asin": "B09"',
        "Shampoo & Rinse, don't dry\nBrand: Holm\nCategories: Beauty, Hair Care, Shampoos & Rinses\n"
        "For dry hair. Size < 5 oz\nPrice: 5.99",
        "",
    )
    assert catalog.attributes == ((), ("Shampoos & Rinses", "Holm"), ())
    assert catalog.images is None


@EDITIONS
def test_columns_are_the_same_in_all_editions(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    dataset = load(tmp_path)
    columns = dataset.catalog.columns
    assert list(columns) == ["price", "brand", "category"]
    assert columns["price"].values_I[1] == 5.99
    assert columns["price"].present_I.tolist() == [False, True, False]
    assert columns["brand"].values_I.tolist() == [(), ("Holm",), ()]
    assert columns["category"].values_I[1] == ("Beauty", "Hair Care", "Shampoos & Rinses")
    WRITERS[year](tmp_path, REVIEWS, {**ITEMS, "B02": {**ITEMS["B02"], "price": 6.99}})
    assert load(tmp_path).catalog.texts == dataset.catalog.texts
    assert load(tmp_path).fingerprint != dataset.fingerprint
    assert load(tmp_path, metadata=False).catalog.columns == {}


@EDITIONS
def test_unpacked_files_give_the_same(tmp_path, year):
    WRITERS[year](tmp_path / "packed", REVIEWS, ITEMS)
    ending = ".jsonl" if year == 2023 else ".json"
    WRITERS[year](tmp_path / "plain", REVIEWS, ITEMS, ending=ending)
    packed, plain = load(tmp_path / "packed"), load(tmp_path / "plain")
    assert keys_of(packed) == keys_of(plain)
    assert packed.catalog == plain.catalog
    assert packed.fingerprint == plain.fingerprint


@EDITIONS
def test_low_ratings_are_left_out_and_the_fingerprint_changes(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS, stars={0: 3.0, 1: 3.0})
    assert keys_of(load(tmp_path, min_rating=4)) == {"ann": ["B01", "B03"], "bob": ["B03"]}
    assert load(tmp_path, min_rating=4).fingerprint != load(tmp_path).fingerprint
    with pytest.raises(DataError, match=r"no review is left with min_rating 6\.0; lower it"):
        load(tmp_path, min_rating=6)
    before = load(tmp_path).fingerprint
    WRITERS[year](tmp_path, REVIEWS, {**ITEMS, "B03": {"title": "Comb"}}, stars={0: 3.0, 1: 3.0})
    assert load(tmp_path).fingerprint != before


def test_milliseconds_order_what_seconds_do_not(tmp_path):
    write_2023(tmp_path, [])
    rows = [("ann", "B02", 5_900), ("ann", "B03", 6_000), ("ann", "B01", 5_100)]
    lines = [{"user_id": user, "parent_asin": item, "timestamp": time} for user, item, time in rows]
    (tmp_path / "Beauty.jsonl.gz").write_bytes("\n".join(map(json.dumps, lines)).encode())
    dataset = load(tmp_path, metadata=False)
    assert keys_of(dataset) == {"ann": ["B01", "B02", "B03"]}
    assert dataset.times.tolist() == [5, 5, 6]
    assert keys_of(load(tmp_path, metadata=False, order="file")) == {"ann": ["B02", "B03", "B01"]}


def test_the_5_core_of_2023_is_a_table(tmp_path):
    write_2023(tmp_path, REVIEWS[:2], ITEMS)
    write_2023_ratings(tmp_path, REVIEWS)
    with (tmp_path / "Beauty.csv").open("a") as file:
        file.write("cid,B02,5.0,yesterday\n")
    with pytest.raises(DataError, match=r"Beauty\.csv:7: timestamp is 'yesterday', expected a whole number"):
        load(tmp_path, reviews="5core")
    skipped = load(tmp_path, reviews="5core", broken_lines="skip")
    assert "1 unreadable lines of Beauty.csv were skipped" in skipped.notes
    write_2023_ratings(tmp_path, REVIEWS)
    assert keys_of(load(tmp_path, reviews="5core")) == {"ann": ["B01", "B03", "B02"], "bob": ["B02", "B03"]}
    assert load(tmp_path, reviews="5core").catalog.titles[1] == "Shampoo & Rinse, don't dry"
    assert keys_of(load(tmp_path)) == {"ann": ["B02"], "bob": ["B02"]}  # core 0 asks for more than a 5-core holds


def test_the_publishers_5_core_is_preferred_where_it_holds_all_that_is_asked(tmp_path):
    rows = [(f"u{user}", f"B0{item}", user + item) for user in range(5) for item in range(5)]
    write_2014(tmp_path, rows)
    (tmp_path / "reviews_Beauty.json.gz").write_bytes((tmp_path / "reviews_Beauty_5.json.gz").read_bytes())
    names = [load(tmp_path, **fields).notes[0] for fields in ({"core": 5}, {"core": 4}, {"core": 5, "reviews": "all"})]
    assert names == [f"read from reviews_Beauty{core}.json.gz, edition of 2014" for core in ("_5", "", "")]


def test_of_two_editions_one_must_be_chosen(tmp_path):
    write_2014(tmp_path, REVIEWS, category="Beauty")
    write_2023(tmp_path, REVIEWS, category="Beauty")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: found more than one edition: 2014 (reviews_Beauty_5.json.gz) and 2023 (Beauty.jsonl.gz); "
        "choose one, e.g. edition: 2014"
    )
    assert load(tmp_path, edition=2023).name == "Amazon Beauty 2023"


PAGES = (
    "McAuley's group at UCSD (jmcauley.ucsd.edu/data/amazon (2014), nijianmo.github.io/amazon (2018), "
    "amazon-reviews-2023.github.io (2023)) and put them there (or point --data elsewhere)"
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"category": "Books"},
            "no reviews of category 'Books'; expected reviews_Books.json.gz (2014), Books.json.gz (2018), "
            f"Books.jsonl.gz (2023); the folder has files of Beauty: set category: Beauty; else get them from {PAGES}",
        ),
        (
            {"edition": 2018, "core": 5},
            f"no reviews of category 'Beauty'; expected Beauty_5.json.gz (2018); get them from {PAGES}",
        ),
    ],
)
def test_missing_reviews_say_what_to_put_where(tmp_path, fields, message):
    write_2014(tmp_path, REVIEWS, ITEMS)
    with pytest.raises(DataError) as caught:
        load(tmp_path, **fields)
    assert str(caught.value) == f"{tmp_path}: {message}"


def test_missing_metadata_says_what_to_do(tmp_path):
    write_2018(tmp_path, REVIEWS, ITEMS)
    (tmp_path / "meta_Beauty.json.gz").unlink()
    with pytest.raises(DataError, match=r"meta_Beauty\.json\.gz: missing file: titles, .* set metadata: false to run "):
        load(tmp_path)
    assert load(tmp_path, metadata=False).catalog.texts == ("", "", "")


@pytest.mark.parametrize("field", ["also_buy", "related", "salesRank", "average_rating", "reviewText"])
def test_what_customers_did_is_rejected_as_text(field):
    with pytest.raises(ValidationError, match=f"'{field}' would leak: it is computed from all interactions"):
        AmazonReviews(text_fields=("title", field))


def test_an_unknown_text_field_is_rejected():
    with pytest.raises(ValidationError, match="no field 'name' in the metadata; expected any of title, brand, "):
        AmazonReviews(text_fields=("name",))


@EDITIONS
def test_no_trace_of_what_customers_did_is_in_the_catalog(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    catalog = load(tmp_path, text_fields=_amazon_items.FIELDS).catalog
    columns = {name: column.values_I.tolist() for name, column in catalog.columns.items()}
    assert set(columns) == {"price", "brand", "category"}
    told = json.dumps([catalog.titles, catalog.texts, catalog.attributes, columns])
    assert [word for word in ("0000000001", "Rank", "7", "4.8", "Great", "as said") if word in told] == []


def image(path, color="red"):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (2, 2), color).save(path)


@EDITIONS
def test_images_are_found_by_key_or_by_address(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    image(tmp_path / "images" / "41+v.jpg")
    image(tmp_path / "images" / "52.jpg", "blue")
    image(tmp_path / "images" / "B01_10.png", "blue")
    image(tmp_path / "images" / "B01_9.PNG", "lime")
    (tmp_path / "images" / "B03.txt").write_text("no image")
    dataset = load(tmp_path, max_images=None)
    second = 1 if year != 2014 else 0  # that edition has one address an item
    assert dataset.catalog.images.counts_I.tolist() == [2, 1 + second, 0]
    assert dataset.catalog.images.open(0).getpixel((0, 0)) == (0, 255, 0)
    assert dataset.catalog.images.open(0, 1).getpixel((0, 0)) == (0, 0, 255)
    assert dataset.notes[-1] == "2 of 3 items have an image URL, 2 have an image in images"
    assert load(tmp_path).catalog.images.counts_I.tolist() == [1, 1, 0]
    assert load(tmp_path).fingerprint != dataset.fingerprint
    image(tmp_path / "images" / "B01.jpg")
    assert load(tmp_path).catalog.images.open(0).getpixel((0, 0))[0] > 250


@EDITIONS
def test_addresses_of_images(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    dataset = AmazonReviews(core=0, max_images=None)
    urls = list(dataset.image_urls(tmp_path))
    expected = [("B01", "http://images.example/I/63.jpg"), ("B02", "http://images.example/I/41%2Bv.jpg")]
    assert urls == expected + ([("B02", "http://images.example/I/52.jpg")] if year != 2014 else [])
    assert list(AmazonReviews(core=0).image_urls(tmp_path)) == expected


def test_the_icon_of_a_product_without_an_image_is_none(tmp_path):
    icon = "http://images.example/G/01/x-site/icons/no-img-sm._CB192198896_.gif"
    WRITERS[2014](tmp_path, REVIEWS, {"B01": {"title": "Bare", "images": [icon]}})
    assert list(AmazonReviews(core=0).image_urls(tmp_path)) == []


def test_an_address_cannot_name_a_file_outside(tmp_path):
    image(tmp_path / "secret.jpg")
    urls = ["http://images.example/I/..%2Fsecret.jpg", f"http://images.example/{tmp_path}%2Fsecret.jpg"]
    write_2018(tmp_path, REVIEWS, {"B01": {"title": "Trap", "images": urls}})
    image(tmp_path / "images" / "other.jpg")
    assert load(tmp_path, max_images=None).catalog.images is None


def test_an_address_that_is_none_names_no_file(tmp_path):
    urls = ["http://[images.example/a", "http://images.example/I/b.jpg?size=2#top", ""]
    write_2018(tmp_path, REVIEWS, {"B01": {"title": "Odd", "images": urls}})
    image(tmp_path / "images" / "b.jpg")
    assert load(tmp_path, max_images=None).catalog.images.counts_I.tolist() == [1, 0, 0]


def test_the_2018_page_left_things_in_fields(tmp_path):
    write_2018(tmp_path, REVIEWS, {})
    lines = [
        {"asin": "B01", "title": "var aPageStart = (new Date()).getTime();", "brand": "by\n    \n    Holm",
         "main_cat": "<img src='a.png' alt='Beauty'/>", "price": "$4.99 - $1,009.00"},
        {"asin": "B02", "title": '<span class="a">Comb</span>s', "brand": "by Terry", "price": "from 3.50"},
        {"asin": "B02", "title": "a second line on it"},
        {"asin": "B03", "category": "Beauty"},
    ]  # fmt: skip
    for line in lines:
        add_line(tmp_path / META_NAME[2018], json.dumps(line))
    catalog = load(tmp_path, text_fields=("title", "brand", "main_category", "price")).catalog
    assert catalog.texts == ("Brand: Holm\nPrice: 4.99 - 1,009.00", "Combs\nBrand: by Terry\nPrice: 3.50", "")
    assert catalog.attributes == (("Holm",), ("by Terry",), ("Beauty",))
    assert catalog.columns["price"].values_I[:2].tolist() == [506.995, 3.5]


def test_metadata_of_2014_that_was_converted_to_json_is_read(tmp_path):
    write_2014(tmp_path, REVIEWS, {})
    add_line(tmp_path / META_NAME[2014], json.dumps({"asin": "B01", "title": "Comb", "price": None}))
    assert load(tmp_path).catalog.titles == ("Comb", "", "")


BROKEN = [
    (2014, "{'asin': 'B01', 'title': open('x')}", "not a Python dict (something other than texts, numbers, lists and "
     "dicts); expected {'asin': '...', ...}"),
    (2014, "{'asin': 'B01', 'title': 'Comb}", "not a Python dict (unterminated string literal (detected at line 1)); "
     "expected {'asin': '...', ...}"),
    (2014, "['asin', 'B01']", "not a Python dict (found a list); expected {'asin': '...', ...}"),
    (2014, "{'asin': 'B01', 'x': " + "[" * 150 + "-" * 9000 + "1" + "]" * 150 + "}", "not a Python dict (nested too "
     "deeply); expected {'asin': '...', ...}"),
    (2014, "{'asin': 'B01', 'x': '" + "y" * 1_000_000 + "'}", "not a Python dict (1,000,024 bytes, at most "
     "1,000,000 are read); expected {'asin': '...', ...}"),
    (2014, "{'title': 'Comb'}", "no text under 'asin'; found title"),
    (2018, '{"asin": "B01", "title": }', "not valid JSON (Expecting value at character 26); expected one object "
     "a line"),
    (2023, '{"title": "Comb"}', "no text under 'parent_asin'; found title"),
]  # fmt: skip


@pytest.mark.parametrize(("year", "line", "message"), BROKEN)
def test_broken_metadata_is_reported_by_line_or_counted(tmp_path, year, line, message):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    path = tmp_path / META_NAME[year]
    add_line(path, line)
    add_line(path, repr({"asin": "B03", "title": "Comb"}) if year == 2014 else json.dumps(
        {"asin": "B03", "parent_asin": "B03", "title": "Comb"}))  # fmt: skip
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{path}:4: {message}; fix or remove the line, or set broken_lines: skip"
    dataset = load(tmp_path, broken_lines="skip")
    assert dataset.catalog.titles[2] == "Comb"
    assert f"1 unreadable lines of {META_NAME[year]} were skipped" in dataset.notes


@EDITIONS
def test_broken_metadata_of_other_items_is_not_looked_at(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    key = "parent_asin" if year == 2023 else "asin"
    add_line(tmp_path / META_NAME[year], f"{{'{key}': 'B98', 'title': !")
    assert load(tmp_path).catalog.titles[1] == "Shampoo & Rinse, don't dry"


@EDITIONS
def test_broken_reviews_are_reported_by_line_or_counted(tmp_path, year):
    WRITERS[year](tmp_path, REVIEWS, ITEMS)
    path = tmp_path / REVIEWS_NAME[year]
    add_line(path, '{"asin": "B01"')
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path}:6: not valid JSON")
    dataset = load(tmp_path, broken_lines="skip")
    assert keys_of(dataset) == {"ann": ["B01", "B03", "B02"], "bob": ["B02", "B03"]}
    assert f"1 unreadable lines of {REVIEWS_NAME[year]} were skipped" in dataset.notes


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Plain & simple", "Plain & simple"),
        ("a&nbsp;b &amp;amp; c", "a b & c"),
        ("<p>One</p><p>two<br/>three</p>", "One two three"),
        ("w<b>or</b>d", "word"),
        ("x < y and z > w, <untitled>", "x < y and z > w, <untitled>"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("a<style type='x'>p {color: red}</style>b <script>never closed", "a b"),
        ("<!-- note -->seen", "seen"),
        ("seen<!-- never closed", "seen"),
    ],
)
def test_html_becomes_plain_text(markup, text):
    assert plain_text(markup) == text


@pytest.mark.parametrize("markup", ["<!--", "<script ", "<style>", "<a ", "</script ", "&"])
def test_html_that_never_ends_takes_no_longer(markup):
    began = time.process_time()
    plain_text(markup * 50_000)
    assert time.process_time() - began < 5  # a minute and more where each of them is looked after to the end
