"""The vectors that a stream tokenizes."""

from __future__ import annotations

from collections.abc import Mapping

from genrec.recipe.schema import Stream
from genrec.semantic_ids.absent_items import like_nearest
from genrec.types import ItemVectors


def known_vectors(stream: Stream, name: str, vectors: Mapping[str, ItemVectors]) -> ItemVectors:
    """The vectors to tokenize: those of the stream; with ``nearest_in``, absent items get that of a similar item.

    Args:
        stream: settings of the stream.
        name: name of the stream.
        vectors: item vectors of every stream.
    """
    guide = stream.nearest_in
    return vectors[name] if guide is None else like_nearest(vectors[name], vectors[guide])
