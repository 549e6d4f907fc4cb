"""Users' tables: three formats, columns by name, times in every format, errors by line or row."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
import table_files
from datasets_read import error_of, keys_of
from PIL import Image
from pydantic import ValidationError

from genrec.datasets.table import Table

ROWS = [("b", "x", 7), ("a", "y", 9), ("a", "z", 9), ("a", "x", 2), ("b", "y", 8)]
TOLD = {"title": "title", "attributes": ("tags",)}
WRITERS = {
    ".csv": table_files.write_table_csv,
    ".tsv": table_files.write_table_tsv,
    ".parquet": table_files.write_table_parquet,
}
COUNTERS = "time is read as counters, which order interactions but are no dates"
NO_TIME = (
    "expected a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z; for another format set time_format: "
    '"%d.%m.%Y"; broken_rows: skip leaves such rows out'
)


def write(folder, text, name="interactions.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def load(data, **fields):
    return Table(**{"core": 0, **fields}).load(data)


def error(data, **fields):
    return error_of(Table(**{"core": 0, **fields}), data)


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_same(tmp_path, ending):
    rows = [(user, item, 1_500_000_000 + time) for user, item, time in ROWS]
    WRITERS[ending](tmp_path, rows)
    fields = {"interactions": f"interactions{ending}", "items": f"items{ending}", **TOLD}
    dataset = load(tmp_path, **fields)
    assert keys_of(dataset) == {"a": ["x", "y", "z"], "b": ["x", "y"]}
    assert (dataset.times - 1_500_000_000).tolist() == [2, 9, 9, 7, 8]
    assert [name.replace(",", "") for name in dataset.catalog.titles] == ["Thing x", "Thing y", "Thing z"]
    assert dataset.catalog.texts[0] == f"{dataset.catalog.titles[0]}\nTags: a, b"
    assert dataset.catalog.attributes == (("a", "b"),) * 3
    assert keys_of(load(tmp_path, **fields, core=2)) == {"a": ["x", "y"], "b": ["x", "y"]}
    assert keys_of(load(tmp_path, **fields, order="file")) == {"a": ["y", "z", "x"], "b": ["x", "y"]}
    assert load(tmp_path, **fields).fingerprint == dataset.fingerprint
    WRITERS[ending](tmp_path, rows[:-1])
    assert load(tmp_path, **fields).fingerprint != dataset.fingerprint


def test_columns_have_the_names_that_the_recipe_gives(tmp_path):
    write(tmp_path, 'when;who;what;stars;note\n2;u;10;5;\n1;u;9;2;"a;b"\n3;u;2;4;\n')
    write(tmp_path, "id;name;brand;kind\n10;Desk;Holm;Oak|Office\n2;Lamp;;\n", "goods.csv")
    fields = {"user": "who", "item": "what", "time": "when", "separator": ";", "items": "goods.csv", "key": "id"}
    dataset = load(tmp_path, **fields, title="name", attributes=("brand", "kind"), rating="stars", min_rating=3)
    assert keys_of(dataset) == {"u": ["10", "2"]}
    assert dataset.catalog.keys == ("2", "10")
    assert dataset.catalog.titles == ("Lamp", "Desk")
    assert dataset.catalog.texts == ("Lamp", "Desk\nBrand: Holm\nKind: Oak, Office")
    assert dataset.catalog.attributes == ((), ("Holm", "Oak", "Office"))
    assert load(tmp_path, **fields, text_fields=("kind", "name")).catalog.texts[-1] == "Kind: Oak|Office\nName: Desk"
    assert load(tmp_path, **fields, title="name").notes[-1] == "1 of 3 items have no metadata; their text is empty"
    assert error(tmp_path, **fields, title="name", rating="stars", min_rating=6) == (
        f"{tmp_path / 'interactions.csv'}: no stars is 6.0 or more; lower min_rating"
    )


@pytest.mark.parametrize(
    ("times", "fields"),
    [
        (("1577836800", "1577836801"), {}),
        (("1577836800000", "1577836801000"), {}),
        (("2020-01-01", "2020-01-01T00:00:01"), {}),
        (("2020-01-01 00:00:00.000", "2020-01-01 01:00:01+01:00"), {}),
        (("01.01.2020 00:00:00", "01.01.2020 00:00:01"), {"time_format": "%d.%m.%Y %H:%M:%S"}),
    ],
)
def test_times_are_read_however_they_are_written(tmp_path, times, fields):
    first, second = times
    dataset = load(write(tmp_path, f"user,item,time\nu,y,{second}\nu,x,{first}\n"), **fields)
    assert (keys_of(dataset), dataset.times.tolist()) == ({"u": ["x", "y"]}, [1577836800, 1577836801])


@pytest.mark.parametrize(
    "times",
    [
        [datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)],
        [datetime(2020, 1, 2), datetime(2020, 1, 1)],
        [date(2020, 1, 2), date(2020, 1, 1)],
        [1577923200.0, 1577836800.0],
        [1577923200000, 1577836800000],
        ["2020-01-02", "2020-01-01"],
    ],
)
def test_parquet_has_times_and_keys_of_every_type(tmp_path, times):
    table = pl.DataFrame({"user": ["u", "u"], "item": [10, 9], "time": times})
    for item, user in ((pl.Int32, pl.String), (pl.Float64, pl.Categorical), (pl.String, pl.Categorical)):
        table.with_columns(pl.col("item").cast(item), pl.col("user").cast(user)).write_parquet(tmp_path / "a.pq")
        dataset = load(tmp_path, interactions="a.pq")
        assert (keys_of(dataset), dataset.times.tolist()) == ({"u": ["9", "10"]}, [1577836800, 1577923200])


def test_images_are_named_several_an_item_or_lie_in_images(tmp_path):
    write(tmp_path, "user,item,time\nu,x,1\nu,y,2\n")
    write(tmp_path, "item,photo\nx,a.png|gone.png|b.png\ny,\n", "items.csv")
    (tmp_path / "images").mkdir()
    for name, color in (("a.png", "red"), ("b.png", "blue"), ("images/y.jpg", "red")):
        Image.new("RGB", (2, 2), color).save(tmp_path / name)
    dataset = load(tmp_path, items="items.csv", image="photo")
    assert dataset.catalog.images.counts_I.tolist() == [2, 0]
    assert dataset.catalog.images.open(0, 1).getpixel((0, 0)) == (0, 0, 255)
    assert dataset.notes == (COUNTERS, "1 of 3 images named in the metadata are missing")
    pl.DataFrame({"item": ["x"], "photo": [["b.png", "a.png"]]}).write_parquet(tmp_path / "items.parquet")
    dataset = load(tmp_path, items="items.parquet", image="photo")
    assert dataset.catalog.images.open(0).getpixel((0, 0)) == (0, 0, 255)
    assert load(tmp_path).catalog.images.counts_I.tolist() == [0, 1]
    write(tmp_path, "item,photo\nx,../a.png\n", "items.csv")
    assert error(tmp_path, items="items.csv", image="photo") == (
        f"{tmp_path}: image '../a.png' is outside of the folder; expected a path inside this folder"
    )


def test_broken_rows_are_skipped_and_counted(tmp_path):
    rows = ["u,x,1", ",x,2", "u,y,soon", "u,y", "", "u,y,3,4", '"u",y,5', '"",y,5']
    write(tmp_path, "user,item,time\n" + "\n".join(rows) + "\n")
    write(tmp_path, "item,title\nx,One\nx,Two\n", "items.csv")
    dataset = load(tmp_path, broken_rows="skip", items="items.csv", title="title")
    assert keys_of(dataset) == {"u": ["x", "y"]}
    assert dataset.catalog.titles == ("One", "")
    assert dataset.notes == (
        COUNTERS,
        "5 broken rows of interactions.csv were skipped",
        "1 broken or repeated rows of items.csv were skipped",
        "share of items with each text field: title 50 %",
        "1 of 2 items have no metadata; their text is empty",
    )


def test_broken_rows_of_parquet_are_reported_and_skipped(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"user": ["u", None, "u"], "item": ["x", "y", ""], "time": [1, 2, 3]}).write_parquet(path)
    fields = {"interactions": path.name}
    assert error(tmp_path, **fields) == f"{path}: row 2: user is empty or of the wrong kind"
    dataset = load(tmp_path, **fields, broken_rows="skip")
    assert keys_of(dataset) == {"u": ["x"]}
    assert dataset.notes == (
        COUNTERS,
        "2 broken rows of a.parquet were skipped",
        "1 of 1 items have no metadata; their text is empty",
    )
    pl.DataFrame({"user": ["u", "v"], "item": ["x", "y"], "time": ["2020-01-01", "later"]}).write_parquet(path)
    assert error(tmp_path, **fields).startswith(f"{path}: row 2: time is 'later', expected a Unix time or an ISO")
    pl.DataFrame({"user": [True], "item": ["x"], "time": [1]}).write_parquet(path)
    assert error(tmp_path, **fields) == f"{path}: user is of type Boolean, expected text or whole numbers"
    pl.DataFrame({"user": [1], "item": ["x"]}).write_parquet(path)
    assert error(tmp_path, **fields) == f"{path}: no column time; found user, item"
    pl.DataFrame({"user": [], "item": [], "time": []}).write_parquet(path)
    assert error(tmp_path, **fields) == f"{path}: there are no rows"
    path.write_bytes(b"user,item,time\n")
    assert error(tmp_path, **fields).startswith(f"{path}: not a Parquet file that can be read (")
    write(tmp_path, "user,item,time\nu,x,1\n")
    pl.DataFrame({"item": ["x", "x"]}).write_parquet(tmp_path / "items.parquet")
    assert error(tmp_path, items="items.parquet", text_fields=("item",)) == (
        f"{tmp_path / 'items.parquet'}: row 2: item 'x' occurs twice; expected one row for each item"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the file is empty; expected a header line"),
        ("user,item,time\n", "2: no rows below the header line"),
        ("user_id,Item,time\n1,2,3\n", "1: no column user, item; found user_id, Item, time; did you mean "
         "user_id, Item?"),
        ("user;item;time\n1;2;3\n", "1: no column user, item, time; found user;item;time; is ';' "
         "the separator?"),
        ("user,item,time,time\n1,2,3,4\n", "1: 2 columns are called time; rename all but one"),
        ("user,item,time\nu,x,1\n\n,y,2\n", "4: user is empty"),
        ('user,item,time\nu,"x\ny",1\nu,"",2\n', "4: item is empty"),
        ("user,item,time\nu,x,1\nu,y\n", "3: 2 fields, the header line has 3"),
        ("user,item,time\nu,x,1\nu,y,2,3\n", "3: 4 fields, the header line has 3"),
        ("user,item,time\nu,x,1\nu,y,soon\n", f"3: time is 'soon', {NO_TIME}"),
        ("user,item,time\nu,x,2020-01-01\nu,y,2020-13-01\n", f"3: time is '2020-13-01', {NO_TIME}"),
        ('user,item,time\nu,x,1\n"u,y,2\nu,z,3\n', "3: a quote that opens in this row is not closed; "
         "close it, or double it if it is part of a text"),
        (b"user,item,time\nu,x,1\nu,\xe9,2\n", "3: not UTF-8: byte 0xe9; save the file as UTF-8 and run again"),
        (b"us\xe9r,item,time\nu,x,1\n", "1: not UTF-8: byte 0xe9; save the file as UTF-8 and run again"),
    ],
)  # fmt: skip
def test_broken_interactions_are_reported_by_line(tmp_path, text, message):
    assert error(write(tmp_path, text)) == f"{tmp_path / 'interactions.csv'}:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,title\nx,One\n\nx,Two\n", "4: item 'x' occurs twice; expected one row for each item"),
        ("item,title\nx\n", "2: 1 fields, the header line has 2"),
        ("item,titel\nx,One\n", "1: no column title; found item, titel; did you mean titel?"),
        ("item,title\n,One\n", "2: item is empty"),
    ],
)
def test_broken_items_are_reported_by_line(tmp_path, text, message):
    write(write(tmp_path, "user,item,time\nu,x,1\n"), text, "items.csv")
    assert error(tmp_path, items="items.csv", title="title") == f"{tmp_path / 'items.csv'}:{message}"


def test_missing_files_say_what_to_put_there(tmp_path):
    end = "and put it there (or point --data elsewhere)"
    assert error(tmp_path) == (
        f"{tmp_path / 'interactions.csv'}: missing file: a row an interaction, columns user, item, time; name yours in "
        f"interactions:, {end}"
    )
    write(tmp_path, "user,item,time\nu,x,1\n")
    assert error(tmp_path, items="items.csv", title="title") == (
        f"{tmp_path / 'items.csv'}: missing file: a row an item; name yours in items:, or set items: null, {end}"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": "title"}, "title needs a table of items; set items: FILE"),
        (
            {"items": "items.csv"},
            "no column of items.csv is named; set title:, text_fields:, attributes:, columns: or image:",
        ),
        ({"columns": {"price": "numeric"}}, "columns needs a table of items; set items: FILE"),
        (
            {"items": "items.csv", "columns": {"averageRating": "numeric"}},
            "'averageRating' would leak: it is computed "
            "from all interactions, test interactions included; expected metadata of the item itself",
        ),
        (
            {"items": "items.csv", "columns": {"price": "money"}},
            "Input should be 'numeric', 'categorical' or 'datetime'",
        ),
        ({"min_rating": 3}, "min_rating needs the column that has the rating; set rating: COLUMN"),
        ({"time": None}, "histories cannot be ordered by time without a time column; set order: file"),
        ({"time_format": "%Y", "time_unit": "s"}, "time_format and time_unit exclude each other; set the one that the"),
        (
            {"time": None, "time_unit": "s", "order": "file"},
            "time_unit needs the column of the times; set time: COLUMN",
        ),
        ({"time": None, "duplicates": "drop", "order": "file"}, "duplicates needs the column of the times; set time: "),
        ({"unsold_items": "keep"}, "unsold_items: keep needs a table of items; set items: FILE"),
        (
            {"items": "items.csv", "columns": {"price": "numeric"}, "column_formats": {"price": "%Y"}},
            "column_formats names 'price', which is no datetime column; set columns: {price: datetime}",
        ),
        ({"separator": ", "}, "', ' is not a separator; expected one character, any number of times"),
        ({"interactions": "../a.csv"}, "'../a.csv' is absolute or contains '..'"),
    ],
)
def test_a_block_that_cannot_be_meant_is_rejected(fields, message):
    with pytest.raises(ValidationError) as caught:
        Table(**fields)
    assert message in str(caught.value)


def test_columns_are_numbers_texts_and_times(tmp_path):
    write(tmp_path, "user,item,time\nu,x,1\nu,y,2\nu,z,3\n")
    lines = ["item,price,since,colors,tags,stars", "x, 3.50,2024-05-31,red|blue,a|b,5", "y,NaN,2024-06-01T12:00,,c,1"]
    write(tmp_path, "\n".join([*lines, "q,9,,,,"]), "items.csv")
    kinds = {"price": "numeric", "since": "datetime", "colors": "categorical"}
    catalog = load(tmp_path, items="items.csv", attributes=("tags", "stars"), columns=kinds).catalog
    assert {name: column.kind for name, column in catalog.columns.items()} == {"tags": "categorical", **kinds}
    assert catalog.columns["price"].values_I.tolist()[0] == 3.5
    assert catalog.columns["price"].present_I.tolist() == [True, False, False]
    assert catalog.columns["since"].values_I.astype(str).tolist() == [
        "2024-05-31T00:00:00", "2024-06-01T12:00:00", "NaT",
    ]  # fmt: skip
    assert catalog.columns["colors"].values_I.tolist() == [("red", "blue"), (), ()]
    assert catalog.columns["tags"].values_I.tolist() == [("a", "b"), ("c",), ()]


def test_a_text_is_as_the_file_has_it_whatever_becomes_of_its_column(tmp_path):
    write(tmp_path, "user,item,time\nu,x,1\n")
    write(tmp_path, "item,price\nx,3.50\n", "items.csv")
    fields = {"items": "items.csv", "text_fields": ("price",)}
    assert load(tmp_path, **fields, columns={"price": "numeric"}).catalog.texts == ("Price: 3.50",)
    plain, typed = load(tmp_path, **fields), load(tmp_path, **fields, columns={"price": "numeric"})
    assert (plain.catalog.texts, plain.catalog.columns) == (typed.catalog.texts, {})
    assert plain.fingerprint != typed.fingerprint


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("numeric", "3,5", "a number"),
        ("numeric", "inf", "a number"),
        ("numeric", "cheap", "a number"),
        (
            "datetime",
            "soon",
            "a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z; for another format set "
            'column_formats: {of: "%d.%m.%Y"}',
        ),
    ],
)
def test_values_that_cannot_be_read_are_reported_by_line_or_counted(tmp_path, kind, value, expected):
    write(tmp_path, "user,item,time\nu,x,1\nu,y,2\n")
    write(tmp_path, f'item,title,of\nx,One,1577836800\n\ny,Two,"{value}"\n', "items.csv")
    fields = {"items": "items.csv", "title": "title", "columns": {"of": kind}}
    assert error(tmp_path, **fields) == f"{tmp_path / 'items.csv'}:4: of is {value!r}, expected {expected}"
    dataset = load(tmp_path, **fields, broken_rows="skip")
    assert dataset.catalog.titles == ("One", "Two")
    assert dataset.catalog.columns["of"].present_I.tolist() == [True, False]
    assert "1 unreadable values of of in items.csv are treated as missing" in dataset.notes


def test_parquet_has_columns_of_every_type(tmp_path):
    write(tmp_path, "user,item,time\nu,x,1\nu,y,2\n")
    table = {
        "item": ["x", "y"], "price": [3.5, float("nan")], "pages": [7, None], "new": [True, False],
        "since": [date(2024, 5, 31), None], "at": [datetime(2024, 5, 31, 1, tzinfo=UTC), None], "tags": [["a"], []],
    }  # fmt: skip
    path = tmp_path / "items.parquet"
    pl.DataFrame(table).write_parquet(path)
    numbers, times = dict.fromkeys(("price", "pages", "new"), "numeric"), dict.fromkeys(("since", "at"), "datetime")
    columns = load(tmp_path, items=path.name, columns={**numbers, **times, "tags": "categorical"}).catalog.columns
    assert [columns[name].values_I[0] for name in numbers] == [3.5, 7, 1]
    assert [str(columns[name].values_I[0]) for name in times] == ["2024-05-31T00:00:00", "2024-05-31T01:00:00"]
    assert [int(column.present_I.sum()) for column in columns.values()] == [1, 1, 2, 1, 1, 1]
    assert error(tmp_path, items=path.name, columns={"since": "numeric"}) == (
        f"{path}: since cannot be read as a number (it is of type Date)"
    )
    pl.DataFrame({"item": ["x", "y"], "price": [1.0, float("inf")]}).write_parquet(path)
    assert error(tmp_path, items=path.name, columns={"price": "numeric"}) == (
        f"{path}: row 2: price is 'inf', expected a number"
    )


def test_a_time_format_that_fits_nothing_is_reported(tmp_path):
    write(tmp_path, "user,item,time\nu,x,01.02.2020\n")
    assert error(tmp_path, time_format="%Y/%m/%d") == (
        f"{tmp_path / 'interactions.csv'}:2: time is '01.02.2020', expected %Y/%m/%d; for several formats set "
        'time_format: ["%Y/%m/%d", "%d.%m.%Y"]; broken_rows: skip leaves such rows out'
    )


def test_without_times_the_file_decides(tmp_path):
    dataset = load(write(tmp_path, "user,item\nu,y\nu,x\n"), time=None, order="file")
    assert (keys_of(dataset), dataset.times) == ({"u": ["y", "x"]}, None)
    assert dataset.order == "as in the source"


def test_byte_order_mark_windows_lines_and_repeated_names_do_no_harm(tmp_path):
    dataset = load(write(tmp_path, b'\xef\xbb\xbfuser,item,time,x,x\r\nu,y,2,,\r\n\r\nu,"x",1,,7\r\n'))
    assert keys_of(dataset) == {"u": ["x", "y"]}


@pytest.mark.parametrize("separator", ["::", "|"])
def test_separators_are_the_users_own(tmp_path, separator):
    lines = ["user,item,time", "u,y,2", "u,x,1"]
    write(tmp_path, "".join(f"{line.replace(',', separator)}\n" for line in lines))
    assert keys_of(load(tmp_path, separator=separator)) == {"u": ["x", "y"]}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_path_is_no_pattern(tmp_path, ending):
    for name, rows in ((f"a{ending}", ROWS), (f"[a]{ending}", ROWS[:3])):
        table = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
        (table.write_csv if ending == ".csv" else table.write_parquet)(tmp_path / name)
    assert len(load(tmp_path, interactions=f"[a]{ending}").histories.items) == 3
