"""How the cost of decoding and of training grows with each size, the others at the paper's: JSON and one SVG figure.

``python benchmarks/curves.py [--output FOLDER]`` writes ``curves.json`` and ``curves.svg``. One thread, CPU-seconds,
medians; random weights and codes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import torch
from _clock import take_turns
from _models import Sizes, build_retriever, decoding_flop, random_histories, search, training_flop
from _results import Result, Table, give, read_conditions, say_load

from genrec.model.retriever import Retriever
from genrec.runtime.progress import console
from genrec.semantic_ids.trie import Trie
from genrec.throughput.machine import measure_peak
from genrec.training.batches import HistoryBatch
from genrec.training.settings import TrainingSettings
from genrec.training.trainer import train

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

PEAK = "sgemm peak in GFLOP/s"


@dataclass(frozen=True)
class Point:
    """One measurement."""

    x: int
    line: str
    """What it belongs to where a panel has several lines; else empty."""
    milliseconds: float
    """CPU time of a user, or of a training sample."""
    gigaflop_per_second: float
    """Least operations of the textbook over CPU time; genrec does some of them in fewer."""


@dataclass(frozen=True)
class Curve:
    """One panel."""

    title: str
    axis: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Grid:
    """Which sizes are measured, and how often."""

    base: Sizes = field(default_factory=Sizes)
    items: tuple[tuple[int, int], ...] = (
        (1_000, 2),
        (5_000, 2),
        (12_101, 2),
        (50_000, 2),
        (5_000, 3),
        (12_101, 3),
        (50_000, 3),
        (200_000, 3),
        (1_000_000, 3),
    )
    """Number of items and code length."""
    beam_widths: tuple[int, ...] = (10, 25, 50, 100, 200, 400)
    streams: tuple[int, ...] = (1, 2, 3, 4, 5)
    levels: tuple[int, ...] = (1, 2, 3, 4)
    histories: tuple[int, ...] = (5, 10, 20, 50)
    batches: tuple[int, ...] = (1, 4, 16, 64, 128, 256, 512)
    trained_streams: tuple[int, ...] = (1, 2, 3, 5)
    trained_layers: tuple[int, ...] = (1, 2, 4, 6)
    batch: int = 64
    """Users searched together."""
    beam_width: int = 100
    list_length: int = 20
    repeats: int = 3
    training_batch: int = 256
    """Samples of a training batch; each is a whole history and its next item."""
    training_batches: int = 4
    """In an epoch; the first epoch warms up and ``repeats`` are measured."""


def measure_all(grid: Grid) -> Iterator[Curve]:
    """Every panel, decoding first."""
    base = grid.base

    def decode(x: int, sizes: Sizes, line: str = "", **changes: int) -> Point:
        return measure_decoding(grid, x, line, sizes, *build_retriever(sizes), **changes)

    items = [decode(n, replace(base, num_items=n, num_levels=length), f"l={length}") for n, length in grid.items]
    yield Curve("Decoding: items", "items", items)
    built = build_retriever(base)
    beams = [measure_decoding(grid, K, "", base, *built, beam_width=K) for K in grid.beam_widths]
    yield Curve("Decoding: beam width", "beams", beams)
    streams = [decode(S, replace(base, num_streams=S)) for S in grid.streams]
    yield Curve("Decoding: streams", "streams", streams)
    levels = [decode(L, replace(base, num_levels=L)) for L in grid.levels]
    yield Curve("Decoding: code length", "codes of an item", levels)
    histories = [decode(T, replace(base, history=T)) for T in grid.histories]
    yield Curve("Decoding: history", "items of a history", histories)
    batches = [measure_decoding(grid, B, "", base, *built, batch=B) for B in grid.batches]
    yield Curve("Decoding: batch", "users together", batches)
    trained = [measure_training(grid, S, replace(base, num_streams=S)) for S in grid.trained_streams]
    yield Curve("Training: streams", "streams", trained)
    layers = [measure_training(grid, layers, replace(base, decoder_layers=layers)) for layers in grid.trained_layers]
    yield Curve("Training: decoder layers", "layers of each decoder", layers)


def measure_decoding(
    grid: Grid,
    x: int,
    line: str,
    sizes: Sizes,
    retriever: Retriever,
    tries: dict[str, Trie],
    *,
    batch: int | None = None,
    beam_width: int | None = None,
) -> Point:
    """CPU time of one user's search in all streams."""
    batch, beam_width = batch or grid.batch, beam_width or grid.beam_width
    histories = random_histories(sizes, batch)

    def work() -> None:
        search(retriever, tries, histories, beam_width=beam_width, list_length=min(grid.list_length, beam_width))

    seconds = take_turns({"": work}, grid.repeats)[""] / batch
    return Point(x, line, 1e3 * seconds, decoding_flop(sizes, tries, beam_width) / seconds / 1e9)


def measure_training(grid: Grid, x: int, sizes: Sizes) -> Point:
    """CPU time of one training sample: forward, backward and the optimizer's step, without tasks."""
    retriever, _ = build_retriever(sizes)
    history_BT = random_histories(sizes, grid.training_batch).last(sizes.history, padding=sizes.num_items)[0]
    target_BQ = random_histories(replace(sizes, history=1), grid.training_batch, seed=1).last(1, padding=0)[0]
    batch = HistoryBatch(torch.from_numpy(history_BT), torch.from_numpy(target_BQ), all_positions=False)
    marks: list[float] = []

    def epoch(_: int) -> list[HistoryBatch]:
        marks.append(time.process_time())
        return [batch] * grid.training_batches

    settings = TrainingSettings(max_epochs=2 + grid.repeats, patience=2 + grid.repeats)
    console.quiet = True
    try:
        train(retriever, epoch, retriever, settings, validate=None, seed=0, title="benchmark")
    finally:
        console.quiet = False
    # The first epoch warms up; the last has no mark behind it.
    epochs = [after - before for before, after in pairwise(marks[1:])]
    seconds = median(epochs) / (grid.training_batches * grid.training_batch)
    return Point(x, "", 1e3 * seconds, training_flop(sizes) / seconds / 1e9)


