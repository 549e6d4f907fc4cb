"""Writes ``docs/results.md`` and its curves from the JSON files of ``results.py add``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib

from genrec.evaluation.metrics import DEFAULT_METRICS, column_name
from genrec.evaluation.slices import MEMORIZATION, MEMORIZATION_TEXT
from genrec.reporting.texts import p_text, seconds_text, table

matplotlib.use("agg")
import matplotlib.pyplot as plt

Entry = Mapping[str, Any]
_SEEN = {"keep": "kept", "filter": "filtered"}


def write_page(folder: Path) -> Path:
    """Write ``<folder>.md`` and an SVG of each file's curves.

    Args:
        folder: of the JSON files.
    """
    files = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    for name, content in files.items():
        _draw(content, folder / f"{name}.svg")
    page = folder.with_suffix(".md")
    page.write_text("\n".join(_lines(files, folder.name)).rstrip() + "\n", encoding="utf-8")
    return page


def _lines(files: Mapping[str, Any], folder: str) -> Iterator[str]:
    yield from ("# Results", "")
    yield (
        f"Written by `python benchmarks/results.py page` from `{folder}/*.json`, which `results.py add` computes from "
        "finished runs. Leave-one-out; the whole catalog is ranked, without negative sampling. Figures are means over "
        "users and seeds, ± the standard deviation between seeds. Checkpoints are selected on validation under the "
        "recipe's rule about seen items; under the other rule the same model is evaluated. *train + validation*: "
        "vectors, codes, model and baselines are refitted with the validation items, for the number of epochs that "
        "validation selected; validation figures are always those of the fit on train. The baseline beside a recipe is "
        "the one with the best validation NDCG; below it is the best baseline of each column, whichever that is."
    )
    yield ""
    for dataset in dict.fromkeys(content["dataset"] for content in files.values()):
        of_dataset = {name: content for name, content in files.items() if content["dataset"] == dataset}
        protocol = next(iter(of_dataset.values()))["entries"][0]["protocol"]
        yield from (f"## {dataset}", "")
        yield (
            f"{protocol['users']:,} evaluation users, {protocol['items']:,} items; the target is in the history of "
            f"{protocol['seen_targets']:.1%} of the test users. Order of histories: {protocol['order']}."
        )
        yield from ("", *_summary(of_dataset), "")
        for name, content in of_dataset.items():
            yield from (f"### {content['title']}", "", *_recipe(content, f"{folder}/{name}.svg"), "")


def _summary(files: Mapping[str, Any]) -> Iterator[str]:
    """For each recipe, fit and rule: its row, the baseline with the best validation NDCG, the best of each column."""
    cutoff = next(iter(files.values()))["cutoff"]
    columns = [("validation", "ndcg"), *(("test", metric) for metric in DEFAULT_METRICS)]
    names = (f"{split} {column_name(metric, cutoff)}" for split, metric in columns)
    head = ("method", "fit", "seen items", "seeds", *names)
    rows = []
    for content in files.values():
        for entries in _groups(content):
            first = entries[0]
            lead = (first["fit"], _SEEN[first["seen_items"]], str(len(entries)))
            baselines = [row["name"] for row in first["rows"] if row["kind"] == "baseline"]
            shown = {content["title"]: first["rows"][0]["name"]}
            if selected := _best(entries, baselines, "validation", "ndcg", cutoff):
                shown[f"baseline selected on validation: {selected}"] = selected
            for label, name in shown.items():
                rows.append((label, *lead, *(_mean(entries, name, *column, cutoff) for column in columns)))
            if baselines:
                best = [_best(entries, baselines, *column, cutoff) for column in columns]
                figures = (
                    f"{_mean(entries, name, *column, cutoff)} ({name})" if name else "-"
                    for name, column in zip(best, columns, strict=True)
                )
                rows.append(("best baseline of each column", *lead, *figures))
    return table(head, list(dict.fromkeys(rows)))


def _best(entries: Sequence[Entry], names: Sequence[str], split: str, metric: str, cutoff: int) -> str | None:
    """The method with the highest mean over seeds, among those that have figures of this split."""
    means = {name: fmean(values) for name in names if (values := _values(entries, name, split, metric, cutoff))}
    return max(means, key=lambda name: means[name], default=None)


def _recipe(content: Mapping[str, Any], curve: str) -> Iterator[str]:
    cutoff = content["cutoff"]
    for entries in _groups(content):
        first = entries[0]
        fit, seen = first["fit"], _SEEN[first["seen_items"]]
        yield from (f"**Fitted on {fit}, seen items {seen}**, seeds {', '.join(str(e['seed']) for e in entries)}.", "")
        yield from (*_figures(entries, cutoff), "")
        tested = [t for t in content["tests"] if (t["fit"], t["seen_items"]) == (fit, first["seen_items"])]
        for test in tested:
            yield from (*_tests(test), "")
        for axis in dict.fromkeys(part["axis"] for entry in entries for part in entry["slices"]):
            yield from (*_slices(entries, axis, f"ndcg@{cutoff}"), "")
    yield from (*_runs(content["entries"]), "", f"![Validation NDCG@10 over minutes of training]({curve})")


def _groups(content: Mapping[str, Any]) -> list[list[Entry]]:
    """Entries that differ in their seed alone."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in content["entries"]:
        groups.setdefault((entry["fit"], entry["seen_items"]), []).append(entry)
    return list(groups.values())


