"""``genrec validate``: all errors of recipes and their data, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._options import AsJson, Data, Overrides, Seed, TrustPlugins

if TYPE_CHECKING:
    from genrec.recipe.problems import Problem


def command(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipes (YAML files).", show_default=False)
    ],
    data: Data = None,
    overrides: Overrides = None,
    seed: Seed = None,
    trust_plugins: TrustPlugins = False,
    as_json: AsJson = False,
) -> None:
    """Check recipes, and their data and weights if there is a data folder; report all errors at once."""
    import sys

    from genrec.api.inputs import override_texts
    from genrec.cli._output import print_json, printable
    from genrec.runtime.progress import console

    found = {path: _checked(path, override_texts(overrides, seed), data, trust_plugins) for path in recipes}
    if as_json:
        print_json(
            [
                {"recipe": str(path), "problems": list(map(_as_dict, problems)), "notes": notes}
                for path, (problems, notes) in found.items()
            ]
        )
    else:
        for path, (problems, notes) in found.items():
            if not problems:
                print(f"{path}: ok")
            for problem in problems:
                print(printable(str(problem)), file=sys.stderr)
            for note in notes:
                console.print(f"{path}: note: {note}", markup=False)
    if any(problems for problems, _ in found.values()):
        raise typer.Exit(2)


def _checked(
    path: Path, overrides: list[str], data: Path | None, trust_plugins: bool
) -> tuple[list[Problem], list[str]]:
    """The problems of a recipe, else of its inputs; and notes."""
    from genrec.errors import GenrecError
    from genrec.recipe import InvalidRecipeError, load_recipe
    from genrec.recipe.problems import Place, Problem
    from genrec.runtime.environment import Environment

    try:
        recipe = load_recipe(path, overrides, trust_plugins=trust_plugins)
    except InvalidRecipeError as error:
        return list(error.problems), []
    except GenrecError as error:  # the file cannot be read
        return [Problem(Place(""), "", str(error))], []
    notes = list(recipe.notes())
    environment = Environment(data=data, recipe=path.resolve().parent).for_dataset(recipe.dataset.block())
    if environment.data is not None:
        from genrec.experiment.inputs import input_problems

        return [Problem(Place(str(path)), "", text) for text in input_problems(recipe, environment)], notes
    if hasattr(recipe.dataset, "folder"):
        where = "no --data, no GENREC_DATA and nothing beside the recipe"
        notes.append(f"data and weights are not checked ({where})")
    return [], notes


def _as_dict(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "source": place.source or None,
        "line": place.line or None,
        "key": problem.key or None,
        "text": problem.text,
    }
