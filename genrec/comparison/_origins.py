"""The recipes and finished runs that a comparison begins with: read, named, and fit to stand side by side."""

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
from genrec.recipe.loading import load_recipe
from genrec.recipe.overrides import apply
from genrec.recipe.problems import InvalidRecipeError, Place, Problem, dotted
from genrec.recipe.problems import Path as KeyPath
from genrec.recipe.schema import Recipe
from genrec.recipe.source import Source, read, write

_FREE_IN_A_RUN = ("merge", "search", "evaluation", "baselines", "title")
"""What can change in a finished run without its model."""


@dataclass(frozen=True)
class Origin:
    """A recipe's file, ``--set`` applied."""

    name: str
    """Its row, where nothing else varies."""
    given: Path
    """The file, or the folder of the run."""
    file: Path
    text: str
    overrides: tuple[str, ...]
    recipe: Recipe
    run: Path | None = None

    def written(self) -> Source:
        """What the file says, changed as ``--set`` says."""
        source = read(self.text, str(self.file))
        apply(source, self.overrides)
        return source

    def check_free(self, changes: Sequence[str], option: str) -> None:
        """Whether something may vary.

        Args:
            changes: ``KEY=...`` each.
            option: which they are, for messages.

        Raises:
            RecipeError: this is a finished run, and its model would be another.
        """
        if self.run is None:
            return
        for change in changes:
            if key_of(change).partition(".")[0] not in _FREE_IN_A_RUN:
                raise RecipeError(
                    f"{option} {change}: {self.given} is a finished run, whose model stays as it is; expected a change "
                    "of its merge or search, or its recipe in place of the run"
                )

    def identity(self, recipe: Recipe) -> str:
        """What decides the results of a variant that began here: equal text, equal variants.

        Seeds repeat a variant and are no part of it; a finished run is its own.
        """
        untold = {"title", "seed", "evaluation", "baselines"}
        told = {key: part for key, part in recipe.block().items() if key not in untold}
        return json.dumps({"run": None if self.run is None else str(self.run), **told})


def origins_of(paths: Sequence[Path], overrides: Sequence[str]) -> list[Origin]:
    """Read and check files and folders.

    Raises:
        RecipeError: one cannot be read, or is there twice.
        InvalidRecipeError: one has mistakes, or they are of different data or measured by different rules.
        DataError: a folder holds no finished run.
    """
    if not paths:
        raise RecipeError("expected a recipe, or the folder of a finished run")
    stems = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    origins = [
        _origin(path, stem if stems.count(stem) == 1 else str(path), overrides)
        for path, stem in zip(paths, stems, strict=True)
    ]
    for first, second in combinations(origins, 2):
        if first.given.resolve() == second.given.resolve():
            raise RecipeError(f"{second.given}: is there twice, expected each recipe once")
        if first.identity(first.recipe) == second.identity(second.recipe):
            raise RecipeError(
                f"{second.given}: is the same recipe as {first.given} but for what changes no result (title, seed, "
                "baselines), expected another; --seeds 1,2,3 repeats one"
            )
    _check_one_protocol(origins)
    return origins


def _origin(path: Path, name: str, overrides: Sequence[str]) -> Origin:
    run = RunFolder.open(path).path if path.is_dir() else None
    file = path if run is None else run / "recipe.yaml"
    recipe = load_recipe(file, overrides)
    origin = Origin(name, path, file, file.read_bytes().decode("utf-8-sig"), tuple(overrides), recipe, run)
    origin.check_free(overrides, "--set")
    return origin


def _check_one_protocol(origins: Sequence[Origin]) -> None:
    """One dataset and one way of measuring."""
    first, *others = origins
    expected = _protocol(first.recipe)
    problems = []
    for other in others:
        found = _protocol(other.recipe)
        different = [key for key in expected | found if expected.get(key) != found.get(key)]
        for key in ["dataset.type"] if "dataset.type" in different else different:
            text = f"found {_shown(found.get(key))}, expected {_shown(expected.get(key))} as in {first.given}"
            text = f"{text}: a comparison is on one dataset and measures all alike"
            problems.append(Problem(Place(str(other.given)), key, text))
    if problems:
        raise InvalidRecipeError(problems)


def _protocol(recipe: Recipe) -> dict[str, Any]:
    """What all variants have in common, by dotted key."""
    block = recipe.block()
    measured = {key: block["evaluation"][key] for key in ("metrics", "cutoffs", "seen_items")}
    return dict(_leaves({"dataset": block["dataset"], "evaluation": measured}))


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    else:
        yield dotted(path), value


def _shown(value: Any) -> str:
    return write(value).removesuffix("...\n").strip()
