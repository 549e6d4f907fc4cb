"""A run's report as files, written and read: ``report.md``, ``metrics.json``, ranks, lists and ``curves.svg``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from genrec.errors import DataError
from genrec.evaluation.list_file import ListFile
from genrec.evaluation.metrics import main_cutoff, main_metric
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.significance import Difference
from genrec.evaluation.slices import UserSlice
from genrec.reporting.curves import curves_svg
from genrec.reporting.report import (
    ColdItems,
    Estimate,
    MethodResult,
    Metrics,
    PairedTest,
    Protocol,
    Report,
    epoch_dict,
    finite,
    read_metrics,
)
from genrec.reporting.report_markdown import markdown
from genrec.runtime.checksums import is_export
from genrec.runtime.files import write_json, write_text
from genrec.training.log import EpochRecord

_NOBODY = np.zeros(0, dtype=np.int64)


def write_report(report: Report, folder: Path, *, draft: Path | None = None) -> None:
    """Write all files of a report; ``curves.svg`` only if there is a training curve.

    Args:
        report: of a run.
        folder: of that run; created if missing.
        draft: the folder that is written to, if its files move to ``folder`` later.
    """
    target = draft or folder
    write_text(target / "report.md", markdown(report, folder))
    write_json(target / "metrics.json", finite(to_dict(report)), indent=2, allow_nan=False)
    ranks = {row.name: row.ranks_U for row in report.rows}
    offsets = report.rows[0].target_offsets if report.rows else None
    RankFile(report.users_U, report.targets_U, ranks, max(report.protocol.cutoffs), offsets).write(target)
    if lists := {row.name: row.lists for row in report.rows if row.lists is not None}:
        ListFile.of(lists).write(target)
    if report.curve:
        write_text(target / "curves.svg", curves_svg(report.curve))


def to_dict(report: Report) -> dict[str, Any]:
    """The content of ``metrics.json``: plain data, all numbers unrounded."""
    return {
        "title": report.title,
        "protocol": asdict(report.protocol),
        "methods": [
            {
                "name": row.name,
                "kind": row.kind,
                **_as_data(row.metrics),
                **({"beyond_accuracy": _as_data(row.beyond_accuracy)} if row.beyond_accuracy else {}),
            }
            for row in report.rows
        ],
        "slices": [
            {
                "axis": part.axis,
                "label": part.label,
                "users": part.users,
                "metric": main_metric(report.metrics),
                "cutoff": main_cutoff(report.protocol.cutoffs),
                "means": dict(part.means),
            }
            for part in report.slices
        ],
        "tests": [_test_data(test) for test in report.tests],
        "beyond_accuracy": {
            "distances_in": report.distances_in,
            "tests": [_test_data(test) for test in report.beyond_tests],
        },
        "curve": [epoch_dict(epoch) for epoch in report.curve],
        "stage_seconds": dict(report.stage_seconds),
        "parameters": dict(report.parameters),
        "notes": list(report.notes),
        "example_history": list(report.example_history),
        **({} if report.cold_items is None else {"cold_items": report.cold_items.to_dict()}),
    }


def _as_data(metrics: Metrics) -> dict[str, dict[str, Any]]:
    return {
        metric: {str(cutoff): asdict(estimate) for cutoff, estimate in by_cutoff.items()}
        for metric, by_cutoff in metrics.items()
    }


def _test_data(test: PairedTest) -> dict[str, Any]:
    return {
        "method": test.method,
        "other": test.other,
        "metric": test.metric,
        "cutoff": test.cutoff,
        **asdict(test.difference),
        "p_holm": test.p_holm,
        "verdict": test.verdict,
    }


def read_report(folder: Path) -> Report:
    """Read the report of a finished run; equal to the one that was written, without the data folder.

    That of an export has no users: the ranks of each method are empty.

    Raises:
        DataError: the folder has no finished run, or a file is damaged.
    """
    data = read_metrics(folder)
    ranks = None if is_export(folder) else RankFile.read(folder)
    try:
        beyond = data.get("beyond_accuracy", {"tests": [], "distances_in": ""})
        protocol = Protocol(**{**data["protocol"], "cutoffs": tuple(data["protocol"]["cutoffs"])})
        rows = [
            _method(method, _NOBODY.astype(np.int32))
            if ranks is None
            else _method(method, ranks.of_method(method["name"], folder), ranks.target_offsets)
            for method in data["methods"]
        ]
        return Report(
            data["title"],
            protocol,
            _NOBODY if ranks is None else ranks.users,
            _NOBODY if ranks is None else ranks.targets,
            rows,
            tests=[_test(test) for test in data["tests"]],
            slices=[
                UserSlice(part["axis"], part["label"], part["users"], _numbers(part["means"]))
                for part in data.get("slices", ())  # runs of before 0.2.0 have none
            ],
            beyond_tests=[_test(test) for test in beyond["tests"]],
            distances_in=beyond["distances_in"],
            curve=[EpochRecord(**{**epoch, "losses": _numbers(epoch["losses"])}) for epoch in data["curve"]],
            stage_seconds=data["stage_seconds"],
            parameters=data["parameters"],
            notes=tuple(data["notes"]),
            example_history=tuple(data.get("example_history", ())),
            cold_items=ColdItems.of_dict(data["cold_items"]) if "cold_items" in data else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        file, reason = folder / "metrics.json", f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: not the results of a run ({reason}); run the recipe again") from error


def _method(method: dict[str, Any], ranks_U: np.ndarray, offsets: np.ndarray | None = None) -> MethodResult:
    metrics = {name: part for name, part in method.items() if name not in ("name", "kind", "beyond_accuracy")}
    beyond = _metrics(method.get("beyond_accuracy", {}))
    return MethodResult(method["name"], method["kind"], _metrics(metrics), ranks_U, beyond, target_offsets=offsets)


def _metrics(metrics: Mapping[str, Any]) -> Metrics:
    return {
        metric: {int(cutoff): Estimate(**_numbers(estimate)) for cutoff, estimate in by_cutoff.items()}
        for metric, by_cutoff in metrics.items()
    }


def _test(test: dict[str, Any]) -> PairedTest:
    difference = Difference(**_numbers({field.name: test[field.name] for field in fields(Difference)}))
    return PairedTest(test["method"], test["other"], test["metric"], test["cutoff"], difference, test["p_holm"])


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Values with NaN for those that JSON lacks."""
    return {name: float("nan") if value is None else value for name, value in values.items()}
