"""What metrics beyond accuracy are, in words: the same for runs and comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from genrec.evaluation.beyond_accuracy import GROUPS
from genrec.evaluation.metrics import METRICS
from genrec.reporting.texts import listed

BEYOND = "Beyond accuracy"
"""Title of the section."""


def beyond_text(metrics: Sequence[str], cutoff: int, confidence: float | None, *, distances_in: str) -> str:
    """What the table has, how to read it, and what the brackets are.

    Args:
        metrics: names of the metrics, at least one.
        cutoff: the K.
        confidence: coverage of the intervals; None if they are not shown.
        distances_in: stream whose item vectors measure distances; empty if there is none.
    """
    known = [METRICS.get(name) for name in metrics]
    parts = [f"What the first {cutoff} recommendations of each user are, whether they are targets or not."]
    if titles := [metric.title for metric in known if metric.higher_is_better is False]:
        parts.append(f"Lower is better: {listed(titles)}.")
    if titles := [metric.title for metric in known if metric.higher_is_better is None]:
        parts.append(f"Neither higher nor lower is better: {listed(titles)}.")
    if any(metric.needs_vectors for metric in known):
        parts.append(f"Distances are those of the item vectors of the stream {distances_in} (cosine).")
    parts.append("Random recommendations are the best in most of these metrics: compare methods of similar accuracy.")
    if confidence is None:
        return " ".join(parts)
    users = [metric.title for metric in known if metric.kind == "lists"]
    system = [metric.title for metric in known if metric.kind == "system"]
    intervals = [f"Student's t for the means over users ({listed(users)})"] if users else []
    if system:
        intervals.append(f"jackknife over {GROUPS} groups of users for {listed(system)}, which are not tested")
    parts.append(f"Brackets: {confidence:.0%} interval over users: {'; '.join(intervals)}.")
    return " ".join(parts)


def beyond_tests_text(method: str, num_tests: int) -> str:
    """How the tests of a run were made."""
    return (
        f"{method} against each other method over the same users: paired t-test, two-sided, Holm-corrected for these "
        f"{num_tests} tests."
    )
