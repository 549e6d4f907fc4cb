"""Item metadata as a source has it -> typed columns of a catalog; fields computed from user behavior are rejected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from sys import intern
from typing import Any

import numpy as np

from genrec.datasets.readers.descriptions import words
from genrec.types import Column, ColumnKind

_AMOUNT = r"[$€£]?\s*(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_NUMBER = re.compile(rf"{_AMOUNT}(?:\s*-\s*{_AMOUNT})?")
"""A number or a range, such as ``$1,009.99`` or ``4.99 - 7.50``."""
_OF_BEHAVIOR = re.compile(
    r"stars|(?:sales|best_?seller|popularity)?_?rank(?:ing)?|(?:avg|average|mean|overall|user|imdb)?_?ratings?"
    r"|ratings?_?(?:avg|average|mean|number|count|value)|reviews?|sentiment|popularity"
    r"|(?:num|number|n|total)_?(?:of_?)?(?:ratings?|reviews?|votes?|likes?|sales|views?|clicks?|purchases?|users?|plays?)"
    r"|(?:ratings?|reviews?|votes?|likes?|sales|views?|clicks?|purchases?|users?|plays?)_?(?:count|cnt|num|number|total)"
    r"|votes?|likes|sales|sold|views|clicks|purchases|plays|play_?cnt|helpful(?:ness)?"
    r"|related|also_?(?:bought|viewed|buy|view)|bought_?together|buy_?after_?viewing"
)
_OWNER = re.compile(r"^(?:item|product|business|movie|film|book|game)_(?=.)")


def is_of_behavior(name: str) -> bool:
    """Whether a field of this name is computed from the behavior of all users: a mean rating, a sales rank.

    It is recognized by its usual names (``average_rating``, ``item_review_count``, ``salesRank``) in any case.
    """
    folded = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return _OF_BEHAVIOR.fullmatch(_OWNER.sub("", re.sub(r"[\W_]+", "_", folded).strip("_").lower())) is not None


def refuse_behavior(names: Iterable[str]) -> None:
    """Reject fields that leak, for validators of a recipe's block.

    Raises:
        ValueError: one of these fields is computed from user behavior.
    """
    for name in names:
        if is_of_behavior(name):
            raise ValueError(
                f"{name!r} would leak: it is computed from all interactions, test interactions included; "
                "expected metadata of the item itself, such as a price or a brand"
            )


def to_number(value: Any) -> float:
    """A number, or a text that is one or a range of two (then its middle); NaN for everything else."""
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else math.nan
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return math.nan
    amounts = [float(amount.replace(",", "")) for amount in found.groups() if amount is not None]
    return sum(amounts) / len(amounts)


def numeric(values: Iterable[Any]) -> Column:
    """A column of numbers, one value an item; see :func:`to_number` for what is missing."""
    return Column("numeric", np.array([to_number(value) for value in values], dtype=np.float64))


def categorical(values: Iterable[Any]) -> Column:
    """A column of texts; an item has a text or any nesting of lists of texts, and blank texts are missing."""
    return Column("categorical", np.fromiter((tuple(map(intern, words(value))) for value in values), dtype=object))


def datetimes(values: Iterable[int | None]) -> Column:
    """A column of moments, each in seconds since 1970; None is missing."""
    not_a_time = np.iinfo(np.int64).min
    seconds_I = np.array([not_a_time if value is None else value for value in values], dtype=np.int64)
    return Column("datetime", seconds_I.astype("datetime64[s]"))


_MAKERS: Mapping[ColumnKind, Callable[[Iterable[Any]], Column]] = {
    "numeric": numeric,
    "categorical": categorical,
    "datetime": datetimes,
}


def column_of(kind: ColumnKind, values: Iterable[Any]) -> Column:
    """A column of this kind, from one value an item."""
    return _MAKERS[kind](values)


def filled(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns in which at least one item has a value."""
    return {name: column for name, column in columns.items() if column.present_I.any()}
