"""Recipes, finished runs and ``--vary`` -> the variants of a comparison: every combination, checked and named.

Nothing but recipes is read, no data and no model.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from pathlib import Path

from genrec.comparison._origins import Origin, origins_of
from genrec.comparison._subsets import Parts, UnfitSubsetError, controls_of, label_of, largest, parts_of, restrict
from genrec.comparison._values import free_name, in_a_name, parse_budget, parse_seeds
from genrec.comparison._vary import Axis, Value, axes_of, changes, key_of
from genrec.errors import RecipeError
from genrec.recipe.loading import parse_recipe
from genrec.recipe.overrides import apply
from genrec.recipe.problems import InvalidRecipeError, Place, Problem
from genrec.recipe.schema import Recipe

__all__ = ["Variant", "parse_budget", "parse_seeds", "variants"]

_NAMED_AT_MOST = 8
"""Variants in one message."""


@dataclass(frozen=True)
class Variant:
    """One way of doing it."""

    name: str
    """Unique and short, made of what varies."""
    setting: Mapping[str, str]
    """Axis -> label of its value; without the axes that make no difference here."""
    recipe: Recipe
    """With its own title and seed."""
    overrides: tuple[str, ...]
    """The ``--set``s that make it from the recipe's file."""
    notes: tuple[str, ...]
    """What was left out or changed beside what the axes say."""
    source: Path
    """The recipe's file."""
    run: Path | None = None
    """Folder of the finished run whose model it is."""

    @property
    def command(self) -> str:
        """What runs it alone; ``SEED`` stands where the seed goes."""
        sets = [word for override in self.overrides for word in ("--set", override)]
        seed = [] if self.run is not None else ["--seed", "SEED"]
        return shlex.join(["genrec", "run", str(self.source), *sets, *seed])


def variants(
    recipes: Sequence[Path], vary: Sequence[str] = (), *, overrides: Sequence[str] = (), controls: bool = False
) -> list[Variant]:
    """Lay out what is to be compared.

    Args:
        recipes: files, and folders of finished runs.
        vary: ``KEY=V1,V2,...`` each, KEY as in ``--set``; all combinations are made, the first axis slowest. The key
            ``streams`` takes subsets: ``behavior``, ``behavior+text``, ``text+text`` (the same stream twice, from two
            seeds), ``behavior~text`` (one stream on both vectors).
        overrides: ``--set``s for all of them.
        controls: add to the axis ``streams`` each stream of its largest subset (of the recipe) as often as that has
            streams, and one stream on the vectors of them all.

    Raises:
        RecipeError: a recipe cannot be read, is there twice, or is a finished run whose model would change.
        InvalidRecipeError: mistakes in recipes and options; those of variants once, with the variants that they hit;
            recipes of different data.
        DataError: a folder holds no finished run.
    """
    axes = axes_of(vary)
    origins = origins_of(recipes, overrides)
    if controls and all(origin.run is not None or len(origin.recipe.streams) < 2 for origin in origins):
        raise RecipeError("--controls: expected a recipe with two streams or more, which is not a finished run")
    if controls and all(axis.key != "streams" for axis in axes):
        axes.append(Axis("streams", "--controls"))
    trials: list[_Trial] = []
    for origin in origins:
        choices = [_subsets(origin, axis, controls) if axis.key == "streams" else axis.values for axis in axes]
        trials += [_Trial(origin, list(zip(axes, chosen, strict=True))) for chosen in product(*choices)]
    _check_all_built(trials)
    _check_values_differ(trials, axes)
    return _distinct(trials, axes)


@dataclass
class _Trial:
    """One combination of values."""

    origin: Origin
    choice: list[tuple[Axis, Value]]
    overrides: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _blamed: dict[str, str] = field(default_factory=dict)
    """``--set``s of this trial alone -> the options that they came from."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The origin's name and the label of each axis' value."""
        return self.origin.name, *(value.label for _, value in self.choice)

    @cached_property
    def recipe(self) -> Recipe:
        """Built from the file and the overrides; these and the notes are complete afterwards.

        Raises:
            RecipeError: its origin is a finished run with another model.
            InvalidRecipeError: with problems whose places are those of the options.
        """
        try:
            return self._build()
        except InvalidRecipeError as error:
            raise InvalidRecipeError(
                Problem(Place(self._blamed[p.place.source]), p.key, p.text) if p.place.source in self._blamed else p
                for p in error.problems
            ) from None

    @cached_property
    def identity(self) -> str:
        """Equal text, equal results."""
        return self.origin.identity(self.recipe)

    def _build(self) -> Recipe:
        source, self.overrides = self.origin.written(), list(self.origin.overrides)
        subset: tuple[Axis, Value] | None = None
        for axis, value in self.choice:
            if axis.key == "streams":
                subset = axis, value
                continue
            asked = changes(axis.key, value.text, source.data)
            apply(source, asked)
            self._add(asked, axis, value.text)
        recipe = self._checked()
        if subset is None:
            return recipe
        axis, value = subset
        try:
            restricted = restrict(source.data, recipe, value.parts)
        except UnfitSubsetError as error:
            raise InvalidRecipeError([Problem(Place(axis.option), axis.key, str(error))]) from None
        replaced = tuple(f"{key_of(change)}." for change in restricted.overrides)
        self.overrides = [old for old in self.overrides if not f"{key_of(old)}.".startswith(replaced)]
        self._add(restricted.overrides, axis, value.label)
        self.notes += restricted.notes
        return self._checked()

    def _add(self, asked: Sequence[str], axis: Axis, value: str) -> None:
        if asked:
            self.origin.check_free([f"{axis.key}={value}"], "--vary")
        self.overrides += asked
        self._blamed |= {f"--set {change}": axis.option for change in asked}

    def _checked(self) -> Recipe:
        return parse_recipe(self.origin.text, name=str(self.origin.file), overrides=self.overrides)


