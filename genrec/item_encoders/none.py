"""No vectors: for streams whose decoder scores items directly."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import NO_HISTORIES
from genrec.runtime.environment import WorkContext
from genrec.types import Catalog, Histories, ItemVectors


@item_encoders.register("none")
class NoVectors(ItemEncoder):
    """Every item is present and has a vector of width 0."""

    reads_histories: ClassVar[bool] = False
    gives_vectors: ClassVar[bool] = False

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        """Return vectors of width 0."""
        return ItemVectors(np.zeros((len(catalog), 0), dtype=np.float32), np.ones(len(catalog), dtype=bool))

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Return vectors of width 0."""
        return self.encode(new, NO_HISTORIES, context=context)
