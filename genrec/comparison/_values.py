"""Parse and format option values: lists of ``--vary``, ``--seeds``, ``--budget``, blocks on one line."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import yaml

from genrec.errors import RecipeError
from genrec.recipe.source import write

_MAX_LABEL = 60
_MAX_SEEDS = 1000
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_BARE = re.compile(r"[-+.\d\[].*|true|false|null|~", re.DOTALL | re.IGNORECASE)
"""Labels without a name: numbers, booleans, lists."""
_BUDGET = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")


def split_values(text: str) -> list[str]:
    """Split at commas outside brackets, braces and quotes, and strip spaces."""
    parts: list[str] = []
    begin = position = depth = 0
    may_open = True  # an apostrophe inside a word does not open quoted text
    while position < len(text):
        if may_open and (quoted := _QUOTED.match(text, position)):
            position, may_open = quoted.end(), False
            continue
        char = text[position]
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth = max(0, depth - 1)
        elif char == "," and depth == 0:
            parts.append(text[begin:position].strip())
            begin = position + 1
        may_open = char in "[{,:" or char.isspace()
        position += 1
    return [*parts, text[begin:].strip()]


def label(value: Any, text: str) -> str:
    """The label of a value: ``rqvae(levels=4)`` for a block, the text of the user for other values."""
    shown = _block_label(value) if isinstance(value, dict) and value else " ".join(text.split())
    return shown if len(shown) <= _MAX_LABEL else shown[: _MAX_LABEL - 3] + "..."


def in_a_name(axis: str, shown: str) -> str:
    """The label of a value as part of a name: ``dim=64`` if the value alone would be ambiguous."""
    if axis != "recipe" and _BARE.fullmatch(shown):
        return f"{axis.rpartition('.')[2]}={shown}"
    return shown


def _block_label(value: Any) -> str:
    match value:
        case {"type": str(name), **others}:
            return f"{name}({_fields(others)})" if others else name
        case dict():
            return _fields(value)
        case list():
            return "[" + ", ".join(map(_block_label, value)) + "]"
        case str():
            return value
        case _:
            return write(value).split("\n")[0]


def _fields(block: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_block_label(part)}" for key, part in block.items())


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def one_line(data: Any) -> str:
    """Plain data as YAML on one line, for ``--set``; :func:`genrec.recipe.source.read` is the inverse."""
    events = list(yaml.parse(write(data), Loader=yaml.SafeLoader))
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            event.flow_style = True
        elif isinstance(event, yaml.ScalarEvent):
            event.implicit = (event.implicit[0], True)  # plain text that needs quotes between brackets gets no tag
            if len(event.value.splitlines()) > 1 or event.value.endswith("\n"):
                event.style = '"'
        elif isinstance(event, yaml.DocumentEndEvent):
            event.explicit = False
    text: str = yaml.emit(events, width=math.inf, allow_unicode=True)  # type: ignore[arg-type]
    return text.removesuffix("...\n").strip()


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse ``1,2,3``, ``1-5`` or both, as ascending seeds.

    Raises:
        RecipeError: the text is not valid, or a seed is given twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if match is None:
            raise RecipeError(f"--seeds {text}: found {part.strip()!r}, expected whole numbers such as 1,2,3 or 1-5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise RecipeError(f"--seeds {text}: found {part.strip()}, expected the smaller seed first: {last}-{first}")
        if last - first + 1 + len(seeds) > _MAX_SEEDS:
            raise RecipeError(f"--seeds {text}: expected at most {_MAX_SEEDS:,} seeds")
        seeds += range(first, last + 1)
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise RecipeError(f"--seeds {text}: {', '.join(map(str, twice))} more than once, expected each seed once")
    return tuple(sorted(seeds))


def parse_budget(text: str) -> float:
    """Parse ``90s``, ``30m``, ``2h`` or ``1h30m``, in seconds.

    Raises:
        RecipeError: the text is not valid, or the time is zero.
    """
    compact = "".join(text.split()).lower()
    match = _BUDGET.fullmatch(compact)
    if match is None or not compact:
        number = re.fullmatch(r"\d+(\.\d+)?", compact)
        hint = f"; did you mean {compact}m or {compact}s?" if number else ""
        raise RecipeError(f"--budget {text}: expected a time such as 90s, 30m, 2h or 1h30m{hint}")
    hours, minutes, seconds = (float(match[unit] or 0) for unit in "hms")
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise RecipeError(f"--budget {text}: expected more than zero")
    return total
