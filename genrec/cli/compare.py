"""``genrec compare``: recipes, runs and axes -> one table with uncertainty, and an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, ThreadCount, changes_of, environment_of, parse_threads

if TYPE_CHECKING:
    from genrec.comparison.plan import Plan, PlannedStage


def command(
    recipes: Annotated[
        list[Path],
        typer.Argument(metavar="RECIPE...", help="Recipes and folders of finished runs.", show_default=False),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2",
            help="Axis to vary: merge=confidence,learned; 'streams.*.tokenizer=rqvae,{type: kmeans_tree, branching: "
            "64}'; streams=text,behavior+text. With several axes, all combinations are compared.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="1,2,3", help="Seeds of every variant (default: the recipe's).", show_default=False
        ),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Add the controls of the streams: each stream several times, and one stream on concatenated vectors.",
        ),
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Evaluate on the test split (do this once, at the end).")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the stages to compute, which are shared, and an estimate of the time; then exit."
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Time limit (90s, 30m, 2h); what is finished by then is reported.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Models trained at the same time (default: one per processor, at most 4; one on a GPU).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Folder of the comparison (default: runs/compare-<recipe>-<time>).",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    device: Device = "auto",
    threads: ThreadCount = None,
    as_json: AsJson = False,
) -> None:
    """Compare recipes, tokenizers, merges, streams and seeds in one table; shared stages run once."""
    import time

    from genrec.comparison.axes import parse_budget, parse_seeds, variants

    seconds = None if budget is None else parse_budget(budget)
    thread_count = parse_threads(threads)
    seed_list = () if seeds is None else parse_seeds(seeds)
    compared = variants(recipes, vary or (), overrides=changes_of(overrides), controls=controls)

    from genrec.cli._output import results
    from genrec.comparison.comparing import compare
    from genrec.comparison.plan import make_plan
    from genrec.comparison.runner import Runner, default_jobs
    from genrec.experiment.cache import Cache
    from genrec.experiment.run_folder import RunFolder
    from genrec.reporting.comparison_files import print_comparison, write
    from genrec.runtime.progress import console

    environment = environment_of(data=data, device=device)
    begun = time.monotonic()
    split = "test" if test else "valid"
    cache = Cache(RunFolder.cache_of(output), quiet=True)
    plan = make_plan(compared, seed_list, cache, split=split, environment=environment)
    if dry_run:
        _print_plan(plan, jobs or default_jobs(environment))
        return
    folder = RunFolder.create(output, Path(f"compare-{recipes[0].resolve().stem}"), verb="compare")
    console.print(f"{len(plan.trials)} trials of {len(compared)} variants -> {folder.path}", markup=False)
    runner = Runner(
        logs=folder.path / "logs",
        at_once=jobs or default_jobs(environment),
        threads=thread_count,
        deadline=None if seconds is None else begun + seconds,
    )
    title = " and ".join(dict.fromkeys(variant.recipe.title for variant in compared))
    comparison = compare(plan, runner, title=title, split=split)
    write(comparison, plan.dataset.valid if split == "valid" else plan.dataset.test, folder.path)
    folder.finish({"split": comparison.split, "stages": comparison.stages, "seconds": round(comparison.seconds, 1)})
    if as_json:
        typer.echo((folder.path / "comparison.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_comparison(comparison, results(), folder.path)
        for kind in ("md", "csv", "html"):
            console.print(f"{folder.path / f'comparison.{kind}'}", markup=False)


def _print_plan(plan: Plan, jobs: int) -> None:
    """Print the stages to compute, which are shared, and an estimate of the time."""
    from genrec.cli._output import print_table, results

    groups: dict[tuple[str, str], list[PlannedStage]] = {}
    for stage in plan.planned():
        groups.setdefault((stage.stage.kind, ", ".join(stage.like)), []).append(stage)
    lines = []
    for (kind, like), stages in groups.items():
        left = [stage for stage in stages if not stage.finished]
        known = [stage.seconds for stage in left if stage.seconds is not None]
        estimate = "" if not left else _duration(sum(known)) if len(known) == len(left) else "unknown"
        uses = sum(stage.trials for stage in stages)
        lines.append([kind, like, str(uses), str(len(stages)), str(len(stages) - len(left)), str(len(left)), estimate])
    title = f"{len(plan.trials)} trials on {plan.dataset.name}: planned stages"
    print_table(
        title, ["stage", "of", "requested", "distinct", "finished", "to compute", "estimate, one process"], lines
    )
    results().print(_whole_estimate(plan, jobs), markup=False)


def _whole_estimate(plan: Plan, jobs: int) -> str:
    left = [stage for stage in plan.planned() if not stage.finished]
    seconds = sum((stage.seconds or 0.0) / (1 if stage.stage.kind in ("vectors", "ids") else jobs) for stage in left)
    unknown = sum(stage.seconds is None for stage in left)
    estimate = f"about {_duration(seconds)} with {jobs} at a time"
    if unknown:
        known = f"{estimate}, plus " if seconds else ""
        return f"{known}{unknown} stages of unknown duration: no similar stage is in the cache"
    return f"{estimate}, plus seconds to minutes for merges, other baselines and tests"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
