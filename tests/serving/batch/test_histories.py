"""Histories of a batch are read from every format alike; what cannot be read is an error with its place."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genrec.datasets.showroom import Showroom
from genrec.errors import DataError
from genrec.serving.batch.histories import DatasetHistories, FileHistories, UserHistory

USERS = [UserHistory("u1", ["a", "b"]), UserHistory("ü, 2", ["c"]), UserHistory("3", [])]


def parquet(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    pl.DataFrame(list(rows), strict=False).write_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def csv(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    texts = [
        {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in row.items()}
        for row in rows
    ]
    pl.DataFrame(texts).write_csv(path.with_suffix(".csv"))
    return path.with_suffix(".csv")


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.with_suffix(".jsonl").write_text(text, encoding="utf-8")
    return path.with_suffix(".jsonl")


Writer = Callable[[Path, Iterable[dict[str, Any]]], Path]
every_format = pytest.mark.parametrize("write", [parquet, csv, jsonl])


def read(path: Path) -> list[UserHistory]:
    histories = FileHistories(path)
    assert histories.inspect().users == len(list(histories))
    return list(histories)


def text_file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        FileHistories(path).inspect()
    return str(caught.value).replace(str(path), "FILE")


@every_format
def test_a_row_for_each_user(write: Writer, tmp_path: Path) -> None:
    file = write(tmp_path / "a", ({"user": user, "other": 1, "history": items} for user, items in USERS))
    assert read(file) == USERS


@every_format
def test_a_row_for_each_interaction(write: Writer, tmp_path: Path) -> None:
    rows = [{"item": item, "user": user} for user, items in USERS for item in items]
    assert read(write(tmp_path / "a", rows)) == USERS[:2]


@every_format
@pytest.mark.parametrize(
    "times",
    [
        [3, 1, 2, 2],
        [2.5, -1.0, 0.0, 0.0],
        ["2020-01-03", "2019-12-31T23:59:59", "2020-01-02 10:00:00", "2020-01-02 10:00"],
    ],
)
def test_interactions_are_ordered_by_timestamp_if_there_is_one(write: Writer, times: list[Any], tmp_path: Path) -> None:
    rows = [{"user": "u", "item": item, "timestamp": time} for item, time in zip("dabc", times, strict=True)]
    assert read(write(tmp_path / "a", rows)) == [("u", ["a", "b", "c", "d"])]


def test_timestamps_of_parquet_may_be_times_and_dates(tmp_path: Path) -> None:
    for times in ([datetime(2020, 1, 2), datetime(2020, 1, 1)], [date(2020, 1, 2), date(2020, 1, 1)]):
        rows = [{"user": 1, "item": item, "timestamp": time} for item, time in zip("ba", times, strict=True)]
        assert read(parquet(tmp_path / "a", rows)) == [("1", ["a", "b"])]


def test_keys_are_texts_or_whole_numbers_of_any_type(tmp_path: Path) -> None:
    expected = [("1", ["7", "8"]), ("2", ["9"])]
    for kind in (pl.Int32, pl.UInt64, pl.Float64, pl.Decimal(20, 0)):
        frame = pl.DataFrame({"user": [1, 2], "history": [[7, 8], [9]]}).cast({"user": kind, "history": pl.List(kind)})
        frame.write_parquet(tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == expected
        is_whole = kind in (pl.Int32, pl.UInt64)
        assert FileHistories(tmp_path / "a.parquet").user_type() == (kind if is_whole else pl.String)
    assert (
        read(jsonl(tmp_path / "a", [{"user": 1, "history": [7, 8.0]}, {"user": 2.0, "history": [" 9 "]}])) == expected
    )


def test_lists_in_texts(tmp_path: Path) -> None:
    texts = {"a b": ["a", "b"], "a, b": ["a", "b"], '"[""a, b"", 7]"': ["a, b", "7"], " ": [], "NaN": [], "[]": []}
    for text, items in texts.items():
        written = text if text.startswith('"') else f'"{text}"'
        assert read(text_file(tmp_path / "a.csv", f"user,history\nu,{written}\n")) == [("u", items)]


def test_missing_items_are_counted(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "a", [{"user": "u", "history": ["a", None, "", float("nan"), "b"]}, {"user": "v", "history": None}]
    )
    histories = FileHistories(file)
    assert histories.inspect().missing_items == 3
    assert list(histories) == [("u", ["a", "b"]), ("v", [])]


def test_lines_may_be_packed(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "a", ({"user": user, "history": items} for user, items in USERS))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed) == USERS


def test_many_users_across_the_batches_of_a_reader(tmp_path: Path) -> None:
    chance = random.Random(0)
    users = [UserHistory(f"u{n}", [f"i{chance.randrange(99)}" for _ in range(n % 5)]) for n in range(20_000)]
    for write in (parquet, csv, jsonl):
        assert read(write(tmp_path / "a", ({"user": user, "history": items} for user, items in users))) == users


def test_a_huge_history(tmp_path: Path) -> None:
    items = [f"item-{n}" for n in range(200_000)]
    for write in (parquet, csv, jsonl):
        assert read(write(tmp_path / "a", [{"user": "u", "history": items}])) == [("u", items)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "FILE:1: the file is empty; expected a header line"),
        ("user,history\n", "FILE:2: no rows below the header line"),
        (
            "uid,items\n1,a\n",
            "FILE:1: found uid, items, expected the columns user and history (a list of item keys), or user and item "
            "(a row for each interaction, all rows of a user together)",
        ),
        ("User,history\n1,a\n", "FILE:1: no column user; found User, history; did you mean User?"),
        ("user,history\n1,a\n,b\n", "FILE:3: user is '', expected a key; correct it, or pass --broken-rows skip"),
        ("user,history\n1,a,b\n", "FILE:2: 3 fields, the header line has 2; correct it, or pass --broken-rows skip"),
        (
            "user,history\n1,a\n2,b\n1,c\n",
            "FILE:4: user '1' is also in line 2; expected one row for each user, or pass --broken-rows skip",
        ),
        (
            "user,item\n1,a\n2,b\n1,c\n",
            "FILE:4: user '1' is also in line 2; expected all rows of a user together: sort the file by user",
        ),
        (
            "user,history\n1,\"['a', 'b']\"\n",
            "FILE:2: history is \"['a', 'b']\", which is not a JSON list (Expecting value); expected "
            '["key", "key"] as '
            "json.dumps writes it, or keys separated by commas or blanks; correct it, or pass --broken-rows skip",
        ),
        (
            "user,item,timestamp\n1,a,yesterday\n",
            "FILE:2: timestamp is 'yesterday', expected a number or a time such as 2019-03-31 20:15:00; correct it, or "
            "pass --broken-rows skip",
        ),
        (
            "user,item,timestamp\n1,a,5\n1,a,2020-01-01\n",
            "FILE:2: user '1' has timestamps of several kinds, expected numbers or times such as 2019-03-31 20:15:00, "
            "all with a time zone or all without",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    assert error_of(text_file(tmp_path / "a.csv", text)) == problem


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"user": None, "history": []}, "user is None, expected a key"),
        ({"user": True, "history": []}, "user is True, expected a key"),
        ({"user": "\ud800", "history": []}, "user has half of a character (a lone surrogate)"),
        ({"user": "u", "history": 7}, "history is 7, expected a list of item keys"),
        ({"user": "u", "history": {"a": 1}}, "history is {'a': 1}, expected a list of item keys"),
        ({"user": "u", "history": ["a", ["b"]]}, "history has ['b'], expected keys of items"),
        ({"user": "u"}, "no key history; found user"),
    ],
)
def test_a_line_that_cannot_be_read(row: dict[str, Any], problem: str, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a", [{"user": "first", "history": ["a"]}, row])
    assert error_of(file) == f"FILE:2: {problem}; correct it, or pass --broken-rows skip"
    histories = FileHistories(file, "skip")
    assert histories.inspect().skipped_rows == 1
    assert list(histories) == [("first", ["a"])]


def test_a_name_with_wildcards_is_one_file(tmp_path: Path) -> None:
    parquet(tmp_path / "a[1]*", [{"user": 7, "history": ["a"]}])
    parquet(tmp_path / "a1b", [{"user": "other", "history": ["b"]}])
    assert read(tmp_path / "a[1]*.parquet") == [("7", ["a"])]
    assert FileHistories(tmp_path / "a[1]*.parquet").user_type() == pl.Int64


def test_rows_of_parquet_have_numbers(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a", [{"user": "u", "history": ["a"]}, {"user": "u", "history": ["b"]}])
    assert error_of(file).startswith("FILE: row 2: user 'u' is also in row 1; ")
    file = parquet(tmp_path / "a", [{"user": "u", "history": ["a"]}, {"user": None, "history": ["b"]}])
    assert error_of(file).startswith("FILE: row 2: user is None, ")
    assert error_of(text_file(tmp_path / "b.parquet", "no parquet")).startswith("FILE: not a Parquet file that can be ")


def test_skipped_rows_are_counted_and_the_first_of_a_user_counts(tmp_path: Path) -> None:
    file = text_file(tmp_path / "a.csv", "user,history\n1,a\n,b\n2,c\n1,d\n3,e,f\n2,g\n")
    histories = FileHistories(file, "skip")
    counts = histories.inspect()
    assert (counts.users, counts.skipped_rows) == (2, 4)
    assert list(histories) == list(histories) == [("1", ["a"]), ("2", ["c"])]
    with pytest.raises(DataError, match="none of 1 rows can be read"):
        FileHistories(text_file(file, "user,history\n,a\n"), "skip").inspect()


def test_a_file_of_no_rows(tmp_path: Path) -> None:
    pl.DataFrame({"user": [], "history": []}, schema={"user": pl.String, "history": pl.List(pl.String)}).write_parquet(
        tmp_path / "a.parquet"
    )
    assert error_of(tmp_path / "a.parquet") == "FILE: there are no rows"


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, problem in {
        "a.csv": "no such file",
        "a.xlsx": "found the ending '.xlsx', expected one of .parquet, .pq, .csv, .jsonl, .ndjson",
        "a.csv.gz": "found the ending '.gz', expected one of .parquet, .pq, .csv, .jsonl, .ndjson",
    }.items():
        with pytest.raises(DataError) as caught:
            FileHistories(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {problem}"
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="not a regular file"):
        FileHistories(tmp_path / "folder.csv")


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    first = FileHistories(text_file(tmp_path / "a.csv", "user,history\n1,a\n"))
    before = first.fingerprint()
    assert FileHistories(tmp_path / "a.csv", "skip").fingerprint() != before
    text_file(tmp_path / "a.csv", "user,history\n1,ab\n")
    assert FileHistories(tmp_path / "a.csv").fingerprint() != before


def test_users_of_a_dataset_have_all_their_items() -> None:
    shop = Showroom(items=60, users=120).load()
    everyone = list(DatasetHistories(shop))
    assert len(everyone) == DatasetHistories(shop).inspect().users == 120
    for row, (user, items) in enumerate(everyone):
        assert user == shop.user_keys[row]
        assert items == [shop.catalog.keys[item] for item in shop.histories[row]]
    some = DatasetHistories(shop, ["user-7", " user-3 ", "user-7"])
    assert list(some) == [everyone[6], everyone[2]]
    assert some.fingerprint() != DatasetHistories(shop).fingerprint()
    with pytest.raises(DataError) as caught:
        DatasetHistories(shop, ["user-7", "usr-12"])
    expected = "user 'usr-12': not in showroom, which has 120 users such as 'user-1'; did you mean 'user-12'?"
    assert str(caught.value) == expected


def test_decimals_that_are_not_whole_are_no_keys(tmp_path: Path) -> None:
    pl.DataFrame({"user": [Decimal("1.5")], "history": [["a"]]}).write_parquet(tmp_path / "a.parquet")
    assert "user is Decimal('1.5'), expected a key" in error_of(tmp_path / "a.parquet")
