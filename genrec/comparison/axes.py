"""Recipes, finished runs and ``--vary`` -> the variants of a comparison: every combination, checked and named.

Reads recipes only, no data and no models.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from pathlib import Path

from genrec.comparison._origins import Origin, check_one_protocol, origin_of, origins_of
from genrec.comparison._subsets import Parts, UnfitSubsetError, controls_of, label_of, largest, parts_of, restrict
from genrec.comparison._values import free_name, in_a_name, parse_budget, parse_seeds
from genrec.comparison._vary import Axis, Value, axes_of, changes, key_of
from genrec.errors import RecipeError
from genrec.recipe.loading import parse_recipe
from genrec.recipe.overrides import apply
from genrec.recipe.problems import InvalidRecipeError, Place, Problem
from genrec.recipe.schema import Recipe

__all__ = ["Variant", "VariantRequest", "named_variants", "parse_budget", "parse_seeds", "variants"]

_NAMED_AT_MOST = 8
"""Maximum number of variants named in one message."""


@dataclass(frozen=True)
class Variant:
    """One variant of a comparison."""

    name: str
    """Unique short name, composed of the values that vary."""
    setting: Mapping[str, str]
    """Axis -> label of its value, without axes that do not change this variant."""
    recipe: Recipe
    """With its own title and seed."""
    overrides: tuple[str, ...]
    """The overrides that create it from the recipe file."""
    notes: tuple[str, ...]
    """Changes beyond the values of the axes."""
    source: Path
    """File of the recipe."""
    run: Path | None = None
    """Folder of the finished run whose model it uses."""

    @property
    def command(self) -> str:
        """The command that runs it alone, with ``SEED`` in place of the seed."""
        sets = [word for override in self.overrides for word in ("--set", override)]
        seed = [] if self.run is not None else ["--seed", "SEED"]
        return shlex.join(["genrec", "run", str(self.source), *sets, *seed])


def variants(
    recipes: Sequence[Path], vary: Sequence[str] = (), *, overrides: Sequence[str] = (), controls: bool = False
) -> list[Variant]:
    """Create the variants of a comparison.

    Args:
        recipes: recipe files and folders of finished runs.
        vary: axes ``KEY=V1,V2,...``, with KEY as in ``--set``; all combinations are created, with the first axis
            changing slowest. The key ``streams`` takes subsets: ``behavior``, ``behavior+text``, ``text+text`` (the
            same stream twice, with two seeds), ``behavior~text`` (one stream on concatenated vectors).
        overrides: ``--set`` overrides for all variants.
        controls: add controls to the axis ``streams``: for its largest subset of n streams, each stream n times, and
            one stream on the concatenated vectors of all that have vectors.

    Raises:
        RecipeError: a recipe cannot be read, is given twice, or is a finished run whose model would change.
        InvalidRecipeError: recipes or options are not valid, or datasets differ; each problem once, with the variants
            that have it.
        DataError: a folder is not that of a finished run.
    """
    axes = axes_of(vary)
    origins = origins_of(recipes, overrides)
    if controls and all(origin.run is not None or len(origin.recipe.streams) < 2 for origin in origins):
        raise RecipeError("--controls: expected a recipe with two streams or more that is not a finished run")
    if controls and all(axis.key != "streams" for axis in axes):
        axes.append(Axis("streams", "--controls"))
    trials: list[_Trial] = []
    for origin in origins:
        choices = [_subsets(origin, axis, controls) if axis.key == "streams" else axis.values for axis in axes]
        trials += [_Trial(origin, list(zip(axes, chosen, strict=True))) for chosen in product(*choices)]
    _check_all_built(trials)
    _check_values_differ(trials, axes)
    return _distinct(trials, axes)


@dataclass(frozen=True)
class VariantRequest:
    """A variant that is named and described directly, not by axes."""

    name: str
    recipe: Path
    """Recipe file."""
    overrides: tuple[str, ...] = ()
    streams: str = ""
    """A value of the axis ``streams``; empty: all streams."""
    after: tuple[str, ...] = ()
    """Overrides that follow the choice of streams."""


def named_variants(requests: Sequence[VariantRequest]) -> list[Variant]:
    """Create variants that are described one by one; equal recipes stay separate variants, which share all stages.

    Raises:
        RecipeError: a recipe cannot be read.
        InvalidRecipeError: a recipe is not valid, or datasets or evaluation settings differ.
    """
    found, origins = [], []
    for request in requests:
        origin = origin_of(request.recipe, request.name, request.overrides)
        choice: list[tuple[Axis, Value]] = []
        if request.streams:
            axis = Axis("streams", f"{request.name}: streams={request.streams}")
            choice.append((axis, _subset(origin, axis, request.streams)))
        trial = _Trial(origin, choice)
        recipe, overrides = trial.recipe, [*trial.overrides, *request.after]
        if request.after:
            recipe = parse_recipe(origin.text, name=str(origin.file), overrides=overrides)
            recipe = recipe.model_copy(update={"title": origin.recipe.title})
        origins.append(origin)
        setting = {"row": request.name}
        found.append(Variant(request.name, setting, recipe, tuple(overrides), tuple(trial.notes), origin.file))
    check_one_protocol(origins)
    return found


@dataclass
class _Trial:
    """One combination of values."""

    origin: Origin
    choice: list[tuple[Axis, Value]]
    overrides: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _blamed: dict[str, str] = field(default_factory=dict)
    """Overrides of this trial -> the options that they come from."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The name of the origin and the label of each axis' value."""
        return self.origin.name, *(value.label for _, value in self.choice)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe built from the file and the overrides; completes the overrides and notes.

        Raises:
            RecipeError: its origin is a finished run with another model.
            InvalidRecipeError: the recipe is not valid; the places of the problems are those of the options.
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
        """Trials with equal text have equal results."""
        return self.origin.identity(self.recipe)

    def _build(self) -> Recipe:
        source, self.overrides = self.origin.written(), list(self.origin.overrides)
        subset: tuple[Axis, Value] | None = None
        for axis, value in self.choice:
            if axis.key == "streams":
                subset = axis, value
                continue
            overrides = changes(axis.key, value.text, source.data)
            apply(source, overrides)
            self._add(overrides, axis, value.text)
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

    def _add(self, overrides: Sequence[str], axis: Axis, value: str) -> None:
        if overrides:
            self.origin.check_free([f"{axis.key}={value}"], "--vary")
        self.overrides += overrides
        self._blamed |= {f"--set {change}": axis.option for change in overrides}

    def _checked(self) -> Recipe:
        """The recipe, under the title of its origin: a default title would name the streams of each variant."""
        recipe = parse_recipe(self.origin.text, name=str(self.origin.file), overrides=self.overrides)
        return recipe.model_copy(update={"title": self.origin.recipe.title})


