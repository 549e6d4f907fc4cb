"""The statistics of a comparison: cells, tests between all methods, letters, slices.

Users are resampled together for all rows, each user's seeds averaged first.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import TypedDict

import numpy as np

from genrec.comparison._beyond_accuracy import beyond_cells, beyond_metrics, beyond_pairs
from genrec.comparison.results import Cell, ComparisonRow, Pair, Slice, SliceAxis, corrected_pairs, methods_of
from genrec.evaluation.metrics import METRICS, main_cutoff
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import (
    NOT_SIGNIFICANT,
    bootstrap_means_together,
    paired_differences,
    percentile_interval,
    samples_for,
)
from genrec.evaluation.slices import (
    MEMORIZATION,
    Group,
    groups_by_length,
    groups_by_memorization,
    groups_by_popularity,
    target_popularity,
)
from genrec.runtime.seeds import derive
from genrec.types import Dataset, Split

_LETTERS = string.ascii_letters + "αβγδεζηθικλμνξοπρστυφχψω"
_MANY_MORE = 0x4E00
"""First of several thousand consecutive letters in Unicode."""


class Statistics(TypedDict):
    """The fields of a :class:`Comparison` that are computed from its rows."""

    metrics: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Mapping[int, Cell]]]
    pairs: Sequence[Pair]
    letters: Mapping[str, Mapping[str, str]]
    slices: Sequence[Slice]
    cutoff: int
    target_popularity_U: np.ndarray
    beyond_accuracy: tuple[str, ...]
    beyond_pairs: Sequence[Pair]


def statistics_of(
    rows: Sequence[ComparisonRow], split: Split, dataset: Dataset, settings: EvaluationSettings
) -> Statistics:
    """Compute all statistics of the rows.

    Args:
        rows: of one comparison; those without a finished seed are skipped.
        split: the evaluation users, in the order of the rows' ranks.
        dataset: that the models were fitted on; its training histories give the popularity of targets.
        settings: metrics, cutoffs, resamples and coverage of the intervals.
    """
    cutoff = main_cutoff(settings.cutoffs)
    found, beyond = cells(rows, settings), beyond_metrics(rows)
    for name, by_metric in beyond_cells(rows, beyond, cutoff, settings.confidence).items():
        found[name] |= by_metric
    metrics = settings.metrics
    tested = pairs(rows, cutoff, metrics, confidence=settings.confidence)
    beyond_tested = beyond_pairs(rows, beyond, cutoff, settings.confidence)
    lettered = {metric: _of(tested, metric) for metric in metrics}
    lettered |= {metric: _of(beyond_tested, metric) for metric in dict.fromkeys(test.metric for test in beyond_tested)}
    return Statistics(
        metrics=metrics,
        cells=found,
        pairs=tested,
        letters={metric: letters(_means(rows, found, metric, cutoff), tests) for metric, tests in lettered.items()},
        slices=slices(rows, split, dataset, cutoff, settings),
        cutoff=cutoff,
        target_popularity_U=target_popularity(split, dataset.train),
        beyond_accuracy=beyond,
        beyond_pairs=beyond_tested,
    )


def cells(
    rows: Sequence[ComparisonRow],
    settings: EvaluationSettings,
    *,
    cutoffs: Sequence[int] | None = None,
    users: np.ndarray | None = None,
) -> dict[str, dict[str, dict[int, Cell]]]:
    """Name of a row -> metric -> cutoff -> its cell.

    Args:
        rows: those without a finished seed are skipped.
        settings: metrics, cutoffs, resamples and coverage of the intervals.
        cutoffs: default: those of ``settings``.
        users: rows of the split to use; default: all.
    """
    finished = [row for row in rows if row.seeds]
    found: dict[str, dict[str, dict[int, Cell]]] = {
        row.name: {metric: {} for metric in settings.metrics} for row in finished
    }
    selected = slice(None) if users is None else users
    for metric, cutoff in product(settings.metrics, sorted(set(cutoffs or settings.cutoffs))) if finished else ():
        values = [row.values_SU(metric, cutoff)[:, selected] for row in finished]
        values_UV = np.stack([values_SU.mean(axis=0) for values_SU in values], axis=1)
        seed = derive(0, "comparison", "intervals")
        means_NV = bootstrap_means_together(values_UV, settings.bootstrap_samples, seed)
        for row, values_SU, means_N in zip(finished, values, means_NV.T, strict=True):
            mean_S = values_SU.mean(axis=1)
            std = float(mean_S.std(ddof=1)) if len(mean_S) > 1 else None
            low, high = percentile_interval(means_N, settings.confidence)
            found[row.name][metric][cutoff] = Cell(float(mean_S.mean()), std, low, high)
    return found


def pairs(
    rows: Sequence[ComparisonRow], cutoff: int, metrics: Sequence[str], *, confidence: float, samples: int | None = None
) -> list[Pair]:
    """Test every variant and baseline against every other in each metric, Holm-corrected together.

    Args:
        rows: in the order of the table; the first of a pair is above the second.
        cutoff: the K.
        metrics: names of the tested metrics.
        confidence: coverage of the intervals.
        samples: resamples of the users; default: :func:`samples_for` the number of tests.
    """
    methods = methods_of(rows)
    return _tested(methods, list(combinations(range(len(methods)), 2)), cutoff, metrics, confidence, samples)


def pairs_with(
    row: ComparisonRow, others: Sequence[ComparisonRow], cutoff: int, metrics: Sequence[str], *, confidence: float
) -> list[Pair]:
    """Test a row against each of several others of any kind in each metric; corrected as in :func:`pairs`."""
    tests = [(0, place) for place in range(1, len(others) + 1)]
    return _tested([row, *others], tests, cutoff, metrics, confidence, None)


def _tested(
    rows: Sequence[ComparisonRow],
    places: Sequence[tuple[int, int]],
    cutoff: int,
    metrics: Sequence[str],
    confidence: float,
    samples: int | None,
) -> list[Pair]:
    """The tests of pairs of rows, given by position."""
    tests = [(rows[first], rows[second], metric, cutoff) for metric in metrics for first, second in places]
    return paired_tests(tests, confidence=confidence, samples=samples)


def paired_tests(
    tests: Sequence[tuple[ComparisonRow, ComparisonRow, str, int]], *, confidence: float, samples: int | None = None
) -> list[Pair]:
    """Test pairs of rows, each in its own metric, over the same resamples of the users, Holm-corrected together.

    Args:
        tests: first row, second row, metric and cutoff.
        confidence: coverage of the intervals.
        samples: resamples of the users; default: :func:`samples_for` the number of tests.
    """
    if not tests:
        return []
    columns: dict[tuple[str, str, int], np.ndarray] = {}
    for first, second, metric, cutoff in tests:
        for row in (first, second):
            if (row.name, metric, cutoff) not in columns:
                columns[row.name, metric, cutoff] = row.values_SU(metric, cutoff).mean(axis=0)
    place = {column: number for number, column in enumerate(columns)}
    differences = paired_differences(
        np.stack(list(columns.values()), axis=1),
        [
            (place[first.name, metric, cutoff], place[second.name, metric, cutoff])
            for first, second, metric, cutoff in tests
        ],
        confidence=confidence,
        seed=derive(0, "comparison", "tests"),
        samples=samples or samples_for(len(tests)),
    )
    return corrected_pairs(tests, differences, _seed_means)


def _seed_means(row: ComparisonRow, metric: str, cutoff: int) -> dict[int, float]:
    return dict(zip(row.seeds, row.values_SU(metric, cutoff).mean(axis=1).tolist(), strict=True))


def letters(means: Mapping[str, float], tests: Sequence[Pair]) -> dict[str, str]:
    """Compact letter display: two rows share a letter if and only if they are not significantly different.

    Each letter is a group without significant differences. Groups grow around pairs that no group covers yet, best rows
    first, so there are never more groups than pairs, and the best row has the letter ``a``. The display is that of
    Piepho 2004 (doi:10.1198/1061860043515), whose algorithm splits groups instead of growing them.

    Args:
        means: of the rows, by name.
        tests: of one metric, every pair of these rows.
    """
    merit = METRICS.get(tests[0].metric).merit if tests else float
    order = sorted(means, key=lambda name: -merit(means[name]))
    place = {name: number for number, name in enumerate(order)}
    alike_RR = np.eye(len(order), dtype=bool)
    for test in tests:
        first, second = place[test.first], place[test.second]
        alike_RR[first, second] = alike_RR[second, first] = test.verdict == NOT_SIGNIFICANT
    is_shared_RR = np.zeros_like(alike_RR)
    groups: list[list[int]] = []
    for first, second in zip(*np.nonzero(np.triu(alike_RR)), strict=True):
        # The diagonal: a row that is different from all others has its own letter.
        if is_shared_RR[first, second] or (first == second and alike_RR[first].sum() > 1):
            continue
        group = [int(first), int(second)]
        for row in range(len(order)):
            if alike_RR[row, group].all():
                group.append(row)
        groups.append(sorted(set(group)))
        is_shared_RR[np.ix_(group, group)] = True
    groups.sort()
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if place[name] in group) for name in means
    }


def _letter(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else chr(_MANY_MORE + number - len(_LETTERS))


def _means(
    rows: Sequence[ComparisonRow], found: Mapping[str, Mapping[str, Mapping[int, Cell]]], metric: str, cutoff: int
) -> dict[str, float]:
    return {row.name: found[row.name][metric][cutoff].mean for row in methods_of(rows)}


def _of(tests: Sequence[Pair], metric: str) -> list[Pair]:
    return [test for test in tests if test.metric == metric]


def slices(
    rows: Sequence[ComparisonRow], split: Split, dataset: Dataset, cutoff: int, settings: EvaluationSettings
) -> list[Slice]:
    """The metrics of every row on groups of users by history length, target popularity and memorization.

    Args:
        rows: those without a finished seed are skipped.
        split: the evaluation users, in the order of the rows' ranks.
        dataset: that the models were fitted on; its training histories give popularity and known transitions.
        cutoff: the K.
        settings: metrics, resamples and coverage of the intervals.
    """

    def of_axis(axis: SliceAxis, groups: Sequence[Group]) -> Iterator[Slice]:
        for group in groups:
            inside = cells(rows, settings, cutoffs=[cutoff], users=group.rows)
            by_row = {
                name: {metric: by_cutoff[cutoff] for metric, by_cutoff in by_metric.items()}
                for name, by_metric in inside.items()
            }
            yield Slice(axis, group.label, len(group.rows), by_row)

    return [
        *of_axis("history length", groups_by_length(split)),
        *of_axis("target popularity", groups_by_popularity(split, dataset.train)),
        *of_axis(MEMORIZATION, groups_by_memorization(split, dataset.train)),
    ]
