"""The vocabulary of all reports, of runs and of comparisons: numbers, lists, tables and recurring sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol as TypingProtocol

from genrec.reporting.report import Protocol


class Interval(TypingProtocol):
    """Anything with the ends of an interval: an estimate, a cell, a difference."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    """An interval in brackets."""
    show = signed_text if signed else "{:.4f}".format
    return f"[{show(interval.low)}, {show(interval.high)}]"


def signed_text(value: float) -> str:
    """A difference with its sign; what rounds to 0 is +0.0000."""
    return f"{round(value, 4) + 0.0:+.4f}"


def p_text(p: float) -> str:
    """A p-value with three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def named_p_text(name: str, p: float) -> str:
    """A p-value behind its name: ``Holm p = 0.012``, ``Holm p < 0.001``."""
    return f"{name} {p_text(p)}" if p < 0.001 else f"{name} = {p_text(p)}"


def seconds_text(seconds: float) -> str:
    """A duration with its units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count_text(count: int, noun: str) -> str:
    """A number and its noun: ``1 seed``, ``2 seeds``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(names: Iterable[str], last_word: str = "and") -> str:
    """``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} {last_word} {last}" if most else last


def named(name: str) -> str:
    """The name of a row inside a sentence, in quotes if it has spaces or commas."""
    return f"'{name}'" if " " in name or "," in name else name


def protocol_text(protocol: Protocol) -> str:
    """The evaluation protocol of a run or comparison in one paragraph."""
    seen = "kept in the lists" if protocol.seen_items == "keep" else "filtered from the lists"
    return (
        f"{protocol.dataset}, {protocol.split}: {protocol.target} of each of {protocol.users:,} users is ranked among "
        f"all {protocol.items:,} items (no sampling). Seen items are {seen}; the target is one of them for "
        f"{protocol.seen_targets:.1%} of the users. Final fit: {protocol.final_fit}. "
        f"Order of histories: {protocol.order}. Checkpoint selection: {protocol.selection}."
    )


def intervals_text(protocol: Protocol) -> str:
    """What the brackets behind a mean are."""
    resamples = f"{protocol.bootstrap_samples:,} resamples"
    return (
        f"Brackets: {protocol.confidence:.0%} bootstrap interval over users ({resamples}). "
        "It does not cover the variance between seeds."
    )


def oracle_text() -> str:
    """What the oracle row is."""
    return (
        "The oracle is an upper bound, not a method: it knows the target and uses, for each user, the stream that "
        "ranks it best. No selection of one stream per user can do better."
    )


def plain(text: str) -> str:
    """Text of any origin on one line, without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def clipped(text: str, length: int) -> str:
    """The beginning of a text, with an ellipsis if it is longer than ``length``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table; a bar in a cell is escaped."""
    yield _line(head)
    yield _line(["---"] * len(head))
    for row in rows:
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
