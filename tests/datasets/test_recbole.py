"""RecBole's atomic files: default fields, lists, times of every kind, and errors of broken files by line."""

import pytest
import table_files
from datasets_read import error_of, keys_of
from PIL import Image
from pydantic import ValidationError

from genrec.datasets.recbole import RecBole
from genrec.errors import DataError

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = [("b", "x", 7), ("a", "y", 9), ("a", "z", 9), ("a", "x", 2), ("b", "y", 8)]


def write(folder, inter=None, item=None, name="shop"):
    if inter is None:
        inter = INTER + "".join(
            f"{user}\t{item}\t{5 - place}\t{time}.0\n" for place, (user, item, time) in enumerate(ROWS)
        )
    (folder / f"{name}.inter").write_bytes(inter if isinstance(inter, bytes) else inter.encode())
    if item is not None:
        (folder / f"{name}.item").write_bytes(item if isinstance(item, bytes) else item.encode())
    return folder


def load(data, **fields):
    return RecBole(**{"core": 0, **fields}).load(data)


def error(data, **fields):
    return error_of(RecBole(**{"core": 0, **fields}), data)


def test_histories_go_by_time_and_ties_by_place(tmp_path):
    dataset = load(write(tmp_path))
    assert keys_of(dataset) == {"a": ["x", "y", "z"], "b": ["x", "y"]}
    assert dataset.times.tolist() == [2, 9, 9, 7, 8]
    assert (dataset.name, dataset.order) == ("shop", "by time; equal times by place in the file")
    assert dataset.catalog.texts == ("", "", "")
    assert dataset.catalog.images is None
    assert dataset.notes == (
        "33 % of consecutive interactions have equal timestamps; their order is by place in the file",
        "timestamp:float is read as counters, which order interactions but are no dates",
        "3 of 3 items have no metadata; their text is empty",
    )
    assert keys_of(load(tmp_path, order="file")) == {"a": ["y", "z", "x"], "b": ["x", "y"]}
    assert keys_of(load(tmp_path, min_rating=3)) == {"a": ["y", "z"], "b": ["x"]}
    assert keys_of(load(tmp_path, core=2)) == {"a": ["x", "y"], "b": ["x", "y"]}


def test_files_of_the_writers_are_read(tmp_path):
    table_files.write_recbole(tmp_path, ROWS)
    dataset = load(tmp_path)
    assert keys_of(dataset) == {"a": ["x", "y", "z"], "b": ["x", "y"]}
    assert dataset.catalog.titles[0] == 'A "fine" thing x'
    assert dataset.catalog.texts[0] == 'A "fine" thing x\nClass: Action, Drama'
    assert dataset.catalog.attributes[0] == ("Action", "Drama")


def test_usual_fields_are_found(tmp_path):
    header = (
        "item_id:token\tdescription:token_seq\tcategories:token_seq\ttitle:token\tprice:float\tbrand:token\tcode:token"
    )
    rows = ["x\tGood for hair.\t'Beauty', 'Hair Care'\tA comb\t3.5\tOld Spice\t77", "q\t\t\tOther\t\t\t"]
    dataset = load(write(tmp_path, item="\n".join([header, *rows]) + "\n"))
    assert dataset.catalog.titles == ("A comb", "", "")
    assert dataset.catalog.texts[0] == "A comb\nGood for hair.\nCategories: Beauty, Hair Care\nBrand: Old Spice"
    assert dataset.catalog.attributes == (("Beauty", "Hair Care", "Old Spice"), (), ())
    assert dataset.notes[2:] == (
        "1 items of shop.item are in no interaction: they are left out; unsold_items: keep makes them cold items",
        "found only 1 of the 3 items of the histories (e.g. 'x', 'y', 'z') in shop.item (e.g. 'x', 'q')",
        "share of items with each text field: title 33.3 %, description 33.3 %, categories 33.3 %, brand 33.3 %",
        "2 of 3 items have no metadata; their text is empty",
    )
    named = load(tmp_path, title_field="code", text_fields=("brand", "code"), attribute_fields=())
    assert (named.catalog.titles[0], named.catalog.texts[0]) == ("77", "Brand: Old Spice\n77")
    assert named.catalog.attributes[0] == ()


def test_the_header_says_what_columns_are(tmp_path):
    header = (
        "item_id:token\ttitle:token_seq\tprice:float\tbrand:token\tclass:token_seq\trelease_year:token\t"
        "item_stars:float\treview_count:float\tsales_rank:float\tstory:token_seq"
    )
    rows = ["x\tOne\t3.5\tOld Spice\ta b\t1995\t4.5\t7\t1\tLong ago", "y\tTwo\tfree\t\t\t\t\t\t\t"]
    dataset = load(write(tmp_path, item="\n".join([header, *rows]) + "\n"))
    columns = dataset.catalog.columns
    assert {name: (column.kind, column.values_I[0]) for name, column in columns.items()} == {
        "price": ("numeric", 3.5),
        "brand": ("categorical", ("Old Spice",)),
        "class": ("categorical", ("a", "b")),
        "release_year": ("numeric", 1995),
    }
    assert "1 unreadable values of price:float in shop.item are treated as missing" in dataset.notes
    assert list(load(tmp_path, column_fields=()).catalog.columns) == []
    chosen = load(tmp_path, column_fields=("story", "release_year")).catalog.columns
    assert {name: column.values_I[0] for name, column in chosen.items()} == {
        "story": ("Long", "ago"), "release_year": 1995,
    }  # fmt: skip
    assert error(tmp_path, column_fields=("price",)) == (
        f"{tmp_path / 'shop.item'}:3: price:float is 'free', expected a number"
    )
    assert "no column color" in error(tmp_path, column_fields=("color",))


