"""Random changes of files: bytes, tokens, lines, the headers of binary formats, and the columns of Parquet files."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import PurePath

import polars as pl

MAX_BYTES = 2_000_000
"""Size up to which a file is changed further."""

TOKEN = re.compile(rb'"[^"\n]{0,200}"|[\w.+-]+|[^\w\s]', re.ASCII)

SNIPPETS = [
    *(b"", b" ", b"\n", b"\r", b"\r\n", b"\t", b"\0", b"\v", b",", b";", b"::", b"|", b":", b": ", b'"', b"'", b"\\"),
    *(b"{", b"}", b"[", b"]", b"{}", b"[]", b"[[]]", b'{"a": {}}', b"null", b"~", b"true", b"False", b"None", b"- "),
    *(b"0", b"-1", b"1", b"1.0", b"01", b"1.5", b"1e400", b"-0.0", b"nan", b"NaN", b".nan", b"-inf", b".inf", b"0x1F"),
    *(b"2147483648", b"9223372036854775808", b"1" * 30, b"9" * 5000, b"1_000", b"1:30:00", b"\xd9\xa3"),
    *(b"1577836800", b"1577836800000", b"-99999999999", b"2020-01-01", b"2020-13-45T99:99:99Z", b"12/31/9999"),
    *(b"\xff", b"\xe9", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3\xa9", b"\xe2\x80\xa8", b"\xf0\x9f\x8d\xb0", b"\x1b[2J"),
    *(b"\\ud800", b'"\\u0000"', b"\xed\xa0\x80", b"&a ", b"*a", b"<<: *a", b"!!python/name:os.system", b"!!binary "),
    *(b"---\n", b"...", b"? ", b"|\n", b"#", b"..", b"../../x", b"/", b"CON", b"*", b"[" * 3000, b"x" * 70_000),
]
"""Texts that a reader may take for something else."""


def mutate(rng: random.Random, name: str, content: bytes, tokens: Sequence[bytes]) -> bytes:
    """One file with a few random changes.

    Args:
        rng: what draws them.
        name: the name of the file; its ending decides which changes make sense.
        content: the valid file, or an earlier change of it.
        tokens: words of this and of other files of the kind, to put in the place of others.
    """
    if len(content) > MAX_BYTES:
        return content[: rng.randrange(len(content))]
    suffix = PurePath(name).suffix
    whole = rng.random()
    if suffix == ".gz" and whole < 0.85:
        return _repacked(rng, name, content, tokens)
    if suffix in (".parquet", ".pq") and whole < 0.7:
        return _other_columns(rng, content, tokens)
    if suffix in (".safetensors", ".npy") and whole < 0.6:
        return _other_header(rng, suffix, content, tokens)
    changes = _CHANGES if suffix not in (".parquet", ".pq", ".gz", ".jpg", ".png") else _CHANGES[:5]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        content = rng.choice(changes)(rng, content, tokens)
    return content


def _flip(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    changed[rng.randrange(len(changed))] = rng.choice((0, 0xFF, rng.randrange(256), 10, 34))
    return bytes(changed)


def _truncate(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _delete(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    start, end = _span(rng, content)
    return content[:start] + content[end:]


def _repeat(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    start, end = _span(rng, content)
    return content[:start] + content[start:end] * rng.choice((2, 3, 50, 1000)) + content[end:]


def _move(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    (start, end), place = _span(rng, content), rng.randrange(len(content) + 1)
    return content[:place] + content[start:end] + content[place:]


def _insert(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(content) + 1)
    snippets = b"".join(rng.choices(SNIPPETS, k=rng.choice((1, 1, 2, 5))))
    return content[:place] + snippets + content[place:]


def _replace(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    found = list(TOKEN.finditer(content))
    if not found:
        return _insert(rng, content, tokens)
    token = rng.choice(found)
    new = rng.choice(tokens) if tokens and rng.random() < 0.5 else rng.choice(SNIPPETS)
    if rng.random() < 0.1:
        return content.replace(token[0], new, 1000)
    return content[: token.start()] + new + content[token.end() :]


def _lines(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return _insert(rng, content, tokens)
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines[first], lines[second] = lines[second], lines[first]
        case 1:
            lines.insert(first, lines[second])
        case 2:
            del lines[first]
        case 3:
            lines[first] = b"  " + lines[first]
        case _:
            lines = lines[: first + 1]
    return b"".join(lines)


def _encode(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    text = content.decode("utf-8", "replace")
    match rng.randrange(5):
        case 0:
            return text.encode("utf-16")
        case 1:
            return text.encode("latin-1", "replace")
        case 2:
            return b"\xef\xbb\xbf" + content
        case 3:
            return content.replace(b"\n", b"\r")
        case _:
            return content.replace(b"\n", b"\r\n")


_CHANGES: list[Callable[[random.Random, bytes, Sequence[bytes]], bytes]] = [
    *(_flip, _truncate, _delete, _repeat, _move),
    *(_insert, _insert, _replace, _replace, _replace, _lines, _lines, _encode),
]
"""The first five suit every file, the others texts."""


def _span(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 2, 4, 16, 64, 512)))


def _repacked(rng: random.Random, name: str, content: bytes, tokens: Sequence[bytes]) -> bytes:
    try:
        text = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return _flip(rng, content, tokens)
    return gzip.compress(mutate(rng, name.removesuffix(".gz"), text, tokens), compresslevel=1, mtime=0)


def _other_header(rng: random.Random, suffix: str, content: bytes, tokens: Sequence[bytes]) -> bytes:
    """Change the header of a tensor file and keep its length right: JSON in safetensors, a Python dict in npy."""
    start, form = (8, "<Q") if suffix == ".safetensors" else (10, "<H")
    if len(content) < start:
        return _insert(rng, content, tokens)
    size = min(struct.unpack_from(form, content, start - struct.calcsize(form))[0], len(content) - start)
    header = rng.choice((_flip, _delete, _replace, _replace, _replace))(rng, content[start : start + size], tokens)
    length = struct.pack(form, min(len(header), 60_000))
    return content[: start - len(length)] + length + header[:60_000] + content[start + size :]


def _other_columns(rng: random.Random, content: bytes, tokens: Sequence[bytes]) -> bytes:
    """A Parquet file with a column of other values or another type, renamed, repeated or removed."""
    try:
        frame = pl.read_parquet(content)
        column = frame.columns[rng.randrange(frame.width)]
        frame = _other_column(rng, frame, column, tokens)
        file = io.BytesIO()
        frame.write_parquet(file)
    except (Exception, pl.exceptions.PanicException):  # no such conversion, or the file is damaged already
        return _flip(rng, content, tokens)
    return file.getvalue()


def _other_column(rng: random.Random, frame: pl.DataFrame, column: str, tokens: Sequence[bytes]) -> pl.DataFrame:
    match rng.randrange(8):
        case 0:
            return frame.drop(column)
        case 1:
            return frame.rename({column: rng.choice(tokens).decode("utf-8", "replace") if tokens else "x"})
        case 2:
            return frame.clear()
        case 3:
            values = [rng.choice((value, value, None)) for value in frame[column].to_list()]
        case 4:
            values = [rng.choice(_VALUES) for _ in range(frame.height)]
        case 5:
            values = [rng.choice((value, *_VALUES[:12])) for value in frame[column].to_list()]
        case 6:
            values = [[value] * rng.randrange(3) for value in frame[column].to_list()]
        case _:
            return frame.with_columns(frame[column].cast(rng.choice(_TYPES), strict=False))
    kind = rng.choice((*_TYPES, frame[column].dtype))
    new = pl.Series(column, values, strict=False, dtype=rng.choice((None, kind)))
    return frame.with_columns(new)


_VALUES = [
    *(None, "", " ", "nan", "é", "1.0", "x" * 1000, 0, -1, 1, 1.5, float("nan"), float("inf"), 2**62, -(2**62), 1e300),
    *(True, [], [None], [1], [[1]], ["a"], b"\xff", "\0", "2020-01-01"),
]
_TYPES = [
    *(pl.String, pl.Binary, pl.Boolean, pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Date, pl.Time),
    *(pl.Datetime("ns"), pl.Datetime("us", "Asia/Tokyo"), pl.Duration("ms"), pl.Categorical, pl.Null),
    *(pl.Decimal(20, 2), pl.List(pl.Int64), pl.List(pl.String), pl.Array(pl.Float32, 2), pl.Struct({"a": pl.Int64})),
]
