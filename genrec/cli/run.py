"""``genrec run``: a recipe -> its report."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import (
    AsJson,
    Data,
    Device,
    Overrides,
    RecipeFile,
    Seed,
    ThreadCount,
    changes_of,
    environment_of,
)


def command(
    recipe: RecipeFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Folder of the run (default: runs/<recipe>-<time>).", show_default=False
        ),
    ] = None,
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: ThreadCount = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe: encode, tokenize, train, search, merge, evaluate and report, with confidence intervals."""
    from genrec.recipe import dump_recipe, load_recipe

    changes = changes_of(overrides, seed)
    checked = load_recipe(recipe, changes)

    from genrec.cli._output import results
    from genrec.errors import GenrecError
    from genrec.experiment.run_folder import RunFolder
    from genrec.runtime.progress import console

    environment = environment_of(recipe, checked.block(), data=data, device=device, threads=threads)
    folder = RunFolder.create(output, recipe)
    folder.write_recipe(dump_recipe(checked), changes)
    console.print(f"{checked.title} -> {folder.path}", markup=False)

    from genrec.pipeline import run  # imports torch, which takes seconds
    from genrec.reporting.report_terminal import print_report

    try:
        report = run(checked, folder, environment=environment)
    except GenrecError:
        _discard_if_empty(folder.path)
        raise
    if as_json:
        typer.echo((folder.path / "metrics.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_report(report, results(), folder.path)
        console.print(f"report: {folder.path / 'report.md'}", markup=False)


def _discard_if_empty(run: Path) -> None:
    """Remove the folder of a run that failed before its first stage, e.g. because data is missing."""
    initial = {"run.json", "recipe.yaml"}
    if {file.name for file in run.iterdir()} == initial:
        for name in initial:
            (run / name).unlink()
        with suppress(OSError):  # it is the working folder
            run.rmdir()
