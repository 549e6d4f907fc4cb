"""The model of a recipe with initial weights."""

from __future__ import annotations

from collections.abc import Mapping

from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.runtime.seeds import derive
from genrec.types import Histories


def untrained_model(
    recipe: Recipe, streams: Mapping[str, StreamContext], num_items: int, train: Histories | None = None
) -> Retriever:
    """The model of a recipe with initial weights; without training histories, load its weights to set its counts."""
    decoders = {name: stream.decoder for name, stream in recipe.streams.items()}
    seed = derive(recipe.seed, "model")
    return Retriever(
        recipe.history_encoder,
        decoders,
        recipe.tasks,
        streams,
        num_items=num_items,
        seed=seed,
        train=train,
        own_history_encoders=recipe.own_history_encoders,
    )
