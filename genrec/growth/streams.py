"""Vectors and semantic IDs of new items in every stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from genrec.contracts.demands import Demands
from genrec.experiment.known_vectors import known_vectors
from genrec.growth.similar_items import most_similar
from genrec.model.contracts import StreamContext
from genrec.recipe.schema import Recipe, Stream
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.types import ItemVectors, SemanticIds

ENCODED, NO_VECTOR, LEFT_OUT = "encoded", "no vector needed", "left out"


@dataclass(frozen=True)
class GrownStream:
    """A stream with the new items behind the known ones."""

    vectors: ItemVectors
    """As they are stored: those of the encoder and, for new items that it cannot encode, that of a similar item."""
    context: StreamContext
    how_J: tuple[str, ...]
    """How each new item got its codes: ``encoded``, ``no vector needed``, ``nearest in <stream>`` or ``left out``."""


@dataclass(frozen=True)
class Guide:
    """A stream that encoded new items: what tells which known items they are similar to."""

    stream: str
    known: ItemVectors
    new: ItemVectors


def guides_of(recipe: Recipe, vectors: Mapping[str, ItemVectors], new: Mapping[str, ItemVectors | None]) -> list[Guide]:
    """The streams that encoded new items, in the order of the recipe."""
    found = ((name, new[name]) for name in recipe.streams)
    return [Guide(name, vectors[name], of) for name, of in found if of is not None and of.vectors_IE.shape[1]]


def similar_items(guides: list[Guide], usable_I: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The known items most similar to each new one by the first guide that encoded it.

    Args:
        guides: in order.
        usable_I: the known items to choose from, bool.
        count: N.

    Returns:
        Item numbers, int64 (J, N), negative where no guide encoded the item; and the number of its guide, int64 (J,).
    """
    num_new = len(guides[0].new.present_I) if guides else 0
    nearest_JN, guide_J = np.full((num_new, count), -1, dtype=np.int64), np.full(num_new, -1, dtype=np.int64)
    for number, guide in enumerate(guides):
        rows = np.flatnonzero((guide_J < 0) & guide.new.present_I)
        found_RN = most_similar(
            guide.new.vectors_IE[rows], guide.known.vectors_IE, usable_I & guide.known.present_I, count=count
        )
        rows, found_RN = rows[found_RN[:, 0] >= 0], found_RN[found_RN[:, 0] >= 0]
        nearest_JN[rows], guide_J[rows] = found_RN, number
    return nearest_JN, guide_J


def grow_streams(
    recipe: Recipe,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    new: Mapping[str, ItemVectors | None],
    num_new: int,
) -> dict[str, GrownStream]:
    """Give new items vectors and codes in every stream; known items keep theirs.

    A stream whose encoder cannot encode an item gives it the vector, and so the codes next to those, of the most
    similar known item by the vectors of another stream: ``nearest_in`` if the recipe names one, else the first that
    encoded the item. If there is none, the stream leaves the item out.

    Args:
        recipe: recipe of the run.
        vectors: of the known items, as stored, by stream.
        streams: the known items' codes and the vectors that were tokenized.
        new: vectors of the new items by stream; None for encoders that cannot encode them.
        num_new: J.

    Raises:
        DataError: a tokenizer has no free code for a new item.
        ContractError: a tokenizer breaks the contract of ``assign``.
    """
    guides = guides_of(recipe, vectors, new)
    placed = {
        name: _place(stream, name, vectors[name], streams[name].ids, new[name], guides, num_new)
        for name, stream in recipe.streams.items()
    }
    all_vectors = {name: _joined(vectors[name], added) for name, (added, _) in placed.items()}
    grown = {}
    for name, stream in recipe.streams.items():
        added, how_J = placed[name]
        ids = _assign(stream, streams[name], added, guides)
        known = known_vectors(stream, name, all_vectors)
        context = StreamContext(ids, Trie.of(ids), known, all_vectors[name].present_I)
        grown[name] = GrownStream(all_vectors[name], context, how_J)
    return grown


def _place(
    stream: Stream,
    name: str,
    vectors: ItemVectors,
    ids: SemanticIds,
    new: ItemVectors | None,
    guides: list[Guide],
    num_new: int,
) -> tuple[ItemVectors, tuple[str, ...]]:
    """The vectors of the new items in a stream, those of similar items included, and how each was found."""
    vectors_JE = np.zeros((num_new, vectors.vectors_IE.shape[1]), dtype=np.float32)
    present_J = np.zeros(num_new, dtype=bool)
    how_J = np.full(num_new, LEFT_OUT, dtype=object)
    if new is not None:
        present_J |= new.present_I
        vectors_JE[present_J] = new.vectors_IE[present_J]
        how_J[present_J] = ENCODED if stream.item_encoder.gives_vectors else NO_VECTOR
    others = sorted(
        (guide for guide in guides if guide.stream != name), key=lambda guide: guide.stream != stream.nearest_in
    )
    if not others or (new is not None and stream.absent_items == "leave_out"):
        return ItemVectors(vectors_JE, present_J), tuple(how_J)
    nearest_J1, guide_J = similar_items(others, vectors.present_I & ids.present_I, count=1)
    rows = np.flatnonzero(~present_J & (guide_J >= 0))
    vectors_JE[rows], present_J[rows] = vectors.vectors_IE[nearest_J1[rows, 0]], True
    how_J[rows] = [f"nearest in {others[guide].stream}" for guide in guide_J[rows]]
    return ItemVectors(vectors_JE, present_J), tuple(how_J)


def _joined(vectors: ItemVectors, added: ItemVectors) -> ItemVectors:
    return replace(
        vectors,
        vectors_IE=np.concatenate([vectors.vectors_IE, added.vectors_IE]),
        present_I=np.concatenate([vectors.present_I, added.present_I]),
        num_added=vectors.num_added + len(added.present_I),
    )


def _assign(stream: Stream, context: StreamContext, added: ItemVectors, guides: list[Guide]) -> SemanticIds:
    """The codes of known and new items."""
    if stream.tokenizer is None:
        present_I = np.concatenate([context.ids.present_I, added.present_I])
        return item_numbers(ItemVectors(np.zeros((len(present_I), 0), dtype=np.float32), present_I))
    vectors = context.vectors
    if guides and not vectors.vectors_IE.shape[1]:  # codes that were given; items next to them are found by a guide
        guide = guides[0]
        vectors = replace(guide.known, present_I=guide.known.present_I & vectors.present_I)
        added = replace(guide.new, present_I=guide.new.present_I & added.present_I)
    demand, num_known = Demands(stream.tokenizer), len(context.ids.codes_IL)
    with demand.blaming():
        ids = stream.tokenizer.assign(context.ids, vectors, added)
        demand(
            np.array_equal(ids.codes_IL[:num_known], context.ids.codes_IL)
            and ids.vocabulary_sizes == context.ids.vocabulary_sizes,
            "assign() leaves codes of known items and vocabularies unchanged, as trained models need them",
        )
        demand(
            np.array_equal(ids.present_I[num_known:], added.present_I),
            "assign() gives new items with a vector codes",
        )
    return ids
