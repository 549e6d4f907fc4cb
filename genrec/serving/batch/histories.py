"""The users of a batch and their histories, one after the other: from a file, or from the dataset of a run."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import polars as pl

from genrec.datasets.readers.csv import csv_rows, header, require_columns
from genrec.datasets.readers.json_lines import json_objects
from genrec.errors import DataError
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.keys import MISSING, key_text
from genrec.formats.parquet import parquet_schema, reading_parquet
from genrec.formats.text import listed, shown
from genrec.recipe.problems import did_you_mean
from genrec.runtime.files import fingerprint
from genrec.runtime.progress import Bar
from genrec.types import Dataset

FileFormat = Literal["parquet", "csv", "jsonl"]
FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""The format of a file by the ending of its name."""
BrokenRows = Literal["error", "skip"]

_USER, _HISTORY, _ITEM, _TIME = "user", "history", "item", "timestamp"
_ROWS_AT_ONCE = 8192
_ROWS_BETWEEN_STEPS = 10_000
_EXPECTED = (
    "expected the columns user and history (a list of item keys), or user and item (a row for each interaction, all "
    "rows of a user together)"
)


_Rows = Iterator[tuple[int, Collection[Any]]]
"""Each row: its line, in Parquet its number, from 1, and the values of the columns to read."""
_Broken = Callable[[DataError], object]
"""Called with the error of a row that cannot be read; skips it, or raises."""


class UserHistory(NamedTuple):
    """A user's key, and the keys of the user's items, oldest first."""

    user: str
    items: list[str]


@dataclass
class Inspection:
    """Counts of one pass over all histories."""

    users: int = 0
    skipped_rows: int = 0
    """Broken rows, and rows of users that occurred before."""
    missing_items: int = 0
    """Null, NaN or "" in place of an item."""


class Histories(Protocol):
    """Users with their histories; iterating again gives the same."""

    def fingerprint(self) -> str:
        """Equal fingerprints mean equal users and histories."""
        ...

    def user_type(self) -> type[pl.DataType]:
        """Type of the users' keys in tables: text, or a whole number where the source has such."""
        ...

    def inspect(self) -> Inspection:
        """Read everything once.

        Raises:
            DataError: with the place of the problem.
        """
        ...

    def __iter__(self) -> Iterator[UserHistory]: ...


class DatasetHistories:
    """Users of a dataset with all their items: training, validation and test.

    Args:
        dataset: of the run.
        users: keys of the users, in the order wanted; None: all.

    Raises:
        DataError: the dataset has no such user.
    """

    def __init__(self, dataset: Dataset, users: Iterable[str] | None = None) -> None:
        self._dataset = dataset
        if users is None:
            self._rows: Iterable[int] = range(len(dataset.user_keys))
        else:
            row_of = {key: row for row, key in enumerate(dataset.user_keys)}
            wanted = list(dict.fromkeys(user.strip() for user in users))
            for user in (user for user in wanted if user not in row_of):
                raise DataError(
                    f"user {user!r}: not in {dataset.name}, which has {len(row_of):,} users such as "
                    f"{dataset.user_keys[0]!r}{did_you_mean(user, row_of)}"
                )
            self._rows = [row_of[user] for user in wanted]

    def fingerprint(self) -> str:
        return f"{self._dataset.fingerprint} {self._rows}"

    def user_type(self) -> type[pl.DataType]:
        return pl.String

    def inspect(self) -> Inspection:
        return Inspection(users=sum(1 for _ in self._rows))

    def __iter__(self) -> Iterator[UserHistory]:
        keys, users, histories = self._dataset.catalog.keys, self._dataset.user_keys, self._dataset.histories
        for row in self._rows:
            yield UserHistory(users[row], [keys[item] for item in histories[row].tolist()])


