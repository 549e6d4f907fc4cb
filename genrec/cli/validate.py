"""``genrec validate``: all errors of recipes, before any work."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genrec.cli._options import AsJson, Overrides


def command(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes (YAML files).", show_default=False)
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes and report all errors at once."""
    import sys

    from genrec.cli._output import print_json
    from genrec.errors import GenrecError
    from genrec.recipe import load_recipe

    results: dict[Path, GenrecError | None] = {}
    for path in recipes:
        try:
            load_recipe(path, overrides or ())
            results[path] = None
        except GenrecError as error:
            results[path] = error
        error = results[path]
        if not as_json:
            print(f"{path}: ok" if error is None else error, file=sys.stdout if error is None else sys.stderr)
    if as_json:
        print_json([{"recipe": str(path), "problems": _problems(error)} for path, error in results.items()])
    if any(results.values()):
        raise typer.Exit(2)


def _problems(error: Exception | None) -> list[dict[str, Any]]:
    """Each error as plain data; the error of an unreadable file has no line and no key."""
    from genrec.recipe import InvalidRecipeError

    if error is None:
        return []
    if not isinstance(error, InvalidRecipeError):
        return [{"source": None, "line": None, "key": None, "text": str(error)}]
    return [
        {"source": p.place.source, "line": p.place.line or None, "key": p.key or None, "text": p.text}
        for p in error.problems
    ]
