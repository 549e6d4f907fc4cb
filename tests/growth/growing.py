"""Tiny recipes grown in memory: streams, model and new items that are copies of known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from genrec.experiment.cache import Cache
from genrec.experiment.cold_items import some_items
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import Fit, plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.untrained_model import untrained_model
from genrec.experiment.vectors import encode_items
from genrec.growth.grow import Grown, encode_new_items, grow
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment
from genrec.types import Catalog, ItemVectors


@dataclass(frozen=True)
class Known:
    """What a run has of its items."""

    fit: Fit
    vectors: dict[str, ItemVectors]
    streams: dict[str, StreamContext]
    model: Retriever

    @property
    def catalog(self) -> Catalog:
        return self.fit.dataset.catalog

    def copies(self, items: Sequence[int], *, prefix: str = "copy") -> Catalog:
        """New items with the content of known ones, and a last one that has a key alone."""
        found = some_items(
            self.catalog, np.array([*items, next(i for i in range(len(self.catalog)) if i not in items)])
        )
        blank = len(items)
        columns = {}
        for name, column in found.columns.items():
            values_I = column.values_I.copy()
            missing = {"numeric": np.nan, "datetime": np.datetime64("NaT"), "categorical": ()}
            values_I[blank] = missing[column.kind]
            columns[name] = replace(column, values_I=values_I)
        return Catalog(
            keys=tuple(f"{prefix}-{item}" for item in [*items, "blank"]),
            titles=(*found.titles[:-1], ""),
            texts=(*found.texts[:-1], ""),
            attributes=(*found.attributes[:-1], ()),
            images=None if found.images is None else WithoutLast(found.images),
            columns=columns,
        )

    def grow(self, new: Catalog) -> Grown:
        """Add new items."""
        recipe, environment = self.fit.recipe, self.fit.environment
        encoded = encode_new_items(recipe, self.vectors, new, lambda: self.catalog, environment)
        return grow(recipe, self.vectors, self.streams, self.model, encoded, len(new))


class WithoutLast:
    """Images of items, of which the last one has none."""

    def __init__(self, images) -> None:
        self._images = images
        self.counts_I = images.counts_I.copy()
        self.counts_I[-1] = 0

    def open(self, item: int, number: int = 0):
        return self._images.open(item, number)


def known_of(recipe: Recipe, folder: Path, *, data: Path | None = None) -> Known:
    """The streams of a recipe, and its model with initial weights and the counts of training."""
    environment = Environment("cpu", 1, data)
    dataset = load_dataset(recipe, environment)
    fit = plan_fit(recipe, dataset, environment)
    cache = Cache(folder / "stages", quiet=True)
    vectors = encode_items(fit, cache)
    streams = tokenize_items(fit, vectors, cache)
    model = untrained_model(recipe, streams, dataset.num_items, dataset.train)
    return Known(fit, vectors, streams, model.eval())


def log_probs(model: Retriever, histories: Sequence[Sequence[int]], num_items: int) -> dict[str, np.ndarray]:
    """log p(item | history) of the first items in each stream, (B, I); 0 where an item has no codes."""
    longest = max(map(len, histories))
    rows = [[*history, *[model.num_items] * (longest - len(history))] for history in histories]
    encoded = model.encode(torch.tensor(rows))
    target_BI = torch.arange(num_items).expand(len(rows), -1)
    with torch.no_grad():
        return {
            name: decoder(encoded[name], target_BI).log_probs_NL.sum(1).view(len(rows), -1).numpy()
            for name, decoder in model.decoders.items()
        }
