"""The outcome of a study as Markdown: the paper's numbers, ours, the difference, and whether its orderings hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genrec.reporting.texts import count_text, listed, p_text, table
from genrec.reproduction.definitions import budgets, columns_of, datasets, find_study, paper_numbers, paper_of
from genrec.reproduction.outcome import DOES_NOT_HOLD, HOLDS, UNDECIDED

Outcome = Mapping[str, Any]

_NAMES = {"recall": "Recall", "ndcg": "NDCG"}
_BAR = 40
"""Characters of the longest bar."""
_STATUS = {"stopped": "stopped by the budget", "failed": "failed", "missing": "not available"}


def markdown(outcome: Outcome, *, level: int = 1) -> str:
    """One outcome, with a heading of a level."""
    return "\n".join(_lines(outcome, level)).rstrip() + "\n"


def _lines(outcome: Outcome, level: int) -> Iterator[str]:
    study = find_study(outcome["study"])
    paper = paper_of(outcome["study"])
    source = paper.source if paper else title_of(outcome["study"])
    yield from (f"{'#' * level} {source}: {study.title}", "")
    yield from (f"{datasets()[outcome['dataset']].title}. {_conditions(outcome, study.kind)}", "")
    if outcome["claims"]:
        yield from (f"**{verdict(outcome)}**", "")
    if study.kind == "figure":
        yield from ("```text", *_bars(outcome), "```", "")
    yield from (*_table(outcome), "")
    if outcome["claims"]:
        yield from (*_claims(outcome), "")
    for row in outcome["rows"]:
        if row["status"] != "finished":
            yield f"- {row['label']}: {_STATUS[row['status']]} ({row['reason']}). It has no verdict."
    yield from (f"- {note}" for note in study.notes)
    yield from ("", *_costs(outcome))


def title_of(study: str) -> str:
    """``section3_3`` as ``Section 3.3``, ``figure4`` as ``Figure 4``."""
    if study.startswith("section"):
        return f"Section {study.removeprefix('section').replace('_', '.')}"
    return f"{study.rstrip('0123456789').capitalize()} {study[len(study.rstrip('0123456789')) :]}"


def _conditions(outcome: Outcome, kind: str) -> str:
    budget = budgets()[outcome["budget"]].says
    if kind == "statistics":
        return "Counts of the data as it is read."
    changes = f", with {', '.join(outcome['set'])}" if outcome["set"] else ""
    text = f"Recipe {outcome['recipe']}{changes}. {budget}"
    if kind == "speed":
        return f"{text} Medians of several repetitions, [fastest, slowest]."
    users = "test" if outcome["split"] == "test" else "validation"
    protocol = outcome["protocol"]
    return (
        f"{text} {protocol['users']:,} {users} users, {protocol['items']:,} items, leave-one-out, seen items "
        f"{'kept' if protocol['seen_items'] == 'keep' else 'filtered'}, {count_text(len(outcome['seeds']), 'seed')}. "
        f"[95 % bootstrap interval over users], which does not cover the variance between seeds."
    )


def verdict(outcome: Outcome) -> str:
    """The verdicts of all claims in one sentence."""
    counts = {word: sum(claim.get("verdict") == word for claim in outcome["claims"]) for word in _VERDICTS}
    without = sum("verdict" not in claim for claim in outcome["claims"])
    parts = [f"{_VERDICTS[word]} in {count}" for word, count in counts.items() if count]
    if without:
        parts.append(f"has no verdict in {without}")
    return f"The paper's ordering {listed(parts)} of {count_text(len(outcome['claims']), 'comparison')}."


_VERDICTS = {HOLDS: "holds", DOES_NOT_HOLD: "does not hold", UNDECIDED: "is undecided"}


def _table(outcome: Outcome) -> Iterator[str]:
    """Three lines a row: the paper, genrec, the difference; in the paper's order of columns."""
    study, columns = find_study(outcome["study"]), columns_of(outcome["study"])
    numbers = paper_numbers(outcome["study"], outcome["dataset"])
    is_other = bool(study.numbers_of) and study.numbers_of != outcome["dataset"]
    paper = f"paper, {datasets()[study.numbers_of].title}" if is_other else "paper"
    lines = []
    for row in outcome["rows"]:
        printed = numbers.get(row["name"], {})
        figures = row.get("figures")
        label = row["label"]
        if printed:
            lines.append((label, paper, *(_number(column, printed[column]) for column in columns)))
            label = ""
        if figures is None:
            lines.append((label, "genrec", *[_STATUS[row["status"]]] * len(columns)))
            continue
        lines.append((label, "genrec", *(_figure(column, figures.get(column)) for column in columns)))
        if printed and not is_other:
            lines.append(("", "difference", *(_gap(column, printed, figures) for column in columns)))
    yield from table(("", "", *map(_column_name, columns)), lines)


