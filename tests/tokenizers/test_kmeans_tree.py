from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.semantic_ids.trie import Trie
from genrec.tokenizers._balanced import assign_evenly, balanced_kmeans, cluster_means, exchange
from genrec.tokenizers._child_order import matched_codes
from genrec.tokenizers._reconstruction import centers_name
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.types import ABSENT, ItemVectors


def vectors_of(points: np.ndarray, absent: tuple[int, ...] = ()) -> ItemVectors:
    return ItemVectors(points.astype(np.float32), ~np.isin(np.arange(len(points)), absent))


def blobs(num_points: int, width: int, num_blobs: int, *, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Points around random centers, as many around each."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(num_blobs, width))
    noise = spread * generator.normal(size=(num_points, width))
    return (centers[np.arange(num_points) % num_blobs] + noise).astype(np.float32)


def fit(tree: KMeansTree, points: np.ndarray, seed: int = 1):
    return tree.fit(vectors_of(points), keys=(), context=WorkContext(seed=seed))


def assert_balanced(codes_NL: np.ndarray, branching: int) -> None:
    """At every node: as many children as there can be, of sizes that differ by at most one."""
    for depth in range(codes_NL.shape[1]):
        _, parent_N = np.unique(codes_NL[:, :depth], axis=0, return_inverse=True)
        for parent in range(parent_N.max() + 1):
            _, sizes = np.unique(codes_NL[parent_N == parent, depth], return_counts=True)
            assert len(sizes) == min(branching, sizes.sum())
            assert sizes.max() - sizes.min() <= 1


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
    ids = KMeansTree(branching=4).fit(vectors_of(wider, absent=(7,)), keys=(), context=WorkContext(seed=1))
    assert (ids.codes_IL[7] == ABSENT).all()
    assert np.array_equal(np.delete(ids.codes_IL, 7, axis=0), whole.codes_IL)


def test_without_any_vector_it_says_what_to_do():
    with pytest.raises(DataError) as caught:
        KMeansTree().fit(vectors_of(np.zeros((3, 2)), absent=(0, 1, 2)), keys=(), context=WorkContext(seed=1))
    assert str(caught.value) == (
        "kmeans_tree: none of the 3 items has a vector, so no item can get a code; choose an item encoder that the "
        "data set can feed (texts, images), or leave this stream out"
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
    """Ten far clusters, each with the same six directions from its center, in an order of its own."""
    generator = np.random.default_rng(seed)
    centers = 100 * generator.normal(size=(10, 8))
    directions = np.linalg.qr(generator.normal(size=(8, 8)))[0][:6]
    return np.concatenate([center + directions[generator.permutation(6)] for center in centers])


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


def test_codebook_centers_are_the_means_of_the_nodes():
    points = blobs(100, 5, 9)
    ids = fit(KMeansTree(branching=4), points)
    trie = Trie.of(ids)
    for depth in range(1, ids.num_levels):
        centers = ids.codebook[centers_name(depth)]
        assert centers.shape == (trie.num_nodes(depth), 5)
        for node in range(trie.num_nodes(depth)):
            members = trie.nodes_IL[:, depth - 1] == node
            np.testing.assert_allclose(centers[node], points[members].mean(0), rtol=1e-4, atol=1e-5)
    assert ids.codebook["directions_2"].shape == (4, 5)


def test_normalized_trees_ignore_length():
    points = blobs(120, 6, 10)
    lengths = np.exp(np.random.default_rng(0).normal(size=(120, 1))).astype(np.float32)
    tree = KMeansTree(branching=6, normalize=True)
    first, second = fit(tree, points), fit(tree, points / np.linalg.norm(points, axis=1, keepdims=True) * 3)
    stretched = fit(tree, points * lengths)
    neighbors = [(ids.codes_IL[:, 0][:, None] == ids.codes_IL[:, 0][None]) for ids in (first, second, stretched)]
    assert (neighbors[0] == neighbors[1]).mean() > 0.99
    assert (neighbors[0] == neighbors[2]).mean() > 0.99


def test_beauty_sized_tree_is_quick():
    points = blobs(12_101, 64, 500, spread=0.7)
    started = time.process_time()
    ids = fit(KMeansTree(), points)
    assert time.process_time() - started < 20
    assert ids.vocabulary_sizes == (256, 256)
    assert sorted(set(np.bincount(ids.codes_IL[:, 0]).tolist())) == [47, 48]


def skewed(num_points: int, width: int, seed: int = 0) -> np.ndarray:
    """One crowded place and a few points far from it and from each other."""
    generator = np.random.default_rng(seed)
    scale = np.where(np.arange(num_points) < 0.8 * num_points, 0.01, 10.0)[:, None]
    return (generator.normal(size=(num_points, width)) * scale).astype(np.float32)


@given(
    num_items=st.integers(1, 90),
    branching=st.integers(2, 12),
    distinct=st.integers(1, 90),
    child_order=st.sampled_from(["matched", "principal", "random"]),
    seed=st.integers(0, 2**63 - 1),
)
@pytest.mark.filterwarnings("error")
def test_unbalanced_trees_reach_every_item(num_items, branching, distinct, child_order, seed):
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(distinct, 2))[generator.integers(distinct, size=num_items)]
    tree = KMeansTree(branching=branching, iterations=4, child_order=child_order, balanced=False)
    ids = fit(tree, points, seed)
    assert sorted(Trie.of(ids).item_of_leaf.tolist()) == list(range(num_items))
    assert max(ids.vocabulary_sizes) <= branching
    assert np.array_equal(fit(tree, points, seed).codes_IL, ids.codes_IL)


def test_without_balance_clusters_are_as_large_as_the_data_have_them():
    points = skewed(300, 3)
    even, free = (fit(KMeansTree(branching=8, balanced=balanced), points) for balanced in (True, False))
    assert set(np.bincount(even.codes_IL[:, 0]).tolist()) == {37, 38}
    sizes = np.bincount(free.codes_IL[:, 0])
    assert sizes.max() > 200
    assert free.num_levels > even.num_levels
    assert inertia(points, free.codes_IL[:, 0]) < 0.8 * inertia(points, even.codes_IL[:, 0])


def test_the_root_of_an_unbalanced_tree_is_plain_kmeans():
    points = blobs(600, 6, 12, spread=0.8)
    ids = fit(KMeansTree(branching=12, balanced=False, iterations=100), points)
    centers = ids.codebook[centers_name(1)]
    nearest = ((points[:, None] - centers) ** 2).sum(-1).argmin(1)
    assert (nearest == ids.codes_IL[:, 0]).mean() > 0.99
    best = min(KMeans(12, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(5))
    assert inertia(points, ids.codes_IL[:, 0]) < 1.2 * best


@pytest.mark.filterwarnings("error")
def test_equal_vectors_of_an_unbalanced_tree_are_divided_evenly():
    alike = fit(KMeansTree(branching=4, balanced=False), np.ones((50, 3)))
    assert_balanced(alike.codes_IL, 4)
    two = np.repeat([[0.0, 0.0], [5.0, 5.0]], [60, 3], axis=0)
    ids = fit(KMeansTree(branching=4, balanced=False), two)
    assert sorted(np.bincount(ids.codes_IL[:, 0]).tolist()) == [3, 60]
    assert ids.num_levels == 4


@pytest.mark.filterwarnings("error")
def test_nearly_equal_points_do_not_hang_it():
    steps = np.arange(40, dtype=np.float32)[:, None] * np.float32(1e-7)
    ids = fit(KMeansTree(branching=3, balanced=False), 1 + steps)
    assert len(np.unique(ids.codes_IL, axis=0)) == 40


def of_codes(ids) -> dict[tuple[int, ...], int]:
    return {tuple(code): item for item, code in enumerate(ids.codes_IL.tolist()) if code[0] != ABSENT}


@pytest.mark.parametrize(("balanced", "normalize"), [(True, False), (True, True), (False, False)])
def test_new_items_descend_to_the_nearest_centers(balanced, normalize):
    points = blobs(400, 5, 30, spread=0.2)
    tree = KMeansTree(branching=6, balanced=balanced, normalize=normalize)
    ids = fit(tree, points)
    new = blobs(420, 5, 30, spread=0.2)[400:]
    if normalize:
        points, new = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (points, new))
    wider = tree.assign(ids, vectors_of(points), vectors_of(new))
    assert wider.num_levels == ids.num_levels >= 3
    paths = {depth: np.unique(ids.codes_IL[:, :depth], axis=0) for depth in range(1, ids.num_levels)}
    last_prefixes = [tuple(code[:-1]) for code in ids.codes_IL.tolist()]
    descended = 0
    for item, codes in enumerate(wider.codes_IL[400:].tolist()):
        way: tuple[int, ...] = ()
        for depth in range(1, ids.num_levels):
            at = np.flatnonzero((paths[depth][:, :-1] == way).all(axis=1))
            nearest = at[((ids.codebook[centers_name(depth)][at] - new[item]) ** 2).sum(axis=1).argmin()]
            way = tuple(paths[depth][nearest].tolist())
        is_full = (
            last_prefixes.count(way)
            + sum(tuple(other[:-1]) == way for other in wider.codes_IL[400 : 400 + item].tolist())
            >= ids.vocabulary_sizes[-1]
        )
        if not is_full:
            descended += 1
            assert tuple(codes[:-1]) == way
    assert descended > 5


def test_new_items_take_the_free_code_of_their_direction():
    points = family_world()
    seen = np.arange(60) % 6 != 5
    tree = KMeansTree(branching=10)
    whole = fit(tree, points)
    ids = fit(tree, points[seen])
    new = points[~seen]
    wider = tree.assign(ids, vectors_of(points[seen]), vectors_of(new))
    assert ids.vocabulary_sizes == (10, 10)
    assert whole.num_levels == ids.num_levels == 2
    directions = ids.codebook["directions_2"]
    units = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    for item, (first, last) in enumerate(wider.codes_IL[50:].tolist()):
        taken = [code[1] for code in ids.codes_IL.tolist() if code[0] == first]
        free = [code for code in range(10) if code not in taken]
        offset = new[item] - ids.codebook[centers_name(1)][first]
        assert last == max(free, key=lambda code: float(units[code] @ offset))
        assert ((ids.codebook[centers_name(1)] - new[item]) ** 2).sum(axis=1).argmin() == first


def test_new_items_beside_a_branch_of_absent_ones():
    points = blobs(100, 4, 9)
    vectors = vectors_of(points, absent=(3, 4, 5))
    tree = KMeansTree(branching=6)
    own = with_own_branch(tree.fit(vectors, keys=(), context=WorkContext(seed=1)))
    wider = tree.assign(own, vectors, vectors_of(points[[3, 4, 5]]))
    assert (own.codes_IL[[3, 4, 5], 0] == 6).all()
    assert (wider.codes_IL[100:, 0] < 6).all()
    assert len(of_codes(wider)) == 103


def test_a_tree_of_one_level_has_no_room():
    points = blobs(10, 4, 3)
    with pytest.raises(DataError, match="1 of 1 new items get no code"):
        KMeansTree().assign(fit(KMeansTree(), points), vectors_of(points), vectors_of(points[:1]))
