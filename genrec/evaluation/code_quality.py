"""The quality of semantic IDs, per stream and between streams: plain numbers for a report.

``docs/tokenizers/README.md`` explains the measures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from genrec.evaluation.neighbors import nearest_rows, sample_rows
from genrec.families import Tokenizer
from genrec.tokenizers._collisions import count_collisions
from genrec.tokenizers._present import unit_rows
from genrec.types import Catalog, ItemVectors, SemanticIds

_COUNTS = 512
"""Maximum length of a level's ``counts``."""
_DEPTHS = 2
"""Prefixes of 1 and 2 codes are compared with attributes and other streams."""
_AGREEMENT_ITEMS = 20_000
"""Maximum number of items for a mutual information: its correction for chance takes quadratic time."""
_ITEMS_A_LABEL = 2
"""Minimum average number of items of a prefix to count as a grouping."""
_ITEMS_A_VALUE = 5
"""Minimum average number of items of an attribute value."""
_ATTRIBUTES = 4
"""Number of attributes of an item that are used, from the first."""


def measure_codes(
    ids: SemanticIds,
    vectors: ItemVectors,
    catalog: Catalog | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    neighbors: int = 10,
    sample: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the codes of one stream.

    Args:
        ids: the codes.
        vectors: the item vectors that were tokenized.
        catalog: if given, codes are compared with item attributes.
        tokenizer: that produced the codes; if given, the reconstruction error is measured.
        neighbors: size of a neighborhood.
        sample: number of sampled items.
        seed: of the samples.

    Returns:
        Plain data, None for what cannot be measured:

        - ``items``, ``absent``: items with and without codes; ``unread``: items with codes but no vector.
        - ``collisions``, ``collision_ratio``: items that shared their codes before repair;
          ``collisions_after_repair``: 0.
        - ``levels``: by level its ``vocabulary``, codes ``used`` and ``dead``, ``entropy`` of their use in bits,
          ``balance``: its ratio to the maximum entropy, ``perplexity``: 2 to the entropy, the effective number of
          codes, and ``counts``: items per code in descending order, evenly sampled if there are more than 512.
        - ``prefixes``: by depth the number of distinct prefixes (``nodes``), items of the ``largest`` and of the
          ``mean`` one; of the nearest items (cosine), the share that have the item's prefix (``neighbors_sharing``),
          the share of all other items (``expected_sharing``), and their ratio (``lift``); ``reconstruction_error``:
          mean squared distance of a vector to its reconstruction, as a share of the variance of the vectors.
        - ``reconstruction_error``: of all codes. ``neighbors``, ``neighborhoods``: size and number of neighborhoods.
        - ``categories``: by attribute (1 for the first of an item) its number of ``values``, the most frequent ones
          (``examples``), the number of ``items`` used, and ``ami``: adjusted mutual information of the
          prefixes of depth 1 and 2 with it.
    """
    rows_N = np.flatnonzero(ids.present_I & vectors.present_I)
    num_items = int(ids.present_I.sum())
    prefixes = _prefixes(ids, vectors, rows_N, neighbors, sample, seed)
    errors = _reconstruction_errors(ids, vectors, rows_N, tokenizer)
    for prefix, error in zip(prefixes, errors, strict=True):
        prefix["reconstruction_error"] = error
    return {
        "items": num_items,
        "absent": len(ids.codes_IL) - num_items,
        "unread": num_items - len(rows_N),
        "collisions": ids.collisions,
        "collision_ratio": ids.collisions / num_items,
        "collisions_after_repair": count_collisions(ids.codes_IL[ids.present_I]),
        "levels": measure_levels(ids),
        "prefixes": prefixes,
        "reconstruction_error": errors[-1],
        "neighbors": min(neighbors, len(rows_N) - 1),
        "neighborhoods": min(sample, len(rows_N)),
        "categories": None if catalog is None else _categories(ids, catalog, rows_N, seed),
    }


def measure_levels(ids: SemanticIds) -> list[dict[str, Any]]:
    """Measure the use of codes: ``levels`` of :func:`measure_codes`, which takes no vectors and little time."""
    return [_level(ids.codes_IL[ids.present_I, level], size) for level, size in enumerate(ids.vocabulary_sizes)]


def measure_agreement(
    ids: Mapping[str, SemanticIds],
    vectors: Mapping[str, ItemVectors],
    *,
    neighbors: int = 10,
    sample: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure the agreement of each two streams on the items that both encode.

    Args:
        ids: the codes of each stream.
        vectors: their vectors.
        neighbors: size of a neighborhood.
        sample: number of sampled items.
        seed: of the samples.

    Returns:
        For each pair of streams (``first``, ``second``) the ``items`` that both encode; ``ami``: adjusted mutual
        information of their prefixes of depth 1 and 2, by ``ami_items`` of them; of an item's nearest items (cosine)
        the share that the two streams have in common (``neighbors_in_common``), by chance (``expected_in_common``),
        and their ratio (``lift``). None for what cannot be measured.
    """
    found = []
    for first, second in combinations(ids, 2):
        pair = (first, second)
        rows_N = np.flatnonzero(np.all([ids[name].present_I & vectors[name].present_I for name in pair], axis=0))
        some_M = rows_N[sample_rows(len(rows_N), _AGREEMENT_ITEMS, seed)]
        nodes = [_first_nodes(ids[name].codes_IL[some_M]) for name in pair]
        common = _in_common([vectors[name].vectors_IE[rows_N] for name in pair], neighbors, sample, seed)
        expected = min(neighbors / (len(rows_N) - 1), 1.0) if len(rows_N) > 1 else None
        found.append(
            {
                "first": first,
                "second": second,
                "items": len(rows_N),
                "ami_items": len(some_M),
                "ami": [_agreement(*(of_stream[depth] for of_stream in nodes)) for depth in range(_DEPTHS)],
                "neighbors_in_common": common,
                "expected_in_common": expected,
                "lift": common / expected if common is not None and expected else None,
            }
        )
    return found


def _level(code_N: np.ndarray, vocabulary_size: int) -> dict[str, Any]:
    counts = np.sort(np.bincount(code_N, minlength=vocabulary_size))[::-1]
    shares = counts[counts > 0] / len(code_N)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    most = float(np.log2(min(vocabulary_size, len(code_N))))
    places = np.unique(np.linspace(0, len(counts) - 1, _COUNTS).round().astype(np.int64))
    return {
        "vocabulary": vocabulary_size,
        "used": len(shares),
        "dead": vocabulary_size - len(shares),
        "entropy": entropy,
        "balance": entropy / most if most > 0 else 1.0,
        "perplexity": 2.0**entropy,
        "counts": counts[places].tolist(),
    }


def _nodes(codes_NL: np.ndarray) -> list[np.ndarray]:
    """By depth, from 1: the number of each row's prefix, int64 (N,)."""
    node_N = np.zeros(len(codes_NL), dtype=np.int64)
    found = []
    for code_N in codes_NL.T:
        node_N = np.unique(node_N * (int(code_N.max(initial=0)) + 1) + code_N, return_inverse=True)[1]
        found.append(node_N)
    return found


def _first_nodes(codes_NL: np.ndarray) -> list[np.ndarray | None]:
    """The prefixes that are compared with other groupings; None for depths that the codes lack."""
    nodes = _nodes(codes_NL[:, :_DEPTHS])
    return [*nodes, *[None] * (_DEPTHS - len(nodes))]


def _prefixes(
    ids: SemanticIds, vectors: ItemVectors, rows_N: np.ndarray, neighbors: int, sample: int, seed: int
) -> list[dict[str, Any]]:
    """By depth: sizes over all items with codes, and whether neighbors share a prefix over those with vectors."""
    points_NE, neighbors = vectors.vectors_IE[rows_N], min(neighbors, len(rows_N) - 1)
    query_Q = sample_rows(len(rows_N), sample, seed)
    nearest_QK = nearest_rows(points_NE, query_Q, neighbors) if neighbors > 0 else None
    found = []
    for depth, node_P in enumerate(_nodes(ids.codes_IL[ids.present_I]), start=1):
        size = np.bincount(node_P)
        measured: dict[str, Any] = {
            "depth": depth,
            "nodes": len(size),
            "largest": int(size.max()),
            "mean": len(node_P) / len(size),
            "neighbors_sharing": None,
            "expected_sharing": None,
            "lift": None,
        }
        if nearest_QK is not None:
            node_I = np.zeros(len(ids.codes_IL), dtype=np.int64)
            node_I[ids.present_I] = node_P
            node_N = node_I[rows_N]
            shared = float((node_N[nearest_QK] == node_N[query_Q, None]).mean())
            size = np.bincount(node_N).astype(np.float64)
            expected = float((size * (size - 1)).sum() / (len(node_N) * (len(node_N) - 1)))
            measured |= {
                "neighbors_sharing": shared,
                "expected_sharing": expected,
                "lift": shared / expected if expected else None,
            }
        found.append(measured)
    return found


def _reconstruction_errors(
    ids: SemanticIds, vectors: ItemVectors, rows_N: np.ndarray, tokenizer: Tokenizer | None
) -> list[float | None]:
    """By depth: squared distance to the reconstruction, as a share of the variance."""
    points_NE = vectors.vectors_IE[rows_N]
    if ids.codebook.get("normalized", np.array([False])).any():
        points_NE = unit_rows(points_NE)
    variance = float(((points_NE - points_NE.mean(axis=0)) ** 2).mean(dtype=np.float64)) if len(rows_N) else 0.0
    errors: list[float | None] = []
    for depth in range(1, ids.num_levels + 1):
        decoded_IE = tokenizer.reconstruct(ids, levels=depth) if tokenizer is not None else None
        error = None
        if decoded_IE is not None:
            is_known_N = np.isfinite(decoded_IE[rows_N]).all(axis=1)
            if is_known_N.any():
                square = ((points_NE[is_known_N] - decoded_IE[rows_N[is_known_N]]) ** 2).mean(dtype=np.float64)
                error = float(square) / variance if variance > 0 else 0.0
        errors.append(error)
    return errors


def _categories(ids: SemanticIds, catalog: Catalog, rows_N: np.ndarray, seed: int) -> list[dict[str, Any]] | None:
    """Agreement with each usable attribute; None if there is none."""
    found = []
    for number, labeled_M, label_M, examples in _labels(catalog, rows_N):
        some = sample_rows(len(labeled_M), _AGREEMENT_ITEMS, seed)
        nodes = _first_nodes(ids.codes_IL[labeled_M[some]])
        found.append(
            {
                "attribute": number,
                "values": int(label_M.max()) + 1,
                "examples": examples,
                "items": len(some),
                "ami": [_agreement(node_M, label_M[some]) for node_M in nodes],
            }
        )
    return found or None


def _labels(catalog: Catalog, rows_N: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, list[str]]]:
    """The attributes that at least a quarter of the items have, with two values or more and some items for each.

    Sources list attributes by type (category, brand) or by weight, so position identifies the attribute.

    Yields:
        Number from 1, the rows that have it (M,), their labels (M,), the most frequent values.
    """
    for place in range(_ATTRIBUTES):
        labeled_M = np.array([row for row in rows_N if len(catalog.attributes[row]) > place], dtype=np.int64)
        values = [catalog.attributes[row][place] for row in labeled_M]
        number_of = {value: number for number, value in enumerate(dict.fromkeys(values))}
        if len(values) * 4 >= len(rows_N) and 2 <= len(number_of) <= len(values) / _ITEMS_A_VALUE:
            label_M = np.array([number_of[value] for value in values])
            yield place + 1, labeled_M, label_M, [value for value, _ in Counter(values).most_common(3)]


def _agreement(first_N: np.ndarray | None, second_N: np.ndarray | None) -> float | None:
    """Adjusted mutual information of two groupings; None if the groups of one are too small."""
    from sklearn.metrics import adjusted_mutual_info_score

    if first_N is None or second_N is None or len(first_N) == 0:
        return None
    if len(first_N) < _ITEMS_A_LABEL * (max(first_N.max(), second_N.max()) + 1):
        return None
    return float(adjusted_mutual_info_score(first_N, second_N))


def _in_common(points: list[np.ndarray], neighbors: int, sample: int, seed: int) -> float | None:
    """The share of nearest rows that two spaces have in common; None with a single row."""
    num_items = len(points[0])
    neighbors = min(neighbors, num_items - 1)
    if neighbors < 1:
        return None
    query_Q = sample_rows(num_items, sample, seed)
    first_QK, second_QK = (nearest_rows(points_NE, query_Q, neighbors) for points_NE in points)
    return float((first_QK[:, :, None] == second_QK[:, None, :]).any(axis=2).mean())
