"""Findings of the readers, for :attr:`genrec.types.Dataset.findings`: what they skipped, and what does not fit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from genrec.errors import DataError
from genrec.formats.finding import Finding
from genrec.formats.keys import examples

_MANY_DUPLICATES = 0.01
"""Share of exact duplicates from which they are a warning."""
_FEW_MATCHES = 0.5
"""Share of items with metadata below which it is a warning."""


def skipped(count: int, what: str, path: Path) -> list[Finding]:
    """A finding on broken rows or lines that were left out; none if there are none."""
    if not count:
        return []
    text = f"{count:,} {what} of {path.name} were skipped"
    return [Finding("skipped rows", "warning", text, "see what they are with broken_rows or broken_lines: error")]


def repeated_keys(places: Collection[tuple[int, str]], path: Path) -> list[Finding]:
    """A finding on JSON objects that have a key twice; none if there are none.

    Args:
        places: line and key of each repetition.
        path: the file.
    """
    if not places:
        return []
    line, key = next(iter(places))
    text = (
        f"{len(places):,} keys occur again in the same object of {path.name} (first: {key!r} on line {line}); the last "
        "value counts"
    )
    return [Finding("repeated keys", "warning", text, "correct the file: one of the values is lost")]


def duplicate_events(count: int, total: int, *, dropped: bool) -> list[Finding]:
    """A finding on interactions with the same user, item and time as another; none if there are none."""
    if not count:
        return []
    share = 100 * count / total
    text = f"{count:,} of {total:,} interactions ({share:.2g} %) repeat user, item and time of another"
    if dropped:
        return [Finding("duplicate events", "ok", f"{text} and were dropped")]
    severity = "warning" if count >= _MANY_DUPLICATES * total else "ok"
    return [Finding("duplicate events", severity, text, "duplicates: drop reads each event once")]


def unmatched(keys: Collection[str], num_matched: int, others: Iterable[str], path: Path) -> list[Finding]:
    """A finding on items without metadata, if they are more than half.

    Args:
        keys: of the items in the histories.
        num_matched: how many of them the file has.
        others: keys of the file.
        path: the file.

    Raises:
        DataError: it has none of them.
    """
    if not keys or num_matched >= _FEW_MATCHES * len(keys):
        return []
    both = f"(e.g. {examples(keys)}) in {path.name} (e.g. {examples(others)})"
    if not num_matched:
        problem = f"found none of the {len(keys):,} items of the histories {both}"
        raise DataError(f"{path}: {problem}; expected the same keys in both files")
    text = f"found only {num_matched:,} of the {len(keys):,} items of the histories {both}"
    return [Finding("item keys", "warning", text, "check that both files have the same kind of keys")]


def texts_of(findings: Iterable[Finding]) -> list[str]:
    """The findings as notes."""
    return [finding.text for finding in findings]
