"""The recipes and finished runs of a comparison: loaded, named, and checked to be comparable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from genrec.comparison._vary import key_of
from genrec.errors import RecipeError
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.loading import load_recipe, load_recipe_of_run
from genrec.recipe.overrides import apply
from genrec.recipe.problems import InvalidRecipeError, Place, Problem, dotted
from genrec.recipe.problems import Path as KeyPath
from genrec.recipe.schema import Recipe
from genrec.recipe.source import Source, read, write

_FREE_IN_A_RUN = ("merge", "search", "evaluation", "baselines", "title")
"""Keys of a finished run that can change without changing its model."""


@dataclass(frozen=True)
class Origin:
    """A recipe or finished run, with ``--set`` applied."""

    name: str
    """Name of its row if no axis varies."""
    given: Path
    """The file, or the folder of the run."""
    file: Path
    text: str
    overrides: tuple[str, ...]
    recipe: Recipe
    run: Path | None = None

    def written(self) -> Source:
        """The content of the file with ``--set`` applied."""
        source = read(self.text, str(self.file))
        apply(source, self.overrides)
        return source

    def check_free(self, changes: Sequence[str], option: str) -> None:
        """Check that overrides do not change the model of a finished run.

        Args:
            changes: overrides ``KEY=...``.
            option: the option that contains them, for messages.

        Raises:
            RecipeError: this is a finished run, and an override would change its model.
        """
        if self.run is None:
            return
        for change in changes:
            if key_of(change).partition(".")[0] not in _FREE_IN_A_RUN:
                raise RecipeError(
                    f"{option} {change}: {self.given} is a finished run, whose model cannot change; expected an "
                    "override of its merge or search, or a recipe in place of the run"
                )

    def identity(self, recipe: Recipe) -> str:
        """What determines the results of a variant, as text; variants with equal text are equal.

        The seed is not included; a finished run equals no other variant.
        """
        ignored = {"title", "seed", "evaluation", "baselines"}
        block = {key: part for key, part in recipe.block().items() if key not in ignored}
        return json.dumps({"run": None if self.run is None else str(self.run), **block})


def origins_of(paths: Sequence[Path], overrides: Sequence[str]) -> list[Origin]:
    """Load and check recipes and finished runs.

    Raises:
        RecipeError: one cannot be read or is given twice.
        InvalidRecipeError: one is not valid, or datasets or evaluation settings differ.
        DataError: a folder is not that of a finished run.
    """
    if not paths:
        raise RecipeError("expected a recipe, or the folder of a finished run")
    stems = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    origins = [
        origin_of(path, stem if stems.count(stem) == 1 else str(path), overrides)
        for path, stem in zip(paths, stems, strict=True)
    ]
    for first, second in combinations(origins, 2):
        if first.given.resolve() == second.given.resolve():
            raise RecipeError(f"{second.given}: is given twice, expected each recipe once")
        if first.identity(first.recipe) == second.identity(second.recipe):
            raise RecipeError(
                f"{second.given}: is the same recipe as {first.given} except for title, seed or baselines, expected "
                "another recipe; --seeds 1,2,3 compares several seeds"
            )
    check_one_protocol(origins)
    return origins


def origin_of(path: Path, name: str, overrides: Sequence[str]) -> Origin:
    """Load and check one recipe or finished run.

    Raises:
        RecipeError: it cannot be read.
        InvalidRecipeError: it is not valid.
        DataError: a folder is not that of a finished run.
    """
    run = RunFolder.open(path).path if path.is_dir() else None
    file = path if run is None else run / "recipe.yaml"
    recipe = load_recipe(file, overrides) if run is None else load_recipe_of_run(file, overrides)
    origin = Origin(name, path, file, file.read_bytes().decode("utf-8-sig"), tuple(overrides), recipe, run)
    origin.check_free(overrides, "--set")
    return origin


def check_one_protocol(origins: Sequence[Origin]) -> None:
    """Check that datasets and evaluation settings are equal.

    Raises:
        InvalidRecipeError: they differ.
    """
    first, *others = origins
    expected = _protocol(first.recipe)
    problems = []
    for other in others:
        found = _protocol(other.recipe)
        different = [key for key in expected | found if expected.get(key) != found.get(key)]
        if "evaluation.split.type" in different:  # the keys of another split mean nothing here
            different = [key for key in different if not key.startswith("evaluation.split.") or key.endswith(".type")]
        for key in ["dataset.type"] if "dataset.type" in different else different:
            text = f"found {_shown(found.get(key))}, expected {_shown(expected.get(key))} as in {first.given}"
            text = f"{text}: a comparison uses one dataset and one evaluation protocol"
            problems.append(Problem(Place(str(other.given)), key, text))
    if problems:
        raise InvalidRecipeError(problems)


def _protocol(recipe: Recipe) -> dict[str, Any]:
    """The keys that all variants must have in common, by dotted key."""
    block = recipe.block()
    evaluation = {key: block["evaluation"][key] for key in ("split", "metrics", "cutoffs", "seen_items")}
    return dict(_leaves({"dataset": block["dataset"], "evaluation": evaluation}))


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    else:
        yield dotted(path), value


def _shown(value: Any) -> str:
    return write(value).removesuffix("...\n").strip()
