"""A stream without codes is a tree of one level: every item is a child of the root, and is its own code."""

import numpy as np

from genrec.types import ABSENT, ItemVectors, SemanticIds


def item_numbers(vectors: ItemVectors) -> SemanticIds:
    """Each present item's number as its one code."""
    codes_I = np.where(vectors.present_I, np.arange(len(vectors.present_I)), ABSENT)
    return SemanticIds(codes_I[:, None].astype(np.int32), (len(codes_I),))
