"""The stage ``load``: files -> catalog, histories, split."""

from __future__ import annotations

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_dataset, check_splits
from genrec.errors import DataError, RecipeError
from genrec.evaluation.metrics import METRICS
from genrec.experiment.cold_items import hold_out_items
from genrec.experiment.split_dataset import with_splits
from genrec.formats.text import check_writable
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment
from genrec.runtime.seeds import derive
from genrec.types import Dataset, Splits


def load_dataset(recipe: Recipe, environment: Environment) -> Dataset:
    """Load the dataset of a recipe, split by ``evaluation.split``, without the items of ``evaluation.cold_items``.

    Raises:
        DataError: files are missing or malformed, a text cannot be written to a file, or no user can be evaluated.
        ContractError: the source breaks its contract.
    """
    demand = Demands(recipe.dataset)
    with demand.blaming():
        dataset = recipe.dataset.load(environment.data)
        check_dataset(dataset, demand)
    catalog = dataset.catalog
    for name, texts in (("key", catalog.keys), ("title", catalog.titles), ("text", catalog.texts)):
        check_writable(f"{dataset.name}: the {name}", catalog.keys, texts)
    rule = recipe.evaluation.split
    demand = Demands(rule)
    with demand.blaming():
        if (splits := rule.split(dataset)) is not None:
            check_splits(splits, dataset, demand)
    if splits is not None:
        _check_metrics(recipe, splits)
        return with_splits(dataset, splits)
    if not len(dataset.valid):
        raise DataError(f"{dataset.name}: no user has three items or more, so no user can be evaluated")
    ratio = recipe.evaluation.cold_items
    return hold_out_items(dataset, ratio, derive(recipe.seed, "cold items")) if ratio else dataset


def _check_metrics(recipe: Recipe, splits: Splits) -> None:
    """Refuse metrics of one target before any work if users have several."""
    if splits.valid.all_targets is None and splits.test.all_targets is None:
        return
    for name in recipe.evaluation.metrics:
        if METRICS.get(name).kind == "ranks":
            raise RecipeError(
                f"evaluation.metrics: {name!r} is a metric of one target for each user, and under "
                f"evaluation.split users have several ({splits.text}); leave it out, or register it with kind='hits'"
            )
