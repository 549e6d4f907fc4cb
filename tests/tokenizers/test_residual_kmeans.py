from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.tokenizers._collisions import add_suffix, count_collisions, move_to_nearest_free
from genrec.tokenizers._residual import quantize
from genrec.tokenizers.residual_kmeans import CENTERS, ResidualKMeans
from genrec.types import ItemVectors


def fit(tokenizer: ResidualKMeans, points: np.ndarray, seed: int = 1):
    vectors = ItemVectors(points.astype(np.float32), np.ones(len(points), dtype=bool))
    return tokenizer.fit(vectors, keys=(), context=WorkContext(seed=seed))


def test_levels_explain_more_and_more():
    points = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    ids = fit(ResidualKMeans(levels=4, codes=16), points)
    centers = ids.codebook[CENTERS]
    assert centers.shape == (4, 16, 6)
    left, errors = points, []
    for level in range(4):
        left = left - centers[level, ids.codes_IL[:, level]]
        errors.append((left**2).sum())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * (points**2).sum()


def test_items_get_the_nearest_code_of_each_level():
    points = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    ids = fit(ResidualKMeans(levels=2, codes=8, iterations=300), points)
    left = points
    for level in range(2):
        centers = ids.codebook[CENTERS][level]
        nearest = ((left[:, None] - centers) ** 2).sum(-1).argmin(1)
        assert (nearest == ids.codes_IL[:, level]).mean() > 0.98
        left = left - centers[ids.codes_IL[:, level]]


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
        "residual_kmeans: 5 items share the codes (0,), but the last level has only 4 codes; "
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


