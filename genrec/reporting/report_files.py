"""A run's report as files: ``report.md``, ``metrics.json``, ``ranks.safetensors`` and ``curves.svg``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genrec.evaluation.rank_file import RankFile
from genrec.reporting.curves import curves_svg
from genrec.reporting.report import Report, epoch_dict, finite
from genrec.reporting.report_markdown import markdown


def write_report(report: Report, folder: Path) -> None:
    """Write all files of a report; ``curves.svg`` only if there is a training curve.

    Args:
        report: of a run.
        folder: of that run; created if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(report, folder), encoding="utf-8")
    (folder / "metrics.json").write_text(
        json.dumps(finite(to_dict(report)), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    ranks = {row.name: row.ranks_U for row in report.rows}
    RankFile(report.split.users, report.split.targets, ranks, max(report.protocol.cutoffs)).write(folder)
    if report.curve:
        (folder / "curves.svg").write_text(curves_svg(report.curve), encoding="utf-8")


def to_dict(report: Report) -> dict[str, Any]:
    """The content of ``metrics.json``: plain data, all numbers unrounded."""
    return {
        "title": report.title,
        "protocol": asdict(report.protocol),
        "methods": [
            {
                "name": row.name,
                "kind": row.kind,
                **{
                    metric: {str(cutoff): asdict(estimate) for cutoff, estimate in by_cutoff.items()}
                    for metric, by_cutoff in row.metrics.items()
                },
            }
            for row in report.rows
        ],
        "tests": [
            {
                "method": test.method,
                "other": test.other,
                "metric": test.metric,
                "cutoff": test.cutoff,
                **asdict(test.difference),
                "p_holm": test.p_holm,
                "verdict": test.verdict,
            }
            for test in report.tests
        ],
        "curve": [epoch_dict(epoch) for epoch in report.curve],
        "stage_seconds": dict(report.stage_seconds),
        "parameters": dict(report.parameters),
        "notes": list(report.notes),
    }
