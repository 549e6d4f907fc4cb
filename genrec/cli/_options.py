"""Options that several verbs share, spelled and explained once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genrec.runtime.environment import Environment
    from genrec.runtime.threads import Threads

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
"""Default None; :func:`changes_of` gives what :func:`genrec.recipe.load_recipe` takes."""

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

ThreadCount = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar="N|auto",
        help="Threads that a model computes on. auto, the default unless OMP_NUM_THREADS is set: one for a small "
        "model, up to eight for a large one, whatever else runs on this machine.",
        show_default=False,
    ),
]
"""Default None; :func:`parse_threads` reads it."""


def changes_of(overrides: Sequence[str] | None, seed: int | None = None) -> list[str]:
    """``--set`` and ``--seed`` as one list of changes of a recipe."""
    return [*(overrides or ()), *([] if seed is None else [f"seed={seed}"])]


def parse_threads(text: str | None) -> Threads:
    """``--threads``: a number, ``auto``, or None where it was not given.

    Raises:
        GenrecError: it is something else.
    """
    from genrec.errors import GenrecError

    if text is None or text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise GenrecError(f"--threads {text}: expected a whole number from 1, or auto")
    return int(text)


def environment_of(
    recipe: Path | None = None,
    block: Mapping[str, Any] | None = None,
    *,
    data: Path | None = None,
    device: str = "auto",
    threads: str | None = None,
) -> Environment:
    """Where a command computes and finds its files.

    Args:
        recipe: the file of the recipe; its folder is searched for files that the recipe names.
        block: of the recipe, every default written out, by which auto chooses the number of threads; None leaves it
            open.
        data: ``--data``.
        device: ``--device``; it is tried.
        threads: ``--threads``.

    Raises:
        GenrecError: there is no such device, or no such number of threads.
    """
    from genrec.runtime.environment import Environment
    from genrec.runtime.threads import threads_for

    asked = parse_threads(threads)
    count = None if block is None else threads_for(asked, block)
    environment = Environment(device, count, data, None if recipe is None else recipe.resolve().parent)
    environment.check_device()
    return environment