def _subsets(origin: Origin, axis: Axis, controls: bool) -> tuple[Value, ...]:
    """The values of the axis ``streams`` for one recipe.

    Raises:
        InvalidRecipeError: a value does not fit the recipe, or is there twice.
    """
    names = list(origin.recipe.streams)
    found: dict[Parts, str] = {}
    problems: list[str] = []
    for text in axis.texts or ["+".join(names)]:
        try:
            parts = parts_of(text, names)
        except UnfitSubsetError as error:
            problems.append(f"{error} ({origin.given})")
            continue
        if parts in found:
            also = f" (as {found[parts]})" if found[parts] != text else ""
            problems.append(f"found {text} twice{also}, expected each value once")
        found.setdefault(parts, text)
    if len(axis.texts) == 1 and not controls:
        problems.append("found one value, expected two or more, or --controls")
    if problems:
        raise InvalidRecipeError(Problem(Place(axis.option), axis.key, text) for text in problems)
    if controls and origin.run is None:
        found |= {parts: "" for parts in controls_of(largest(list(found))) if parts not in found}
    return tuple(Value(label_of(parts), parts=parts) for parts in found)


def _check_all_built(trials: Sequence[_Trial]) -> None:
    """Build every recipe.

    Raises:
        InvalidRecipeError: each mistake once, with the variants that it hits.
    """
    hit: dict[Problem, list[str]] = {}
    several = len({trial.origin.name for trial in trials}) > 1
    for trial in trials:
        try:
            _ = trial.recipe
        except InvalidRecipeError as error:
            name = ", ".join(trial.coordinates if several else trial.coordinates[1:])
            for problem in error.problems:
                hit.setdefault(problem, []).append(name)
    problems = []
    for problem, names in hit.items():
        more = f"; {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
        which = "" if len(names) == len(trials) else f" (in: {'; '.join(names[:_NAMED_AT_MOST])}{more})"
        problems.append(Problem(problem.place, problem.key, problem.text + which))
    if problems:
        raise InvalidRecipeError(problems)


def _check_values_differ(trials: Sequence[_Trial], axes: Sequence[Axis]) -> None:
    """Two values of an axis that make the same recipe wherever they stand are a mistake.

    Raises:
        InvalidRecipeError: there are such.
    """
    identities = {trial.coordinates: trial.identity for trial in trials}
    problems = []
    for position, axis in enumerate([Axis("recipe", "recipes"), *axes]):
        labels = dict.fromkeys(coordinates[position] for coordinates in identities)
        for first, second in combinations(labels, 2):
            if all(
                identity == identities.get((*coordinates[:position], second, *coordinates[position + 1 :]))
                for coordinates, identity in identities.items()
                if coordinates[position] == first
            ):
                text = f"{first} and {second} make the same variants, expected values that differ"
                problems.append(Problem(Place(axis.option), axis.key, text))
    if problems:
        raise InvalidRecipeError(problems)


def _distinct(trials: Sequence[_Trial], axes: Sequence[Axis]) -> list[Variant]:
    """Trials with equal recipes are one variant; its setting leaves out the axes that make no difference to it."""
    keys = ["recipe", *(axis.key for axis in axes)]
    known = [set(labels) for labels in zip(*(trial.coordinates for trial in trials), strict=True)]
    groups: dict[str, list[_Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.identity, []).append(trial)
    found: list[Variant] = []
    for group in groups.values():
        setting: dict[str, str] = {}
        named: list[str] = []
        notes = list(group[0].notes)
        here = zip(*(trial.coordinates for trial in group), strict=True)
        for key, all_labels, labels in zip(keys, known, map(list, map(dict.fromkeys, here)), strict=True):
            if len(labels) > 1:
                notes.append(f"{key}: {' and '.join(labels)} are the same here")
            if len(labels) < len(all_labels) or (len(all_labels) == 1 and key != "recipe"):
                setting[key] = "/".join(labels)
            if len(labels) < len(all_labels):
                named.append(in_a_name(key, setting[key]))
        origin, first = group[0].origin, group[0]
        name = free_name(", ".join(named) or origin.name, [variant.name for variant in found])
        found.append(
            Variant(name, setting, first.recipe, tuple(first.overrides), tuple(notes), origin.file, origin.run)
        )
    return found
