"""``genrec bench``: throughput of decoding and training, and its share of this machine's peak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, Seed, ThreadCount

if TYPE_CHECKING:
    from genrec.throughput.measurement import Throughput
    from genrec.throughput.timing import Spread, Timing

_WHAT = ("decode", "train")


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="RECIPE|RUN", help="Recipe, or folder of a finished run.", show_default=False),
    ],
    what: Annotated[str, typer.Option("--what", metavar="decode,train", help="What to measure.")] = "decode,train",
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="B1,B2", help="Users per batch of decoding.")
    ] = "1,32,256",
    repetitions: Annotated[
        int, typer.Option("--repetitions", min=1, help="Number of timed repetitions, after a warm-up.")
    ] = 5,
    threads: ThreadCount = None,
    users: Annotated[int, typer.Option("--users", min=1, help="Maximum number of validation users to decode.")] = 512,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps per repetition.")] = 10,
    each_stream: Annotated[bool, typer.Option("--each-stream", help="Also decode each stream alone.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Also write the results to a file, as JSON.", show_default=False),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure the throughput of decoding and training, and its share of this machine's peak."""
    import json

    from genrec.api.inputs import environment_of, override_texts
    from genrec.comparison.axes import variants

    measures, sizes = _parse_what(what), _parse_batch_sizes(batch_sizes)
    _check_file(output)
    changes = override_texts(overrides, seed)
    [variant] = variants([source], overrides=changes)

    from genrec.cli._output import print_json
    from genrec.experiment.cache import Cache
    from genrec.experiment.dataset import load_dataset
    from genrec.experiment.finished_run import finished_fits, load_fit
    from genrec.experiment.fit import plan_fit
    from genrec.experiment.ids import tokenize_items
    from genrec.experiment.run_folder import RunFolder
    from genrec.experiment.untrained_model import untrained_model
    from genrec.experiment.vectors import encode_items
    from genrec.runtime.threads import computed_on
    from genrec.runtime.threads import threads as computing_on
    from genrec.throughput.measurement import measure

    chosen = variant.recipe
    environment = environment_of(variant.source, chosen, data=data, device=device, threads=threads)
    if variant.run is not None:
        environment = RunFolder.open(variant.run).located(environment)
    with computing_on(environment.threads):
        dataset = load_dataset(chosen, environment)
        if variant.run is None:
            fit, machine = plan_fit(chosen, dataset, environment), computed_on(environment.torch_device)
            cache = Cache(RunFolder.cache_of(None), quiet=True, machine=machine)
            vectors = encode_items(fit, cache)
            streams = tokenize_items(fit, vectors, cache)
            model = untrained_model(chosen, streams, dataset.num_items, dataset.train)
            model = model.to(environment.torch_device).eval()
        else:
            folder = RunFolder.open(variant.run)
            streams, trained = load_fit(folder, finished_fits(folder, chosen, dataset, environment).test)
            model = trained.model
        measured = measure(
            chosen,
            dataset,
            streams,
            model,
            measures,
            weights="random" if variant.run is None else "trained",
            batch_sizes=sizes,
            users=users,
            steps=steps,
            repetitions=repetitions,
            num_threads=environment.threads,
            each_stream=each_stream,
        )
    if output is not None:
        output.write_text(json.dumps(measured.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        print_json(measured.as_json())
    else:
        _print(measured)


def _parse_what(text: str) -> list[Literal["decode", "train"]]:
    from genrec.errors import GenrecError

    measures: list[Literal["decode", "train"]] = []
    for part in text.split(","):
        match part.strip():
            case "decode" | "train" as known:
                measures.append(known)
            case other:
                raise GenrecError(
                    f"--what {text}: found {other!r}, expected {' or '.join(_WHAT)}, or both: decode,train"
                )
    return measures


def _parse_batch_sizes(text: str) -> list[int]:
    from genrec.errors import GenrecError

    sizes: list[int] = []
    for part in text.split(","):
        word = part.strip()
        if not (word.isascii() and word.isdigit() and len(word) < 10 and int(word) > 0):
            raise GenrecError(f"--batch-sizes {text}: found {word!r}, expected positive integers such as 1,32,256")
        sizes.append(int(word))
    if twice := sorted({size for size in sizes if sizes.count(size) > 1}):
        raise GenrecError(f"--batch-sizes {text}: {', '.join(map(str, twice))} more than once, expected each size once")
    return sizes


def _check_file(output: Path | None) -> None:
    """Check ``--output`` before the work begins.

    Raises:
        DataError: the file cannot be written there.
    """
    from genrec.errors import DataError

    if output is None:
        return
    if output.is_dir():
        raise DataError(f"--output {output}: is a folder, expected a file for the JSON")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: there is no folder {output.parent}; create it, or name another file")


def _print(measured: Throughput) -> None:
    from genrec.cli._output import print_table, results

    machine, peak = measured.machine, measured.peak
    by_cpu = "" if peak.per_cpu_second is None else f" ({peak.per_cpu_second / 1e9:,.0f} per CPU-second)"
    console = results()
    console.print(f"{measured.title}, {measured.weights} weights, on {measured.dataset}", markup=False)
    console.print(
        f"{machine.processor}, threads: {machine.threads}, device {machine.device}, torch {machine.torch}, "
        f"BLAS {machine.blas}",
        markup=False,
    )
    console.print(
        f"peak: {peak.per_second / 1e9:,.0f} GFLOP/s{by_cpu}, {peak.dtype} products of {peak.size:,} x {peak.size:,}\n",
        markup=False,
    )
    if measured.decode:
        columns = ["streams", "batch", *_rate_columns("user", by_cpu)]
        rows = [[timing.name, f"{timing.batch_size:,}", *_rates(timing, measured)] for timing in measured.decode]
        print_table("decoding", columns, rows)
    if train := measured.train:
        columns = ["batch", *_rate_columns("target", by_cpu), "ms per step", *train.phases]
        phases = [f"{share:.0%}" for share in train.phases.values()]
        row = [f"{train.batch_size:,}", *_rates(train, measured), f"{train.milliseconds_a_step:,.1f}", *phases]
        print_table("training", columns, [row])
    for line in (*_legend(measured), *(f"Note: {note}" for note in measured.notes)):
        console.print(line, markup=False, soft_wrap=True)


def _rate_columns(unit: str, by_cpu: str) -> list[str]:
    wall = [f"{unit}s/s", f"MFLOP per {unit}", "of peak"]
    return [*wall, f"{unit}s/CPU-s", "of peak by CPU-s"] if by_cpu else wall


def _rates(timing: Timing, measured: Throughput) -> list[str]:
    peak = measured.peak
    flops = "unknown" if timing.flops_each is None else _number(timing.flops_each / 1e6)
    wall = [_spread(timing.per_second), flops, _share(timing.share_of(peak))]
    if peak.per_cpu_second is None:
        return wall
    return [*wall, _spread(timing.per_cpu_second), _share(timing.cpu_share_of(peak))]


def _legend(measured: Throughput) -> list[str]:
    repetitions = len(measured.timings[0].repetitions)
    lines = [
        f"Median (lowest - highest) of {repetitions} repetitions after a warm-up. CPU-s: CPU seconds of all threads.",
        "of peak: executed operations of matrix products and attention (a multiply-add counts as 2), divided by the "
        "peak, which is measured before and after. It measures how well the machine is used, not how little work is "
        "done; fewer MFLOP per user or target mean less work.",
    ]
    if measured.train:
        lines.append(
            "forward ... rest: shares of the time of a step, measured separately; backward includes gradient clipping, "
            "rest includes the preparation of batches."
        )
    return lines


def _spread(spread: Spread) -> str:
    return f"{_number(spread.median)} ({_number(spread.min)} - {_number(spread.max)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
