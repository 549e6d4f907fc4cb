"""Balanced k-means: clusters whose sizes differ by at most one; each Lloyd iteration solves a transport problem."""

from __future__ import annotations

import numpy as np

_EXCHANGES = 24
"""Exchange rounds of each Lloyd iteration but the last."""
_LAST_EXCHANGES = 300
"""Exchange rounds of the last one; it ends sooner where the cheapest assignment is reached."""
_FREE_ITERATIONS = 10
"""Iterations of plain k-means for the starting centers; without them the result is 1 to 4 % worse."""
_STARTS = 32
"""Rows per cluster among which the starting centers are drawn."""


def balanced_kmeans(points_NE: np.ndarray, num_clusters: int, *, iterations: int, seed: int) -> np.ndarray:
    """Divide points evenly into clusters with a small sum of squared distances to the clusters' means.

    Every iteration starts from the better of two assignments, the current one and a greedy one for the new centers,
    and improves it by :func:`exchange`.

    Args:
        points_NE: float32 (N, E), N >= num_clusters.
        num_clusters: K.
        iterations: Lloyd iterations, at most; fewer on convergence.
        seed: of the starting centers: k-means++, then a few iterations of plain k-means.

    Returns:
        cluster_N: int64 (N,); every cluster holds floor(N / K) or ceil(N / K) points.
    """
    points = points_NE - points_NE.mean(axis=0, dtype=np.float64).astype(points_NE.dtype)
    centers_KE = _free_centers(points, points[_spread(points, num_clusters, np.random.default_rng(seed))])
    cluster_N = assign_evenly(_costs(points, centers_KE), _EXCHANGES)
    for iteration in range(iterations):
        cost_NK = _costs(points, cluster_means(points, cluster_N, num_clusters))
        is_last = iteration == iterations - 1
        moved_N = exchange(cost_NK, _better_start(cost_NK, cluster_N), _LAST_EXCHANGES if is_last else _EXCHANGES)
        if np.array_equal(moved_N, cluster_N):
            break
        cluster_N = moved_N
    return cluster_N


def cluster_means(points_NE: np.ndarray, cluster_N: np.ndarray, num_clusters: int) -> np.ndarray:
    """Mean of each cluster's points, (K, E); every cluster must have a point."""
    order = np.argsort(cluster_N, kind="stable")
    starts = np.searchsorted(cluster_N[order], np.arange(num_clusters))
    sums = np.add.reduceat(points_NE[order], starts, axis=0)
    return sums / np.bincount(cluster_N, minlength=num_clusters)[:, None].astype(points_NE.dtype)


def assign_evenly(cost_NK: np.ndarray, exchanges: int) -> np.ndarray:
    """An even assignment of small total cost: greedy, then improved by at most ``exchanges`` exchange rounds."""
    return exchange(cost_NK, _greedy(cost_NK), exchanges)


def exchange(cost_NK: np.ndarray, cluster_N: np.ndarray, rounds: int) -> np.ndarray:
    """Lower the cost of an even assignment, keeping it even.

    In a round every cluster gives at most one point to another and receives at most one, by the best such permutation
    (a linear assignment over the K x K cheapest moves). This is negative-cycle canceling: when a round finds no gain,
    the assignment is the cheapest even one.
    """
    from scipy.optimize import linear_sum_assignment

    num_clusters = cost_NK.shape[1]
    cluster_N = cluster_N.copy()
    price_KK = np.zeros((num_clusters, num_clusters))
    mover_KK = np.zeros((num_clusters, num_clusters), dtype=np.int64)
    touched = np.arange(num_clusters)
    tolerance = 1e-6 * float(np.ptp(cost_NK)) if cost_NK.size else 0.0
    for _ in range(rounds):
        order = np.argsort(cluster_N, kind="stable")
        bounds = np.searchsorted(cluster_N[order], np.arange(num_clusters + 1))
        for giver in touched:
            members = order[bounds[giver] : bounds[giver + 1]]
            rise = cost_NK[members] - cost_NK[members, giver, None]
            cheapest = rise.argmin(axis=0)
            price_KK[giver] = rise[cheapest, np.arange(num_clusters)]
            mover_KK[giver] = members[cheapest]
        sizes = np.diff(bounds)
        # A smaller cluster may receive a point from a larger one and give none: they exchange sizes.
        idle_KK = (sizes[:, None] < sizes[None, :]) & (price_KK > 0)
        offer_KK = np.where(idle_KK, 0.0, price_KK)
        giver, taker = linear_sum_assignment(offer_KK)
        if offer_KK[giver, taker].sum() > -tolerance:
            break
        touched = giver[giver != taker]
        moves = (giver != taker) & ~idle_KK[giver, taker]
        cluster_N[mover_KK[giver[moves], taker[moves]]] = taker[moves]
    return cluster_N