def test_settings_of_times_need_a_field_of_times():
    with pytest.raises(ValidationError, match="time_unit needs the column of the times; set time_field: COLUMN"):
        RecBole(time_field=None, order="file", time_unit="ms")


@pytest.mark.parametrize("field", ["item_stars", "review_count", "sales_rank", "average_rating", "popularity"])
def test_what_customers_did_is_rejected_as_a_column(field):
    with pytest.raises(ValidationError, match=f"'{field}' would leak: it is computed from all interactions"):
        RecBole(column_fields=("price", field))


def test_lists_are_split_as_the_recipe_says(tmp_path):
    write(tmp_path, item="item_id:token\tgenre:token_seq\nx\tSci-Fi;Film Noir\ny\tA, B\n")
    assert load(tmp_path, seq_separator=";").catalog.attributes == (("Sci-Fi", "Film Noir"), ("A, B",), ())
    assert load(tmp_path).catalog.attributes == (("Sci-Fi;Film Noir",), ("A", "B"), ())
    write(tmp_path, item="item_id:token\tgenre:token_seq\nx\tAction  Drama\n")
    assert load(tmp_path).catalog.attributes[0] == ("Action", "Drama")


def test_images_are_named_or_lie_in_images(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("x.jpg", "y.jpg", "other.png"):
        Image.new("RGB", (2, 2), "red").save(tmp_path / "images" / name)
    assert load(write(tmp_path)).catalog.images.counts_I.tolist() == [1, 1, 0]
    item = "item_id:token\timage:token_seq\nx\timages/x.jpg images/other.png images/gone.png\n"
    dataset = load(write(tmp_path, item=item))
    assert dataset.catalog.images.counts_I.tolist() == [2, 0, 0]
    assert dataset.catalog.texts[0] == ""
    assert dataset.notes[-1] == "1 of 3 images named in the metadata are missing"


def test_a_key_cannot_name_an_image_elsewhere(tmp_path):
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (2, 2), "red").save(tmp_path / "secret.jpg")
    assert load(write(folder, inter=INTER + "a\t../../secret\t1\t2\n")).catalog.images is None


@pytest.mark.parametrize(
    ("times", "seconds", "note"),
    [
        (("1500000000", "1500000001"), [1500000000, 1500000001], None),
        (("1500000000.75", "1500000000.25"), [1500000000, 1500000000], None),
        (("1500000000.7e0", "1.5e9"), [1500000000, 1500000000], None),
        (("1500000000900", "1500000000100"), [1500000000, 1500000000], "milliseconds since 1970"),
        (("1500000000000900", "1500000000000100"), [1500000000, 1500000000], "microseconds since 1970"),
        (("1500000000000000900", "1500000000000000100"), [1500000000, 1500000000], "nanoseconds since 1970"),
        (("3", "4"), [3, 4], "counters, which order interactions but are no dates"),
        (("2017-07-14T02:40:01Z", "2017-07-14 04:40:00+02:00"), [1500000000, 1500000001], None),
    ],
)
def test_times_of_every_unit_keep_their_order(tmp_path, times, seconds, note):
    first, second = times
    dataset = load(write(tmp_path, inter=f"{INTER}a\tx\t1\t{first}\na\ty\t1\t{second}\n"))
    assert dataset.times.tolist() == seconds
    assert keys_of(dataset) == {"a": ["x", "y"] if times in (("1500000000", "1500000001"), ("3", "4")) else ["y", "x"]}
    said = [text for text in dataset.notes if "is read as" in text]
    assert said == ([] if note is None else [f"timestamp:float is read as {note}"])


def test_broken_rows_are_skipped_and_counted(tmp_path):
    rows = ["a\tx\t1\t1", "a\t\t1\t2", "a\ty\t1\tsoon", "a\ty\t1", "", "a\ty\t1\t3\t4", "a\tz\t1\t5"]
    inter = (INTER + "\n".join(rows) + "\n").encode() + b"a\t\xe9\t1\t6\n"
    item = "item_id:token\ttitle:token_seq\nx\tOne\nx\tTwo\n\tNone\n"
    dataset = load(write(tmp_path, inter=inter, item=item), broken_rows="skip")
    assert keys_of(dataset) == {"a": ["x", "z"]}
    assert dataset.catalog.titles == ("One", "")
    assert "5 broken rows of shop.inter were skipped" in dataset.notes
    assert "2 broken or repeated rows of shop.item were skipped" in dataset.notes
    with pytest.raises(DataError, match=r"shop\.inter: all 1 rows are broken; read it with broken_rows: error to see"):
        load(write(tmp_path, inter=INTER + "a\t\t1\t2\n"), broken_rows="skip")


