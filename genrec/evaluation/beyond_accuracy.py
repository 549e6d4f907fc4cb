"""Metrics of lists and of whole systems: the values of each method, their intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.evaluation.metrics import METRICS
from genrec.evaluation.top_lists import ItemFacts, TopLists

GROUPS = 50
"""Groups of users of a jackknife."""


@dataclass(frozen=True, eq=False)
class ListValues:
    """The metrics beyond accuracy of one method at one cutoff."""

    metrics: tuple[str, ...]
    """All metrics, in the order of the columns."""
    of_users: Mapping[str, np.ndarray]
    """By metric of lists: the value of each user, float32 (U,)."""
    of_system: Mapping[str, np.ndarray]
    """By metric of a system: the value of all users, then those without each of G groups of users, float64 (1 + G,)."""


def measurable(metrics: Iterable[str], facts: ItemFacts) -> list[str]:
    """The metrics that can be computed: those that need item vectors only if there are any."""
    return [name for name in metrics if facts.vectors is not None or not METRICS.get(name).needs_vectors]


def measure_lists(lists: TopLists, metrics: Sequence[str], cutoff: int) -> ListValues:
    """Compute metrics of lists and of systems.

    Args:
        lists: of all evaluation users, at least as long as the cutoff.
        metrics: their names.
        cutoff: the K.

    Raises:
        PluginError: a metric returned invalid values.
    """
    top = lists.first(cutoff)
    measures = [METRICS.get(name) for name in metrics]
    group_U = np.arange(len(top)) % min(GROUPS, max(len(top), 1))
    parts = [top, *(top.take(np.flatnonzero(group_U != group)) for group in range(group_U.max(initial=0) + 1))]
    return ListValues(
        tuple(metrics),
        {metric.name: metric.of_lists(top).astype(np.float32) for metric in measures if metric.kind == "lists"},
        {
            metric.name: np.array([float(metric.of_lists(part)) for part in (parts if len(top) > 1 else [top])])
            for metric in measures
            if metric.kind == "system"
        },
    )
