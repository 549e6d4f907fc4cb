"""``genrec runs``: list finished and unfinished runs."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import AsJson

app = typer.Typer(no_args_is_help=True, help="List runs.")


@app.callback()
def _runs() -> None:
    """List runs."""


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of runs.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs and comparisons of a folder with recipe, date and main metric, newest first."""
    import genrec
    from genrec.cli._output import print_json, print_table

    found = genrec.list_runs(folder).to_dicts()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            run["path"],
            run["command"] or "-",
            run["title"] or "-",
            run["dataset"] or "-",
            run["date"] or "-",
            "-" if run["value"] is None else f"{run['metric']} {run['value']:.4f}",
            run["state"],
        )
        for run in found
    ]
    print_table(f"runs in {folder}", ("path", "command", "recipe", "dataset", "date", "main metric", "state"), rows)
