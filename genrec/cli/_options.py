"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._completion import devices

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe (YAML file).", show_default=False)]

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a recipe key: training.batch_size=64, tasks.0.weight=2, streams.*.tokenizer.branching=64.",
        show_default=False,
    ),
]

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="GENREC_DATA",
        help="Data folder: DIR/<folder of the dataset> if it exists, else DIR itself. Default: data/ beside the "
        "recipe, or the folder of the recipe.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

TrustPlugins = Annotated[
    bool,
    typer.Option(
        "--trust-plugins", help="Execute plugins beside a recipe in the folder of a run, which may be someone else's."
    ),
]

Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Random seed (default: the recipe's).", show_default=False)
]

Device = Annotated[
    str,
    typer.Option("--device", help="Device to compute on: auto, cpu, cuda, cuda:1, mps.", autocompletion=devices),
]
"""Default "auto"."""

ThreadCount = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar="N|auto",
        help="Number of threads of a model. auto (default unless OMP_NUM_THREADS is set): one for a small model, up to "
        "eight for a large one, regardless of the load of the machine.",
        show_default=False,
    ),
]
