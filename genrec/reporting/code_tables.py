"""Tables of code quality: the same cells on a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genrec.reporting.texts import seconds_text, table

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Names of the columns, and the rows."""


def codes_table(variants: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each stream of each variant.

    Args:
        variants: each a ``name``; ``streams``: by stream the result of :func:`measure_codes`, the name of the
            ``tokenizer`` and its ``seconds``; ``pairs``: the result of :func:`measure_agreement`.
    """
    named = not _are_named_by_tokenizer(variants)
    head = (
        *(("tokenizer",) if named else ()),
        "items",
        "levels",
        "entropy (bits)",
        "collisions",
        "error after each code",
        f"{_neighbors(variants)} neighbors with 1 code",
        "with 2 codes",
        "attributes",
        "time",
    )
    rows = [
        (
            *_named(variants, variant),
            stream,
            *((measured["tokenizer"],) if named else ()),
            *_cells(measured),
        )
        for variant in variants
        for stream, measured in variant["streams"].items()
    ]
    return (*_variant_column(variants), "stream", *head), rows


def pairs_table(variants: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each pair of streams of each variant; arguments as :func:`codes_table`."""
    head = ("streams", "items", "agreement of 1 code", "of 2 codes", f"{_neighbors(variants)} neighbors in common")
    rows = [
        (
            *_named(variants, variant),
            f"{pair['first']} + {pair['second']}",
            f"{pair['items']:,}",
            *(_number(ami) for ami in pair["ami"]),
            _share(pair["neighbors_in_common"], pair["lift"]),
        )
        for variant in variants
        for pair in variant["pairs"]
    ]
    return (*_variant_column(variants), *head), rows


def legend(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """The meaning of the columns."""
    streams = [measured for variant in variants for measured in variant["streams"].values()]
    lines = [
        "Levels: number of codes of each (used/total if some are unused); entropy: of their use. Collisions: items "
        "that shared their codes before repair; none do after it.",
        "Error: mean squared distance of a vector to its reconstruction from the first codes, as a share of the "
        "variance; the last value uses all codes. Codes that only separate colliding items are left out.",
        f"Neighbors: of the {_neighbors(variants)} nearest items by cosine (of "
        f"{max((measured['neighborhoods'] for measured in streams), default=0):,} random items), the share with "
        "the same first code and the same first two; in brackets, the ratio to the share of any two items.",
        "Agreement and attributes: adjusted mutual information, 0 by chance, 1 for equal groupings; attributes with "
        "the first code, and two codes only if two items or more share them on average.",
    ]
    if categories := next((measured["categories"] for measured in streams if measured.get("categories")), None):
        attributes = (
            f"{category['attribute']}. {category['values']} values such as {', '.join(category['examples'])} "
            f"({category['items']:,} items)"
            for category in categories
        )
        lines.append(f"Attributes, by position in the source: {'; '.join(attributes)}.")
    return lines


def sizes_text(levels: Sequence[Mapping[str, Any]]) -> str:
    """The number of codes of each level (used/total if some are unused)."""
    return " x ".join(f"{level['used']}/" * (level["dead"] > 0) + str(level["vocabulary"]) for level in levels)


def markdown(title: str, variants: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """The whole report."""
    return "\n".join(_lines(title, variants, notes)) + "\n"


def _lines(title: str, variants: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Iterator[str]:
    yield from (f"# Codes: {title}", "", *table(*codes_table(variants)), "")
    pairs = pairs_table(variants)
    if pairs[1]:
        yield from ("## Between streams", "", *table(*pairs), "")
    yield from ("## What the columns mean", "", *(f"- {line}" for line in legend(variants)))
    if notes:
        yield from ("", "## Notes", "", *(f"- {note}" for note in notes))


def _cells(measured: Mapping[str, Any]) -> Iterator[str]:
    levels, prefixes = measured["levels"], measured["prefixes"]
    yield f"{measured['items']:,}" + (f" ({measured['absent']:,} absent)" if measured["absent"] else "")
    yield sizes_text(levels)
    yield ", ".join(f"{level['entropy']:.2f}" for level in levels)
    yield f"{measured['collisions']:,} ({measured['collision_ratio']:.1%})" if measured["collisions"] else "0"
    yield ", ".join(_errors(prefixes)) or "-"
    for depth in (1, 2):
        prefix = prefixes[depth - 1] if depth <= len(prefixes) else None
        is_grouping = prefix is not None and prefix["largest"] > 1
        yield _share(prefix["neighbors_sharing"], prefix["lift"]) if prefix and is_grouping else "-"
    yield ", ".join(_number(category["ami"][0]) for category in measured["categories"] or ()) or "-"
    yield "-" if measured["seconds"] is None else seconds_text(measured["seconds"])


def _errors(prefixes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The error by depth, while it changes."""
    before = None
    for prefix in prefixes:
        error = prefix["reconstruction_error"]
        if error is not None and error != before:
            yield f"{error:.3f}"
        before = error


def _share(share: float | None, lift: float | None) -> str:
    if share is None:
        return "-"
    return f"{share:.1%}" if lift is None else f"{share:.1%} ({lift:.{1 if lift < 10 else 0}f}x)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def _neighbors(variants: Sequence[Mapping[str, Any]]) -> int:
    return max((part["neighbors"] for variant in variants for part in variant["streams"].values()), default=0)


def _are_named_by_tokenizer(variants: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the names of several variants already contain their tokenizers."""
    return len(variants) > 1 and all(
        variant["name"].partition("(")[0] == measured["tokenizer"]
        for variant in variants
        for measured in variant["streams"].values()
    )


def _variant_column(variants: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return ("variant",) if len(variants) > 1 else ()


def _named(variants: Sequence[Mapping[str, Any]], variant: Mapping[str, Any]) -> tuple[str, ...]:
    return (variant["name"],) if len(variants) > 1 else ()