def draw(curves: Sequence[Curve], conditions: Mapping[str, str], path: Path) -> None:
    """All panels in one figure: milliseconds at the left, GFLOP/s at the right on one scale for all."""
    columns = 4
    rows = -(-len(curves) // columns)
    peak = float(conditions[PEAK])
    fastest = max(peak, *(point.gigaflop_per_second for curve in curves for point in curve.points))
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "genrec"})
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.7 * rows + 0.5), squeeze=False)
    for place, (axis, curve) in enumerate(zip(axes.flat, curves, strict=False)):
        right = axis.twinx()
        right.set_ylim(0, 1.15 * fastest)
        right.axhline(peak, color="#999999", linewidth=1, linestyle=":")
        right.tick_params(labelright=place % columns == columns - 1, colors="#777777")
        if place % columns == columns - 1:
            right.set_ylabel("GFLOP/s", color="#777777")
        _draw_panel(axis, right, curve)
        axis.set_zorder(right.get_zorder() + 1)
        axis.patch.set_visible(False)
        if place % columns == 0:
            axis.set_ylabel("CPU-ms")
    for axis in list(axes.flat)[len(curves) :]:
        axis.set_visible(False)
    text = f"{conditions['processor']}, one thread, {conditions['date']}. "
    figure.text(
        0.5,
        0.015,
        text + "Solid: CPU-ms a user or training sample (left). Gray: GFLOP/s (right), dotted the peak of sgemm.",
        ha="center",
    )
    figure.tight_layout(rect=(0, 0.05, 1, 1), h_pad=2.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw_panel(axis: Axes, right: Axes, curve: Curve) -> None:
    lines = list(dict.fromkeys(point.line for point in curve.points))
    for number, line in enumerate(lines):
        points = [point for point in curve.points if point.line == line]
        x = [point.x for point in points]
        color = f"C{number}"
        axis.plot(x, [point.milliseconds for point in points], "o-", color=color, label=line, markersize=4)
        right.plot(x, [point.gigaflop_per_second for point in points], "--", color="#999999", linewidth=1)
    xs = sorted({point.x for point in curve.points})
    if xs[-1] >= 10 * max(xs[0], 1):
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(_apart(xs, axis.get_xscale() == "log"))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    headroom = 1.5 if len(lines) > 1 else 1.25
    axis.set_ylim(0, headroom * max(point.milliseconds for point in curve.points))
    axis.set_title(curve.title, fontsize=10)
    axis.set_xlabel(curve.axis)
    axis.grid(alpha=0.25)
    if len(lines) > 1:
        axis.legend(loc="upper center", ncols=len(lines), framealpha=1, edgecolor="none")


def _apart(xs: Sequence[int], is_log: bool) -> list[int]:
    """The ticks whose labels do not overlap."""
    scale: Callable[[float], float] = math.log if is_log else float
    width = scale(xs[-1]) - scale(xs[0])
    chosen = [xs[0]]
    for x in xs[1:]:
        if scale(x) - scale(chosen[-1]) >= 0.13 * width:
            chosen.append(x)
    return chosen


def _short(x: float) -> str:
    if x >= 1e6:
        return f"{x / 1e6:g}M"
    return f"{x / 1e3:.0f}k" if x >= 1e3 else f"{x:g}"


def as_table(curves: Sequence[Curve]) -> Table:
    """All points."""
    rows = [
        [curve.title, f"{point.x:,} {point.line}".strip(), point.milliseconds, point.gigaflop_per_second]
        for curve in curves
        for point in curve.points
    ]
    note = "GFLOP/s: the textbook's least operations over CPU time; where genrec needs fewer, it can pass the peak."
    return Table("Cost of a user or training sample", ["panel", "size", "CPU-ms", "GFLOP/s"], rows, note)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=Grid.repeats, help="rounds after one to warm up; medians count")
    parser.add_argument("--redraw", action="store_true", help="draw the curves.json in --output again, measure nothing")
    parser.add_argument("--output", type=Path, help="folder for curves.json and curves.svg")
    arguments = parser.parse_args()
    if arguments.redraw:
        content: dict[str, Any] = json.loads((arguments.output / "curves.json").read_text(encoding="utf-8"))
        curves = [Curve(c["title"], c["axis"], [Point(**point) for point in c["points"]]) for c in content["curves"]]
        return draw(curves, content["conditions"], arguments.output / "curves.svg")
    torch.set_num_threads(1)
    say_load()
    conditions = read_conditions()
    began = time.monotonic()
    peak = measure_peak(torch.device("cpu"))
    conditions[PEAK] = f"{(peak.per_cpu_second or peak.per_second) / 1e9:.1f}"
    curves = list(measure_all(Grid(repeats=arguments.repeats)))
    conditions["minutes"] = f"{(time.monotonic() - began) / 60:.1f}"
    give(Result("curves", [as_table(curves)], conditions), None)
    if arguments.output is not None:
        arguments.output.mkdir(parents=True, exist_ok=True)
        content = {"conditions": conditions, "curves": [asdict(curve) for curve in curves]}
        (arguments.output / "curves.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        draw(curves, conditions, arguments.output / "curves.svg")


if __name__ == "__main__":
    main()
