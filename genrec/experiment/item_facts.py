"""What metrics beyond accuracy know about items: training counts, and the vectors in which distances are measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genrec.evaluation.top_lists import ItemFacts
from genrec.recipe.schema import Recipe
from genrec.types import Dataset, ItemVectors


def item_facts(recipe: Recipe, dataset: Dataset, vectors: Mapping[str, ItemVectors]) -> ItemFacts | None:
    """The facts about the items of a dataset; None if the recipe has no metrics beyond accuracy.

    Args:
        recipe: names the metrics, and the stream whose vectors are used.
        dataset: that the evaluated model was fitted on.
        vectors: item vectors by stream, as encoded; without that stream there are no distances.
    """
    if not recipe.evaluation.beyond_accuracy:
        return None
    stream = recipe.distance_stream
    counts_I = np.bincount(dataset.train.items, minlength=dataset.num_items).astype(np.int64)
    return ItemFacts(counts_I, vectors.get(stream) if stream else None, stream or "")
