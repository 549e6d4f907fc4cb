"""CSV and similar files as Python's csv module reads them: broken rows are errors with their line, or skipped.

polars reads files without quotes, about twenty times as fast; there it agrees with the csv module.
"""

from __future__ import annotations

import csv
import difflib
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import polars as pl

from genrec.errors import DataError
from genrec.formats.keys import MISSING
from genrec.formats.text import not_utf8, shown

_TOO_LONG = "\0too long"
"""Column: the first field beyond those of the header line exists. No file has columns of this name and the next."""
_ENDS_EARLY = "\0ends early"
"""Column: the last field is empty or missing."""
csv.field_size_limit(16 * 2**20)  # of Python: 128 KB, shorter than some descriptions
_BLOCK_BYTES = 16 * 2**20
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""Where Python puts bytes that are not UTF-8."""
_REPLACED = "\ufffd"
"""Replaces bytes that are not UTF-8; rows with it in a key are skipped."""


@dataclass(frozen=True)
class Layout:
    """Format of a file of rows."""

    separator: str = ","
    """One character, any number of times."""
    quoted: bool = True
    """Whether fields may be in double quotes, with separators and line breaks inside."""
    names: tuple[str, ...] | None = None
    """The columns, for files without a header line."""


CSV = Layout()


def read_csv(
    path: Path, columns: Mapping[str, type[pl.DataType]], layout: Layout = CSV, *, filled: Collection[str] = ()
) -> pl.DataFrame:
    """Read some columns of a file, in the requested order; blank lines are ignored.

    Args:
        path: the file, UTF-8.
        columns: name and type of each; numbers must not be missing, an empty text is "".
        layout: format of the file.
        filled: text columns that may not be empty.

    Raises:
        DataError: empty, not UTF-8, a column is missing, or a row has too few or too many fields, an invalid
            number or an empty required field; with file and line.
    """
    return _read(path, columns, layout, filled, skip=False)[0]


def read_csv_skipping(
    path: Path, columns: Mapping[str, type[pl.DataType]], layout: Layout = CSV, *, filled: Collection[str] = ()
) -> tuple[pl.DataFrame, int]:
    """As :func:`read_csv`, but broken rows are left out and counted.

    Raises:
        DataError: empty, a column is missing, or broken quotes make rows ambiguous.
    """
    return _read(path, columns, layout, filled, skip=True)


def csv_rows(
    path: Path, columns: Collection[str], layout: Layout = CSV, *, broken: Callable[[DataError], object]
) -> Iterator[tuple[int, list[str]]]:
    """The line of each row and its fields of some columns, in the requested order, in bounded memory.

    Args:
        path: the file, UTF-8.
        columns: their names; blank lines are ignored.
        layout: format of the file.
        broken: called with the error of a row of too few or too many fields, which is skipped unless it raises.

    Raises:
        DataError: as :func:`read_csv`, but fields may have any content.
    """
    names = header(path, layout)
    require_columns(f"{path}:1", names, columns)
    places = [names.index(name) for name in columns]
    for line, row in _rows(path, layout):
        if row and max(places) < len(row) and not _is_too_long(row, names):
            yield line, [row[place] for place in places]
        elif row:
            broken(_wrong_length(path, layout, names, line, row))


def header(path: Path, layout: Layout = CSV) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: the file is empty, has nothing but a header line, or does not start in UTF-8.
    """
    records = _records(path, layout)
    if layout.names is not None:
        if not any(row for _, row in records):
            raise DataError(f"{path}:1: the file is empty; expected rows of {', '.join(layout.names)}")
        return list(layout.names)
    _, first = next(records, (1, []))
    if not any(name.strip() for name in first):
        raise DataError(f"{path}:1: the file is empty; expected a header line")
    if next(records, None) is None:
        raise DataError(f"{path}:2: no rows below the header line")
    return first


