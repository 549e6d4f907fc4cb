"""The outcome of a study as plain data, and the figures that are computed from the ranks of every user.

A row has ``status`` finished, stopped (by the budget), failed or missing; only finished rows have figures and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from genrec.comparison.results import Comparison, ComparisonRow
from genrec.comparison.statistics import cells, paired_tests
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.significance import percentile_interval
from genrec.reproduction.definitions import (
    SIMILAR,
    Expectation,
    columns_of,
    expectations,
    find_study,
    paper_numbers,
)
from genrec.reproduction.rows import PlannedRow

HOLDS, DOES_NOT_HOLD, UNDECIDED = "holds", "does not hold", "undecided"
STOPPED = "not finished within the budget"
"""Begins the reason of a row that was stopped."""


def ranking_rows(planned: Sequence[PlannedRow], comparison: Comparison) -> list[dict[str, Any]]:
    """Each row of a study with its status, figures and manifests.

    Args:
        planned: all rows of the study.
        comparison: of its variants and baselines.
    """
    by_name = {row.name: row for row in comparison.rows if row.kind == "variant"}
    given = iter(row for row in comparison.rows if row.kind == "baseline")
    found = {p.name: next(given, None) if p.baseline else by_name.get(p.name) for p in planned if not p.missing}
    rows = []
    for row in planned:
        result = found.get(row.name)
        rows.append({"name": row.name, "label": row.row.label, **_status(row, result)})
        if result is not None and result.seeds:
            rows[-1] |= {"seeds": list(result.seeds), "manifests": list(_manifests(row, result))}
    return rows


def comparison_rows(rows: Sequence[Mapping[str, Any]], ranks: Mapping[str, np.ndarray]) -> list[ComparisonRow]:
    """Finished rows with the ranks of every user, for statistics."""
    return [
        ComparisonRow(row["name"], "variant", {}, tuple(row["seeds"]), ranks[row["name"]])
        for row in rows
        if row["status"] == "finished"
    ]


def with_figures(
    study: str, dataset: str, rows: Sequence[Mapping[str, Any]], ranks: Mapping[str, np.ndarray]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows with their figures, and the claims with their verdicts.

    Args:
        study: name of the study.
        dataset: name of the dataset.
        rows: from :func:`ranking_rows`.
        ranks: of the finished rows, int32 (S, U).
    """
    settings = EvaluationSettings()
    finished = comparison_rows(rows, ranks)
    figures = cells(finished, settings)
    with_cells = [
        {
            **row,
            "figures": {
                column: asdict(figures[row["name"]][metric][cutoff])
                for column in columns_of(study)
                for metric, cutoff in [parsed(column)]
            },
        }
        if row["status"] == "finished"
        else dict(row)
        for row in rows
    ]
    return with_cells, list(_claims(study, dataset, rows, finished, settings))


def parsed(column: str) -> tuple[str, int]:
    """``recall@10`` as metric and cutoff."""
    metric, _, cutoff = column.partition("@")
    return metric, int(cutoff)


def _status(row: PlannedRow, result: ComparisonRow | None) -> dict[str, Any]:
    if row.missing:
        return {"status": "missing", "reason": row.missing}
    if result is None:
        return {"status": "failed", "reason": "no recipe of the study could be planned"}
    reason = next(iter(result.failures.values()), "")
    if result.failures:  # also if some seeds are finished: rows are compared over the same seeds
        return {"status": "stopped" if reason.startswith(STOPPED) else "failed", "reason": reason}
    return {"status": "finished"}


def _manifests(planned: PlannedRow, row: ComparisonRow) -> Iterator[dict[str, Any]]:
    """What each number rests on, one for each seed."""
    if planned.variant is None:
        for seed in row.seeds:
            yield {"seed": seed, "baseline": planned.baseline, "ranks": f"{planned.name}/{seed}"}
        return
    for seed, model in zip(row.seeds, row.models, strict=True):
        yield {
            "seed": seed,
            "recipe": planned.variant.source.name,
            "set": list(planned.variant.overrides),
            "notes": list(planned.variant.notes),
            "model": model.model_key,
            "parameters": model.parameters,
            "training_seconds": round(model.training_seconds, 1),
            "search_seconds": None if model.search_seconds is None else round(model.search_seconds, 1),
            "validation": [round(epoch.validation, 4) for epoch in model.curve if epoch.validation is not None],
            "warnings": list(model.warnings),
            "ranks": f"{planned.name}/{seed}",
        }


