"""The split of the files: tables in three formats, and RecBole's benchmark files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from splits import worlds

from genrec.datasets.recbole import RecBole
from genrec.datasets.table import Parts, Table
from genrec.errors import DataError
from genrec.splits.files import Files
from genrec.types import Dataset, Split

NAMES = ("train", "valid", "test")
ROWS = worlds.rows()
PARTS = [
    [row for place, row in enumerate(ROWS) if (place * 7 % 10 >= 6) + (place * 7 % 10 >= 8) == part]
    for part in range(3)
]
"""Sixty, twenty and twenty percent, whatever the time."""


def write(folder: Path, ending: str) -> None:
    folder.mkdir()
    for name, rows in zip(NAMES, PARTS, strict=True):
        table = pl.DataFrame([row._asdict() for row in rows])
        if ending == "csv":
            table.write_csv(folder / f"{name}.csv")
        elif ending == "parquet":
            table.write_parquet(folder / f"{name}.parquet")
        elif ending == "jsonl":
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))
        else:
            head = "user_id:token\titem_id:token\ttimestamp:float\n"
            lines = [f"{row.user}\t{row.item}\t{row.time}.0\n" for row in rows]
            (folder / f"shop.{name}.inter").write_text(head + "".join(lines))


def read(folder: Path, ending: str) -> Dataset:
    write(folder / "shop", ending)
    if ending == "inter":
        return RecBole(folder="shop", core=0, benchmark_files=NAMES).load(folder)
    parts = Parts(**{name: f"{name}.{ending}" for name in NAMES})
    return Table(folder="shop", core=0, parts=parts).load(folder)


def of_user(user: str, part: int) -> list[str]:
    return [row.item for row in PARTS[part] if row.user == user]


def users_of(dataset: Dataset, split: Split) -> dict[str, tuple[list[str], list[str]]]:
    lists = zip(worlds.keys(dataset, split.histories), worlds.keys(dataset, split.target_lists), strict=True)
    return dict(zip([dataset.user_keys[user] for user in split.users], lists, strict=True))


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "inter"])
def test_every_format_gives_the_split_of_its_files(ending, tmp_path):
    dataset = read(tmp_path, ending)
    parts = Files().split(dataset)
    users = sorted({row.user for row in ROWS}, key=int)
    lists = {user: [of_user(user, part) for part in range(3)] for user in users}
    assert worlds.keys(dataset, parts.train) == [train for train, _, _ in lists.values() if train]
    assert worlds.keys(dataset, parts.train_and_valid) == [a + b for a, b, _ in lists.values() if a + b]
    assert users_of(dataset, parts.valid) == {
        user: (train, list(dict.fromkeys(valid))) for user, (train, valid, _) in lists.items() if train and valid
    }
    assert users_of(dataset, parts.test) == {
        user: (train + valid, list(dict.fromkeys(test)))
        for user, (train, valid, test) in lists.items()
        if train + valid and test
    }
    assert dataset.order.startswith("training, validation, test; in each by time")


def test_without_files_there_is_one_error(tmp_path):
    with pytest.raises(DataError, match=r"^ml: evaluation.split files needs files for training, validation and test"):
        Files().split(worlds.movielens(tmp_path, ROWS))


def test_a_filter_of_a_finished_split_is_refused():
    with pytest.raises(ValueError, match="found core: 5 with parts, expected core: 0"):
        Table(parts=Parts(train="a.csv", valid="b.csv", test="c.csv"))
    with pytest.raises(ValueError, match="found core: 5 with benchmark_files, expected core: 0"):
        RecBole(benchmark_files=NAMES)


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path / "shop", "inter")
    (tmp_path / "shop" / "shop.test.inter").unlink()
    with pytest.raises(DataError, match=r"shop\.test\.inter: missing file"):
        RecBole(folder="shop", core=0, benchmark_files=NAMES).load(tmp_path)
    with pytest.raises(DataError, match=r"set name: one of shop\.train, shop\.valid; for the files of a split set"):
        RecBole(folder="shop").load(tmp_path)


def test_dates_and_counters_are_not_mixed(tmp_path):
    write(tmp_path / "shop", "csv")
    (tmp_path / "shop" / "test.csv").write_text("user,item,time\n1,100,7\n2,101,8\n")
    with pytest.raises(DataError, match=r"dates in train\.csv, valid\.csv and counters in the others"):
        Table(folder="shop", core=0, parts=Parts(train="train.csv", valid="valid.csv", test="test.csv")).load(tmp_path)
