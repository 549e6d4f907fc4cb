"""The stage ``load``: files -> catalog, histories, split."""

from __future__ import annotations

from genrec.errors import DataError
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment
from genrec.types import Dataset


def load_dataset(recipe: Recipe, environment: Environment) -> Dataset:
    """Load the dataset of a recipe.

    Raises:
        DataError: files are missing or malformed, or no user can be evaluated.
    """
    dataset = recipe.dataset.load(environment.data)
    if not len(dataset.valid):
        raise DataError(f"{dataset.name}: no user has three items or more, so no user can be evaluated")
    return dataset