def _spread(points_NE: np.ndarray, num_clusters: int, generator: np.random.Generator) -> np.ndarray:
    """K different rows, far apart: k-means++ with one draw per center, among at most ``_STARTS`` K rows."""
    size = min(len(points_NE), _STARTS * num_clusters)
    among = generator.permutation(len(points_NE))[:size]
    points = points_NE[among]
    square_N = np.einsum("ne,ne->n", points, points)
    chosen = [0]
    is_chosen = np.zeros(size, dtype=bool)
    is_chosen[0] = True
    distance_N = np.full(size, np.inf, dtype=points.dtype)
    for _ in range(num_clusters - 1):
        newest = chosen[-1]
        np.minimum(distance_N, square_N - 2 * (points @ points[newest]) + square_N[newest], out=distance_N)
        weight_N = np.where(is_chosen, 0.0, np.maximum(distance_N, 0.0))
        if weight_N.sum() == 0:
            weight_N = np.where(is_chosen, 0.0, 1.0)  # the rest repeats points that were chosen
        cumulated = np.cumsum(weight_N, dtype=np.float64)
        newest = int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
        chosen.append(newest)
        is_chosen[newest] = True
    return among[chosen]


def _free_centers(points_NE: np.ndarray, centers_KE: np.ndarray) -> np.ndarray:
    """Centers after some iterations of plain k-means; a center without points stays in place."""
    centers_KE = centers_KE.copy()
    for _ in range(_FREE_ITERATIONS):
        used, cluster_N = np.unique(_costs(points_NE, centers_KE).argmin(axis=1), return_inverse=True)
        centers_KE[used] = cluster_means(points_NE, cluster_N, len(used))
    return centers_KE


def _costs(points_NE: np.ndarray, centers_KE: np.ndarray) -> np.ndarray:
    """Squared distances less each point's own square, which is the same for all clusters."""
    return np.einsum("ke,ke->k", centers_KE, centers_KE) - 2 * (points_NE @ centers_KE.T)


def _better_start(cost_NK: np.ndarray, cluster_N: np.ndarray) -> np.ndarray:
    greedy_N = _greedy(cost_NK)
    rows = np.arange(len(cost_NK))
    is_better = cost_NK[rows, greedy_N].sum(dtype=np.float64) < cost_NK[rows, cluster_N].sum(dtype=np.float64)
    return greedy_N if is_better else cluster_N


def _greedy(cost_NK: np.ndarray) -> np.ndarray:
    """Assign points to their cheapest cluster with room, those with the largest loss by the second choice first."""
    num_points, num_clusters = cost_NK.shape
    size, spare = divmod(num_points, num_clusters)
    room_K = np.full(num_clusters, size)
    wanted_K = np.bincount(cost_NK.argmin(axis=1), minlength=num_clusters)
    room_K[np.argsort(-wanted_K, kind="stable")[:spare]] += 1
    cluster_N = np.zeros(num_points, dtype=np.int64)
    left = np.arange(num_points)
    while len(left):
        open_clusters = np.flatnonzero(room_K)
        cost = cost_NK[np.ix_(left, open_clusters)]
        choice = open_clusters[cost.argmin(axis=1)]
        cheapest = np.partition(cost, 1, axis=1) if len(open_clusters) > 1 else np.repeat(cost, 2, axis=1)
        order = np.lexsort((cheapest[:, 0] - cheapest[:, 1], choice))
        starts = np.searchsorted(choice[order], np.arange(num_clusters))
        place = np.arange(len(left)) - starts[choice[order]]
        taken = order[place < room_K[choice[order]]]
        cluster_N[left[taken]] = choice[taken]
        room_K -= np.bincount(choice[taken], minlength=num_clusters)
        left = np.delete(left, taken)
    return cluster_N
