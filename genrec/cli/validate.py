"""``genrec validate``: all mistakes of recipes, before any work."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genrec.cli._options import AsJson, Overrides


def command(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", show_default=False)],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes and report every mistake at once."""
    import sys

    from genrec.cli._output import print_json
    from genrec.errors import GenrecError
    from genrec.recipe import load_recipe

    mistakes: dict[Path, GenrecError | None] = {}
    for path in recipes:
        try:
            load_recipe(path, overrides or ())
            mistakes[path] = None
        except GenrecError as error:
            mistakes[path] = error
        if not as_json:
            error = mistakes[path]
            print(f"{path}: ok" if error is None else error, file=sys.stdout if error is None else sys.stderr)
    if as_json:
        print_json([{"recipe": str(path), "problems": _problems(error)} for path, error in mistakes.items()])
    if any(mistakes.values()):
        raise typer.Exit(2)


def _problems(error: Exception | None) -> list[dict[str, Any]]:
    """Each mistake as plain data; a file that cannot be read is one without line and key."""
    from genrec.recipe import InvalidRecipeError

    if error is None:
        return []
    if not isinstance(error, InvalidRecipeError):
        return [{"source": None, "line": None, "key": None, "text": str(error)}]
    return [
        {"source": p.place.source, "line": p.place.line or None, "key": p.key or None, "text": p.text}
        for p in error.problems
    ]
