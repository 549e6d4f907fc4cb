"""Exact search that stops early: best first, by the bound log p(prefix) >= log p(item)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.beam import as_list, extend, search_beam, top, user_chunks
from genrec.search.trie import Trie

_DEAD = float("-inf")
_ROUNDING = 1e-4
"""By how many nats two computations of one log-probability may differ: the same sums in batches of other shapes."""


@torch.inference_mode()
def search_bound(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    *,
    list_length: int,
    block_size: int = 32,
    excluded_BH: np.ndarray | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The most probable items of one stream, none missed.

    No item is more probable than a prefix of its codes. So prefixes of all but the last level are kept as long as they
    are not less probable than the worst item of a list that is already known (a beam search's of width ``block_size``;
    with two levels none is needed). Those of the last level are expanded in blocks, the most probable first; each block
    betters the list, and a user is done when the next prefix is less probable than the list's last item.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.
        list_length: items N wanted.
        block_size: prefixes of a user that are expanded together.
        excluded_BH: items that must not be found, negative entries are left out.

    Returns:
        ``items_BN`` and ``log_probs_BN`` as ``search_beam`` gives them, and ``prefixes_B`` int64: how many prefixes
        were expanded, the root left out.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    parts = []
    for rows in user_chunks(encoded, block_size):
        excluded_bH = None if excluded_BH is None else excluded_BH[rows]
        parts.append(_search_chunk(decoder, encoded.rows(rows), trie, list_length, block_size, excluded_bH))
    items, log_probs, prefixes = zip(*parts, strict=True)
    return torch.cat(items), torch.cat(log_probs), torch.cat(prefixes)


def _search_chunk(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    list_length: int,
    block_size: int,
    excluded_BH: np.ndarray | None,
) -> tuple[Tensor, Tensor, Tensor]:
    num_users, device = len(encoded.states_BTD), encoded.states_BTD.device
    worst_B = torch.full((num_users,), _DEAD, device=device)
    prefixes_B = torch.zeros(num_users, dtype=torch.int64, device=device)
    if trie.num_levels > 2:
        _, known_BN = search_beam(
            decoder, encoded, trie, beam_width=block_size, list_length=list_length, excluded_BH=excluded_BH
        )
        worst_B = known_BN[:, -1] - _ROUNDING
        prefixes_B += sum(min(block_size, trie.num_nodes(depth)) for depth in range(1, trie.num_levels))
    exhausted = None if excluded_BH is None else trie.exhausted(excluded_BH)
    state = decoder.begin(encoded)
    nodes_BK = torch.zeros(num_users, 1, dtype=torch.int64, device=device)
    origin_BK, totals_BK = torch.zeros_like(nodes_BK), torch.zeros(num_users, 1, device=device)
    for depth in range(trie.num_levels - 1):
        if depth:
            prefixes_B += (totals_BK != _DEAD).sum(1)
        steps_BKC = decoder.expand(state, depth, nodes_BK, origin_BK)
        closed_BX = None if exhausted is None else exhausted[depth]
        totals_BM, children_BM = extend(trie, depth, nodes_BK, totals_BK, steps_BKC, closed_BX)
        is_open_BM = (totals_BM >= worst_B[:, None]) & (totals_BM != _DEAD)
        best_BK = top(totals_BM, children_BM, max(1, int(is_open_BM.sum(1).max())))
        is_dead_BK = ~is_open_BM.gather(1, best_BK)
        totals_BK = totals_BM.gather(1, best_BK).masked_fill(is_dead_BK, _DEAD)
        nodes_BK = children_BM.gather(1, best_BK).masked_fill(is_dead_BK, 0)
        origin_BK = (best_BK // steps_BKC.shape[2]).masked_fill(is_dead_BK, 0)

    # The last level: users who are done leave the batch, the others' next best prefixes are expanded together.
    depth = trie.num_levels - 1
    leaves_BN = torch.zeros(num_users, list_length, dtype=torch.int64, device=device)
    log_probs_BN = torch.full((num_users, list_length), _DEAD, device=device)
    users = torch.arange(num_users, device=device)
    for first in range(0, nodes_BK.shape[1], block_size):
        block = slice(first, first + block_size)
        worst_U = torch.maximum(worst_B, log_probs_BN[:, -1])[users]
        is_open_UK = (totals_BK[:, block] >= worst_U[:, None]) & (totals_BK[:, block] != _DEAD)
        going_on = is_open_UK[:, 0].nonzero()[:, 0]  # the first is the most probable
        if not len(going_on):
            break
        if len(going_on) < len(users):
            users, state, is_open_UK = users[going_on], state.rows(going_on), is_open_UK[going_on]
            nodes_BK, totals_BK, origin_BK = nodes_BK[going_on], totals_BK[going_on], origin_BK[going_on]
        is_open_UK = is_open_UK[:, : int(is_open_UK.sum(1).max())]
        block = slice(first, first + is_open_UK.shape[1])
        nodes_UK = nodes_BK[:, block].masked_fill(~is_open_UK, 0)
        totals_UK = totals_BK[:, block].masked_fill(~is_open_UK, _DEAD)
        if depth:
            prefixes_B[users] += is_open_UK.sum(1)
        steps_UKC = decoder.expand(state, depth, nodes_UK, origin_BK[:, block])
        closed_UX = None if exhausted is None else exhausted[depth][users.cpu().numpy()]
        totals_UM, children_UM = extend(trie, depth, nodes_UK, totals_UK, steps_UKC, closed_UX)
        totals_UM = torch.cat([log_probs_BN[users], totals_UM], 1)
        children_UM = torch.cat([leaves_BN[users], children_UM], 1)
        best_UN = top(totals_UM, children_UM, list_length)
        log_probs_BN[users], leaves_BN[users] = totals_UM.gather(1, best_UN), children_UM.gather(1, best_UN)
    items_BN, log_probs_BN = as_list(trie.on(device), leaves_BN, log_probs_BN, list_length)
    return items_BN, log_probs_BN, prefixes_B
