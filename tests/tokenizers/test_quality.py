from __future__ import annotations

import json

import numpy as np
import pytest

from genrec.tokenizers._quality import measure_quality
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.tokenizers.residual_kmeans import ResidualKMeans
from genrec.types import ItemVectors, SemanticIds


@pytest.fixture(scope="module")
def vectors() -> ItemVectors:
    generator = np.random.default_rng(0)
    centres = 5 * generator.normal(size=(8, 6))
    points = centres[np.arange(240) % 8] + generator.normal(size=(240, 6))
    return ItemVectors(points.astype(np.float32), np.arange(240) != 5)


def test_by_hand():
    points = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    ids = SemanticIds(np.array([[0, 0], [0, 1], [1, 0], [2, 0]], np.int32), (4, 2), {}, collisions=2)
    quality = measure_quality(ids, ItemVectors(points, np.ones(4, bool)), neighbours=1)
    assert (quality["items"], quality["absent"]) == (4, 0)
    assert quality["collision_ratio"] == 0.5
    first, second = quality["levels"]
    assert (first["vocabulary"], first["used"], first["entropy"]) == (4, 3, 1.5)
    assert first["balance"] == 0.75
    assert second["entropy"] == pytest.approx(0.8113, abs=1e-4)
    assert quality["neighbours_sharing_first_code"] == 0.5
    assert quality["expected_sharing_first_code"] == pytest.approx(2 / 12)
    assert quality["first_code_lift"] == pytest.approx(3)
    assert quality["reconstruction_error"] is None


def test_good_codes_are_told_from_random_ones(vectors):
    tree = KMeansTree(branching=8).fit(vectors, seed=1, keys=())
    good = measure_quality(tree, vectors)
    shuffled = tree.codes_IL.copy()
    present = np.flatnonzero(tree.present_I)
    shuffled[present] = shuffled[np.random.default_rng(0).permutation(present)]
    bad = measure_quality(SemanticIds(shuffled, tree.vocabulary_sizes, tree.codebook), vectors)
    assert good["first_code_lift"] > 6
    assert bad["first_code_lift"] < 1.5
    assert good["reconstruction_error"] < 0.1 < 0.9 < bad["reconstruction_error"]
    assert good["absent"] == 1
    assert good["levels"][0]["balance"] > 0.999


@pytest.mark.parametrize("normalize", [False, True])
def test_reconstruction_error_falls_with_levels(vectors, normalize):
    errors = []
    for levels in (1, 2, 3):
        ids = ResidualKMeans(levels=levels, codes=8, normalize=normalize).fit(vectors, seed=1, keys=())
        errors.append(measure_quality(ids, vectors)["reconstruction_error"])
    assert 0.5 > errors[0] > errors[1] > errors[2] > 0


def test_one_item_alone():
    ids = SemanticIds(np.array([[0]], np.int32), (1,))
    quality = measure_quality(ids, ItemVectors(np.ones((1, 2), np.float32), np.ones(1, bool)))
    assert quality["first_code_lift"] is None
    assert quality["levels"] == [{"vocabulary": 1, "used": 1, "entropy": 0.0, "balance": 1.0}]


def test_a_report_can_hold_it(vectors):
    ids = KMeansTree(branching=8).fit(vectors, seed=1, keys=())
    quality = measure_quality(ids, vectors)
    assert json.loads(json.dumps(quality)) == quality
