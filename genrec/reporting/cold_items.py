"""How well cold items are found, in words: a section of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genrec.evaluation.metrics import METRICS, column_name, main_cutoff, main_metric
from genrec.reporting.report import ColdItems, Metrics
from genrec.reporting.texts import count_text, interval_text, table


def cold_lines(cold: ColdItems) -> Iterator[str]:
    """The section of the report, in Markdown, without its heading."""
    yield (
        f"{cold.items:,} of {count_text(cold.all_items, 'item')} were held out before anything was fitted, and added "
        f"as new items after training. They are the last item of {count_text(cold.users, 'user')}, whose other items "
        "are the history. All other results are those of the data without the held-out items."
    )
    yield ""
    if cold.problem:
        yield f"Not measured: {cold.problem}"
        return
    for methods, candidates in (
        (cold.among_all, f"all {cold.all_items:,} items"),
        (cold.among_cold, "the held-out items"),
    ):
        yield from (f"Ranked among {candidates}:", "", *_table(methods), "")
    yield (
        "Popularity counts training interactions; a held-out item has none. Equal counts are in the order of the "
        "catalog, held-out items last. Random is one random order for each user."
    )
    yield ""
    for name, ways in cold.codes.items():
        yield f"- {name}: {', '.join(f'{count:,} {how}' for how, count in ways.items())}"


def cold_sentence(cold: ColdItems) -> str:
    """The main result in one sentence, for a terminal."""
    begin = f"Cold items: {cold.items:,} held-out items, {count_text(cold.users, 'user')}"
    if cold.problem:
        return f"{begin}; not measured: {cold.problem}"
    first = next(iter(cold.among_all.values()))
    metric, cutoff = main_metric(tuple(first)), main_cutoff(tuple(next(iter(first.values()))))
    means = ", ".join(
        f"{name} {metrics[metric][cutoff].mean:.4f} ({cold.among_cold[name][metric][cutoff].mean:.4f})"
        for name, metrics in cold.among_all.items()
    )
    return f"{begin}; {column_name(metric, cutoff)} among all items (among the held-out ones): {means}"


def _table(methods: Mapping[str, Metrics]) -> Iterator[str]:
    first = next(iter(methods.values()))
    columns = [(metric, cutoff) for metric, by_cutoff in first.items() for cutoff in by_cutoff]
    best = {
        (metric, cutoff): METRICS.get(metric).best(metrics[metric][cutoff].mean for metrics in methods.values())
        for metric, cutoff in columns
    }

    def cell(metrics: Metrics, metric: str, cutoff: int) -> str:
        estimate = metrics[metric][cutoff]
        is_best = METRICS.get(metric).is_best(estimate.mean, best[metric, cutoff])
        return f"{f'**{estimate.mean:.4f}**' if is_best else f'{estimate.mean:.4f}'} {interval_text(estimate)}"

    rows = ((name, *(cell(metrics, *column) for column in columns)) for name, metrics in methods.items())
    return table(("method", *(column_name(*column) for column in columns)), rows)