def _subset(origin: Origin, axis: Axis, text: str) -> Value:
    """One value of the axis ``streams``.

    Raises:
        InvalidRecipeError: the value does not fit the recipe.
    """
    try:
        parts = parts_of(text, list(origin.recipe.streams))
    except UnfitSubsetError as error:
        raise InvalidRecipeError([Problem(Place(axis.option), axis.key, f"{error} ({origin.given})")]) from None
    return Value(label_of(parts), parts=parts)


def _subsets(origin: Origin, axis: Axis, controls: bool) -> tuple[Value, ...]:
    """The values of the axis ``streams`` for one recipe.

    Raises:
        InvalidRecipeError: a value does not fit the recipe, or is given twice.
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
        with_vectors = [name for name, stream in origin.recipe.streams.items() if stream.item_encoder.gives_vectors]
        found |= {parts: "" for parts in controls_of(largest(list(found)), with_vectors) if parts not in found}
    return tuple(Value(label_of(parts), parts=parts) for parts in found)


def _check_all_built(trials: Sequence[_Trial]) -> None:
    """Build every recipe.

    Raises:
        InvalidRecipeError: a recipe is not valid; each problem once, with the variants that have it.
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
    """Check that any two values of an axis give different recipes in at least one combination.

    Raises:
        InvalidRecipeError: two values always give the same recipe.
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
                text = f"{first} and {second} give the same variants, expected values that differ"
                problems.append(Problem(Place(axis.option), axis.key, text))
    if problems:
        raise InvalidRecipeError(problems)


def _distinct(trials: Sequence[_Trial], axes: Sequence[Axis]) -> list[Variant]:
    """One variant for trials with equal recipes; its setting leaves out axes that do not change it."""
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
