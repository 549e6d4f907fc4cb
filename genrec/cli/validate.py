"""``genrec validate``: all mistakes of recipes, before any work."""

from pathlib import Path
from typing import Annotated

import typer

from genrec.cli._options import Overrides


def command(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", show_default=False)], overrides: Overrides = None
) -> None:
    """Check recipes and report every mistake at once."""
    import sys

    from genrec.errors import GenrecError
    from genrec.recipe import load_recipe

    failed = False
    for path in recipes:
        try:
            load_recipe(path, overrides or ())
            print(f"{path}: ok")
        except GenrecError as error:
            failed = True
            print(error, file=sys.stderr)
    if failed:
        raise typer.Exit(2)
