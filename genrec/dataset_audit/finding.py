"""A finding, the result of one check of a dataset, and shares as text."""

from __future__ import annotations

from genrec.formats.finding import Finding, Severity

__all__ = ["Finding", "Severity", "percent", "share"]


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
