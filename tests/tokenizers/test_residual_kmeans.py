from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.tokenizers._collisions import add_suffix, count_collisions, move_to_nearest_free
from genrec.tokenizers.residual_kmeans import ResidualKMeans
from genrec.types import ItemVectors


def fit(tokenizer: ResidualKMeans, points: np.ndarray, seed: int = 1):
    vectors = ItemVectors(points.astype(np.float32), np.ones(len(points), dtype=bool))
    return tokenizer.fit(vectors, seed=seed, keys=())


def test_levels_explain_more_and_more():
    points = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    ids = fit(ResidualKMeans(levels=4, codes=16), points)
    centres = ids.codebook["centres"]
    assert centres.shape == (4, 16, 6)
    left, errors = points, []
    for level in range(4):
        left = left - centres[level, ids.codes_IL[:, level]]
        errors.append((left**2).sum())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * (points**2).sum()


def test_items_get_the_nearest_code_of_each_level():
    points = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    ids = fit(ResidualKMeans(levels=2, codes=8, iterations=300), points)
    left = points
    for level in range(2):
        centres = ids.codebook["centres"][level]
        nearest = ((left[:, None] - centres) ** 2).sum(-1).argmin(1)
        assert (nearest == ids.codes_IL[:, level]).mean() > 0.98
        left = left - centres[ids.codes_IL[:, level]]


def test_without_collisions_there_is_no_suffix():
    points = np.arange(8, dtype=np.float32)[:, None]
    ids = fit(ResidualKMeans(levels=1, codes=8), points)
    assert ids.collisions == 0
    assert ids.codes_IL.shape == (8, 1)


def test_identical_items_are_told_apart_by_a_suffix():
    points = np.repeat(np.arange(3.0)[:, None], 4, axis=0)
    ids = fit(ResidualKMeans(levels=2, codes=8), points)
    assert ids.collisions == 12
    assert ids.vocabulary_sizes == (8, 8, 4)
    assert sorted(ids.codes_IL[:4, 2].tolist()) == [0, 1, 2, 3]


def test_nearest_free_keeps_the_length():
    points = np.random.default_rng(0).normal(size=(60, 3))
    points[10:14] = points[10]
    ids = fit(ResidualKMeans(levels=2, codes=16, collisions="nearest_free"), points)
    assert ids.codes_IL.shape == (60, 2)
    assert ids.collisions >= 4


def test_nearest_free_without_room():
    with pytest.raises(DataError) as caught:
        fit(ResidualKMeans(levels=2, codes=4, collisions="nearest_free"), np.ones((5, 2)))
    assert str(caught.value) == (
        "residual_kmeans: 5 items share the codes (0,), but the last level has only 4 codes to tell them apart; "
        "use collisions: suffix, or more levels or codes"
    )


def test_seeds():
    points = np.random.default_rng(0).normal(size=(300, 5))
    first, again, other = (fit(ResidualKMeans(codes=16), points, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.codes_IL, again.codes_IL)
    assert not np.array_equal(first.codes_IL, other.codes_IL)


codes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40).map(np.array)


@given(codes)
def test_suffix_makes_codes_unique_and_keeps_the_prefix(codes_NL):
    repaired, sizes = add_suffix(codes_NL, (4, 4))
    assert len(np.unique(repaired, axis=0)) == len(repaired)
    assert np.array_equal(repaired[:, :2], codes_NL)
    assert len(sizes) == repaired.shape[1]
    assert (repaired < np.array(sizes)).all()
    assert (repaired.shape[1] == 2) == (count_collisions(codes_NL) == 0)


@given(codes)
def test_collisions_are_the_items_that_are_not_alone(codes_NL):
    rows = [tuple(code) for code in codes_NL.tolist()]
    assert count_collisions(codes_NL) == sum(rows.count(row) > 1 for row in rows)


@settings(max_examples=50)
@given(codes, st.integers(0, 1000))
def test_nearest_free_moves_only_last_codes_and_only_of_colliding_items(codes_NL, seed):
    cost_NV = np.random.default_rng(seed).random((len(codes_NL), 40))
    repaired = move_to_nearest_free(codes_NL, cost_NV, "test")
    assert len(np.unique(repaired, axis=0)) == len(repaired)
    assert np.array_equal(repaired[:, 0], codes_NL[:, 0])
    for code in np.unique(codes_NL, axis=0):
        members = np.flatnonzero((codes_NL == code).all(1))
        stayed = members[(repaired[members] == code).all(1)]
        assert stayed.tolist() == [members[cost_NV[members, code[1]].argmin()]]


def test_nearest_free_takes_the_nearest():
    codes_NL = np.array([[0, 0], [0, 0], [0, 2]])
    cost_NV = np.array([[0.0, 5, 1, 2], [0.1, 3, 1, 2], [9, 9, 0, 9]])
    assert move_to_nearest_free(codes_NL, cost_NV, "test").tolist() == [[0, 0], [0, 3], [0, 2]]
