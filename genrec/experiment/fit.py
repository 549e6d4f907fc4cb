"""One fit of a recipe, before any work: the data that it is fitted on, and the cache keys of what it will make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genrec.experiment.keys import Keys, SplitName, Stage, candidates_key, fit_keys
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment, WorkContext
from genrec.runtime.seeds import derive
from genrec.types import Dataset, Split

TRAIN_ONLY = "train_only"
"""Folder inside that of a run with ``final_fit``: the fit on train alone, which selected the number of epochs."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A recipe, what it is fitted on, and where; the argument of every stage."""

    recipe: Recipe
    dataset: Dataset
    environment: Environment
    keys: Keys
    selection: Fit | None = None
    """For a final fit on train + validation: the fit on train alone, whose validation selected the number of epochs."""
    selected_under: Literal["keep", "filter"] = "keep"
    """The rule about seen items under which checkpoints are selected."""

    @property
    def title(self) -> str:
        """The names of the streams."""
        return "+".join(self.recipe.streams)

    def users(self, split: SplitName) -> Split:
        """The users of a split."""
        return self.dataset.valid if split == "valid" else self.dataset.test

    def seed(self, *purpose: object) -> int:
        """The seed of one purpose."""
        return derive(self.recipe.seed, *purpose)

    def context(self, *purpose: object, folder: Path | None = None) -> WorkContext:
        """What a component is given beside its data."""
        return WorkContext(self.seed(*purpose), self.environment, folder)

    def candidates_key(self, split: SplitName, *, scores: bool) -> str:
        """The key of the candidates of a split's users."""
        return candidates_key(self.keys.model, self.recipe, split, scores=scores)

    def stages(self) -> list[Stage]:
        """The stages up to the model, in the order of the work."""
        vectors = [Stage("vectors", name, key) for name, key in self.keys.vectors.items()]
        ids = [Stage("ids", name, key) for name, key in self.keys.ids.items()]
        return [*vectors, *ids, Stage("model", self.title, self.keys.model)]

    def like(self, stage: Stage) -> tuple[str, ...]:
        """What the time of a stage depends on, in words; equal words, like times."""
        streams = self.recipe.streams
        coders = {name: "none" if s.tokenizer is None else s.tokenizer.type_name for name, s in streams.items()}
        match stage.kind:
            case "vectors":
                components = [streams[stage.name].item_encoder.type_name]
            case "ids":
                components = [coders[stage.name]]
            case "baseline":
                components = [stage.name, *(["final fit"] if self.selection else [])]
            case _:
                parts = [f"{coders[name]} {stream.decoder.type_name}" for name, stream in streams.items()]
                own = [encoder.type_name for encoder in self.recipe.own_history_encoders.values()]
                components = [self.recipe.history_encoder.type_name, *own, *parts]
        return (self.dataset.name, *components)

    def part(self, name: str) -> str:
        """A name for the time that a part took."""
        return name if self.selection is None else f"{name}, final fit"

    def artifact(self, name: str) -> str:
        """The name that a file has in the run's folder, where what test users are evaluated with comes first."""
        is_evaluated = self.selection is not None or not self.recipe.training.final_fit
        return name if is_evaluated else f"{TRAIN_ONLY}/{name}"


def plan_fit(recipe: Recipe, dataset: Dataset, environment: Environment) -> Fit:
    """The fit on train alone, which validation users are evaluated with.

    Raises:
        DataError: a file that a component reads is missing.
    """
    rule = recipe.evaluation.seen_items
    keys = fit_keys(recipe, dataset, environment, seen_items=rule, first=dataset, selection=None)
    return Fit(recipe, dataset, environment, keys, selected_under=rule)


def plan_final_fit(selection: Fit) -> Fit:
    """The fit on train + validation, which test users are evaluated with.

    Args:
        selection: the fit on train alone.
    """
    recipe, environment, rule = selection.recipe, selection.environment, selection.selected_under
    dataset, first = selection.dataset.with_validation(), selection.dataset
    keys = fit_keys(recipe, dataset, environment, seen_items=rule, first=first, selection=selection.keys.model)
    return Fit(recipe, dataset, environment, keys, selection, rule)


@dataclass(frozen=True)
class Fits:
    """Which fit evaluates which users."""

    valid: Fit
    """On train alone."""
    test: Fit
    """With ``training.final_fit`` on train + validation, else the same as ``valid``."""

    def of(self, split: SplitName) -> Fit:
        """The fit that the users of a split are evaluated with."""
        return self.valid if split == "valid" else self.test

    def until(self, split: SplitName) -> list[Fit]:
        """The fits that it takes to evaluate a split, in the order of the work."""
        return list(dict.fromkeys([self.valid, self.of(split)]))


def plan_fits(recipe: Recipe, dataset: Dataset, environment: Environment) -> Fits:
    """Both fits of a recipe, before any work."""
    fit = plan_fit(recipe, dataset, environment)
    return Fits(fit, plan_final_fit(fit) if recipe.training.final_fit else fit)
