"""The inputs of a recipe (data, weights, packages), checked before any of its stages runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pydantic import BaseModel

from genrec.errors import GenrecError
from genrec.experiment.dataset import load_dataset
from genrec.families import Component
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment, WorkContext


def input_problems(recipe: Recipe, environment: Environment) -> list[str]:
    """What a run would stop at: data that is missing or malformed, missing files, weights and packages.

    Reads the whole dataset, and calls ``prepare`` of every component that has it.

    Args:
        recipe: a checked recipe.
        environment: with the data folder.

    Returns:
        One message for each problem; empty if there is none.
    """
    checks: list[Callable[[], object]] = [
        partial(component.input_files, environment) for component in _components(recipe)
    ]
    checks += [logger.prepare for logger in recipe.training.loggers]
    problems = []
    try:
        catalog = load_dataset(recipe, environment).catalog
        context = WorkContext(recipe.seed, environment)
        checks += [partial(s.item_encoder.prepare, catalog, context=context) for s in recipe.streams.values()]
    except GenrecError as error:  # without a catalog, what encoders need remains unchecked
        problems.append(str(error))
    for check in checks:
        try:
            check()
        except GenrecError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def _components(value: Any) -> Iterator[Component]:
    """All components in a recipe, nested ones included."""
    if isinstance(value, Component):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _components(getattr(value, name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _components(part)
    elif isinstance(value, dict):
        yield from _components(list(value.values()))
