"""The contract of item encoders for items that are added later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_vectors
from genrec.experiment.cold_items import some_items
from genrec.families import ItemEncoder, KnownItems
from genrec.runtime.environment import WorkContext
from genrec.testing._component import unchanged
from genrec.types import Catalog, ItemVectors

_NUM_NEW = 6


def check_encode_new(
    encoder: ItemEncoder, catalog: Catalog, vectors: ItemVectors, context: WorkContext, demand: Demands
) -> None:
    """Check ``encode_new`` with new items that have the content of known ones.

    Args:
        encoder: the encoder.
        catalog: the known items; the last ones lack a text or an image.
        vectors: of the known items.
        context: of the encoding of the known items.
        demand: of the encoder.
    """
    rows = np.r_[0 : min(_NUM_NEW, len(catalog)) - 1, len(catalog) - 1]
    new = replace(some_items(catalog, rows), keys=tuple(f"new {row}" for row in rows))
    before = vectors.vectors_IE.copy()
    known = KnownItems(vectors, lambda: catalog)
    found = encoder.encode_new(new, known, context=context)
    demand(unchanged(vectors.vectors_IE, before), "encode_new() leaves the known vectors alone")
    if found is None:
        return
    check_vectors(found, len(rows), demand)
    demand(
        found.vectors_IE.shape[1] == vectors.vectors_IE.shape[1],
        "encode_new() gives vectors as wide as those of the known items",
    )
    demand(not found.vectors_IE[~found.present_I].any(), "the rows of absent new items are zero")
    again = encoder.encode_new(new, known, context=context)
    same = again is not None and unchanged(again.vectors_IE, found.vectors_IE)
    demand(same, "the same new items get the same vectors every time")
    if not encoder.reads_histories:
        both_N = found.present_I & vectors.present_I[rows]
        demand(
            np.allclose(found.vectors_IE[both_N], vectors.vectors_IE[rows][both_N], rtol=1e-3, atol=1e-3),
            "a new item with the content of a known one gets its vector",
        )
