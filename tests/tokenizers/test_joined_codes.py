from __future__ import annotations

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.runtime.seeds import derive
from genrec.tokenizers.joined_codes import JoinedCodes
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.types import ABSENT, ItemVectors


def test_codes_are_those_of_the_parts_one_after_the_other():
    points_IE = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    present_I = np.arange(40) != 7
    trees = (KMeansTree(branching=8), KMeansTree(branching=4))
    joined = JoinedCodes(tokenizers=trees, widths=(2,))
    ids = joined.fit(ItemVectors(points_IE, present_I), keys=(), context=WorkContext(seed=3))
    parts = [
        tree.fit(
            ItemVectors(np.ascontiguousarray(part_IE), present_I),
            keys=(),
            context=WorkContext(seed=derive(3, "joined_codes", place)),
        )
        for place, (tree, part_IE) in enumerate(zip(trees, (points_IE[:, :2], points_IE[:, 2:]), strict=True))
    ]
    assert ids.codes_IL.tolist() == np.concatenate([part.codes_IL for part in parts], axis=1).tolist()
    assert ids.vocabulary_sizes == (*parts[0].vocabulary_sizes, *parts[1].vocabulary_sizes)
    assert (ids.codes_IL[7] == ABSENT).all()


def test_each_part_needs_columns():
    vectors = ItemVectors(np.ones((3, 2), dtype=np.float32), np.ones(3, dtype=bool))
    joined = JoinedCodes(tokenizers=(KMeansTree(), KMeansTree()), widths=(2,))
    with pytest.raises(DataError, match="found 2 columns in all, expected fewer than the 2 of the vectors"):
        joined.fit(vectors, keys=(), context=WorkContext())
    with pytest.raises(ValueError, match="widths: found 2, expected 1: one for each part but the last"):
        JoinedCodes(tokenizers=(KMeansTree(), KMeansTree()), widths=(1, 1))
