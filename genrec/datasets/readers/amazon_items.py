"""Lines of the Amazon metadata of any edition -> entries with the same fields, without HTML."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from genrec.datasets.readers.amazon_editions import Edition
from genrec.datasets.readers.descriptions import Entry, words
from genrec.datasets.readers.findings import repeated_keys, skipped, unmatched
from genrec.datasets.readers.html import plain_text
from genrec.datasets.readers.json_lines import BrokenLines, json_objects, raw_lines
from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.text import listed

MAX_LITERAL = 1_000_000
"""Bytes; parsing a Python literal takes about a hundred times its size in memory."""

FIELDS = ("title", "brand", "categories", "description", "features", "main_category", "price")
"""Fields of an entry, in addition to ``images``."""

_NO_IMAGE = "/no-img-"
"""Part of the URL of the icon for products without an image."""
_NONE = ast.Constant(None)
_BY = re.compile(r"\s*by\s*\n\s*")
_PRICE = re.compile(r"(?:from )?\$?\d[\d,]*(?:\.\d+)?(?: ?- ?\$?\d[\d,]*(?:\.\d+)?)?")


def read_items(
    path: Path, edition: Edition, keys: Sequence[str], broken_lines: BrokenLines
) -> tuple[dict[str, Entry], list[Finding]]:
    """Read the metadata of some items; only their lines are parsed.

    Args:
        path: the metadata.
        edition: its edition.
        keys: the items.
        broken_lines: whether an unreadable line of one of these items is an error.

    Returns:
        Entries with :data:`FIELDS` and ``images`` (URLs), each if there is any, from the first line of an item; and the
        findings: skipped lines, repeated keys of a line, and items without metadata if they are many.

    Raises:
        DataError: a line cannot be read, with file and line; or none is about one of these items.
    """
    repeated: list[tuple[int, str]] = []
    broken: list[DataError] = []
    entries: dict[str, Entry] = {}
    wanted = frozenset(keys)
    report = broken.append if broken_lines == "skip" else _raise
    for number, line in _wanted_lines(path, edition, wanted, report, repeated):
        key = line.get(edition.item)
        if not isinstance(key, str):
            report(DataError(f"{path}:{number}: no text under {edition.item!r}; found {listed(line)}"))
        elif key in wanted and key not in entries:
            entries[key] = clean(line)
    findings = [*skipped(len(broken), "unreadable lines", path), *repeated_keys(repeated, path)]
    return entries, findings + unmatched(keys, len(entries), _first_keys(path, edition.item), path)


def _first_keys(path: Path, field: str) -> Iterator[str]:
    """Keys of the first lines, for messages."""
    for _, line in raw_lines(path, title=f"reading {path.name}"):
        yield from (key.decode("utf-8", "replace") for key in _key(field).findall(line)[:1])


def _raise(error: DataError) -> None:
    raise DataError(f"{error}; fix or remove the line, or set broken_lines: skip")


def _wanted_lines(
    path: Path,
    edition: Edition,
    keys: frozenset[str],
    broken: Callable[[DataError], None],
    repeated: list[tuple[int, str]],
) -> Iterator[tuple[int, Entry]]:
    """Number and content of the lines that may be about one of these items; ``broken`` gets unreadable ones.

    ``repeated`` gets keys that occur again in one object; lines of 2014, which are printed dicts, have none.
    """
    title, is_wanted = f"reading {path.name}", _names_one_of(keys, edition.item)
    if edition.year != 2014:
        yield from json_objects(path, title=title, wanted=is_wanted, broken=broken, repeated=repeated)
        return
    for number, line in raw_lines(path, title=title):
        if is_wanted(line):
            try:
                found = _literal(line)
            except ValueError as error:
                broken(DataError(f"{path}:{number}: not a Python dict ({error}); expected {{'asin': '...', ...}}"))
            else:
                yield number, found


def _names_one_of(keys: frozenset[str], field: str) -> Callable[[bytes], bool]:
    """A cheap test whether a line may be about one of these items."""
    wanted = {key.encode("utf-8", "replace") for key in keys}
    key = _key(field)

    def is_wanted(line: bytes) -> bool:
        # A text inside a line may contain such a key too; a line without any is broken and must be parsed.
        found = key.findall(line)
        return not found or not wanted.isdisjoint(found)

    return is_wanted


def _key(field: str) -> re.Pattern[bytes]:
    # It starts with the name and not with its quote: patterns that start with plain letters are found much faster.
    return re.compile(rb"""%s["']\s*:\s*["']([^"'\\]*)["']""" % field.encode())


