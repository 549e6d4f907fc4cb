"""``genrec reproduce``: a table or figure of the EAGER paper, beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, ThreadCount


def command(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="table1 to table7, section3_3 (decoders and history encoders), section4_5 (history encoder layers), "
            "figure4 to figure6.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="beauty, sports, toys, yelp, movielens or showroom.")
    ] = "beauty",
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help="EAGER recipe; recipes of other systems are beside it (default: recipes/eager_<dataset>.yaml).",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Number of seeds of every row.")] = 1,
    light: Annotated[
        bool, typer.Option("--light", help="Smaller models and 2 epochs, the same for all recipes; printed.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Test the command with tiny models in minutes; gives no result.")
    ] = False,
    validation: Annotated[
        bool, typer.Option("--validation", help="Evaluate validation users in place of test users.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Time limit (90s, 30m, 2h); rows that are not finished by then are marked and get no verdict.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Models trained at the same time, as in compare.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Folder of the outcome (default: runs/reproduce-<study>-<time>).",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    device: Device = "auto",
    threads: ThreadCount = None,
    as_json: AsJson = False,
) -> None:
    """Run a table or figure of the EAGER paper, and print it beside the paper's numbers and orderings."""
    from genrec.api.reproducing import reproduce
    from genrec.cli._output import print_json, printable
    from genrec.errors import RecipeError

    if light and quick:
        raise RecipeError("found --light and --quick, expected one of them")
    result = reproduce(
        study,
        dataset=dataset,
        recipe=recipe,
        seeds=seeds,
        budget="quick" if quick else "light" if light else "full",
        split="validation" if validation else "test",
        time_limit=budget,
        output=output,
        overrides=overrides,
        data=data,
        jobs=jobs,
        device=device,
        threads=threads,
    )
    if as_json:
        print_json(result.outcome)
    else:
        typer.echo(printable(result.text))

        from genrec.runtime.progress import console

        console.print(f"{result.path}", markup=False)
