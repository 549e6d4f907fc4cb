"""New items in all streams and in the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_vectors
from genrec.families import KnownItems
from genrec.growth.streams import GrownStream, grow_streams, guides_of
from genrec.growth.weights import grow_model
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import Environment, WorkContext
from genrec.runtime.seeds import derive
from genrec.types import Catalog, ItemVectors


@dataclass(frozen=True)
class Grown:
    """Streams and model with the new items, which come after the known ones."""

    streams: dict[str, GrownStream]
    model: Retriever

    def contexts(self) -> dict[str, StreamContext]:
        """Codes and trie of each stream."""
        return {name: stream.context for name, stream in self.streams.items()}


def encode_new_items(
    recipe: Recipe,
    vectors: Mapping[str, ItemVectors],
    new: Catalog,
    read_catalog: Callable[[], Catalog],
    environment: Environment,
) -> dict[str, ItemVectors | None]:
    """Vectors of new items in every stream; None where the encoder cannot encode them.

    Args:
        recipe: recipe of the run.
        vectors: of the known items, as stored.
        new: the new items.
        read_catalog: reads the catalog that the encoders were fitted to.
        environment: where encoders find weights.

    Raises:
        DataError: weights or data are missing, or an encoder that is fitted again gives other vectors.
        ContractError: an encoder breaks the contract of ``encode_new``.
    """
    encoded: dict[str, ItemVectors | None] = {}
    for name, stream in recipe.streams.items():
        encoder, stored = stream.item_encoder, vectors[name]
        num_fitted = len(stored.present_I) - stored.num_added
        fitted = ItemVectors(stored.vectors_IE[:num_fitted], stored.present_I[:num_fitted], stored.notes)
        context = WorkContext(derive(recipe.seed, "item encoder", name), environment)
        demand = Demands(encoder)
        with demand.blaming():
            found = encoder.encode_new(new, KnownItems(fitted, read_catalog), context=context)
            if found is not None:
                check_new_vectors(found, stored, len(new), demand)
        encoded[name] = found
    return encoded


def check_new_vectors(found: ItemVectors, stored: ItemVectors, num_new: int, demand: Demands) -> None:
    """Check vectors of new items.

    Raises:
        ContractError: there are not as many as new items, or they are not as wide as those of known items.
    """
    check_vectors(found, num_new, demand)
    width, expected = found.vectors_IE.shape[1], stored.vectors_IE.shape[1]
    demand(
        width == expected,
        "encode_new() gives vectors as wide as those of the known items",
        f"width {width}, those of the known items have {expected}",
    )


def grow(
    recipe: Recipe,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    model: Retriever,
    encoded: Mapping[str, ItemVectors | None],
    num_new: int,
) -> Grown:
    """Add encoded items to streams and model; see :func:`grow_streams` and :func:`grow_model`."""
    grown = grow_streams(recipe, vectors, streams, encoded, num_new)
    contexts = {name: stream.context for name, stream in grown.items()}
    return Grown(grown, grow_model(recipe, model, streams, contexts, guides_of(recipe, vectors, encoded)))
