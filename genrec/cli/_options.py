"""Options that several verbs share, spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe: a YAML file.", show_default=False)]

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the recipe for once: training.batch_size=64, tasks.0.weight=2, streams.*.tokenizer.branching=64.",
        show_default=False,
    ),
]
"""Default None; hand ``overrides or ()`` to :func:`genrec.recipe.load_recipe`."""

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="GENREC_DATA",
        help="Where data lies: DIR/<folder of the dataset> if that is there, else DIR itself.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's seed.", show_default=False)]

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
"""Default "auto"."""