def mixed(num_points: int, width: int, seed: int = 0) -> np.ndarray:
    """Points whose dimensions depend on each other and lie away from zero."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) * np.linspace(2.0, 0.1, width)[:, None]
    return (generator.normal(size=(num_points, width)) @ mix + 5.0).astype(np.float32)


def error(points: np.ndarray, said: np.ndarray) -> float:
    """Squared error as a share of the variance."""
    return float(((points - said) ** 2).sum() / ((points - points.mean(axis=0)) ** 2).sum())


def faiss_quantizer(width: int) -> faiss.ResidualQuantizer:
    quantizer = faiss.ResidualQuantizer(width, 3, 5)
    quantizer.max_beam_size = 1
    quantizer.train_type = faiss.ResidualQuantizer.Train_default
    return quantizer


def test_the_error_is_that_of_faiss():
    points = mixed(3000, 16)
    tokenizer = ResidualKMeans(levels=3, codes=32)
    theirs = faiss_quantizer(16)
    theirs.train(points)
    said = theirs.decode(theirs.compute_codes(points))
    assert error(points, tokenizer.reconstruct(fit(tokenizer, points))) == pytest.approx(error(points, said), rel=0.05)


def test_faiss_reads_the_same_codes_from_the_codebook():
    points = mixed(2000, 16)
    tokenizer = ResidualKMeans(levels=3, codes=32, iterations=300)
    ids = fit(tokenizer, points)
    theirs = faiss_quantizer(16)
    theirs.train(points)
    faiss.copy_array_to_vector(ids.codebook[CENTERS].ravel(), theirs.codebooks)
    theirs.compute_codebook_tables()
    packed = theirs.compute_codes(points)
    codes_NL, _ = quantize(points, ids.codebook[CENTERS])
    assert (faiss.unpack_bitstrings(packed, 3, 5) == codes_NL).mean() > 0.999
    assert (codes_NL == ids.codes_IL[:, :3]).mean() > 0.98
    same = (codes_NL == ids.codes_IL[:, :3]).all(axis=1)
    np.testing.assert_allclose(tokenizer.reconstruct(ids)[same], theirs.decode(packed)[same], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("num_points", "codes"), [(400, 16), (403, 16), (10, 16)])
def test_balanced_codes_are_used_alike(num_points, codes):
    points = mixed(num_points, 6)
    points[: num_points // 2] = points[0]
    ids = fit(ResidualKMeans(levels=2, codes=codes, balanced=True), points)
    for level in range(2):
        counts = np.bincount(ids.codes_IL[:, level])
        assert len(counts) == min(codes, num_points)
        assert counts.max() - counts.min() <= 1


def test_balance_divides_a_crowd_that_plain_codes_keep_together():
    crowd = np.random.default_rng(1).normal(size=(200, 8))
    points = np.concatenate([0.01 * crowd, np.repeat(50 * crowd[:14], 8, axis=0) + 0.01 * crowd[:112]])
    plain, balanced = (fit(ResidualKMeans(levels=1, codes=15, balanced=on), points) for on in (False, True))
    assert np.bincount(plain.codes_IL[:, 0]).max() == 200
    assert np.bincount(balanced.codes_IL[:, 0]).max() == 21


def test_balanced_levels_explain_more_and_more():
    points = mixed(600, 8)
    tokenizer = ResidualKMeans(levels=3, codes=16, balanced=True)
    ids = fit(tokenizer, points)
    errors = [error(points, tokenizer.reconstruct(ids, levels=levels)) for levels in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.3


@given(st.integers(0, 1000))
def test_quantizing_is_the_definition(seed):
    generator = np.random.default_rng(seed)
    points, centers = generator.normal(size=(30, 4)) + 50, generator.normal(size=(3, 7, 4))
    centers[0] += 50
    is_open = generator.random((3, 7)) < 0.6
    is_open[:, 0] = True
    codes_NL, before_last_NE = quantize(points.astype(np.float32), centers.astype(np.float32), is_open)
    for point, codes, before_last in zip(points, codes_NL, before_last_NE, strict=True):
        left = point
        for level, code in enumerate(codes):
            if level == 2:
                np.testing.assert_allclose(before_last, left, atol=1e-4)
            distance = np.where(is_open[level], ((centers[level] - left) ** 2).sum(1), np.inf)
            assert distance[code] <= distance.min() + 1e-3
            left = left - centers[level, code]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("collisions", ["suffix", "nearest_free"])
def test_a_new_item_goes_to_its_nearest_codes(balanced, collisions):
    points = mixed(150, 5)
    points[10:14] = points[10]
    tokenizer = ResidualKMeans(levels=2, codes=32, balanced=balanced, collisions=collisions, normalize=True)
    vectors = ItemVectors(points, np.arange(150) != 3)
    ids = with_own_branch(tokenizer.fit(vectors, keys=(), context=WorkContext(seed=1)))
    new = ItemVectors(mixed(40, 5, seed=7), np.arange(40) != 2)
    wider = tokenizer.assign(ids, vectors, new)
    assert np.array_equal(wider.codes_IL[:150], ids.codes_IL)
    assert (wider.codes_IL[152] == -1).all()
    units = new.vectors_IE / np.linalg.norm(new.vectors_IE, axis=1, keepdims=True)
    first = ((units[:, None] - ids.codebook[CENTERS][0]) ** 2).sum(-1).argmin(1)
    # Where a suffix or the last codes are used up, the path of a neighbor.
    assert (wider.codes_IL[150:, 0] == first)[new.present_I].mean() > 0.8
    assert error(units[new.present_I], tokenizer.reconstruct(wider)[150:][new.present_I]) < 0.5


def test_new_items_pass_over_centers_that_stand_for_nothing():
    points = np.array([[5.0, 5], [5, 6], [9, 1], [9, 1]], dtype=np.float32)
    tokenizer = ResidualKMeans(levels=2, codes=8)
    ids = fit(tokenizer, points)
    assert len(np.unique(ids.codes_IL[:, 0])) == 3  # the other five centers are zeros
    new = ItemVectors(np.zeros((2, 2), np.float32), np.ones(2, dtype=bool))
    wider = tokenizer.assign(ids, ItemVectors(points, np.ones(4, dtype=bool)), new)
    for level in range(2):
        assert set(wider.codes_IL[4:, level]) <= set(ids.codes_IL[:4, level])


def test_single_items_far_out_do_not_take_the_codes_of_the_others():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(3000, 48)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:40] = points[0]
    tokenizer = ResidualKMeans(levels=3, codes=128)
    ids = fit(tokenizer, points)
    perplexities = []
    for level in range(3):
        shares = np.bincount(ids.codes_IL[:, level], minlength=128) / len(points)
        perplexities.append(np.exp(-(shares * np.log(np.maximum(shares, 1e-12))).sum()))
    assert min(perplexities) > 100  # from k-means++ it is 30 to 60