@pytest.mark.parametrize(
    ("inter", "message"),
    [
        ("", "1: the file is empty; expected a header line"),
        (INTER, "2: no rows below the header line"),
        ("user_id\titem_id\n1\t2\n", "1: 'item_id' has no type; expected a header line of field:type with tabs "
         "between, such as 'user_id:token<TAB>item_id:token'"),
        ("user_id:token\titem:token\n1\t2\n", "1: no column item_id; found user_id, item; did you mean item?"),
        ("user_id:token\titem_id:token\n1\t2\n", "1: no column timestamp; found user_id, item_id; name yours in "
         "time_field:, or set time_field: null and order: file to keep the order of the file"),
        (INTER + "a\tx\t1\t2\n\n\tx\t1\t2\n", "4: user_id:token is empty"),
        (INTER + "a\tx\t1\t2\na\ty\t1\n", "3: 3 fields, the header line has 4"),
        (INTER + "a\tx\t1\t2\na\ty\t1\t3\t5\t6\n", "3: 6 fields, the header line has 4"),
        (INTER + "a\tx\t1\t2\na\ty\t1\tsoon\n", "3: timestamp:float is 'soon', expected a Unix time or an ISO 8601 "
         'time such as 2024-05-31T18:30:00Z; for another format set time_format: "%d.%m.%Y"; broken_rows: skip leaves '
         "such rows out"),
        (INTER.encode() + b"a\tx\t1\t2\n\xe9\tx\t1\t3\n", "3: not UTF-8: byte 0xe9; save the file as UTF-8 and run "
         "again"),
    ],
)  # fmt: skip
def test_broken_interactions_are_reported_by_line(tmp_path, inter, message):
    assert error(write(tmp_path, inter=inter)) == f"{tmp_path / 'shop.inter'}:{message}"


def test_ratings_must_be_numbers_where_they_are_asked_for(tmp_path):
    write(tmp_path, inter=INTER + "a\tx\tgood\t2\n")
    assert keys_of(load(tmp_path)) == {"a": ["x"]}
    assert error(tmp_path, min_rating=1) == f"{tmp_path / 'shop.inter'}:2: rating:float is 'good', expected a number"
    write(tmp_path, inter=INTER + "a\tx\t2\t2\n")
    assert (
        error(tmp_path, min_rating=3) == f"{tmp_path / 'shop.inter'}: no rating:float is 3.0 or more; lower min_rating"
    )


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("", "1: the file is empty; expected a header line"),
        ("item:token\ttitle:token_seq\nx\ty\n", "1: no column item_id; found item, title; did you mean item?"),
        ("item_id:token\ttitle:token_seq\nx\tOne\n\nx\tTwo\n", "4: item_id:token 'x' occurs twice; expected one row "
         "for each item"),
        ("item_id:token\ttitle:token_seq\nx\n", "2: 1 fields, the header line has 2"),
    ],
)  # fmt: skip
def test_broken_items_are_reported_by_line(tmp_path, item, message):
    assert error(write(tmp_path, item=item)) == f"{tmp_path / 'shop.item'}:{message}"


def test_which_data_set_is_said_or_the_only_one(tmp_path):
    source = "RecSysDatasets publishes datasets in this format, or its scripts create them; put it there"
    what = "users, items and times"
    assert error(tmp_path) == f"{tmp_path}: no file <name>.inter: {what}; {source}"
    assert error(tmp_path, name="a") == f"{tmp_path / 'a.inter'}: missing file: {what}; {source}"
    write(write(tmp_path, name="ml-1m"), name="ml-100k")
    assert error(tmp_path) == f"{tmp_path}: there are several datasets; set name: one of ml-100k, ml-1m"
    assert load(tmp_path, name="ml-1m").name == "ml-1m"


def test_without_times_the_file_decides_if_the_recipe_says_so(tmp_path):
    write(tmp_path, inter="user_id:token\titem_id:token\na\ty\na\tx\n")
    dataset = load(tmp_path, time_field=None, order="file")
    assert (keys_of(dataset), dataset.times) == ({"a": ["y", "x"]}, None)
    assert error(tmp_path, time_field=None) == (
        f"{tmp_path / 'shop.inter'}: no time column to order the histories by; set order: file to keep the order "
        "of the file"
    )


def test_fingerprint_follows_content_and_settings(tmp_path):
    before = load(write(tmp_path)).fingerprint
    assert load(tmp_path).fingerprint == before
    assert load(tmp_path, core=1).fingerprint != before
    assert load(write(tmp_path, item="item_id:token\ttitle:token_seq\nx\tOne\n")).fingerprint != before
