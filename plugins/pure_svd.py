"""PureSVD: a second view of behavior, co-purchases at any distance; ``cooccurrence`` counts consecutive items."""

from typing import ClassVar

import numpy as np
from pydantic import PositiveInt
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd

from genrec.plugin import Catalog, Histories, ItemEncoder, ItemVectors, WorkContext, item_encoders


@item_encoders.register("pure_svd")
class PureSvd(ItemEncoder):
    """Item factors of the matrix users x items (Cremonesi et al., RecSys 2010), scaled to length 1."""

    is_random: ClassVar[bool] = True

    dim: PositiveInt = 64
    """Number of factors; fewer where there are fewer users or items."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        users = np.repeat(np.arange(len(train)), train.lengths)
        seen = np.unique(np.stack([users, train.items]), axis=1)
        bought_UI = csr_matrix((np.ones(seen.shape[1]), tuple(seen)), shape=(len(train), len(catalog)))
        dim = min(self.dim, *bought_UI.shape)
        _, values_E, factors_EI = randomized_svd(bought_UI, dim, random_state=context.seed % 2**32)
        vectors_IE = (factors_EI * values_E[:, None]).T.astype(np.float32)
        present_I = np.bincount(train.items, minlength=len(catalog)) > 0
        vectors_IE[~present_I] = 0  # rounding leaves more than nothing
        lengths_I1 = np.linalg.norm(vectors_IE, axis=1, keepdims=True)
        return ItemVectors(vectors_IE / np.maximum(lengths_I1, 1e-12), present_I)
