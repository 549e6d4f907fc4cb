"""Hostile and unusual files: each is read right, or is one error of the user; nothing is misread without a word."""

import gzip
import json
from datetime import UTC, datetime

import polars as pl
import pytest
from datasets_read import error_of, keys_of

from genrec.dataset_audit.audit import audit
from genrec.datasets.amazon_reviews import AmazonReviews
from genrec.datasets.movielens import MovieLens
from genrec.datasets.readers import json_lines
from genrec.datasets.readers.csv import CSV
from genrec.datasets.readers.item_tables import read_items
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.recbole import RecBole
from genrec.datasets.sequences import Sequences
from genrec.datasets.table import Table
from genrec.datasets.yelp import Yelp

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "error::polars.exceptions.PolarsWarning")

T = 1_577_836_800
"""The year 2020."""
HEAD = "user,item,time\n"
SHOP = f"{HEAD}u,1,{T}\nu,2,{T + 1}\nv,1,{T + 2}\n"
AGAIN = f"{SHOP}v,1,{T + 2}\n"
SKIP = "broken_rows: skip leaves such rows out"
NO_TIME = (
    'expected a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z; for another format set time_format: "{}"; '
)


def write(folder, files):
    for name, content in files.items():
        if isinstance(content, pl.DataFrame):
            content.write_parquet(folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def times(*values):
    return HEAD + "".join(f"u,{place},{value}\n" for place, value in enumerate(values))


def parquet(**columns):
    size = max(map(len, columns.values()))
    return pl.DataFrame({"user": ["u"] * size, "item": list(map(str, range(size))), "time": [T] * size, **columns})


ITEMS = {"items": "items.csv", "title": "title"}
WRONG_TABLES = {
    "every second time in milliseconds": (times(T, 1000 * T, T + 1), {}, f":3: time is '{1000 * T}', milliseconds "
        "since 1970 by its size, but most values are seconds since 1970; expected one unit in a column; time_unit: s "
        f"reads all values as seconds since 1970; {SKIP}"),
    "a time that is 0": (times(T, 0, T), {}, ":3: time is '0', a counter by its size, but most values are seconds "
        "since 1970; expected one unit in a column; time_unit: s reads all values as seconds since 1970; " + SKIP),
    "a number among dates": (times("2020-01-01", "2020-01-02", T), {}, f":4: time is '{T}', seconds since 1970 by its "
        f"size, but most values are dates; expected one unit in a column; {SKIP}"),
    "dates in digits": (times(20231229, 20231230), {}, ": time is 20231229, which looks like a date; set time_format: "
        '"%Y%m%d", or time_unit: order if it is a counter'),
    "dates of another format": (times("31/12/2020 10:30", "1/1/2021 9:00"), {}, ":2: time is '31/12/2020 10:30', "
        + NO_TIME.format("%d/%m/%Y %H:%M") + SKIP),
    "a second format": (times("31.12.2020", "2020/12/31"), {"time_format": "%d.%m.%Y"}, ":3: time is '2020/12/31', "
        f'expected %d.%m.%Y; for several formats set time_format: ["%d.%m.%Y", "%Y/%m/%d"]; {SKIP}'),
    "a year of two digits": (times("31.12.20"), {"time_format": "%d.%m.%Y"}, ":2: time is '31.12.20', expected "
        f"%d.%m.%Y; {SKIP}"),
    "a date where the unit is set": (times(T, "2020-01-01"), {"time_unit": "s"}, ":3: time is '2020-01-01', expected a "
        f'number: seconds since 1970; for another format set time_format: "%d.%m.%Y"; {SKIP}'),
    "a time of 5,000 digits": (times("9" * 5000), {}, ":2: time is '99999999999999999999999999999999999999999999999999"
        "999999..., " + NO_TIME.format("%d.%m.%Y") + SKIP),
    "a time that is inf": (times(T, "inf"), {}, ":3: time is 'inf', " + NO_TIME.format("%d.%m.%Y") + SKIP),
    "a blank key": (f"{HEAD}u,x,{T}\n  ,x,{T}\n", {}, ":3: user is empty"),
    "a key that is nan": (f"{HEAD}u,nan,{T}\n", {}, ":2: item is 'nan', a missing value"),
    "Latin-1": (f"{HEAD}u,caf\xe9,{T}\n".encode("latin-1"), {}, ":2: not UTF-8: byte 0xe9; save the file as UTF-8 "
        "and run again"),
    "UTF-16": (SHOP.encode("utf-16"), {}, ":1: not UTF-8: byte 0xff; save the file as UTF-8 and run again"),
    "a file of zero bytes": ("\0" * 100, {}, ":2: no rows below the header line"),
    "an open quote": (f'{HEAD}u,"x,{T}\nu,y,{T}\n', {"broken_rows": "skip"}, ":2: a quote that opens in this row is "
        "not closed; close it, or double it if it is part of a text"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "fields", "message"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_a_wrong_table_is_one_error(tmp_path, content, fields, message):
    write(tmp_path, {"interactions.csv": content})
    assert error_of(Table(core=0, **fields), tmp_path) == f"{tmp_path / 'interactions.csv'}{message}"


WRONG_PARQUET = {
    "a user that is NaN": (parquet(user=[1.0, float("nan")]), ": row 2: user is empty or of the wrong kind"),
    "a time that is NaN": (parquet(time=[1.5e9, float("nan")]), ": row 2: time is empty or of the wrong kind"),
    "keys that are no longer exact": (parquet(item=[1e300]), ": item has floats above 2^53, which are not exact; "
        "expected texts or whole numbers"),
    "keys that are bytes": (parquet(item=[b"x"]), ": item is of type Binary, expected text or whole numbers"),
    "keys that are truth values": (parquet(user=[True]), ": user is of type Boolean, expected text or whole numbers"),
    "keys that are lists": (parquet(user=[[1]]), ": user is of type List(Int64), expected text or whole numbers"),
    "lists of users beside a time that is missing": (parquet(user=[[1], [2]], time=[T, None]),
        ": row 2: time is empty or of the wrong kind"),
    "dates after the year 9999 beside one that is missing": (
        parquet(user=pl.Series([2**62, 0]).cast(pl.Datetime("us")), time=[None, T]),
        ": row 1: time is empty or of the wrong kind"),
    "times that are truth values": (parquet(time=[True]), ": row 1: time is 'true', "
        + NO_TIME.format("%d.%m.%Y") + SKIP),
    "dates in digits": (parquet(time=[12292023, 12302023, 1012024]), ": time is 12292023, which looks like a date; set "
        'time_format: "%m%d%Y", or time_unit: order if it is a counter'),
    "times beyond 64 bits": (parquet(time=pl.Series([2**64 - 1], dtype=pl.UInt64)), ": row 1: time is "
        "'18446744073709551615', " + NO_TIME.format("%d.%m.%Y") + SKIP),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), WRONG_PARQUET.values(), ids=WRONG_PARQUET)
def test_a_wrong_parquet_table_is_one_error(tmp_path, content, message):
    write(tmp_path, {"a.parquet": content})
    source = Table(core=0, interactions="a.parquet")
    assert error_of(source, tmp_path) == f"{tmp_path / 'a.parquet'}{message}"


FINE_TABLES = {
    "formats": (times("31.12.2020", "2020/12/30"), {"time_format": ["%d.%m.%Y", "%Y/%m/%d"]}, {"u": ["1", "0"]}),
    "counters": (times(7, 3, 5), {}, {"u": ["1", "2", "0"]}),
    "counters of any size": (times(7, 3 * 10**9, 5), {"time_unit": "order"}, {"u": ["2", "0", "1"]}),
    "times before 1973": (times(T, 0, 5), {"time_unit": "s"}, {"u": ["1", "2", "0"]}),
    "blanks around keys": (f"{HEAD}u, x ,{T}\n u,y,{T + 1}\n", {}, {"u": ["x", "y"]}),
    "stray quotes": (f'{HEAD}u,5" nail,{T}\nu,"a\nb",{T + 1}\nu,"Best" chair,{T + 2}\n', {},
        {"u": ['5" nail', "a\nb", "Best chair"]}),
    "\\r at the ends of lines": (SHOP.replace("\n", "\r"), {}, {"u": ["1", "2"], "v": ["1"]}),
    "a byte order mark before a quote": (f'\ufeff"user",item,time\nu,x,{T}\n', {}, {"u": ["x"]}),
    "mixed units, skipped": (times(T, 1000 * T, T + 1), {"broken_rows": "skip"}, {"u": ["0", "2"]}),
    "duplicates, kept": (AGAIN, {}, {"u": ["1", "2"], "v": ["1", "1"]}),
    "duplicates, dropped": (AGAIN, {"duplicates": "drop"}, {"u": ["1", "2"], "v": ["1"]}),
    "a key of 6,000 digits": (f"{HEAD}u,{'9' * 6000},{T}\nu,1,{T + 1}\n", {}, {"u": ["9" * 6000, "1"]}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "fields", "histories"), FINE_TABLES.values(), ids=FINE_TABLES)
def test_an_unusual_table_is_read(tmp_path, content, fields, histories):
    write(tmp_path, {"interactions.csv": content})
    assert keys_of(Table(core=0, **fields).load(tmp_path)) == histories


def test_formats_are_of_numbers_and_of_parquet_too(tmp_path):
    days = [12292023, 12302023, 12312023, 1012024]
    for column in (days, list(map(float, days)), list(map(str, days))):
        write(tmp_path, {"a.parquet": parquet(time=column)})
        dataset = Table(core=0, interactions="a.parquet", time_format="%m%d%Y").load(tmp_path)
        assert dataset.times.tolist() == [
            int(datetime(2023, 12, 29, tzinfo=UTC).timestamp()) + 86_400 * day for day in range(4)
        ]


def test_a_missing_value_is_missing_in_every_format(tmp_path):
    nothing = [None, float("nan"), "", "nan", "NaN", "  "]
    lines = [
        json.dumps({"item_id": place, "title": "A", "brand": brand, "price": brand})
        for place, brand in enumerate(nothing)
    ]
    (tmp_path / "s").mkdir()
    write(tmp_path / "s", {"sequences.txt": "u 0 1 2 3 4 5\n", "items.jsonl": "\n".join(lines)})
    catalog = Sequences().load(tmp_path / "s").catalog
    assert (set(catalog.texts), set(catalog.attributes), dict(catalog.columns)) == ({"A"}, {()}, {})
    write(tmp_path, {"interactions.csv": times(T, T, T), "items.csv": "item,brand\n0,\n1,NaN\n2,nan\n"})
    write(tmp_path, {"items.parquet": pl.DataFrame({"item": ["0", "1", "2"], "brand": [None, float("nan"), None]})})
    for name in ("items.csv", "items.parquet"):
        dataset = Table(core=0, items=name, attributes=("brand",), columns={"brand": "categorical"}).load(tmp_path)
        assert set(dataset.catalog.texts) == {""}
        assert dict(dataset.catalog.columns) == {}
        assert not any("share of items" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("items", "keys"),
    [
        (pl.DataFrame({"item": [1.0, 2.0], "title": ["A", "B"]}), ("1", "2")),
        (pl.DataFrame({"item": ["1.0", " 2 "], "title": ["A", "B"]}), ("1", "2")),
        (pl.DataFrame({"item": [1, 2], "title": ["A", "B"]}), ("1.0", "2.0")),
        (pl.DataFrame({"item": [1.5, 2.5], "title": ["A", "B"]}), ("1.5", "2.5")),
    ],
)
def test_keys_that_are_the_same_number_have_one_title(tmp_path, items, keys):
    first, second = keys
    write(tmp_path, {"interactions.csv": f"{HEAD}u,{first},{T}\nu,{second},{T + 1}\n", "items.parquet": items})
    catalog = Table(core=0, items="items.parquet", title="title").load(tmp_path).catalog
    assert (catalog.keys, catalog.titles) == (keys, ("A", "B"))


def test_keys_of_items_that_are_lists_are_one_error(tmp_path):
    items = pl.DataFrame({"item": [[1], [2], [3]], "title": ["A", "B", "C"]})
    write(tmp_path, {"interactions.csv": SHOP, "items.parquet": items})
    assert error_of(Table(core=0, items="items.parquet", title="title"), tmp_path) == (
        f"{tmp_path / 'items.parquet'}: item is of type List(Int64), expected text or whole numbers"
    )


@pytest.mark.parametrize(
    ("values", "kind", "problem"),
    [
        ([1, 2], pl.Duration("ms"), "casting from Duration('ms') to String not supported"),
        ([2**62, 0], pl.Datetime("us"), "year 148108 is out of range"),
    ],
)
def test_titles_and_tags_that_are_no_texts_are_one_error(tmp_path, values, kind, problem):
    items = pl.DataFrame({"item": [1, 2], "tags": pl.Series(values, dtype=pl.Int64).cast(kind)})
    write(tmp_path, {"interactions.csv": SHOP, "items.parquet": items})
    fields = {"attributes": ("tags",)} if kind == pl.Duration else {"title": "tags"}
    assert error_of(Table(core=0, items="items.parquet", **fields), tmp_path) == (
        f"{tmp_path / 'items.parquet'}: tags is of type {kind} and cannot be read ({problem}), expected texts"
    )


def test_fractions_stay_apart_in_interactions_too(tmp_path):
    write(tmp_path, {"a.parquet": parquet(item=[1.5, 2.5, 2.0])})
    assert Table(core=0, interactions="a.parquet").load(tmp_path).catalog.keys == ("1.5", "2", "2.5")


OTHER_KEYS = (
    "found none of the 2 items of the histories (e.g. '1', '2') in {} (e.g. {}); expected the same keys in both files"
)


def test_items_that_match_nothing_are_an_error_in_every_source(tmp_path):
    path = tmp_path / "items.csv"
    write(tmp_path, {"interactions.csv": SHOP, "items.csv": "item,title\ni1,A\ni2,B\n"})
    assert (
        error_of(Table(core=0, **ITEMS), tmp_path)
        == f"{path}: {OTHER_KEYS.format('items.csv', repr('i1') + ', ' + repr('i2'))}"
    )
    write(
        tmp_path,
        {
            "a.inter": f"user_id:token\titem_id:token\ttimestamp:float\nu\t1\t{T}\nu\t2\t{T}\n",
            "a.item": "item_id:token\ttitle:token\ni1\tA\n",
        },
    )
    assert error_of(RecBole(core=0), tmp_path) == f"{tmp_path / 'a.item'}: {OTHER_KEYS.format('a.item', repr('i1'))}"
    write(tmp_path, {"sequences.txt": "u 1 2\n", "items.jsonl": '{"item_id": 7}\n'})
    assert (
        error_of(Sequences(), tmp_path) == f"{tmp_path / 'items.jsonl'}: {OTHER_KEYS.format('items.jsonl', repr('7'))}"
    )
    (tmp_path / "items.jsonl").unlink()
    ratings = "userId,movieId,rating,timestamp\n" + f"1,1,4,{T}\n1,2,4,{T}\n"
    write(tmp_path, {"ratings.csv": ratings, "movies.csv": "movieId,title,genres\n7,A,Drama\n"})
    assert (
        error_of(MovieLens(core=0), tmp_path)
        == f"{tmp_path / 'movies.csv'}: {OTHER_KEYS.format('movies.csv', repr('7'))}"
    )
    reviews = "".join(f'{{"reviewerID": "u", "asin": "{item}", "unixReviewTime": {T}}}\n' for item in "12")
    write(tmp_path, {"reviews_A_5.json": reviews, "meta_A.json": "{'asin': 'i1'}\n"})
    assert error_of(AmazonReviews(core=0, category="A"), tmp_path) == (
        f"{tmp_path / 'meta_A.json'}: {OTHER_KEYS.format('meta_A.json', repr('i1'))}"
    )
    reviews = "".join(f'{{"user_id": "u", "business_id": "{item}", "date": "2019-01-01"}}\n' for item in "12")
    write(tmp_path, {"review.json": reviews, "business.json": '{"business_id": "i1"}\n'})
    assert (
        error_of(Yelp(core=0), tmp_path)
        == f"{tmp_path / 'business.json'}: {OTHER_KEYS.format('business.json', repr('i1'))}"
    )


def test_what_was_skipped_or_does_not_fit_is_in_notes_and_audit(tmp_path):
    rows = "".join(f"u,x{place},{T + place}\n" for place in range(5))
    write(
        tmp_path,
        {"interactions.csv": f"{HEAD}{rows}u,x0,{T}\nu,x5,never\n", "items.csv": "item,title\nx0,A\nx9,B\nx0,C\n"},
    )
    dataset = Table(core=0, broken_rows="skip", **ITEMS).load(tmp_path)
    found = {finding.check: (finding.severity, finding.text) for finding in audit(dataset).findings}
    expected = {
        "duplicate events": ("warning", "1 of 6 interactions (17 %) repeat user, item and time of another"),
        "item keys": (
            "warning",
            "found only 1 of the 5 items of the histories (e.g. 'x0', 'x1', 'x2') in items.csv (e.g. 'x0', 'x9')",
        ),
        "dates": ("ok", "interactions are from 2020-01-01 to 2020-01-01"),
    }
    assert {check: found[check] for check in expected} == expected
    skipped = [finding.text for finding in dataset.findings if finding.check == "skipped rows"]
    assert skipped == [
        "1 broken rows of interactions.csv were skipped",
        "1 broken or repeated rows of items.csv were skipped",
    ]
    assert {finding.text for finding in dataset.findings} <= set(dataset.notes)


def test_items_that_were_never_sold_are_counted_or_cold(tmp_path):
    write(tmp_path, {"interactions.csv": f"{SHOP}w,3,{T}\n", "items.csv": "item,title\n1,A\n2,B\n3,C\n10,D\n9,E\n"})
    dataset = Table(core=0, **ITEMS).load(tmp_path)
    assert dataset.catalog.keys == ("1", "2", "3")
    assert (
        "2 items of items.csv are in no interaction: they are left out; unsold_items: keep makes them cold items"
        in dataset.notes
    )
    dataset = Table(core=0, unsold_items="keep", **ITEMS).load(tmp_path)
    assert (dataset.catalog.keys, dataset.catalog.titles) == (("1", "2", "3", "9", "10"), ("A", "B", "C", "E", "D"))
    assert "2 items of items.csv are in no interaction: they are cold items of the catalog" in dataset.notes
    dataset = Table(core=2, unsold_items="keep", order="file", **ITEMS).load(
        write(tmp_path, {"interactions.csv": SHOP + SHOP.removeprefix(HEAD) + f"w,3,{T}\n"})
    )
    assert dataset.catalog.keys == ("1", "2", "9", "10")  # the core removes 3, which was sold
    assert "1 of 7 interactions, 1 of 3 users and 1 of 3 items were removed by the 2-core filter" in dataset.notes
    write(
        tmp_path,
        {
            "a.inter": f"user_id:token\titem_id:token\ttimestamp:float\nu\t1\t{T}\n",
            "a.item": "item_id:token\ttitle:token\n1\tA\n2\tB\n",
        },
    )
    assert RecBole(core=0, unsold_items="keep").load(tmp_path).catalog.titles == ("A", "B")


def reviews(*lines):
    good = [{"reviewerID": "u", "asin": item, "unixReviewTime": T, "overall": 5} for item in "12"]
    return "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in (*lines, *good))


REVIEW = {"reviewerID": "u", "asin": "1", "unixReviewTime": T}
BROKEN_REVIEWS = {
    "no user": ({**REVIEW, "reviewerID": ""}, 'reviewerID is "", expected text'),
    "a user that is NaN": ({**REVIEW, "reviewerID": float("nan")}, "reviewerID is null, expected text"),
    "a time that is NaN": ({**REVIEW, "unixReviewTime": float("nan")}, "unixReviewTime is null, expected a whole "
        "number"),
    "half a character": ({**REVIEW, "asin": "1\ud800"}, 'asin is "1?", expected text'),
    "two users": (json.dumps(REVIEW).replace('"asin"', '"reviewerID": "w", "asin"'), "the key 'reviewerID' occurs "
        "twice in the object"),
    "a time of 5,000 digits": (json.dumps(REVIEW).replace(str(T), "9" * 5000), "not valid JSON (an integer has "
        "thousands of digits); expected one object a line"),
    "a time of 30 digits": ({**REVIEW, "unixReviewTime": 10**30}, f"unixReviewTime is {10**30}, expected a whole "
        "number"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BROKEN_REVIEWS.values(), ids=BROKEN_REVIEWS)
def test_a_broken_review_is_one_error_or_skipped(tmp_path, line, message):
    write(tmp_path, {"reviews_A_5.json": reviews(line)})
    source = AmazonReviews(core=0, category="A", metadata=False)
    where = tmp_path / "reviews_A_5.json"
    assert error_of(source, tmp_path) == f"{where}:1: {message}; fix or remove the line, or set broken_lines: skip"
    dataset = AmazonReviews(core=0, category="A", metadata=False, broken_lines="skip").load(tmp_path)
    assert keys_of(dataset) == {"u": ["1", "2"]}
    assert [finding.check for finding in dataset.findings] == ["skipped rows"]


def test_values_that_nobody_reads_may_be_nan_or_look_like_keys(tmp_path):
    extra = [{**REVIEW, "helpful": float("nan"), "style": ["asin"]}, {**REVIEW, "asin": "2", "style": ["asin", "asin"]}]
    metadata = "{'asin': '1', 'title': 'A', 'brand': nan, 'price': nan}\n{'asin': '2', 'title': 'B'}\n"
    write(tmp_path, {"reviews_A_5.json": reviews(*extra), "meta_A.json": metadata})
    dataset = AmazonReviews(core=0, category="A").load(tmp_path)
    assert keys_of(dataset) == {"u": ["1", "2", "1", "2"]}
    assert dataset.catalog.texts == ("A", "B")


def test_items_are_found_without_a_search_through_all_of_them(tmp_path):
    class Keys(tuple[str, ...]):
        def __contains__(self, key: object) -> bool:
            raise AssertionError("its time would grow with the square of the items")

    file = write(tmp_path, {"items.csv": "item,title\n1,A\n2,B\n"}) / "items.csv"
    items = read_items(TableFile(file, CSV), "item", {"title": "title"}, {}, Keys(("1", "2")), sold={"1", "2"})
    assert items.entries == {"1": {"title": "A"}, "2": {"title": "B"}}


def test_keys_that_occur_twice_in_metadata_are_reported(tmp_path):
    write(
        tmp_path,
        {"sequences.txt": "u 1 2\n", "items.jsonl": '{"item_id": 1.0}\n{"item_id": "2", "title": "A", "title": "B"}\n'},
    )
    dataset = Sequences().load(tmp_path)
    assert dataset.catalog.titles == ("", "B")
    assert [finding.text for finding in dataset.findings] == [
        "1 keys occur again in the same object of items.jsonl (first: 'title' on line 2); the last value counts"
    ]
    write(tmp_path, {"item2attributes.json": '{"1": [2], "1": [3]}'})
    assert error_of(Sequences(), tmp_path) == (
        f"{tmp_path / 'item2attributes.json'}: the key '1' occurs twice; expected one list for each item"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_json_end_in_any_way(tmp_path, end):
    metadata = "{'asin': '1', 'title': 'A'}\n{'asin': '2', 'title': 'B'}\n"
    files = {"reviews_A_5.json": reviews(), "meta_A.json": metadata}
    write(tmp_path, {name: text.replace("\n", end) for name, text in files.items()})
    dataset = AmazonReviews(core=0, category="A").load(tmp_path)
    assert (keys_of(dataset), dataset.catalog.titles) == ({"u": ["1", "2"]}, ("A", "B"))
    write(
        tmp_path,
        {"sequences.txt": f"u 1 2{end}v 2 1{end}", "items.jsonl": f'{{"item_id": 1}}{end}{{"item_id": 2}}{end}'},
    )
    assert keys_of(Sequences().load(tmp_path)) == {"u": ["1", "2"], "v": ["2", "1"]}


def test_a_packed_file_of_blank_lines_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_SMALL", 2**20)
    bomb = gzip.compress(reviews().encode()) + gzip.compress(b"\n" * 2**26)
    write(tmp_path, {"reviews_A_5.json.gz": bomb})
    assert error_of(AmazonReviews(core=0, category="A", metadata=False), tmp_path) == (
        f"{tmp_path / 'reviews_A_5.json.gz'}: the gzip file unpacks to more than 200 times its size; expected one JSON "
        "object a line: download it again, or unpack it yourself"
    )
    write(tmp_path, {"reviews_A_5.json.gz": reviews() + "\n" * 2**25})  # unpacked, it is read: blank lines cost little
    assert keys_of(AmazonReviews(core=0, category="A", metadata=False).load(tmp_path)) == {"u": ["1", "2"]}
