"""The streams' lists, united into candidates for a merge, and their storage; plain arrays, no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genrec.errors import DataError
from genrec.runtime.checksums import verify
from genrec.types import ABSENT, Candidates, StreamCandidates

Score = Callable[[str, np.ndarray], np.ndarray]
"""A stream's name and items_BC (ABSENT entries are ignored) -> exact log-probabilities (B, C)."""

_ARRAYS = {
    "items_BC": np.int64,
    "log_probs_BCS": np.float32,
    "ranks_BCS": np.int32,
    "entropy_BS": np.float32,
    "code_lengths_S": np.int32,
}


def unite(
    streams: Mapping[str, StreamCandidates], code_lengths: Mapping[str, int], *, scores: Score | None = None
) -> Candidates:
    """The union of all streams' lists, each item once.

    Candidates are ordered by their best rank in any stream, and among equals by the order of the streams.

    Args:
        streams: each stream's list for the same B users.
        code_lengths: levels of each stream's codes.
        scores: called once for each stream with the candidates it did not propose; without it these are NaN.
    """
    names = tuple(streams)
    lists = tuple(streams.values())
    depth = max(part.items_BN.shape[1] for part in lists)
    # Axis M runs over ranks, and over the streams within a rank: an item first appears where it ranks best.
    items_BM = _interleave([part.items_BN for part in lists], depth, ABSENT)
    log_probs_BM = _interleave([part.log_probs_BN for part in lists], depth, -np.inf)
    column_BM = _columns_of_distinct(items_BM)

    user, place = np.nonzero(items_BM != ABSENT)
    column, stream = column_BM[user, place], place % len(names)
    shape = (len(items_BM), int(column.max(initial=-1)) + 1, len(names))
    items_BC = np.full(shape[:2], ABSENT, dtype=np.int64)
    items_BC[user, column] = items_BM[user, place]
    log_probs_BCS = np.full(shape, np.nan, dtype=np.float32)
    log_probs_BCS[user, column, stream] = log_probs_BM[user, place]
    ranks_BCS = np.full(shape, ABSENT, dtype=np.int32)
    ranks_BCS[user, column, stream] = place // len(names)
    if scores is not None:
        for number, name in enumerate(names):
            is_own_BC = ranks_BCS[:, :, number] != ABSENT
            others_BC = scores(name, np.where(is_own_BC, ABSENT, items_BC))
            log_probs_BCS[:, :, number] = np.where(is_own_BC, log_probs_BCS[:, :, number], others_BC)
        log_probs_BCS[items_BC == ABSENT] = np.nan
    return Candidates(
        names,
        items_BC,
        log_probs_BCS,
        ranks_BCS,
        np.stack([part.entropy_B() for part in lists], axis=1),
        np.array([code_lengths[name] for name in names], dtype=np.int32),
    )


def stack(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of different users of the same streams, one below the other."""
    width = max(part.items_BC.shape[1] for part in parts)

    def stacked(name: str, filler: float) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        rest = [(0, 0)] * (arrays[0].ndim - 2)
        padded = [np.pad(a, [(0, 0), (0, width - a.shape[1]), *rest], constant_values=filler) for a in arrays]
        return np.concatenate(padded)

    return Candidates(
        parts[0].streams,
        stacked("items_BC", ABSENT),
        stacked("log_probs_BCS", np.nan),
        stacked("ranks_BCS", ABSENT),
        np.concatenate([part.entropy_BS for part in parts]),
        parts[0].code_lengths_S,
    )


def save_candidates(candidates: Candidates, path: Path) -> None:
    """Write candidates to a safetensors file, which :func:`load_candidates` reads."""
    arrays = {name: np.ascontiguousarray(getattr(candidates, name), dtype) for name, dtype in _ARRAYS.items()}
    save_file(arrays, path, metadata={"streams": json.dumps(candidates.streams)})


def load_candidates(path: Path) -> Candidates:
    """Read what :func:`save_candidates` wrote.

    Raises:
        DataError: no such file, a damaged file of a run, or not a file of candidates.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; candidates are written by a finished run")
    try:
        with safe_open(verify(path), framework="numpy") as file:
            streams = tuple(json.loads((file.metadata() or {})["streams"]))
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        return Candidates(streams, **arrays)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a file of candidates ({error}); expected the tensors {', '.join(_ARRAYS)} "
            "and the names of the streams; run the recipe again to write it anew"
        ) from error


def _interleave(lists_BN: Sequence[np.ndarray], depth: int, filler: float) -> np.ndarray:
    """S lists -> one (B, depth * S): rank 0 of every stream, rank 1 of every stream, ..."""
    padded = [np.pad(part, ((0, 0), (0, depth - part.shape[1])), constant_values=filler) for part in lists_BN]
    return np.stack(padded, axis=2).reshape(len(padded[0]), depth * len(padded))


def _columns_of_distinct(items_BM: np.ndarray) -> np.ndarray:
    """For each entry the number of distinct items that first appear before its item does, int64; ABSENT stays so."""
    order_BM = np.argsort(items_BM, axis=1, kind="stable")
    sorted_BM = np.take_along_axis(items_BM, order_BM, axis=1)
    opens_BM = np.ones_like(sorted_BM, dtype=bool)
    opens_BM[:, 1:] = sorted_BM[:, 1:] != sorted_BM[:, :-1]
    places_BM = np.broadcast_to(np.arange(items_BM.shape[1]), items_BM.shape)
    opening_BM = np.maximum.accumulate(np.where(opens_BM, places_BM, 0), axis=1)
    first_BM = np.empty_like(order_BM)
    np.put_along_axis(first_BM, order_BM, np.take_along_axis(order_BM, opening_BM, axis=1), axis=1)
    is_new_BM = (first_BM == places_BM) & (items_BM != ABSENT)
    column_BM = np.take_along_axis(np.cumsum(is_new_BM, axis=1) - 1, first_BM, axis=1)
    return np.where(items_BM == ABSENT, ABSENT, column_BM)
