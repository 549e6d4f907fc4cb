"""What an audit says of one question that it asked of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "ok"]
"""``untrue``: numbers measured on this data do not say what they seem to; ``mind``: who reads them should know;
``fine``: looked for and not found."""


@dataclass(frozen=True)
class Finding:
    """One answer, with numbers."""

    check: str
    """What was looked for: a short name that stays the same."""
    severity: Severity
    text: str
    """One sentence."""
    advice: str = ""
    """What to do about it; "" where nothing is to be done."""


def share(count: int, total: int) -> float:
    """Part of a whole, 0 of nothing."""
    return count / total if total else 0.0


def percent(value: float) -> str:
    """A share in words: ``0.6 %``, ``12 %``, ``< 0.1 %``."""
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.0f} %" if value == 0 or 0.0995 <= value < 0.995 or value == 1 else f"{100 * value:.1f} %"
