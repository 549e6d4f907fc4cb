from __future__ import annotations

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.tokenizers.product_quantizer import CENTERS, ProductQuantizer
from genrec.types import ABSENT, ItemVectors


def vectors_of(points: np.ndarray, absent: tuple[int, ...] = ()) -> ItemVectors:
    return ItemVectors(points.astype(np.float32), ~np.isin(np.arange(len(points)), absent))


def fit(tokenizer: ProductQuantizer, points: np.ndarray, seed: int = 1):
    return tokenizer.fit(vectors_of(points), keys=(), context=WorkContext(seed=seed))


def correlated(num_points: int, width: int, seed: int = 0) -> np.ndarray:
    """Points whose dimensions depend on each other and lie away from zero."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) * np.linspace(2.0, 0.1, width)[:, None]
    return (generator.normal(size=(num_points, width)) @ mix + 5.0).astype(np.float32)


def error(points: np.ndarray, said: np.ndarray) -> float:
    """Squared error as a share of the variance."""
    return float(((points - said) ** 2).sum() / ((points - points.mean(axis=0)) ** 2).sum())


def test_codes_and_reconstruction_are_those_of_faiss():
    points = correlated(3000, 16)
    tokenizer = ProductQuantizer(levels=4, codes=32)
    ids = fit(tokenizer, points)
    theirs = faiss.ProductQuantizer(16, 4, 5)
    faiss.copy_array_to_vector(ids.codebook[CENTERS].ravel(), theirs.centroids)
    packed = theirs.compute_codes(points)
    codes_NL = faiss.unpack_bitstrings(packed, 4, 5)
    assert (codes_NL == ids.codes_IL[:, :4]).mean() > 0.9999
    np.testing.assert_allclose(tokenizer.reconstruct(ids), theirs.decode(packed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rotate", [False, True])
def test_the_error_is_that_of_faiss_on_its_own(rotate):
    points = correlated(3000, 16)
    tokenizer = ProductQuantizer(levels=4, codes=32, rotate=rotate)
    ours = error(points, tokenizer.reconstruct(fit(tokenizer, points)))
    index = faiss.IndexPQ(16, 4, 5)
    if rotate:
        opq, inner = faiss.OPQMatrix(16, 4), faiss.ProductQuantizer(16, 4, 5)
        opq.pq = inner
        index = faiss.IndexPreTransform(opq, index)
    index.train(points)
    theirs = error(points, index.sa_decode(index.sa_encode(points)))
    assert ours == pytest.approx(theirs, rel=0.03)


def test_a_rotation_lowers_the_error_of_correlated_parts():
    points = correlated(2000, 12)
    errors = {}
    for rotate in (False, True):
        tokenizer = ProductQuantizer(levels=3, codes=16, rotate=rotate)
        ids = fit(tokenizer, points)
        errors[rotate] = error(points, tokenizer.reconstruct(ids))
    rotation = ids.codebook["rotation"]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-5)
    assert errors[True] < 0.95 * errors[False]


def test_each_further_code_lowers_the_error():
    points = correlated(500, 10)
    for rotate in (False, True):
        tokenizer = ProductQuantizer(levels=4, codes=16, rotate=rotate)
        ids = fit(tokenizer, points)
        errors = [error(points, tokenizer.reconstruct(ids, levels=levels)) for levels in (0, 1, 2, 3, 4, 9)]
        assert errors[0] == pytest.approx(1.0, abs=0.02)
        assert errors[:5] == sorted(errors[:5], reverse=True)
        assert errors[5] == errors[4]
        assert tokenizer.reconstruct(ids).shape == (500, 10)


def test_widths_that_the_levels_do_not_divide():
    points = correlated(300, 10)
    ids = fit(ProductQuantizer(levels=4, codes=16), points)
    filled = np.pad(points, ((0, 0), (0, 2)))
    same = fit(ProductQuantizer(levels=4, codes=16), filled)
    assert ids.codebook[CENTERS].shape == (4, 16, 3)
    assert np.array_equal(ids.codes_IL, same.codes_IL)


def test_fewer_dimensions_than_levels():
    points = correlated(60, 2)
    ids = fit(ProductQuantizer(levels=4, codes=8), points)
    assert ids.codebook[CENTERS].shape == (4, 8, 1)
    assert (ids.codes_IL[:, 2:4] == ids.codes_IL[0, 2:4]).all()


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("num_items", [1, 5, 40])
def test_fewer_items_than_codes(num_items, rotate):
    points = correlated(num_items, 9)
    tokenizer = ProductQuantizer(levels=3, codes=4 if num_items == 1 else 64, rotate=rotate)
    ids = fit(tokenizer, points)
    assert len(np.unique(ids.codes_IL, axis=0)) == num_items
    np.testing.assert_allclose(tokenizer.reconstruct(ids), points, rtol=0.02, atol=0.05)


def test_identical_items_are_told_apart_by_a_suffix():
    points = np.repeat(correlated(3, 8), 4, axis=0)
    ids = fit(ProductQuantizer(levels=2, codes=8), points)
    assert ids.collisions == 12
    assert ids.vocabulary_sizes == (8, 8, 4)
    assert sorted(ids.codes_IL[:4, 2].tolist()) == [0, 1, 2, 3]


def test_nearest_free_keeps_the_length_and_the_codes_before_the_last():
    points = correlated(60, 6)
    points[10:14] = points[10]
    suffix = fit(ProductQuantizer(levels=2, codes=16), points)
    free = fit(ProductQuantizer(levels=2, codes=16, collisions="nearest_free"), points)
    assert free.codes_IL.shape == (60, 2)
    assert free.collisions == suffix.collisions >= 4
    assert np.array_equal(free.codes_IL[:, 0], suffix.codes_IL[:, 0])


def test_nearest_free_without_room():
    with pytest.raises(DataError) as caught:
        fit(ProductQuantizer(levels=2, codes=4, collisions="nearest_free"), np.ones((5, 2)))
    assert "product_quantizer: 5 items share the codes" in str(caught.value)
    assert "but the last level has only 4 codes" in str(caught.value)


def test_codes_that_are_no_power_of_two():
    with pytest.raises(ValueError, match="codes") as caught:
        ProductQuantizer(codes=100)
    assert (
        "100 is no power of two, and a code of a product quantizer is a whole number of bits; the nearest are 64 and "
        "128" in str(caught.value)
    )


def test_absent_items_change_nothing():
    points = correlated(80, 6)
    wider = np.concatenate([points[:7], np.full((1, 6), 9e9), points[7:]])
    tokenizer = ProductQuantizer(levels=2, codes=8)
    ids = tokenizer.fit(vectors_of(wider, absent=(7,)), keys=(), context=WorkContext(seed=1))
    assert (ids.codes_IL[7] == ABSENT).all()
    assert np.isnan(tokenizer.reconstruct(ids)[7]).all()
    assert np.array_equal(np.delete(ids.codes_IL, 7, axis=0), fit(tokenizer, points).codes_IL)


@pytest.mark.parametrize("rotate", [False, True])
def test_the_seed_decides_and_threads_do_not(rotate):
    points = correlated(2000, 8)
    tokenizer = ProductQuantizer(levels=2, codes=16, rotate=rotate)
    first = fit(tokenizer, points)
    with threadpool_limits(2):
        again = fit(tokenizer, points)
    assert np.array_equal(first.codebook[CENTERS], again.codebook[CENTERS])
    assert np.array_equal(first.codes_IL, again.codes_IL)
    assert not np.array_equal(first.codes_IL[:, :2], fit(tokenizer, points, 2).codes_IL[:, :2])


def test_normalized_codes_ignore_length():
    points = correlated(200, 8)
    lengths = np.exp(np.random.default_rng(0).normal(size=(200, 1))).astype(np.float32)
    tokenizer = ProductQuantizer(levels=2, codes=8, normalize=True)
    first, stretched = fit(tokenizer, points), fit(tokenizer, points * lengths)
    assert (first.codes_IL[:, :2] == stretched.codes_IL[:, :2]).mean() > 0.95
    assert first.codebook["normalized"].tolist() == [True]
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert error(units, tokenizer.reconstruct(first)) < 1


@pytest.mark.parametrize(("rotate", "normalize"), [(False, False), (True, True)])
def test_new_items_are_quantized_with_the_codebook(rotate, normalize):
    points = correlated(400, 8)
    tokenizer = ProductQuantizer(levels=3, codes=16, rotate=rotate, normalize=normalize)
    ids = fit(tokenizer, points)
    assert ids.num_levels == 4
    is_last = np.array([(ids.codes_IL[:, :3] == code).all(axis=1).sum() for code in ids.codes_IL[:, :3]])
    alone = np.flatnonzero(is_last == 1)[:20]
    wider = tokenizer.assign(ids, vectors_of(points), vectors_of(points[alone]))
    assert np.array_equal(wider.codes_IL[400:, :3], ids.codes_IL[alone, :3])
    assert (wider.codes_IL[400:, 3] == 1).all()


def test_without_a_suffix_new_items_take_the_nearest_free_last_code():
    points, new = np.split(correlated(80, 6), [60])
    tokenizer = ProductQuantizer(levels=2, codes=16, collisions="nearest_free")
    ids = fit(tokenizer, points)
    wider = tokenizer.assign(ids, vectors_of(points), vectors_of(new))
    first_VW, last_VW = ids.codebook[CENTERS]
    taken = {tuple(code) for code in ids.codes_IL.tolist()}
    moved = 0
    for point, (first, last) in zip(new, wider.codes_IL[60:].tolist(), strict=True):
        assert first == ((first_VW - point[:3]) ** 2).sum(axis=1).argmin()
        distance_V = ((last_VW - point[3:]) ** 2).sum(axis=1)
        free = [code for code in range(16) if (first, code) not in taken]
        assert last == min(free, key=lambda code: distance_V[code])
        moved += last != distance_V.argmin()
        taken.add((first, last))
    assert moved > 0
