"""CSV and similar files through polars: selected columns; broken rows are errors with their line, or skipped."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from genrec.datasets.readers.lines import decode
from genrec.errors import DataError

_TOO_LONG = "\0too long"
"""Column: the first field beyond those of the header line exists. No file has columns of this name and the next."""
_ENDS_EARLY = "\0ends early"
"""Column: the last field is empty or missing."""
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


def header(path: Path, layout: Layout = CSV) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: the file is empty, has nothing but a header line, or does not start in UTF-8.
    """
    with path.open("rb") as file:
        first = decode(path, file.readline()).strip("\r\n")
        is_all = not file.read(1)
    if layout.names is not None:
        if not first.strip() and is_all:
            raise DataError(f"{path}:1: the file is empty; expected rows of {', '.join(layout.names)}")
        return list(layout.names)
    if not first.strip():
        raise DataError(f"{path}:1: the file is empty; expected a header line")
    if is_all:
        raise DataError(f"{path}:2: no rows below the header line")
    return next(csv.reader([first], delimiter=layout.separator)) if layout.quoted else first.split(layout.separator)


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
    step = len(layout.separator)  # polars knows separators of one character: "a::b" are a, nothing, b
    last = (len(names) - 1) * step
    beyond = [str(place) for place in range(last + 1, last + 1 + step)]
    place_of = {name: str(names.index(name) * step) for name in columns}
    schema = dict.fromkeys([str(place) for place in range(last + 1)] + beyond, pl.String)
    required = [name for name, kind in columns.items() if kind is not pl.String or name in filled]
    optional = [name for name in columns if name not in required]
    texts = [name for name in required if name in filled]
    broken = [
        pl.col(_TOO_LONG),
        *(pl.col(name).is_null() for name in required),
        *(pl.col(name) == "" for name in texts),
    ]
    if skip:
        broken += [pl.col(name).str.contains(_REPLACED, literal=True) for name in texts]
    try:
        table = (
            pl.scan_csv(
                path,
                glob=False,  # shop[1]/a.csv is a path and not a pattern
                schema=pl.Schema({**schema, **{place_of[name]: kind for name, kind in columns.items()}}),
                has_header=False,
                skip_rows=0 if layout.names else 1,
                separator=layout.separator[0],
                quote_char='"' if layout.quoted else None,
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
    except pl.exceptions.PolarsError as error:
        _raise_at_unreadable(path, layout, names, str(error).strip().partition("\n")[0])
    is_broken = table.select(pl.any_horizontal(broken).fill_null(True)).to_series()
    num_skipped = 0
    if not skip:
        # A text may be empty: only the file shows whether a row was cut off before it.
        is_cut = [pl.col(_ENDS_EARLY) & pl.any_horizontal(pl.col(optional).is_null())] if optional else []
        is_suspect = is_broken | table.select(pl.any_horizontal(False, *is_cut)).to_series()
        if is_suspect.any():
            _raise_at_broken(path, layout, names, is_suspect, table.filter(is_suspect), required)
    if is_broken.any():
        is_blank = ~pl.any_horizontal(pl.col(list(columns)).is_not_null())
        num_skipped = int(table.filter(is_broken).select((~is_blank).sum()).item())
        table = table.filter(~is_broken)
    return table.select(pl.col(list(columns))).with_columns(pl.col(pl.String).fill_null("")), num_skipped


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
            if len(row) != len(names):
                of = "the header line has" if layout.names is None else "expected"
                raise DataError(f"{path}:{line}: {len(row)} fields, {of} {len(names)}")
            for name in required:
                if suspects[name][which] in (None, ""):
                    kind, value = suspects.schema[name], row[names.index(name)]
                    expected = "a whole number" if kind.is_integer() else "a number"
                    found = f"is {value!r}, expected {expected}" if kind.is_numeric() else "is empty"
                    raise DataError(f"{path}:{line}: {name} {found}")
        which += 1
        if which == len(places):
            return


def _raise_at_unreadable(path: Path, layout: Layout, names: list[str], problem: str) -> NoReturn:
    """Find the row that polars cannot read, by a slow pass over the file."""
    for line, row in _rows(path, layout):
        if row and len(row) != len(names):
            raise DataError(f"{path}:{line}: {len(row)} fields, the header line has {len(names)}")
    raise DataError(f"{path}: not a table that can be read ({problem})")


def _rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header line with the line on which it starts; a blank line is a row without fields."""
    with path.open("rb") as file:
        lines = _decoded(path, file)
        if not layout.quoted:
            for number, line in enumerate(lines, start=1):
                if number > 1 or layout.names is not None:
                    text = line.rstrip("\r\n")
                    yield number, text.split(layout.separator) if text else []
            return
        reader = csv.reader(lines, delimiter=layout.separator)
        start = 1
        try:
            for row in reader:
                if start > 1 or layout.names is not None:
                    yield start, row
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}:{start}: {error}") from None


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            found = f"byte 0x{line[error.start]:02x}"
            raise DataError(f"{path}:{number}: not UTF-8: {found}; save the file as UTF-8 and run again") from None