@dataclass
class FileHistories:
    """Users and histories of a Parquet, CSV or JSON lines file, read in bounded memory.

    Columns (keys of JSON objects) are ``user`` and ``history``, a list of item keys; in CSV a JSON list, or keys
    separated by commas or blanks. Or they are ``user`` and ``item`` with a row for each interaction: all rows of a user
    together, oldest first, or in any order if there is a column ``timestamp``. Others are ignored. Null, NaN and "" are
    missing: a user without items is one with an empty history.

    Args:
        path: the file, by its ending ``.parquet``, ``.csv``, ``.jsonl`` (also with gzip: ``.jsonl.gz``).
        broken_rows: skip and count rows that cannot be read, and rows of users that occurred before, instead of
            raising at the first.

    Raises:
        DataError: there is no such file, or its name has another ending.
    """

    path: Path
    broken_rows: BrokenRows = "error"
    _again: set[int] = field(default_factory=set, init=False, repr=False)
    """Places of rows whose user occurred before."""

    def __post_init__(self) -> None:
        is_gzip = self.path.suffix == ".gz" and FORMATS.get(self.path.with_suffix("").suffix) == "jsonl"
        self._format = format_of(self.path.with_suffix("") if is_gzip else self.path)
        if not self.path.exists():
            raise DataError(f"{self.path}: no such file")
        if not self.path.is_file():
            raise DataError(f"{self.path}: not a regular file; histories are read twice, once to check them")

    def fingerprint(self) -> str:
        """Hash of the file's content and name, and what is done with broken rows."""
        return f"{fingerprint(self.path)} {self.broken_rows}"

    def user_type(self) -> type[pl.DataType]:
        """A whole number if the Parquet file has such; else text."""
        if self._format != "parquet":
            return pl.String
        with reading_parquet(self.path):
            kind = parquet_schema(self.path).get(_USER)
        return type(kind) if kind is not None and kind.is_integer() else pl.String  # pyright: ignore[reportReturnType]

    def inspect(self) -> Inspection:
        counts = Inspection()
        self._again = set()
        hashes = array("q")
        with Bar("checking histories") as bar:
            for _, (user, _) in self._read(counts):
                hashes.append(hash(user))
                if len(hashes) % _ROWS_BETWEEN_STEPS == 0:
                    bar.advance(_ROWS_BETWEEN_STEPS)
        ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))
        repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if repeated:
            self._again = self._repeated(repeated)
        counts.users = len(hashes) - len(self._again)
        counts.skipped_rows += len(self._again)
        if not counts.users:
            problem = (
                f"none of {counts.skipped_rows:,} rows can be read" if counts.skipped_rows else "there are no rows"
            )
            raise DataError(f"{self.path}: {problem}")
        return counts

    def __iter__(self) -> Iterator[UserHistory]:
        for place, found in self._read(Inspection()):
            if place not in self._again:
                yield found

    def where(self, place: int) -> str:
        """A row for messages: the file with its line, or its row in Parquet."""
        return f"{self.path}: row {place}" if self._format == "parquet" else f"{self.path}:{place}"

    def _repeated(self, hashes: Collection[int]) -> set[int]:
        """The places of rows whose user occurred before, among users with some hashes.

        Raises:
            DataError: there is one, and it may not be skipped.
        """
        first: dict[str, int] = {}
        again: set[int] = set()
        for place, (user, _) in self._read(Inspection()):
            if hash(user) in hashes and first.setdefault(user, place) != place:
                unit = "row" if self._format == "parquet" else "line"
                where = f"{self.where(place)}: user {shown(user)} is also in {unit} {first[user]}"
                if _HISTORY not in self._columns():
                    raise DataError(f"{where}; expected all rows of a user together: sort the file by user")
                if self.broken_rows == "error":
                    raise DataError(f"{where}; expected one row for each user, or pass --broken-rows skip")
                again.add(place)
        return again

    def _columns(self) -> list[str]:
        """The columns to read: user, and history or item with or without timestamp.

        Raises:
            DataError: one is missing.
        """
        names = self._names()
        where = f"{self.path}" if self._format == "parquet" else f"{self.path}:1"
        if _HISTORY not in names and _ITEM not in names:
            raise DataError(f"{where}: found {listed(names)}, {_EXPECTED}")
        wanted = [_USER, _HISTORY] if _HISTORY in names else [_USER, _ITEM]
        if _HISTORY not in names and _TIME in names:
            wanted.append(_TIME)
        require_columns(where, names, wanted)
        return wanted

    def _names(self) -> list[str]:
        if self._format == "csv":
            return header(self.path)
        if self._format == "parquet":
            with reading_parquet(self.path):
                return list(parquet_schema(self.path))
        found = next(json_objects(self.path, title=None, broken=lambda _: None), None)
        if found is None:
            raise DataError(f"{self.path}: no line is a JSON object; {_EXPECTED}")
        return list(found[1])

    def _read(self, counts: Inspection) -> Iterator[tuple[int, UserHistory]]:
        """The users with the place of their first row; what is left out is counted."""

        def broken(error: DataError) -> None:
            if self.broken_rows == "error":
                raise DataError(f"{error}; correct it, or pass --broken-rows skip") from None
            counts.skipped_rows += 1

        columns = self._columns()
        read = self._wide if _HISTORY in columns else self._long
        return read(self._rows(columns, broken), counts, broken)

    def _wide(self, rows: _Rows, counts: Inspection, broken: _Broken) -> Iterator[tuple[int, UserHistory]]:
        for place, (user, history) in rows:
            try:
                found = UserHistory(self._user(place, user), self._items(place, history, counts))
            except DataError as error:
                broken(error)
            else:
                yield place, found

    def _long(self, rows: _Rows, counts: Inspection, broken: _Broken) -> Iterator[tuple[int, UserHistory]]:
        def interactions() -> Iterator[tuple[str, int, str | None, Any]]:
            for place, (user, item, *times) in rows:
                try:
                    key = self._user(place, user)
                    item_key = self._item(place, _ITEM, item)
                    time = self._time(place, times[0]) if times else None
                except DataError as error:
                    broken(error)
                else:
                    counts.missing_items += item_key is None
                    yield key, place, item_key, time

        for user, of_user in groupby(interactions(), key=lambda row: row[0]):
            in_order = list(of_user)
            place = in_order[0][1]
            try:
                in_order.sort(key=lambda row: row[3] or 0)
            except TypeError:
                raise DataError(
                    f"{self.where(place)}: user {shown(user)} has {_TIME}s of several kinds, expected numbers or times "
                    "such as 2019-03-31 20:15:00, all with a time zone or all without"
                ) from None
            yield place, UserHistory(user, [item for _, _, item, _ in in_order if item is not None])

    def _rows(self, columns: list[str], broken: _Broken) -> _Rows:
        match self._format:
            case "csv":
                yield from csv_rows(self.path, columns, broken=broken)
            case "jsonl":
                for line, found in json_objects(self.path, title=None, broken=broken):
                    missing = [name for name in columns if name not in found]
                    if missing:
                        broken(DataError(f"{self.path}:{line}: no key {', '.join(missing)}; found {listed(found)}"))
                    else:
                        yield line, [found[name] for name in columns]
            case "parquet":
                with reading_parquet(self.path):
                    table = pl.scan_parquet(self.path, glob=False).select(columns)
                    batches = iter(table.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=True))
                number = 0
                while True:
                    with reading_parquet(self.path):
                        batch = next(batches, None)
                        rows = None if batch is None else batch.rows()
                    if rows is None:
                        return
                    for row in rows:
                        number += 1
                        yield number, row

    def _user(self, place: int, value: Any) -> str:
        key = _key(value)
        if key is None:
            raise DataError(f"{self.where(place)}: {_USER} is {shown(value)}, expected a key")
        if not key.isascii() and key.encode("utf-8", "replace").decode() != key:
            raise DataError(f"{self.where(place)}: {_USER} has half of a character (a lone surrogate)")
        return key

    def _item(self, place: int, name: str, value: Any) -> str | None:
        """The key of an item; None if it is missing."""
        key = _key(value)
        is_missing = value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value))
        if key is None and not is_missing:
            raise DataError(f"{self.where(place)}: {name} has {shown(value)}, expected keys of items")
        return key

    def _items(self, place: int, value: Any, counts: Inspection) -> list[str]:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return []
        entries = self._split(place, value) if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            raise DataError(f"{self.where(place)}: {_HISTORY} is {shown(value)}, expected a list of item keys")
        keys = [self._item(place, _HISTORY, entry) for entry in entries]
        found = [key for key in keys if key is not None]
        counts.missing_items += len(keys) - len(found)
        return found

    def _split(self, place: int, text: str) -> list[Any]:
        """The items in a text: a JSON list, or keys separated by commas or blanks."""
        text = text.strip()
        if text in MISSING:
            return []
        if not text.startswith("["):
            return text.replace(",", " ").split()
        try:
            return parse_json(text)
        except JsonError as error:
            raise DataError(
                f"{self.where(place)}: {_HISTORY} is {shown(text)}, which is not a JSON list ({error}); expected "
                '["key", "key"] as json.dumps writes it, or keys separated by commas or blanks'
            ) from None

    def _time(self, place: int, value: Any) -> float | datetime:
        """A value that orders interactions."""
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
        if isinstance(value, date):
            return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        if isinstance(value, str):
            try:
                return float(value) if _is_number(value) else datetime.fromisoformat(value.strip())
            except ValueError:
                pass
        raise DataError(
            f"{self.where(place)}: {_TIME} is {shown(value)}, expected a number or a time such as 2019-03-31 20:15:00"
        )


def format_of(path: Path) -> FileFormat:
    """The format of a file, ``parquet``, ``csv`` or ``jsonl``, by the ending of its name.

    Raises:
        DataError: its name has another ending.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: found the ending {suffix!r}, expected one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _key(value: Any) -> str | None:
    """The text of a key; databases write whole numbers as decimals."""
    is_whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return key_text(int(value) if is_whole else value)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
