"""``genrec compare``: recipes, runs and axes -> one table with uncertainty, and an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, ThreadCount

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="As --dry-run, but time a few steps of what has no estimate. This computes the vectors and semantic "
            "IDs, which stay in the cache.",
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
    import genrec
    from genrec.api.comparisons import measured_stages, plan_comparison
    from genrec.comparison.runner import default_jobs
    from genrec.runtime.environment import Environment

    choices: dict[str, Any] = {
        "vary": vary or (),
        "seeds": seeds or (),
        "controls": controls,
        "split": "test" if test else "validation",
        "output": output,
        "overrides": overrides,
        "data": data,
        "device": device,
    }
    if dry_run or measure:
        plan = plan_comparison(recipes, **choices)
        at_once = jobs or default_jobs(Environment(device))
        planned = measured_stages(plan, jobs=at_once, threads=threads) if measure else plan.planned()
        _print_plan(plan, planned, at_once)
        return
    result = genrec.compare(recipes, **choices, budget=budget, jobs=jobs, threads=threads)
    if as_json:
        typer.echo((result.path / "comparison.json").read_text(encoding="utf-8"), nl=False)
        return

    from genrec.cli._output import results
    from genrec.reporting.comparison_files import print_comparison
    from genrec.runtime.progress import console

    print_comparison(result.comparison, results(), result.path)
    for kind in ("md", "csv", "html"):
        console.print(f"{result.path / f'comparison.{kind}'}", markup=False)


def _print_plan(plan: Plan, planned: Sequence[PlannedStage], jobs: int) -> None:
    """Print the stages to compute, which are shared, and an estimate of the time."""
    from genrec.cli._output import print_table, results
    from genrec.comparison.estimates import estimate, total_estimate

    groups: dict[tuple[str, str], list[PlannedStage]] = {}
    for stage in planned:
        groups.setdefault((stage.stage.kind, ", ".join(stage.like)), []).append(stage)
    lines = []
    for (kind, like), stages in groups.items():
        left = [stage for stage in stages if not stage.finished]
        uses = sum(stage.trials for stage in stages)
        numbers = map(str, (uses, len(stages), len(stages) - len(left), len(left)))
        lines.append([kind, like, *numbers, estimate(left) if left else ""])
    title = f"{len(plan.trials)} trials on {plan.dataset.name}: planned stages"
    print_table(
        title, ["stage", "of", "requested", "distinct", "finished", "to compute", "estimate, one process"], lines
    )
    for line in total_estimate(planned, jobs):
        results().print(line, markup=False)
