"""JSON Lines of any size, plain or gzip: some columns as a table, or object by object, in bounded memory.

A file is split into chunks at line ends, which polars parses; a chunk that polars rejects is searched for its broken
lines.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import polars as pl

from genrec.errors import DataError
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.text import listed
from genrec.runtime.progress import Bar

CHUNK_BYTES = 16 * 2**20
"""Size of a chunk, unpacked; the longest allowed line. Twice as much is a quarter slower."""

BrokenLines = Literal["error", "skip"]
"""Handling of unreadable lines: raise at the first one, or skip and count them."""

Columns = Mapping[str, type[pl.DataType]]
"""The keys to read and their types. ``Categorical`` is text that is not blank, with each value stored once;
``Datetime`` is text such as ``2019-03-31 20:15:00`` or ``2019-03-31``. No value may be missing or null."""

MAX_GROWTH = 200
"""How many times larger than the gzip file its content may be; reviews grow three to ten times."""
_SMALL = 2**28
"""Bytes, unpacked, up to which any growth is fine."""
_LINE = re.compile(rb"\S[^\n]*")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_NOT_A_NUMBER = re.compile(rb"\b(?:NaN|Infinity)\b")
_MB = 10**6
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TEXTS = (pl.String, pl.Categorical, pl.Datetime)
"""Types whose values are texts in JSON."""
_EXPECTED = {
    pl.String: "text",
    pl.Categorical: "text",
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    pl.Datetime: "a time such as 2019-03-31 20:15:00",
}


def read_json_lines(
    path: Path,
    columns: Columns,
    *,
    title: str,
    keep: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    broken_lines: BrokenLines = "error",
) -> tuple[pl.DataFrame, int]:
    """Read some keys of every line; the others are skipped while parsing, so long texts cost no memory.

    Args:
        path: ``.json``, ``.jsonl`` or either with gzip, recognized by the content, not the name.
        columns: what to read, see :data:`Columns`.
        title: for the progress bar.
        keep: filter of the table, applied chunk by chunk: memory is bounded by its results.
        broken_lines: whether an unreadable line, or one without one of the keys, is an error.

    Returns:
        The table, its rows in the order of the file, and the number of skipped lines.

    Raises:
        DataError: the file is empty, a key is in no line, a line cannot be read (unless it may be skipped), all of the
            first lines cannot, a line is longer than ``CHUNK_BYTES``, or the gzip file is damaged; with file and line.
    """
    tables: list[pl.DataFrame] = []
    broken: list[DataError] = []
    for first, chunk in _chunks(path, title):
        table = _table(chunk, columns)
        if table is None and _NOT_A_NUMBER.search(chunk):
            chunk = _without_nan(chunk, columns)
            table = _table(chunk, columns)
        parts = [table] if table is not None else _sound_parts(path, first, chunk, columns, broken_lines, broken)
        if not tables and not parts and broken:
            raise DataError(f"{path}: not one of the first {len(broken):,} lines can be read; {broken[0]}")
        if parts:
            table = pl.concat(parts)
            tables.append(table if keep is None else keep(table))
    return pl.concat(tables, rechunk=True), len(broken)


def json_objects(
    path: Path,
    *,
    title: str | None,
    wanted: Callable[[bytes], bool] | None = None,
    broken: Callable[[DataError], object] | None = None,
    repeated: list[tuple[int, str]] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number, from 1, and its object.

    Args:
        path: as in :func:`read_json_lines`.
        title: for the progress bar; None shows none.
        wanted: filter on the bytes of a line before it is parsed; lines that it rejects are skipped, broken or not.
        broken: called with the error of each unreadable line, which is skipped; by default :func:`refuse`.
        repeated: gets line and name of each key that occurs again in one object; the last value counts.

    Raises:
        DataError: as in :func:`read_json_lines`.
    """
    for number, line in raw_lines(path, title=title):
        if wanted is None or wanted(line):
            try:
                found = _object(path, number, line, repeated)
            except DataError as error:
                (broken or refuse)(DataError(str(error)))  # the raised one references its line
            else:
                yield number, found


def refuse(error: DataError) -> NoReturn:
    """Raise the error of a broken line, for components with an option ``broken_lines``.

    Raises:
        DataError: always.
    """
    raise DataError(f"{error}; fix or remove the line, or set broken_lines: skip") from None


