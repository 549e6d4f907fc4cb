"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genrec.runtime.environment import Environment
    from genrec.runtime.threads import Threads

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
"""Default None; :func:`changes_of` converts it for :func:`genrec.recipe.load_recipe`."""

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="GENREC_DATA",
        help="Data folder: DIR/<folder of the dataset> if it exists, else DIR itself.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Random seed (default: the recipe's).", show_default=False)
]

Device = Annotated[str, typer.Option("--device", help="Device to compute on: auto, cpu, cuda, cuda:1, mps.")]
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
"""Default None; :func:`parse_threads` reads it."""


def changes_of(overrides: Sequence[str] | None, seed: int | None = None) -> list[str]:
    """``--set`` and ``--seed`` as one list of overrides."""
    return [*(overrides or ()), *([] if seed is None else [f"seed={seed}"])]


def parse_threads(text: str | None) -> Threads:
    """Parse ``--threads``: a number, ``auto``, or None if it is not given.

    Raises:
        GenrecError: the text is anything else.
    """
    from genrec.errors import GenrecError

    if text is None or text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise GenrecError(f"--threads {text}: expected a positive integer or auto")
    return int(text)


def environment_of(
    recipe: Path | None = None,
    block: Mapping[str, Any] | None = None,
    *,
    data: Path | None = None,
    device: str = "auto",
    threads: str | None = None,
) -> Environment:
    """The environment of a command: device, threads and folders.

    Args:
        recipe: file of the recipe; files that it names are also searched for in its folder.
        block: the recipe as plain data with all defaults, from which auto derives the number of threads; None leaves
            the number undecided.
        data: ``--data``.
        device: ``--device``; checked by allocating a tensor.
        threads: ``--threads``.

    Raises:
        GenrecError: the device is not available, or the number of threads is not valid.
    """
    from genrec.runtime.environment import Environment
    from genrec.runtime.threads import threads_for

    requested = parse_threads(threads)
    count = None if block is None else threads_for(requested, block)
    environment = Environment(device, count, data, None if recipe is None else recipe.resolve().parent)
    environment.check_device()
    return environment
