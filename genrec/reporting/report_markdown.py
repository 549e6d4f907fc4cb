"""A report as Markdown, and the words that its terminal form shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from genrec.evaluation.metrics import METRICS, column_name
from genrec.training.log import EpochRecord

if TYPE_CHECKING:
    from genrec.reporting.report import Estimate, MethodResult, PairedTest, Protocol, Report

_BARS = "▁▂▃▄▅▆▇█"


def markdown(report: Report) -> str:
    """The whole report."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# {report.title}", "", *_results(report), "")
    yield from (f"**Protocol.** {protocol_text(report.protocol)}", "")
    if any(row.kind == "oracle" for row in report.rows):
        yield from (oracle_text(), "")
    if report.tests:
        yield from ("## Is the merge better?", "", tests_text(report), "")
        yield from table(
            ("against", "metric", "difference", "p", "p (Holm)", "p (Wilcoxon)", "verdict"), _tests(report)
        )
        yield ""
    if report.notes:
        yield from ("## Notes", "", *(f"- {note}" for note in report.notes), "")
    if report.curve:
        yield from ("## Training", "", *_training(report.curve), "")
    if report.parameters:
        rows = [(name, f"{count:,}") for name, count in report.parameters.items()]
        total = ("**total**", f"**{sum(report.parameters.values()):,}**")
        yield from ("## Parameters", "", *table(("part", "trainable numbers"), [*rows, total]), "")
    if report.stage_seconds:
        rows = [(name, seconds_text(seconds)) for name, seconds in report.stage_seconds.items()]
        yield from ("## Time", "", *table(("stage", "wall clock"), rows), "")


def columns(report: Report) -> list[tuple[str, int]]:
    """Metric and cutoff of each column of the table."""
    return [(metric, cutoff) for metric in report.metrics for cutoff in report.protocol.cutoffs]


def best_means(report: Report) -> dict[tuple[str, int], float]:
    """The best mean of each column among the methods; the oracle is none."""
    methods = [row for row in report.rows if row.kind != "oracle"]
    return {
        (metric, cutoff): METRICS.get(metric).best(row.metrics[metric][cutoff].mean for row in methods)
        for metric, cutoff in columns(report)
    }


def interval_text(estimate: Estimate) -> str:
    """The interval in brackets."""
    return f"[{estimate.low:.4f}, {estimate.high:.4f}]"


def p_text(p: float) -> str:
    """A p-value with as many digits as mean something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds_text(seconds: float) -> str:
    """A duration a person can read."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def protocol_text(protocol: Protocol) -> str:
    """The rules of the table in one paragraph."""
    seen = "kept in the lists" if protocol.seen_items == "keep" else "filtered from the lists"
    return (
        f"{protocol.dataset}, leave-one-out: the last item of each of {protocol.users:,} users is to be found among "
        f"all {protocol.items:,} items, none sampled. Seen items are {seen}; the target is one of them for "
        f"{protocol.seen_targets:.1%} of the users. Final fit: {protocol.final_fit}. "
        f"Order of histories: {protocol.order}. Selection: {protocol.selection}. "
        f"Brackets: {protocol.confidence:.0%} bootstrap interval over users "
        f"({protocol.bootstrap_samples:,} resamples), which does not hold the noise between seeds. "
        f"Seed {protocol.seed}."
    )


def oracle_text() -> str:
    """What the oracle row is."""
    return (
        "The oracle is no method: it looks at the target and takes, for each user, the stream that ranks it best. "
        "It bounds what choosing one stream for each user could reach."
    )


def tests_text(report: Report) -> str:
    """How the tests were made."""
    return (
        f"{report.tests[0].method} against each other method over the same users: paired bootstrap, two-sided, "
        f"Holm-corrected for {len(report.tests)} tests; Wilcoxon's signed-rank p uncorrected beside it. "
        "From p (Holm) = 0.05 on it says *not different*."
    )


def verdict_text(test: PairedTest) -> str:
    """One test in words."""
    return (
        f"{test.method} is {test.verdict} {'from' if test.verdict == 'not significantly different' else 'than'} {test.other} in "
        f"{column_name(test.metric, test.cutoff)}: {test.difference.mean:+.4f} "
        f"[{test.difference.low:+.4f}, {test.difference.high:+.4f}], p (Holm) {p_text(test.p_holm)}"
    )


def sparkline(values: Sequence[float | None]) -> str:
    """A curve in one line of text; a space where there is no value."""
    values = [value if value is not None and math.isfinite(value) else None for value in values]
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(" " if value is None else _BARS[round((value - low) / step)] for value in values)


def _results(report: Report) -> Iterator[str]:
    best = best_means(report)

    def cell(row: MethodResult, metric: str, cutoff: int) -> str:
        estimate = row.metrics[metric][cutoff]
        is_best = row.kind != "oracle" and METRICS.get(metric).is_best(estimate.mean, best[metric, cutoff])
        mean = f"**{estimate.mean:.4f}**" if is_best else f"{estimate.mean:.4f}"
        return f"{mean} {interval_text(estimate)}"

    head = ("method", "kind", *(column_name(*column) for column in columns(report)))
    rows = [
        (
            f"*{row.name}*" if row.kind == "oracle" else row.name,
            "*not a method*" if row.kind == "oracle" else row.kind,
            *(cell(row, *column) for column in columns(report)),
        )
        for row in report.rows
    ]
    return table(head, rows)


def _tests(report: Report) -> Iterator[tuple[str, ...]]:
    for test in report.tests:
        found = test.difference
        yield (
            test.other,
            column_name(test.metric, test.cutoff),
            f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]",
            p_text(found.p),
            p_text(test.p_holm),
            p_text(found.wilcoxon_p),
            test.verdict,
        )


def _training(curve: Sequence[EpochRecord]) -> Iterator[str]:
    measured = [epoch for epoch in curve if epoch.validation is not None]
    if measured:
        best = max(measured, key=lambda epoch: epoch.validation or 0.0)
        line = sparkline([epoch.validation for epoch in curve])
        yield f"Validation NDCG@10 `{line}`, best {best.validation:.4f} in epoch {best.epoch}."
        yield ""
    yield from ("![Loss and validation NDCG@10 by epoch](curves.svg)", "")
    parts = list(dict.fromkeys(part for epoch in curve for part in epoch.losses))
    rows = [
        (
            str(epoch.epoch),
            *(f"{epoch.losses[part]:.4f}" if part in epoch.losses else "" for part in parts),
            "" if epoch.validation is None else f"{epoch.validation:.4f}",
            f"{epoch.learning_rate:.2e}",
            seconds_text(epoch.seconds),
        )
        for epoch in curve
    ]
    yield from table(("epoch", *parts, "validation NDCG@10", "learning rate", "time"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; a bar in a cell is escaped."""
    yield _line(head)
    yield _line(["---"] * len(head))
    for row in rows:
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