def _column_name(column: str) -> str:
    name, at, cutoff = column.partition("@")
    return f"{_NAMES.get(name, name)}{at}{cutoff}"


def _number(column: str, number: float | None) -> str:
    match column:
        case _ if number is None:
            return "-"
        case "density":
            return f"{number:.5f}"
        case "parameters":
            return f"{number:,.1f} M"
        case "users" | "items" | "interactions":
            return f"{number:,.0f}"
        case _:
            return f"{number:.4f}"


def _figure(column: str, cell: Mapping[str, float | None] | None) -> str:
    if cell is None:
        return "-"
    spread = f" ± {cell['std']:.4f}" if cell.get("std") is not None else ""
    interval = f" [{cell['low']:.4f}, {cell['high']:.4f}]" if cell.get("low") is not None else ""
    return f"{_number(column, cell['mean'])}{spread}{interval}"


def _gap(column: str, printed: Mapping[str, float | None], figures: Mapping[str, Mapping[str, float]]) -> str:
    number, cell = printed[column], figures.get(column)
    if number is None or cell is None:
        return "-"
    difference = cell["mean"] - number
    text = _number(column, abs(difference))
    is_zero = not text.strip("0., M")
    return text if is_zero else f"{'+' if difference > 0 else '-'}{text}"


def _claims(outcome: Outcome) -> Iterator[str]:
    """A line for each comparison of two rows."""
    labels = {row["name"]: row["label"] for row in outcome["rows"]}
    words = {"better": "better than", "faster": "faster than", "similar": "as good as"}
    lines = []
    for claim in outcome["claims"]:
        first, second = labels[claim["first"]], labels[claim["second"]]
        ours = "-"
        if "difference" in claim:
            ours = f"{claim['difference']:+.4f} [{claim['low']:+.4f}, {claim['high']:+.4f}]"
        p = claim.get("p_holm")
        lines.append(
            (
                f"{first}: {words[claim['kind']]} {second}",
                claim["source"],
                _column_name(claim["column"]),
                "-" if claim["paper"] is None else f"{claim['paper']:+.4f}",
                ours,
                "-" if p is None else p_text(p),
                claim.get("verdict", "no verdict"),
            )
        )
    yield from table(("the paper says", "in", "of", "its difference", "ours", "p (Holm)", "ordering"), lines)


def _bars(outcome: Outcome) -> Iterator[str]:
    """A bar chart of the finished rows, for each metric."""
    finished = [row for row in outcome["rows"] if row["status"] == "finished"]
    width = max((len(row["label"]) for row in finished), default=0)
    for column in columns_of(outcome["study"]):
        yield _column_name(column)
        largest = max((row["figures"][column]["mean"] for row in finished), default=0.0)
        for row in finished:
            mean = row["figures"][column]["mean"]
            bar = "█" * round(_BAR * mean / largest) if largest > 0 else ""
            yield f"  {row['label']:<{width}}  {mean:.4f}  {bar}"


def _costs(outcome: Outcome) -> Iterator[str]:
    """Where the numbers are from: version, machine, and the cost of each row."""
    machine = outcome["machine"]
    yield (
        f"genrec {outcome['genrec']}, {outcome['date']}, {machine['processor']}, device {machine['device']}, "
        f"{count_text(machine['threads'], 'thread')}, torch {machine['torch']}; "
        f"data {outcome['data']['fingerprint'][:12]}."
    )
    models = [
        (row, manifest) for row in outcome["rows"] for manifest in row.get("manifests", ()) if "model" in manifest
    ]
    if models:
        yield ""
        lines = [_cost_line(row, manifest) for row, manifest in models]
        yield from table(
            ("row", "seed", "model", "parameters", "training, min", "search, min", "validation NDCG@10"), lines
        )


def _cost_line(row: Mapping[str, Any], manifest: Mapping[str, Any]) -> Sequence[str]:
    search = manifest["search_seconds"]
    return (
        row["label"],
        str(manifest["seed"]),
        f"`{manifest['model'][:12]}`",
        f"{manifest['parameters'] / 1e6:.1f} M",
        f"{manifest['training_seconds'] / 60:.1f}",
        "-" if search is None else f"{search / 60:.1f}",
        " ".join(f"{value:.4f}" for value in manifest["validation"]),
    )
