"""Attribute encoder: categories, brand and tags as columns of 0 and 1, rare ones weighted up."""

from collections import Counter

import numpy as np
from pydantic import PositiveInt

from genrec.plugin import Catalog, Histories, ItemEncoder, ItemVectors, WorkContext, item_encoders


@item_encoders.register("attribute_onehot")
class AttributeOnehot(ItemEncoder):
    """One column for each of the commonest attributes, weighted by log(1 + items / items that have it)."""

    dim: PositiveInt = 512
    """Number of most frequent attributes; items with none of them are absent."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        counts = Counter(attribute for attributes in catalog.attributes for attribute in sorted(set(attributes)))
        column_of = {attribute: column for column, (attribute, _) in enumerate(counts.most_common(self.dim))}
        vectors_IE = np.zeros((len(catalog), max(len(column_of), 1)), dtype=np.float32)
        for item, attributes in enumerate(catalog.attributes):
            for attribute in column_of.keys() & set(attributes):
                vectors_IE[item, column_of[attribute]] = np.log1p(len(catalog) / counts[attribute])
        lengths_I1 = np.linalg.norm(vectors_IE, axis=1, keepdims=True)
        return ItemVectors(vectors_IE / np.maximum(lengths_I1, 1e-12), lengths_I1[:, 0] > 0)
