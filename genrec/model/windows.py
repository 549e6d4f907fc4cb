"""Cuts histories into what a history encoder reads: the most recent items, windows, or every prefix."""

from __future__ import annotations

import torch
from torch import Tensor

from genrec.types import ABSENT


def most_recent(history_BT: Tensor, size: int, *, padding: int) -> Tensor:
    """The last ``size`` items of each history, padded at the end as it is; (B, T) becomes (B, min(T, size))."""
    if history_BT.shape[1] <= size:
        return history_BT
    length_B = (history_BT != padding).sum(1)
    start_B = (length_B - size).clamp_min(0)
    # A start is at most T - size, so these columns stay inside the row.
    place_BW = start_B[:, None] + torch.arange(size, device=history_BT.device)
    return history_BT.gather(1, place_BW)


def windows(history_BT: Tensor, target_BT: Tensor, size: int, *, padding: int) -> tuple[Tensor, Tensor]:
    """Histories whose positions are all trained at once, cut into windows of at most ``size`` items.

    Windows are counted back from the last item, as :class:`~genrec.training.batches.HistoryBatches` does, so that the
    first window of a history is the short one. A target follows the items before it in its window.

    Args:
        history_BT: item numbers, padded at the end.
        target_BT: what follows each item; ABSENT where nothing is to be predicted.
        size: W, items of a window.
        padding: item number of padding.

    Returns:
        history_RW and target_RW: a row for each window, the windows of a history one after another, so that the
        targets keep their row-major order. Without longer histories both are as they were.
    """
    if history_BT.shape[1] <= size:
        return history_BT, target_BT
    length_B = (history_BT != padding).sum(1)
    count_B = (length_B + size - 1) // size
    row_R = torch.repeat_interleave(count_B)  # the history that each window belongs to
    number_R = torch.arange(len(row_R), device=row_R.device) - (count_B.cumsum(0) - count_B)[row_R]
    end_R = length_B[row_R] - (count_B[row_R] - 1 - number_R) * size
    start_R = (end_R - size).clamp_min(0)
    place_RW = start_R[:, None] + torch.arange(size, device=row_R.device)
    inside_RW = place_RW < end_R[:, None]
    row_R1, place_RW = row_R[:, None], place_RW.clamp_max(history_BT.shape[1] - 1)
    history_RW = history_BT[row_R1, place_RW].masked_fill(~inside_RW, padding)
    return history_RW, target_BT[row_R1, place_RW].masked_fill(~inside_RW, ABSENT)


def prefixes(history_BT: Tensor, target_BT: Tensor, size: int, *, padding: int) -> tuple[Tensor, Tensor]:
    """Histories whose positions are all trained at once, as a sample for each target.

    Args:
        history_BT: item numbers, padded at the end.
        target_BT: what follows each item; ABSENT where nothing is to be predicted.
        size: W, items of a prefix at most, the most recent ones.
        padding: item number of padding.

    Returns:
        history_NW and target_N1: a row for each target, in row-major order; prefixes are padded at the end.
    """
    row_N, query_N = torch.nonzero(target_BT >= 0, as_tuple=True)
    start_N = (query_N + 1 - size).clamp_min(0)
    width = int((query_N + 1 - start_N).max()) if len(query_N) else 1
    place_NW = start_N[:, None] + torch.arange(width, device=history_BT.device)
    inside_NW = place_NW <= query_N[:, None]
    items_NW = history_BT[row_N[:, None], place_NW.clamp_max(history_BT.shape[1] - 1)]
    return items_NW.masked_fill(~inside_NW, padding), target_BT[row_N, query_N][:, None]
