"""Problems of a recipe: place, what was found, what was expected, and a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from genrec.errors import RecipeError

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the top of a recipe to a value."""


@dataclass(frozen=True)
class Place:
    """A place: a line of a file, or an option of the command line (line 0)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One problem."""

    place: Place
    key: str
    """Dotted path of the key, "" if the problem concerns no key."""
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.key, self.text) if part)


class InvalidRecipeError(RecipeError):
    """All problems of a recipe, one per line, in the order of the file; those of ``--set`` come last."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        in_order = sorted(problems, key=lambda p: (p.place.line == 0, p.place.line, p.place.column))
        self.problems = tuple(dict.fromkeys(in_order))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Path) -> str:
    """``("tasks", 0, "weight")`` as ``tasks.0.weight``, as in ``--set``."""
    return ".".join(map(str, path))


def shown(value: Any) -> str:
    """A value for a message, short and in YAML terms."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict() | list() | tuple() if not value:
            return "nothing"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else text[:56] + "..." + text[-1]


def closest(name: str, known: Iterable[str]) -> str | None:
    """The most similar known name, or None."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    hits = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[hits[0]] if hits else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing."""
    hit = closest(name, known)
    return f"; did you mean {hit!r}?" if hit else ""


def one_of(names: Sequence[str]) -> str:
    """``one of a, b, c`` or just ``a``."""
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "none_required": "nothing",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
}
"""Error type of pydantic -> what was expected."""


def expected(error: dict[str, Any]) -> str | None:
    """What pydantic expected, in plain words; None if the error is the message of a validator."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind].format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()})
    if kind in ("literal_error", "enum"):
        return context["expected"]
    if kind in ("too_short", "too_long"):
        bound, length = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"{bound} {context[length]} {'entry' if context[length] == 1 else 'entries'}"
    if kind in ("value_error", "assertion_error"):
        return None
    return error["msg"].removeprefix("Input should be ")


def wording(errors: Sequence[dict[str, Any]]) -> str:
    """One sentence for the pydantic errors of one value; a union gives one error per member."""
    error, found = errors[0], errors[0]["input"]
    wanted = list(dict.fromkeys(text for text in map(expected, errors) if text))
    if not wanted:
        return " ".join(str(error.get("ctx", {}).get("error", error["msg"])).split()) or "is not valid"
    hint = ""
    if error["type"] == "literal_error" and isinstance(found, str):
        hint = did_you_mean(found, re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    if error["type"] == "string_type" and isinstance(found, int | float):
        hint = "; put it in quotes"
    return f"found {shown(found)}, expected {' or '.join(wanted)}{hint}"
