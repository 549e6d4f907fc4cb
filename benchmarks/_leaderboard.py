"""Writes ``docs/leaderboard.md``: results of the recipes beside published figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from genrec.reporting.texts import table

_RULES = {"keep": "seen items kept", "filter": "seen items filtered", None: "rule on seen items not stated"}
_READS = {
    "cooccurrence": "co-occurrence",
    "din": "co-occurrence",
    "transition": "co-occurrence",
    "text": "text",
    "tfidf": "text",
    "sentence_t5": "text",
    "vit": "images",
    "image": "images",
    "pixels": "images",
    "columns": "columns",
}
"""By type of an item encoder, decoder or baseline: what it reads beside the item ids of the histories."""
_ORDER = ("ids", "co-occurrence", "text", "images", "columns")
_NOT_STATED = "-"
_HEAD = (
    "method",
    "Recall@10",
    "NDCG@10",
    "fitted on",
    "seeds",
    "parameters",
    "reads",
    "source",
)


class Row(NamedTuple):
    """A method on a dataset under a rule; None: not stated."""

    dataset: str
    rule: str | None
    method: str
    is_own: bool
    recall: Sequence[float]
    """Of each seed; one if only the mean is known."""
    ndcg: Sequence[float]
    recall_std: float | None
    ndcg_std: float | None
    fit: str | None
    seeds: int | None
    parameters: str | None
    reads: Sequence[str] | None
    source: str


def write_leaderboard(folder: Path, published: Path) -> Path:
    """Write ``leaderboard.md`` beside the folder of the results.

    Args:
        folder: of the JSON files of ``results.py add``.
        published: the file of published figures.
    """
    page = folder.with_name("leaderboard.md")
    page.write_text(leaderboard_text(folder, published), encoding="utf-8")
    return page


def leaderboard_text(folder: Path, published: Path) -> str:
    """The whole page."""
    rows = [*_own_rows(folder), *_published_rows(published)]
    return "\n".join(_lines(rows, folder.name, published.name)).rstrip() + "\n"


def _lines(rows: Sequence[Row], folder: str, published: str) -> Iterator[str]:
    yield from ("# Leaderboard", "")
    yield (
        f"Written by `python benchmarks/results.py leaderboard` from `{folder}/*.json`, the results of the recipes, "
        f"and `{published}`, figures that others published. Leave-one-out on the files of S3-Rec, the whole catalog "
        "ranked, test users. Rows of genrec are bold: means over seeds ± standard deviation; tests and intervals are "
        f"in [{folder}.md]({folder}.md). Sorted by Recall@10."
    )
    yield ""
    yield (
        f"`{_NOT_STATED}`: the source does not state it, as far as it was read. Rows are comparable only if they have "
        "the same rule on seen items and were fitted on the same data: filtering and a fit on train + validation each "
        "raise figures by more than most methods differ. *Reads*: item ids of the histories, co-occurrence computed "
        "from them (vectors or counts), text, images."
    )
    yield ""
    for dataset in dict.fromkeys(row.dataset for row in sorted(rows, key=lambda row: not row.is_own)):
        yield from (f"## {dataset}", "")
        for rule, title in _RULES.items():
            of_rule = [row for row in rows if (row.dataset, row.rule) == (dataset, rule)]
            if not of_rule:
                continue
            yield from (f"### {dataset}: {title}", "")
            if rule is None:
                yield from (_caveat([row for row in rows if row.dataset == dataset]), "")
            best_first = sorted(of_rule, key=lambda row: (-fmean(row.recall), -fmean(row.ndcg or [0.0]), row.method))
            yield from (*table(_HEAD, map(_cells, best_first)), "")


def _caveat(rows: Sequence[Row]) -> str:
    """What the rule is worth on this dataset: the best of genrec, fitted on train only, under both."""
    best = {
        rule: max((row for row in own), key=lambda row: fmean(row.recall))
        for rule in ("keep", "filter")
        if (own := [row for row in rows if (row.is_own, row.rule, row.fit) == (True, rule, "train only")])
    }
    text = "The sources do not state the rule, so these rows rank among neither table above."
    if len(best) == 2:
        kept, filtered = (f"{fmean(row.recall):.4f} / {fmean(row.ndcg):.4f}" for row in best.values())
        text += f" The best row of genrec fitted on train only has {kept} with seen items kept and {filtered} filtered."
    return text


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"**{row.method}**" if row.is_own else row.method,
        _figure(row.recall, row.recall_std),
        _figure(row.ndcg, row.ndcg_std),
        row.fit or _NOT_STATED,
        _NOT_STATED if row.seeds is None else str(row.seeds),
        row.parameters or _NOT_STATED,
        ", ".join(row.reads or (_NOT_STATED,)),
        row.source,
    )


def _figure(values: Sequence[float], std: float | None) -> str:
    if not values:
        return _NOT_STATED
    spread = std if std is not None else stdev(values) if len(set(values)) > 1 else None
    return f"{fmean(values):.4f}" + ("" if spread is None else f" ± {spread:.4f}")


def _published_rows(file: Path) -> Iterator[Row]:
    for row in json.loads(file.read_text(encoding="utf-8")):
        yield Row(
            row["dataset"],
            row["seen_items"],
            row["method"],
            False,
            [row["recall@10"]],
            [] if row["ndcg@10"] is None else [row["ndcg@10"]],
            row["recall@10 std"],
            row["ndcg@10 std"],
            row["fit"],
            row["seeds"],
            row["parameters"],
            row["reads"],
            f"{row['source']} ({row['note']})" if row["note"] else row["source"],
        )


def _own_rows(folder: Path) -> Iterator[Row]:
    """Merge and baselines of each file, fit and rule; a baseline with the figures of another file is shown once."""
    shown = set()
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for entry in content["entries"]:
            groups.setdefault((entry["fit"], entry["seen_items"]), []).append(entry)
        for (fit, rule), entries in groups.items():
            method, *others = entries[0]["rows"]
            for row in (method, *(other for other in others if other["kind"] == "baseline")):
                recall, ndcg = (_values(entries, row["name"], metric) for metric in ("recall", "ndcg"))
                key = (content["dataset"], fit, rule, row["name"], *recall, *ndcg)
                if key in shown:
                    continue
                shown.add(key)
                is_baseline = row is not method
                yield Row(
                    content["dataset"],
                    rule,
                    f"genrec: {row['name']}, baseline of {file.stem}" if is_baseline else f"genrec: {file.stem}",
                    True,
                    recall,
                    ndcg,
                    None,
                    None,
                    fit,
                    len(recall),
                    None if is_baseline else f"{entries[0]['parameters'] / 1e6:.2f}M",
                    _reads([row["name"]] if is_baseline else _types(content["settings"])),
                    f"[{folder.name}/{file.name}]({folder.name}/{file.name})",
                )


def _values(entries: Sequence[Mapping[str, Any]], name: str, metric: str) -> list[float]:
    return [row["test"][metric]["10"] for entry in entries for row in entry["rows"] if row["name"] == name]


def _types(settings: Mapping[str, Any]) -> list[Any]:
    """Types of the item encoders and decoders of a recipe, those of concatenated encoders included."""
    return [
        value
        for key, value in settings.items()
        if key.startswith("streams.") and key.endswith(".type") and (".item_encoder." in key or ".decoder." in key)
    ]


def _reads(types: Sequence[str]) -> list[str]:
    """What components read."""
    found = {"ids", *(_READS[name] for name in types if name in _READS)}
    return [name for name in _ORDER if name in found]
