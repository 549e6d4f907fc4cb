"""``genrec run``: from a recipe to its report."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson, Data, Device, Overrides, RecipeFile, Seed


def command(
    recipe: RecipeFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="The run's folder; default: runs/<recipe>-<time>.", show_default=False
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Run a recipe: encode, tokenize, train, search, merge, and print a table that can be believed."""
    import os

    from genrec.recipe import load_recipe

    if data is not None:  # components that name files (weights, vectors, codes) look there too
        os.environ["GENREC_DATA"] = str(data)
    changes = [*(overrides or ()), *([] if seed is None else [f"seed={seed}"])]
    checked = load_recipe(recipe, changes)

    from genrec.pipeline import run
    from genrec.progress import console
    from genrec.run_folder import RunFolder

    folder = RunFolder.create(output, recipe)
    folder.write_recipe(checked.block(), changes)
    console.print(f"{checked.title} -> {folder.path}")
    report = run(checked, folder, data=data, device=device)
    if as_json:
        typer.echo((folder.path / "metrics.json").read_text(encoding="utf-8"), nl=False)
    else:
        from rich.console import Console

        report.print_report(Console(highlight=False))
        console.print(f"report: {folder.path / 'report.md'}")
