from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from genrec.errors import DataError
from genrec.search.trie import Trie
from genrec.tokenizers._balanced import assign_evenly, balanced_kmeans, cluster_means, exchange
from genrec.tokenizers._child_order import matched_codes
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.types import ABSENT, ItemVectors


def vectors_of(points: np.ndarray, absent: tuple[int, ...] = ()) -> ItemVectors:
    return ItemVectors(points.astype(np.float32), ~np.isin(np.arange(len(points)), absent))


def blobs(num_points: int, width: int, num_blobs: int, *, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Points around random centres, as many around each."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_blobs, width))
    noise = spread * generator.normal(size=(num_points, width))
    return (centres[np.arange(num_points) % num_blobs] + noise).astype(np.float32)


def fit(tree: KMeansTree, points: np.ndarray, seed: int = 1):
    return tree.fit(vectors_of(points), seed=seed, keys=())


def assert_balanced(codes_NL: np.ndarray, branching: int) -> None:
    """At every node: as many children as there can be, of sizes that differ by at most one."""
    for depth in range(codes_NL.shape[1]):
        _, parent_N = np.unique(codes_NL[:, :depth], axis=0, return_inverse=True)
        for parent in range(parent_N.max() + 1):
            _, sizes = np.unique(codes_NL[parent_N == parent, depth], return_counts=True)
            assert len(sizes) == min(branching, sizes.sum())
            assert sizes.max() - sizes.min() <= 1


@settings(max_examples=40, deadline=None)
@given(
    num_items=st.integers(1, 90),
    branching=st.integers(2, 12),
    width=st.integers(1, 4),
    distinct=st.integers(1, 90),
    child_order=st.sampled_from(["matched", "principal", "random"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_node_is_balanced_and_every_item_reachable(num_items, branching, width, distinct, child_order, seed):
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(distinct, width))[generator.integers(distinct, size=num_items)]
    tree = KMeansTree(branching=branching, iterations=4, child_order=child_order)
    ids = fit(tree, points, seed)
    assert_balanced(ids.codes_IL, branching)
    trie = Trie.of(ids)
    assert sorted(trie.item_of_leaf.tolist()) == list(range(num_items))
    assert max(ids.vocabulary_sizes) <= branching
    num_levels = 1
    while branching**num_levels < num_items:
        num_levels += 1
    assert ids.num_levels == num_levels
    again = fit(tree, points, seed)
    assert np.array_equal(again.codes_IL, ids.codes_IL)


@pytest.mark.parametrize("child_order", ["matched", "principal", "random"])
def test_identical_vectors_get_different_codes(child_order):
    ids = fit(KMeansTree(branching=4, child_order=child_order), np.ones((50, 3)))
    assert_balanced(ids.codes_IL, 4)
    assert ids.num_levels == 3


def test_one_item():
    ids = fit(KMeansTree(), np.ones((1, 5)))
    assert ids.codes_IL.tolist() == [[0]]
    assert ids.vocabulary_sizes == (1,)


def test_fewer_items_than_branching_make_one_level():
    ids = fit(KMeansTree(branching=256), blobs(10, 4, 3))
    assert sorted(ids.codes_IL[:, 0].tolist()) == list(range(10))
    assert ids.vocabulary_sizes == (10,)


def test_absent_items_get_no_code_and_change_nothing():
    points = blobs(40, 4, 5)
    whole = fit(KMeansTree(branching=4), points)
    wider = np.concatenate([points[:7], np.full((1, 4), 9e9), points[7:]])
    ids = KMeansTree(branching=4).fit(vectors_of(wider, absent=(7,)), seed=1, keys=())
    assert (ids.codes_IL[7] == ABSENT).all()
    assert np.array_equal(np.delete(ids.codes_IL, 7, axis=0), whole.codes_IL)


def test_without_any_vector_it_says_what_to_do():
    with pytest.raises(DataError) as caught:
        KMeansTree().fit(vectors_of(np.zeros((3, 2)), absent=(0, 1, 2)), seed=1, keys=())
    assert str(caught.value) == (
        "kmeans_tree: none of the 3 items has a vector, so no item can get a code; choose an item encoder that the "
        "data set can feed (texts, pictures), or leave this stream out"
    )


def test_another_seed_makes_another_tree():
    points = blobs(300, 8, 40, spread=1.0)
    assert not np.array_equal(
        fit(KMeansTree(branching=16), points, 1).codes_IL, fit(KMeansTree(branching=16), points, 2).codes_IL
    )


def inertia(points: np.ndarray, cluster_N: np.ndarray) -> float:
    means = cluster_means(points, cluster_N, int(cluster_N.max()) + 1)
    return float(((points - means[cluster_N]) ** 2).sum())


@pytest.mark.parametrize(
    ("num_points", "num_clusters", "num_blobs", "spread"),
    [(1000, 10, 10, 0.3), (1003, 100, 100, 0.3), (1000, 40, 80, 1.0), (1003, 100, 400, 0.3)],
)
def test_balance_costs_little_where_the_data_are_even(num_points, num_clusters, num_blobs, spread):
    points = blobs(num_points, 8, num_blobs, spread=spread)
    free = KMeans(num_clusters, n_init=3, random_state=0).fit(points)
    even = balanced_kmeans(points, num_clusters, iterations=15, seed=1)
    assert inertia(points, even) < 1.15 * free.inertia_


def test_exchange_ends_at_the_cheapest_even_assignment():
    generator = np.random.default_rng(0)
    for num_points, num_clusters in [(40, 8), (45, 8), (30, 7), (12, 12), (13, 2)]:
        cost_NK = generator.random((num_points, num_clusters))
        start_N = np.arange(num_points) % num_clusters
        found_N = exchange(cost_NK, start_N, 1000)
        size, spare = divmod(num_points, num_clusters)
        # Each cluster as `size` seats, and one seat more that only `spare` clusters may fill: dummies take the others.
        seats = np.repeat(np.arange(num_clusters), size + 1)
        is_extra = np.tile(np.arange(size + 1) == size, num_clusters)
        dummies = np.where(is_extra, 0.0, 1e6)[None].repeat(num_clusters - spare, axis=0)
        best = np.concatenate([cost_NK[:, seats], dummies])
        rows, columns = linear_sum_assignment(best)
        cheapest = best[rows, columns].sum()
        assert np.isclose(cost_NK[np.arange(num_points), found_N].sum(), cheapest)
        sizes = np.bincount(found_N, minlength=num_clusters)
        assert sizes.max() - sizes.min() <= 1


def test_even_assignment_beats_filling_clusters_one_after_another():
    cost_NK = np.random.default_rng(1).random((400, 20)).astype(np.float32)
    left, total = np.arange(400), 0.0
    for cluster in range(20):
        nearest = left[np.argsort(cost_NK[left, cluster])[:20]]
        total += cost_NK[nearest, cluster].sum()
        left = np.setdiff1d(left, nearest)
    found_N = assign_evenly(cost_NK, 100)
    assert cost_NK[np.arange(400), found_N].sum() < 0.7 * total


def family_world(seed: int = 0) -> np.ndarray:
    """Ten far clusters, each with the same six directions from its centre, in an order of its own."""
    generator = np.random.default_rng(seed)
    centres = 100 * generator.normal(size=(10, 8))
    directions = np.linalg.qr(generator.normal(size=(8, 8)))[0][:6]
    return np.concatenate([centre + directions[generator.permutation(6)] for centre in centres])


def agreement(ids, points: np.ndarray) -> float:
    """Of pairs of items with one last code: how alike their directions from their parents are (cosine)."""
    cluster = ids.codes_IL[:, 0]
    offsets = points - cluster_means(points, np.unique(cluster, return_inverse=True)[1], 10)[cluster]
    units = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    last = ids.codes_IL[:, 1]
    same = (last[:, None] == last[None]) & ~np.eye(len(last), dtype=bool)
    return float((units @ units.T)[same].mean())


def test_matched_codes_mean_one_direction_under_every_parent():
    points = family_world()
    scores = {}
    for order in ("matched", "principal", "random"):
        ids = fit(KMeansTree(branching=10, child_order=order), points)
        scores[order] = agreement(ids, points)
    assert scores["matched"] > 0.9
    assert scores["matched"] > scores["principal"] + 0.3
    assert abs(scores["random"]) < 0.25


def test_principal_order_runs_along_the_longest_axis():
    line = np.random.default_rng(0).permutation(64)[:, None] * np.array([[3.0, 1.0]])
    ids = fit(KMeansTree(branching=8, child_order="principal"), line)
    order = np.lexsort(ids.codes_IL.T[::-1])
    assert np.array_equal(line[order][:, 0], np.sort(line[:, 0]))


def test_matching_gives_children_of_one_parent_different_codes():
    offsets = np.tile([[1.0, 0.0]], (9, 1)).astype(np.float32)
    code_M, directions = matched_codes(offsets, [np.arange(4), np.arange(4, 9)], 6, seed=1)
    assert len(set(code_M[:4].tolist())) == 4
    assert len(set(code_M[4:].tolist())) == 5
    assert directions.shape == (6, 2)


def test_codebook_centres_are_the_means_of_the_nodes():
    points = blobs(100, 5, 9)
    ids = fit(KMeansTree(branching=4), points)
    trie = Trie.of(ids)
    for depth in range(1, ids.num_levels):
        centres = ids.codebook[f"centres_{depth}"]
        assert centres.shape == (trie.num_nodes(depth), 5)
        for node in range(trie.num_nodes(depth)):
            members = trie.nodes_IL[:, depth - 1] == node
            np.testing.assert_allclose(centres[node], points[members].mean(0), rtol=1e-4, atol=1e-5)
    assert ids.codebook["directions_2"].shape == (4, 5)


def test_normalized_trees_ignore_length():
    points = blobs(120, 6, 10)
    lengths = np.exp(np.random.default_rng(0).normal(size=(120, 1))).astype(np.float32)
    tree = KMeansTree(branching=6, normalize=True)
    first, second = fit(tree, points), fit(tree, points / np.linalg.norm(points, axis=1, keepdims=True) * 3)
    stretched = fit(tree, points * lengths)
    neighbours = [(ids.codes_IL[:, 0][:, None] == ids.codes_IL[:, 0][None]) for ids in (first, second, stretched)]
    assert (neighbours[0] == neighbours[1]).mean() > 0.99
    assert (neighbours[0] == neighbours[2]).mean() > 0.99


def test_beauty_sized_tree_is_quick():
    points = blobs(12_101, 64, 500, spread=0.7)
    started = time.process_time()
    ids = fit(KMeansTree(), points)
    assert time.process_time() - started < 20
    assert ids.vocabulary_sizes == (256, 256)
    assert sorted(set(np.bincount(ids.codes_IL[:, 0]).tolist())) == [47, 48]