def _literal(line: bytes) -> dict[str, Any]:
    """A line of the 2014 metadata: a Python dict, or JSON after a conversion. No code in it is run.

    Raises:
        ValueError: it is neither, or too large; the message explains the problem.
    """
    if len(line) > MAX_LITERAL:
        raise ValueError(f"{len(line):,} bytes, at most {MAX_LITERAL:,} are read")
    try:
        text = line.decode("utf-8")
        found = parse_json(text) if text.startswith('{"') else _plain_literal(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte 0x{line[error.start]:02x}") from None
    except SyntaxError as error:
        raise ValueError(error.msg) from None
    except (MemoryError, RecursionError):
        raise ValueError("nested too deeply") from None
    except JsonError as error:
        raise ValueError(str(error)) from None
    except (ValueError, TypeError):
        raise ValueError("something other than texts, numbers, lists and dicts") from None
    if not isinstance(found, dict):
        raise ValueError(f"found a {type(found).__name__}")
    return found


def _plain_literal(text: str) -> Any:
    """The value of a Python literal; ``nan`` in it, as pandas prints a missing value, is None."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        tree = ast.parse(text, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                node.values[:] = [_NONE if isinstance(v, ast.Name) and v.id == "nan" else v for v in node.values]
        return ast.literal_eval(tree)


def clean(line: Entry) -> Entry:
    """A line of metadata, of any edition -> :data:`FIELDS`, and ``images``, the URLs of its images."""
    categories = line.get("categories") or line.get("category")
    if not isinstance(categories, list) or not any(isinstance(path, list) for path in categories):
        categories = [categories]  # 2018 and 2023 have one path, 2014 a list of them
    title = _text(line.get("title"))
    entry = {
        "title": "" if "getTime(" in title else title,  # scraping errors: a script in place of the title
        "brand": _brand(line.get("brand") or line.get("store")),
        "categories": [path for path in map(_texts, categories) if path],
        "description": _texts(line.get("description")),
        "features": _texts(line.get("features") or line.get("feature")),
        "main_category": _text(line.get("main_category") or line.get("main_cat")),
        "price": _price(line.get("price")),
        "images": _urls(line),
    }
    return {field: value for field, value in entry.items() if value}


def _texts(value: Any) -> list[str]:
    return list(dict.fromkeys(text for text in map(plain_text, words(value)) if text))


def _text(value: Any) -> str:
    return ", ".join(_texts(value))


def _brand(value: Any) -> str:
    return _text(_BY.sub("", value, count=1) if isinstance(value, str) and _BY.match(value) else value)


def _price(value: Any) -> str:
    """Numbers and ranges; other values are style sheets and dashes."""
    text = _text(value)
    return text.replace("$", "").removeprefix("from ") if _PRICE.fullmatch(text) else ""


def _urls(line: Entry) -> list[str]:
    """The largest version of each image, the main one first."""
    images = line.get("images")
    if isinstance(images, list):  # 2023
        found = [
            image.get("hi_res") or image.get("large") or image.get("thumb")
            for image in images
            if isinstance(image, dict)
        ]
    else:
        found = line.get("imageURLHighRes") or line.get("imageURL") or line.get("imUrl")
    return [url for url in words(found) if url.startswith(("http://", "https://")) and _NO_IMAGE not in url]
