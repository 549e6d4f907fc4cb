"""One fit of a recipe, before any work: the data to fit on, and the cache keys of its stages."""

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
"""Subfolder of a run with ``final_fit``: the fit on train alone, which selected the number of epochs."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A recipe, the data to fit on and the environment: the input of every stage."""

    recipe: Recipe
    dataset: Dataset
    environment: Environment
    keys: Keys
    selection: Fit | None = None
    """Of a final fit on train + validation: the fit on train alone, which selected the number of epochs."""
    selected_under: Literal["keep", "filter"] = "keep"
    """Whether seen items are kept or filtered when checkpoints are selected."""

    @property
    def title(self) -> str:
        """The names of the streams."""
        return "+".join(self.recipe.streams)

    def users(self, split: SplitName) -> Split:
        """The users of a split."""
        return self.dataset.valid if split == "valid" else self.dataset.test

    def seed(self, *purpose: object) -> int:
        """The seed for one purpose."""
        return derive(self.recipe.seed, *purpose)

    def context(self, *purpose: object, folder: Path | None = None) -> WorkContext:
        """The context of a component: seed, environment and folder."""
        return WorkContext(self.seed(*purpose), self.environment, folder)

    def candidates_key(self, split: SplitName, *, scores: bool) -> str:
        """The cache key of the candidates of a split."""
        return candidates_key(self.keys.model, self.recipe, self.dataset, split, scores=scores)

    def stages(self) -> list[Stage]:
        """The stages up to the model, in the order of execution."""
        vectors = [Stage("vectors", name, key) for name, key in self.keys.vectors.items()]
        ids = [Stage("ids", name, key) for name, key in self.keys.ids.items()]
        return [*vectors, *ids, Stage("model", self.title, self.keys.model)]

    def like(self, stage: Stage) -> tuple[str, ...]:
        """What the duration of a stage depends on; stages with equal values take a similar time."""
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
                if stage.kind == "model":
                    components.append(f"max_epochs {self.recipe.training.max_epochs}")
        return (self.dataset.name, *components)

    def part(self, name: str) -> str:
        """The name of a part in the report of times."""
        return name if self.selection is None else f"{name}, final fit"

    def artifact(self, name: str) -> str:
        """The name of a file in the folder of the run; the fit that evaluates test users is at its top level."""
        is_evaluated = self.selection is not None or not self.recipe.training.final_fit
        return name if is_evaluated else f"{TRAIN_ONLY}/{name}"


def plan_fit(recipe: Recipe, dataset: Dataset, environment: Environment) -> Fit:
    """The fit on train alone, which evaluates validation users.

    Raises:
        DataError: a file that a component reads is missing.
    """
    rule = recipe.evaluation.seen_items
    keys = fit_keys(recipe, dataset, environment, seen_items=rule, first=dataset, selection=None)
    return Fit(recipe, dataset, environment, keys, selected_under=rule)


def plan_final_fit(selection: Fit) -> Fit:
    """The fit on train + validation, which evaluates test users.

    Args:
        selection: the fit on train alone.
    """
    recipe, environment, rule = selection.recipe, selection.environment, selection.selected_under
    dataset, first = selection.dataset.with_validation(), selection.dataset
    keys = fit_keys(recipe, dataset, environment, seen_items=rule, first=first, selection=selection.keys.model)
    return Fit(recipe, dataset, environment, keys, selection, rule)


@dataclass(frozen=True)
class Fits:
    """The fits of a recipe."""

    valid: Fit
    """On train alone; evaluates validation users."""
    test: Fit
    """Evaluates test users: with ``training.final_fit`` on train + validation, else the same as ``valid``."""

    def of(self, split: SplitName) -> Fit:
        """The fit that evaluates the users of a split."""
        return self.valid if split == "valid" else self.test

    def until(self, split: SplitName) -> list[Fit]:
        """The fits needed to evaluate a split, in the order of execution."""
        return list(dict.fromkeys([self.valid, self.of(split)]))


def plan_fits(recipe: Recipe, dataset: Dataset, environment: Environment) -> Fits:
    """Both fits of a recipe, before any work."""
    fit = plan_fit(recipe, dataset, environment)
    return Fits(fit, plan_final_fit(fit) if recipe.training.final_fit else fit)
