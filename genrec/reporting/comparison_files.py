"""A comparison as files: ``comparison.json``, ``.md``, ``.csv``, ``.html`` and the rank of every user."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from genrec.comparison.results import Cell, Comparison, ComparisonRow
from genrec.errors import DataError
from genrec.evaluation import rank_file
from genrec.evaluation.significance import samples_for
from genrec.reporting.comparison_markdown import markdown
from genrec.reporting.comparison_terminal import print_comparison
from genrec.reporting.comparison_texts import Costs, costs_of
from genrec.reporting.report import epoch_dict, finite
from genrec.runtime.files import copy_file, read_json, replacing, write_json, write_text
from genrec.types import Split

__all__ = ["csv_text", "markdown", "print_comparison", "to_dict", "write"]


def write(comparison: Comparison, split: Split, folder: Path, *, draft: Path | None = None) -> None:
    """Write all files of a comparison.

    ``ranks.safetensors`` can be read as the rank file of a run with methods named ``<row>/<seed>``. Existing files of
    the other split are copied into a folder of that name.

    Args:
        comparison: to be written.
        split: the evaluation users, in the order of the rows' ranks.
        folder: created if missing.
        draft: the folder that is written to, if its files move to ``folder`` later.
    """
    from genrec.reporting.page import page

    target = draft or folder
    _keep_other_split(comparison, folder, target)
    _write_ranks(comparison, split, target / rank_file.FILE)
    write_json(target / "comparison.json", finite(to_dict(comparison)), allow_nan=False)
    texts = {"md": markdown(comparison, folder), "csv": csv_text(comparison), "html": page(comparison, folder)}
    for kind, text in texts.items():
        write_text(target / f"comparison.{kind}", text)


def _keep_other_split(comparison: Comparison, folder: Path, target: Path) -> None:
    """Copy the results of the other split, which are at the top of the folder or in a subfolder from before."""
    other = "test" if comparison.split == "validation" else "validation"
    try:
        is_at_top = read_json(folder / "comparison.json")["split"] == other
    except (DataError, KeyError, TypeError):
        is_at_top = False
    source = folder if is_at_top else folder / other
    for file in (*source.glob("comparison.*"), source / rank_file.FILE):
        if file.is_file() and file.parent != target / other:
            copy_file(file, target / other / file.name)


def csv_text(comparison: Comparison) -> str:
    """One line for each row, metric and cutoff with unrounded numbers; unknown values are empty."""
    file = io.StringIO()
    axes = list(comparison.axes)
    head = ("name", "kind", *axes, "seeds", "metric", "cutoff", "mean", "std", "low", "high", "letters")
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow((*head, *Costs._fields))
    for row in comparison.table_rows:
        setting = [row.setting.get(axis, "") for axis in axes]
        for metric in (*comparison.metrics, *comparison.beyond_accuracy):
            if metric not in comparison.cells[row.name]:  # the oracle has no lists
                continue
            letters = comparison.letters.get(metric, {}).get(row.name, "")
            for cutoff, cell in comparison.cells[row.name][metric].items():
                shown = letters if cutoff == comparison.cutoff else ""
                seeds = " ".join(map(str, row.seeds))
                numbers = (cell.mean, cell.std, cell.low, cell.high)
                lines.writerow((row.name, row.kind, *setting, seeds, metric, cutoff, *numbers, shown, *costs_of(row)))
    return file.getvalue()


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The content of ``comparison.json``: plain data, unrounded numbers, and the tensors of the ranks."""
    return {
        "title": comparison.title,
        "split": comparison.split,
        "protocol": asdict(comparison.protocol),
        "axes": {axis: list(values) for axis, values in comparison.axes.items()},
        "seeds": list(comparison.seeds),
        "cutoff": comparison.cutoff,
        "rows": [_row(comparison, row) for row in comparison.rows],
        "tests": {
            "count": len(comparison.pairs),
            "resamples": samples_for(len(comparison.pairs)) if comparison.pairs else 0,
            "pairs": [{**asdict(test), "verdict": test.verdict} for test in comparison.pairs],
        },
        "beyond_accuracy": {
            "distances_in": comparison.distances_in,
            "pairs": [{**asdict(test), "verdict": test.verdict} for test in comparison.beyond_pairs],
        },
        "slices": [
            {"axis": part.axis, "label": part.label, "users": part.users, "rows": _cells(part.cells)}
            for part in comparison.slices
        ],
        "stages": {kind: dict(counts) for kind, counts in comparison.stages.items()},
        "seconds": comparison.seconds,
        "notes": list(comparison.notes),
    }


def _row(comparison: Comparison, row: ComparisonRow) -> dict[str, Any]:
    seed_means = {
        metric: {
            str(cutoff): dict(
                zip(map(str, row.seeds), row.values_SU(metric, cutoff).mean(axis=1).tolist(), strict=True)
            )
            for cutoff in comparison.protocol.cutoffs
        }
        for metric in comparison.metrics
        if row.seeds
    }
    return {
        "name": row.name,
        "kind": row.kind,
        "setting": dict(row.setting),
        "seeds": list(row.seeds),
        "metrics": _cells(comparison.cells[row.name]) if row.seeds else {},
        "seed_means": seed_means,
        "letters": {metric: of[row.name] for metric, of in comparison.letters.items() if row.name in of},
        "ranks": {str(seed): {"file": rank_file.FILE, "tensor": _tensor(row, seed)} for seed in row.seeds},
        "models": [{**asdict(model), "curve": [epoch_dict(epoch) for epoch in model.curve]} for model in row.models],
        "failures": {str(seed): why for seed, why in row.failures.items()},
        "notes": list(row.notes),
        "command": row.command,
    }


def _cells(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Nested cells as plain data."""
    return {str(key): asdict(part) if isinstance(part, Cell) else _cells(part) for key, part in tree.items()}


def _tensor(row: ComparisonRow, seed: int) -> str:
    return f"ranks/{row.name}/{seed}"


def _write_ranks(comparison: Comparison, split: Split, file: Path) -> None:
    tensors = {
        "users": split.users,
        "targets": split.target_lists.items.astype(np.int64),
        "history_length": split.histories.lengths,
        **{
            _tensor(row, seed): ranks_U
            for row in comparison.rows
            for seed, ranks_U in zip(row.seeds, row.ranks_SU, strict=True)
        },
    }
    if split.all_targets is not None:
        tensors["target_offsets"] = split.all_targets.offsets
    for row in comparison.rows:
        for seed, values in zip(row.seeds, row.list_values, strict=False):
            for metric, of_metric in (*values.of_users.items(), *values.of_system.items()):
                tensors[f"{metric}/{row.name}/{seed}"] = of_metric
    if comparison.target_popularity_U is not None:
        tensors["target_popularity"] = comparison.target_popularity_U
    # safetensors writes the memory as it is: a view or a transposed array would be read scrambled.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with replacing(file) as partial:
        save_file(tensors, partial, metadata={"list_length": str(max(comparison.protocol.cutoffs))})