def _claims(
    study: str,
    dataset: str,
    rows: Sequence[Mapping[str, Any]],
    finished: Sequence[ComparisonRow],
    settings: EvaluationSettings,
) -> Iterator[dict[str, Any]]:
    """Every claim: those of two finished rows with a paired test, all tests of the study corrected together."""
    numbers, known = paper_numbers(study, dataset), {row["name"] for row in rows}
    by_name = {row.name: row for row in finished}
    claimed = [claim for claim in expectations(study, dataset) if {claim.first, claim.second} <= known]
    tested = [claim for claim in claimed if {claim.first, claim.second} <= by_name.keys()]
    tests = dict(
        zip(
            tested,
            paired_tests(
                [(by_name[claim.first], by_name[claim.second], *parsed(claim.column)) for claim in tested],
                confidence=settings.confidence,
            ),
            strict=True,
        )
    )
    for claim in claimed:
        said = {"first": claim.first, "second": claim.second, "column": claim.column}
        said |= {"kind": claim.kind, "source": claim.source, "paper": _difference(numbers, claim)}
        if claim in tests:
            test = tests[claim]
            base = float(by_name[claim.first].values_SU(*parsed(claim.column)).mean())
            said |= {"difference": test.difference, "low": test.low, "high": test.high, "p_holm": test.p_holm}
            said["verdict"] = verdict_of(claim.kind, test.low, test.high, SIMILAR * base)
        yield said


def verdict_of(kind: str, low: float, high: float, margin: float) -> str:
    """Whether an interval of first minus second agrees with a claim.

    Args:
        kind: ``better``: the difference is above 0. ``similar``: it is within the margin on both sides.
        low: lower end of the interval.
        high: upper end.
        margin: largest difference that is called similar.
    """
    if kind == "similar":
        if -margin < low and high < margin:
            return HOLDS
        return DOES_NOT_HOLD if low > margin or high < -margin else UNDECIDED
    if low > 0:
        return HOLDS
    return DOES_NOT_HOLD if high < 0 else UNDECIDED


def _difference(numbers: Mapping[str, Mapping[str, float | None]], claim: Expectation) -> float | None:
    first, second = (numbers.get(row, {}).get(claim.column) for row in (claim.first, claim.second))
    return None if first is None or second is None else round(first - second, 6)


def speed_figures(rows: Sequence[dict[str, Any]], study: str, dataset: str) -> list[dict[str, Any]]:
    """Add the medians of timed rows to them, and give the claims with their verdicts.

    A faster row is faster if each of its repetitions is faster than each of the other's, and undecided if they overlap.
    """
    seconds = {row["name"]: row["repetitions"] for row in rows if row["status"] == "finished"}
    for row in rows:
        if row["status"] == "finished":
            low, high = percentile_interval(np.array(row["repetitions"]), 1.0)
            row["figures"] = {"seconds": {"mean": float(np.median(row["repetitions"])), "low": low, "high": high}}
            if row["parameters"] is not None:
                row["figures"]["parameters"] = {"mean": row["parameters"] / 1e6}
    numbers, claims = paper_numbers(study, dataset), []
    for claim in expectations(study, dataset):
        said = {"first": claim.first, "second": claim.second, "column": claim.column, "kind": "faster"}
        said |= {"source": claim.source, "paper": _difference(numbers, claim)}
        if claim.first in seconds and claim.second in seconds:
            one, two = seconds[claim.first], seconds[claim.second]
            low, high = min(two) - max(one), max(two) - min(one)
            said |= {"difference": float(np.median(one) - np.median(two)), "low": -high, "high": -low}
            said["verdict"] = verdict_of("better", low, high, 0.0)
        claims.append(said)
    return claims


def label_of(study: str, row: str) -> str:
    """The label of a row."""
    return find_study(study).rows[row].label
