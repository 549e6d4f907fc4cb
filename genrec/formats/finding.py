"""A finding: the result of one check of a dataset, by its reader or by the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "ok"]
"""``error``: invalidates results; ``warning``: limits what results mean; ``ok``: no problem found."""


@dataclass(frozen=True)
class Finding:
    """Result of one check of a dataset, with numbers."""

    check: str
    """Short, stable name of the check."""
    severity: Severity
    text: str
    """One sentence."""
    advice: str = ""
    """What to do; empty if there is nothing to do."""