def require_columns(where: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise :class:`DataError`, with a suggestion, if a column is missing or occurs twice."""
    found = list(found)
    missing = [name for name in wanted if name not in found]
    if missing:
        folded = {name.lower(): name for name in found}
        close = [folded[near] for name in missing for near in difflib.get_close_matches(name.lower(), folded, n=1)]
        hint = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""
        if len(found) == 1 and (signs := [sign for sign in ";\t,|" if found[0].split(sign)[1:]]):
            hint = f"; is {signs[0]!r} the separator?"
        raise DataError(f"{where}: no column {', '.join(missing)}; found {', '.join(found)}{hint}")
    if twice := [name for name in wanted if found.count(name) > 1]:
        raise DataError(f"{where}: {found.count(twice[0])} columns are called {twice[0]}; rename all but one")


def line_of(path: Path, layout: Layout, name: str, value: str, *, occurrence: int = 1) -> int:
    """The line of the n-th row that has this value in this column, from 1; 0 if there is none. Reads the file anew."""
    at = header(path, layout).index(name)
    for line, row in _rows(path, layout):
        if at < len(row) and row[at] == value:
            occurrence -= 1
            if not occurrence:
                return line
    return 0


def _read(
    path: Path, columns: Mapping[str, type[pl.DataType]], layout: Layout, filled: Collection[str], skip: bool
) -> tuple[pl.DataFrame, int]:
    names = header(path, layout)
    require_columns(f"{path}:1", names, columns)
    required = [name for name, kind in columns.items() if kind is not pl.String or name in filled]
    found = None
    if _is_plain(path, layout):
        with suppress(pl.exceptions.PolarsError):  # the csv module finds the row, or reads it after all
            found = _read_plain(path, columns, layout, names, required, skip=skip)
    table, num_skipped = found or _read_rows(path, columns, layout, names, required, skip=skip)
    return table.select(pl.col(list(columns))).with_columns(pl.col(pl.String).fill_null("")), num_skipped


def _is_plain(path: Path, layout: Layout) -> bool:
    r"""Whether there are no quotes, and no \r without a \n: what polars reads differently."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if block.endswith(b"\r"):
                block += file.read(1)
            if (layout.quoted and b'"' in block) or block.count(b"\r") != block.count(b"\r\n"):
                return False
    return True


def _read_rows(
    path: Path,
    columns: Mapping[str, type[pl.DataType]],
    layout: Layout,
    names: list[str],
    required: list[str],
    *,
    skip: bool,
) -> tuple[pl.DataFrame, int]:
    """Read a file row by row, through the csv module if it may have quotes."""
    places = [names.index(name) for name in columns]
    longest = max(places)
    texts: list[list[str]] = [[] for _ in columns]
    lines = array("Q")
    num_skipped = 0
    wrong: DataError | None = None
    for line, row in _rows(path, layout, lossy=skip):
        if not row:
            continue
        if longest < len(row) and not _is_too_long(row, names):
            lines.append(line)
            for place, column in zip(places, texts, strict=True):
                column.append(row[place])
        elif skip:
            num_skipped += 1
        else:
            wrong = _wrong_length(path, layout, names, line, row)
            break
    table = pl.DataFrame(
        [
            _typed(pl.Series(name, column, dtype=pl.String), kind)
            for (name, kind), column in zip(columns.items(), texts, strict=True)
        ]
    )
    is_broken = table.select(pl.any_horizontal(_is_unread(columns, required, lossy=skip) or False)).to_series()
    if is_broken.any() and not skip:
        row = int(is_broken.arg_true()[0])
        found = {name: column[row] for name, column in zip(columns, texts, strict=True)}
        _raise_if_unread(path, lines[row], found, table[row], required)
    if wrong is not None:
        raise wrong
    return table.filter(~is_broken), num_skipped + int(is_broken.sum())


def _typed(texts: pl.Series, kind: type[pl.DataType]) -> pl.Series:
    """Texts as polars reads them in CSV files: numbers may have blanks before them."""
    return texts if kind is pl.String else texts.str.strip_chars_start(" \t").cast(kind, strict=False)


def _is_unread(columns: Mapping[str, type[pl.DataType]], required: list[str], *, lossy: bool) -> list[pl.Expr]:
    """Whether a row lacks a number or a text that it must have; in lossy files, whether such a text is damaged."""
    texts = [name for name in required if columns[name] is pl.String]
    unread = [*(pl.col(name).is_null() for name in required), *(_is_blank(pl.col(name)) for name in texts)]
    return unread + [pl.col(name).str.contains(_REPLACED, literal=True) for name in texts if lossy]


def _is_blank(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().is_in(MISSING)


def _is_too_long(row: list[str], names: list[str]) -> bool:
    """Whether a row has more fields than the header line; a separator at its end does no harm."""
    return any(row[len(names) : len(names) + 1])


def _wrong_length(path: Path, layout: Layout, names: list[str], line: int, row: list[str]) -> DataError:
    of = "the header line has" if layout.names is None else "expected"
    return DataError(f"{path}:{line}: {len(row)} fields, {of} {len(names)}")


def _raise_if_unread(path: Path, line: int, found: Mapping[str, str], read: pl.DataFrame, required: list[str]) -> None:
    """Raise for the first required field of a row that is empty or no number.

    Args:
        path: the file.
        line: of the row.
        found: the texts of the fields.
        read: the row as it was read.
        required: fields that must not be missing.
    """
    for name in required:
        kind = read.schema[name]
        if kind.is_numeric() and read[name][0] is None:
            wanted = "a whole number" if kind.is_integer() else "a number"
            raise DataError(f"{path}:{line}: {name} is {shown(found[name])}, expected {wanted}")
        if kind == pl.String and (read[name][0] or "").strip() in MISSING:
            problem = f"is {found[name]!r}, a missing value" if found[name].strip() else "is empty"
            raise DataError(f"{path}:{line}: {name} {problem}")


def _read_plain(
    path: Path,
    columns: Mapping[str, type[pl.DataType]],
    layout: Layout,
    names: list[str],
    required: list[str],
    *,
    skip: bool,
) -> tuple[pl.DataFrame, int]:
    """Read a file without quotes, through polars."""
    step = len(layout.separator)  # polars knows separators of one character: "a::b" are a, nothing, b
    last = (len(names) - 1) * step
    beyond = [str(place) for place in range(last + 1, last + 1 + step)]
    place_of = {name: str(names.index(name) * step) for name in columns}
    schema = dict.fromkeys([str(place) for place in range(last + 1)] + beyond, pl.String)
    optional = [name for name in columns if name not in required]
    table = (
        pl.scan_csv(
            path,
            glob=False,  # shop[1]/a.csv is a path and not a pattern
            schema=pl.Schema({**schema, **{place_of[name]: kind for name, kind in columns.items()}}),
            has_header=False,
            skip_rows=0 if layout.names else 1,
            separator=layout.separator[0],
            quote_char=None,
            encoding="utf8-lossy" if skip else "utf8",
            ignore_errors=True,
            truncate_ragged_lines=True,
            missing_columns="insert",
        )
        .select(
            *(pl.col(place).alias(name) for name, place in place_of.items()),
            pl.any_horizontal(pl.col(beyond).is_not_null()).alias(_TOO_LONG),
            pl.col(str(last)).is_null().alias(_ENDS_EARLY),
        )
        .collect(engine="streaming")
    )
    broken = [pl.col(_TOO_LONG), *_is_unread(columns, required, lossy=skip)]
    is_broken = table.select(pl.any_horizontal(broken).fill_null(True)).to_series()
    if not skip:
        # A text may be empty: only the file shows whether a row was cut off before it.
        is_cut = [pl.col(_ENDS_EARLY) & pl.any_horizontal(pl.col(optional).is_null())] if optional else []
        is_suspect = is_broken | table.select(pl.any_horizontal(False, *is_cut)).to_series()
        if is_suspect.any():
            _raise_at_broken(path, layout, names, is_suspect, table.filter(is_suspect), required)
    kept = table.filter(~is_broken)
    return kept, _count_rows(path, layout) - len(kept) if skip and is_broken.any() else 0


def _count_rows(path: Path, layout: Layout) -> int:
    """How many rows a file without quotes has; blank lines are none."""
    with path.open("rb") as file:
        return sum(bool(line.strip(b"\r\n")) for line in file) - (layout.names is None)


def _raise_at_broken(
    path: Path, layout: Layout, names: list[str], is_suspect: pl.Series, suspects: pl.DataFrame, required: list[str]
) -> None:
    """Find the first suspect row that is broken, by a slow pass over the file; blank lines and empty texts are fine."""
    places = is_suspect.arg_true().to_list()
    which = 0
    for place, (line, row) in enumerate(_rows(path, layout)):
        if place < places[which]:
            continue
        if row:
            if len(row) < len(names) or _is_too_long(row, names):
                raise _wrong_length(path, layout, names, line, row)
            _raise_if_unread(path, line, dict(zip(names, row, strict=False)), suspects[which], required)
        which += 1
        if which == len(places):
            return


def _rows(path: Path, layout: Layout, *, lossy: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header line with the line on which it starts; a blank line is a row without fields."""
    records = _records(path, layout, lossy=lossy)
    if layout.names is None:
        next(records, None)
    return records


def _records(path: Path, layout: Layout, *, lossy: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Each row, the header line included; ``lossy`` replaces bytes that are not UTF-8."""
    errors = "replace" if lossy else "surrogateescape"
    with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
        lines = _Lines(path, file)
        if not layout.quoted:
            for number, line in enumerate(lines, start=1):
                text = line.rstrip("\r\n")
                yield number, text.split(layout.separator) if text else []
            return
        reader = csv.reader(lines, delimiter=layout.separator)
        start = 1
        try:
            for row in reader:
                if lines.are_read:  # the reader looked for more within this row
                    raise DataError(
                        f"{path}:{start}: a quote that opens in this row is not closed; close it, or double it if it "
                        "is part of a text"
                    )
                yield start, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}:{start}: {error}") from None


class _Lines:
    """The lines of a file, each checked for bytes that are not UTF-8."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self.are_read = False
        """Whether a line beyond the last was asked for."""

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._file, start=1):
            if not line.isascii() and (escaped := _NOT_UTF8.search(line)):
                raise not_utf8(self._path, number, ord(escaped[0]) - 0xDC00)
            yield line
        self.are_read = True