def _figures(entries: Sequence[Entry], cutoff: int) -> Iterator[str]:
    """Validation and test figures, and the relative loss from validation to test."""
    cutoffs = sorted(map(int, entries[0]["rows"][0]["test"]["ndcg"]))
    columns = [(metric, k) for metric in DEFAULT_METRICS for k in cutoffs]
    head = (
        "method",
        "kind",
        *(column_name(*column) for column in columns),
        f"validation {column_name('ndcg', cutoff)}",
        "test less validation",
    )
    rows = []
    for row in entries[0]["rows"]:
        name = row["name"]
        test, valid = (_values(entries, name, split, "ndcg", cutoff) for split in ("test", "validation"))
        gap = f"{fmean(test) / fmean(valid) - 1:+.1%}" if valid and fmean(valid) else "-"
        figures = (_mean(entries, name, "test", *column) for column in columns)
        rows.append((name, row["kind"], *figures, _mean(entries, name, "validation", "ndcg", cutoff), gap))
    return table(head, rows)


def _tests(test: Mapping[str, Any]) -> Iterator[str]:
    seeds = ", ".join(map(str, test["seeds"]))
    yield (
        f"{test['method']} against each, over the same test users, seeds {seeds} averaged for each user first: paired "
        f"bootstrap, Holm-corrected for {len(test['against'])} tests."
    )
    yield ""
    head = ("against", "metric", "difference", "p (Holm)", "p (Wilcoxon, Holm)", "seeds that agree", "verdict")
    yield from table(
        head,
        (
            (
                pair["other"],
                column_name(pair["metric"], pair["cutoff"]),
                f"{pair['difference']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}]",
                p_text(pair["p_holm"]),
                p_text(pair["wilcoxon_p_holm"]),
                "-" if pair["seeds_agree"] is None else f"{pair['seeds_agree']} of {pair['seeds_shared']}",
                pair["verdict"],
            )
            for pair in test["against"]
        ),
    )


def _slices(entries: Sequence[Entry], axis: str, metric: str) -> Iterator[str]:
    parts = [[part for part in entry["slices"] if part["axis"] == axis] for entry in entries]
    parts = [groups for groups in parts if groups]  # entries of before 2026-11-30 are not divided by memorization
    names = [row["name"] for row in entries[0]["rows"] if row["kind"] != "oracle"]
    if axis == "item popularity":  # files of before 2026-11-30 do not say so: counted in train alone
        axis = f"{axis} in {parts[0][0].get('counted_in', 'train only').removesuffix(' only')}"
    shown, _, cutoff = metric.partition("@")
    if axis == MEMORIZATION:
        yield from (MEMORIZATION_TEXT, "")
    yield from table(
        (f"test {column_name(shown, int(cutoff))} by {axis}", "users", *names),
        (
            (
                same[0]["label"],
                f"{same[0]['users']:,}",
                *(_mean_text([part[metric][name] for part in same if name in part[metric]]) for name in names),
            )
            for same in zip(*parts, strict=True)
        ),
    )


def _runs(entries: Sequence[Entry]) -> Iterator[str]:
    """Each run once, for all rules."""
    runs = {(entry["fit"], entry["seed"]): entry for entry in entries}
    head = ("seed", "fit", "date", "genrec", "best epoch", "parameters", "training", "all", "stages found finished")
    yield from table(
        head,
        (
            (
                str(entry["seed"]),
                entry["fit"],
                entry["date"] or "-",
                entry["genrec"] or "-",
                str(entry["epochs"]),
                f"{entry['parameters']:,}",
                seconds_text(60 * entry["minutes"]["training"]),
                seconds_text(60 * entry["minutes"]["all"]),
                ", ".join(entry["minutes"]["found finished"]) or "none",
            )
            for entry in runs.values()
        ),
    )


def _values(entries: Sequence[Entry], name: str, split: str, metric: str, cutoff: int) -> list[float]:
    """One for each seed that has the method."""
    return [
        row[split][metric][str(cutoff)]
        for entry in entries
        for row in entry["rows"]
        if row["name"] == name and split in row
    ]


def _mean(entries: Sequence[Entry], name: str, split: str, metric: str, cutoff: int) -> str:
    return _mean_text(_values(entries, name, split, metric, cutoff))


def _mean_text(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.4f}" if len(set(values)) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


def _draw(content: Mapping[str, Any], path: Path) -> None:
    """Validation NDCG@10 over minutes of training, a line for each run; the best epoch has a ring."""
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "genrec"})
    figure, axis = plt.subplots(figsize=(5.2, 3.2))
    for seed in dict.fromkeys(entry["seed"] for entry in content["entries"]):
        entry = next(entry for entry in content["entries"] if entry["seed"] == seed)
        points = [(p["epoch"], p["minutes"], p["validation"]) for p in entry["curve"] if p["validation"] is not None]
        (line,) = axis.plot([x for _, x, _ in points], [y for _, _, y in points], ".-", label=f"seed {seed}")
        best = [(x, y) for epoch, x, y in points if epoch == entry["epochs"]]
        axis.plot(*zip(*best, strict=True), "o", markerfacecolor="none", markersize=9, color=line.get_color())
    axis.set_xlabel("minutes of training, fit on train")
    axis.set_ylabel("validation NDCG@10, mean of the streams")
    axis.grid(alpha=0.25)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