def raw_lines(path: Path, *, title: str | None) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number from 1, for formats that are nearly JSON.

    Raises:
        DataError: the file is empty, a line is longer than ``CHUNK_BYTES``, or the gzip file is damaged.
    """
    for first, chunk in _chunks(path, title):
        yield from _numbered(first, chunk)


def _numbered(first: int, chunk: bytes) -> Iterator[tuple[int, bytes]]:
    # Not splitlines(): it also splits at a lone carriage return, and line numbers would differ from an editor's. Nor
    # split(): millions of blank lines would be millions of objects.
    number, end = first, 0
    for match in _LINE.finditer(chunk):
        number += chunk.count(b"\n", end, match.start())
        end = match.start()
        yield number, match[0].rstrip()


def _chunks(path: Path, title: str | None) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about CHUNK_BYTES at a time, with the number of the first; at least one line is not blank."""
    number, rest, done, unpacked, is_empty, has_cr_ends = 1, b"", 0, 0, True, None
    shown = nullcontext() if title is None else Bar(f"{title} (MB)", -(-path.stat().st_size // _MB))
    with path.open("rb") as file, shown as bar:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if is_gzip else file
        damage: Exception | None = None
        while damage is None:
            block, damage = _block(stream)
            if not block:
                break
            unpacked += len(block)
            if is_gzip and unpacked > max(_SMALL, MAX_GROWTH * path.stat().st_size):
                raise DataError(
                    f"{path}: the gzip file unpacks to more than {MAX_GROWTH} times its size; expected one JSON object "
                    "a line: download it again, or unpack it yourself"
                )
            if is_empty:
                block = block.removeprefix(_BYTE_ORDER_MARK)
            if has_cr_ends is None:
                has_cr_ends = b"\r" in block and b"\n" not in block
            if has_cr_ends:
                block = block.replace(b"\r", b"\n")
            cut = block.rfind(b"\n") + 1
            if cut:
                chunk, rest = rest + block[:cut], block[cut:]
                is_empty = is_empty and (not chunk or chunk.isspace())
                if chunk and not chunk.isspace():
                    yield number, chunk
                number += chunk.count(b"\n")
            else:
                rest += block
            if len(rest) > CHUNK_BYTES:
                raise DataError(
                    f"{path}:{number}: no line end within {CHUNK_BYTES // 2**20} MB; expected one JSON object a line"
                )
            if bar is not None:
                bar.advance(file.tell() // _MB - done)
            done = file.tell() // _MB
        if damage is not None:
            raise DataError(
                f"{path}:{number}: the gzip file is damaged or cut off here ({damage}); download it again"
            ) from damage
        if is_empty and not rest.strip():
            raise DataError(f"{path}:1: the file is empty; expected one JSON object a line")
        if rest.strip():
            yield number, rest


def _block(stream: Any) -> tuple[bytes, Exception | None]:
    """The next CHUNK_BYTES, fewer at the end or before an error, which is returned with them."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < CHUNK_BYTES and (piece := stream.read1(CHUNK_BYTES - size)):
            pieces.append(piece)
            size += len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return b"".join(pieces), error
    return b"".join(pieces), None


def _table(content: bytes, columns: Columns, *, is_checked: bool = False) -> pl.DataFrame | None:
    """All lines as a table; None if one of them is broken, or may be.

    Args:
        content: the lines.
        columns: what to read.
        is_checked: whether :func:`_row` has checked what polars reads without an error: a list or an object in place
            of a text as its JSON, the first of two values of a key, half a character as a zero byte.
    """
    # Times are parsed here: parsing them within polars' JSON reader takes seven times as long as all the rest.
    schema = {name: pl.String if kind in _TEXTS else kind for name, kind in columns.items()}
    try:
        table = pl.read_ndjson(io.BytesIO(content), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    texts = [name for name, kind in columns.items() if kind in _TEXTS]
    keys = [name for name, kind in columns.items() if kind is pl.Categorical]
    doubts = [pl.col(name).str.starts_with(mark).any() for name in texts for mark in "[{"]
    doubts += [(pl.col(name).str.strip_chars() == "").any() for name in keys]
    doubts += [pl.col(name).str.contains("\0", literal=True).any() for name in keys]
    if not is_checked:
        if doubts and table.select(pl.any_horizontal(doubts)).item():
            return None
        if any(content.count(f'"{name}"'.encode()) > len(table) for name in columns):
            return None
    times = [_time(name) for name, kind in columns.items() if kind is pl.Datetime]
    categories = [pl.col(name).cast(kind) for name, kind in columns.items() if kind is pl.Categorical]
    table = table.with_columns(*times, *categories)
    return None if sum(table.null_count().row(0)) else table


def _without_nan(chunk: bytes, columns: Columns) -> bytes:
    """A chunk in which polars finds no NaN: its lines with the wanted keys only; broken lines stay as they are.

    So do lines that have a wanted key twice.
    """
    lines = []
    for line in chunk.split(b"\n"):
        if _NOT_A_NUMBER.search(line):
            repeated: list[str] = []
            try:
                found = parse_json(line.decode(), repeated.append)
            except ValueError:  # broken, which is reported later
                found = None
            if isinstance(found, dict) and columns.keys().isdisjoint(repeated):
                line = json.dumps({name: found[name] for name in columns if name in found}).encode()
        lines.append(line)
    return b"\n".join(lines)


def _time(name: str) -> pl.Expr:
    text = pl.col(name)
    full, day = (text.str.to_datetime(form, strict=False) for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"))
    return pl.when(text.str.len_bytes() > 10).then(full).otherwise(day).alias(name)


def _sound_parts(
    path: Path, first: int, chunk: bytes, columns: Columns, broken_lines: BrokenLines, broken: list[DataError]
) -> list[pl.DataFrame]:
    """A chunk that may have broken lines -> tables of its sound lines; errors are raised or appended to ``broken``."""
    if first == 1:
        _check_keys(path, chunk, columns)
    parts: list[pl.DataFrame] = []
    waiting: list[Sequence[tuple[int, bytes]]] = [list(_numbered(first, chunk))]
    while waiting:
        lines = waiting.pop()
        table = _table(b"\n".join(line for _, line in lines), columns)
        if table is not None:
            parts.append(table)
        elif len(lines) > 1:
            half = len(lines) // 2
            waiting += [lines[half:], lines[:half]]
        else:
            try:
                parts.append(_row(path, *lines[0], columns))
            except DataError as error:
                if broken_lines == "error":
                    refuse(error)
                broken.append(DataError(str(error)))  # the raised one references its whole chunk
    return parts


def _check_keys(path: Path, chunk: bytes, columns: Columns) -> None:
    """A key that no line has, or that is null in all, is an error of the file, not of a line."""
    try:
        table = pl.read_ndjson(io.BytesIO(chunk), schema=dict.fromkeys(columns, pl.String))
    except pl.exceptions.PolarsError:
        return
    missing = [name for name in columns if table[name].null_count() == len(table)]
    if missing:
        number, line = next(_numbered(1, chunk))
        found = listed(_object(path, number, line))
        raise DataError(
            f"{path}: no line has a value for {', '.join(missing)}; line {number} has {found}; is it a different file?"
        )


def _row(path: Path, number: int, line: bytes, columns: Columns) -> pl.DataFrame:
    """A rejected line as a table, if it is sound.

    Raises:
        DataError: the problem of the line.
    """
    repeated: list[tuple[int, str]] = []
    found = _object(path, number, line, repeated)
    if twice := [name for _, name in repeated if name in columns]:
        raise DataError(f"{path}:{number}: the key {twice[0]!r} occurs twice in the object")
    if missing := [name for name in columns if name not in found]:
        raise DataError(f"{path}:{number}: no key {', '.join(missing)}; found {listed(found)}")
    for name, kind in columns.items():
        value = found[name]
        is_wrong = kind in _TEXTS and not isinstance(value, str)
        is_wrong |= kind is pl.Categorical and (not str(value).strip() or _UNWRITABLE.search(str(value)) is not None)
        if is_wrong or _table(json.dumps({name: value}).encode(), {name: kind}, is_checked=True) is None:
            raise DataError(
                f"{path}:{number}: {name} is {_shown(value)}, expected {_EXPECTED.get(kind, kind.__name__)}"
            )
    table = _table(line, columns, is_checked=True)
    if table is None:
        raise DataError(f"{path}:{number}: not valid JSON for polars; expected one object a line")
    return table


def _object(path: Path, number: int, line: bytes, repeated: list[tuple[int, str]] | None = None) -> dict[str, Any]:
    note = None if repeated is None else lambda key: repeated.append((number, key))
    try:
        found = parse_json(line.decode(), note)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: not UTF-8: byte 0x{line[error.start]:02x}; expected UTF-8") from None
    except JsonError as error:
        where = "" if error.column is None else f" at character {error.column}"
        problem = f"{str(error).removesuffix(' at')}{where}"
        raise DataError(f"{path}:{number}: not valid JSON ({problem}); expected one object a line") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}:{number}: found {_shown(found)}, expected one object a line")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
