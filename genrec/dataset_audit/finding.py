"""A finding: the result of one check of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "ok"]
"""``error``: invalidates results; ``warning``: limits what results mean; ``ok``: no problem found."""


@dataclass(frozen=True)
class Finding:
    """Result of one check, with numbers."""

    check: str
    """Short, stable name of the check."""
    severity: Severity
    text: str
    """One sentence."""
    advice: str = ""
    """What to do; empty if there is nothing to do."""


def share(count: int, total: int) -> float:
    """A ratio; 0 if the total is 0."""
    return count / total if total else 0.0


def percent(value: float) -> str:
    """A share as text: ``0.6 %``, ``12 %``, ``< 0.1 %``."""
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.0f} %" if value == 0 or 0.0995 <= value < 0.995 or value == 1 else f"{100 * value:.1f} %"
