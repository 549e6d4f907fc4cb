"""Beam search of one stream under its trie: batched over users and beams, never an invalid item, never one twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.trie import Trie, TrieTensors
from genrec.types import ABSENT

_DEAD = float("-inf")
_LARGEST_NUMBER = 2**31 - 1
_PREFIXES_AT_ONCE = {"cpu": 1024, "cuda": 2**17}


@torch.inference_mode()
def search_beam(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    *,
    beam_width: int,
    list_length: int,
    excluded_BH: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """The most probable items of one stream.

    Prefixes that cannot be extended (all their children have probability 0) die: their log-probability is -inf and
    their node 0, so that tensors stay dense. Equal log-probabilities are ordered by node number, which is the order
    of the codes.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.
        beam_width: prefixes K kept at each level but the last, where ``list_length`` leaves are kept.
        list_length: items N wanted.
        excluded_BH: items that must not be found, negative entries are left out. It is the beam search in the trie of
            the other items: no prefix that leads to excluded items alone takes a place in the beam, so that N items
            come back where there are that many and N <= K.

    Returns:
        ``items_BN`` int64, ABSENT where a list ends early, and ``log_probs_BN`` float32 (nats), not increasing along
        a row, -inf where ABSENT.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    tree = trie.on(encoded.states_BTD.device)
    parts = []
    for rows in user_chunks(encoded, beam_width):
        excluded_bH = None if excluded_BH is None else excluded_BH[rows]
        leaves_bN, log_probs_bN = _search_chunk(decoder, encoded.rows(rows), trie, beam_width, list_length, excluded_bH)
        parts.append(as_list(tree, leaves_bN, log_probs_bN, list_length))
    items, log_probs = zip(*parts, strict=True)
    return torch.cat(items), torch.cat(log_probs)


def _search_chunk(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    beam_width: int,
    list_length: int,
    excluded_BH: np.ndarray | None,
) -> tuple[Tensor, Tensor]:
    """The best leaves found, and their log-probabilities."""
    exhausted = None if excluded_BH is None else trie.exhausted(excluded_BH)
    state = decoder.begin(encoded)
    nodes_BK = torch.zeros(len(encoded.states_BTD), 1, dtype=torch.int64, device=encoded.states_BTD.device)
    origin_BK, totals_BK = torch.zeros_like(nodes_BK), torch.zeros_like(nodes_BK, dtype=torch.float32)
    for depth in range(trie.num_levels):
        steps_BKC = decoder.expand(state, depth, nodes_BK, origin_BK)
        closed_BX = None if exhausted is None else exhausted[depth]
        totals_BM, children_BM = extend(trie, depth, nodes_BK, totals_BK, steps_BKC, closed_BX)
        wanted = list_length if depth == trie.num_levels - 1 else beam_width
        best_BK = top(totals_BM, children_BM, min(wanted, trie.num_nodes(depth + 1)))
        totals_BK = totals_BM.gather(1, best_BK)
        is_dead_BK = totals_BK == _DEAD
        nodes_BK = children_BM.gather(1, best_BK).masked_fill(is_dead_BK, 0)
        origin_BK = (best_BK // steps_BKC.shape[2]).masked_fill(is_dead_BK, 0)
    return nodes_BK, totals_BK


def user_chunks(encoded: Encoded, num_prefixes: int) -> Iterator[slice]:
    """Users in chunks of about as many prefixes as keep the activations in the processor's cache, one user at least."""
    num_users = len(encoded.states_BTD)
    size = max(1, _PREFIXES_AT_ONCE.get(encoded.states_BTD.device.type, _PREFIXES_AT_ONCE["cpu"]) // num_prefixes)
    # Chunks of like size: a last one of a few users would cost nearly as much as a whole one.
    count = max(1, -(-num_users // size))
    yield from (slice(num_users * part // count, num_users * (part + 1) // count) for part in range(count))


def extend(
    trie: Trie, depth: int, nodes_BK: Tensor, totals_BK: Tensor, steps_BKC: Tensor, closed_BX: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """The log-probabilities of all children of the beams' nodes.

    Args:
        trie: the stream's trie.
        depth: of the nodes.
        nodes_BK: the beams.
        totals_BK: their log-probabilities.
        steps_BKC: what ``expand`` said of their children.
        closed_BX: children that must not be entered, ABSENT is none.

    Returns:
        ``totals_BM`` and the children's node numbers ``children_BM``, M = K * C; -inf beyond a node's last child.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    if torch.isnan(steps_BKC).any():
        raise FloatingPointError(f"search: the decoder gave NaN log-probabilities at level {depth + 1}")
    tree = trie.on(nodes_BK.device)
    totals_BKC = totals_BK[:, :, None] + steps_BKC.float()
    children_BKC, exists_BKC = tree.children(depth, nodes_BK)
    totals_BKC.masked_fill_(~exists_BKC, _DEAD)
    if closed_BX is not None:
        _close(totals_BKC, tree, depth, nodes_BK, torch.from_numpy(closed_BX).to(nodes_BK.device))
    return totals_BKC.flatten(1), children_BKC.flatten(1)


def top(log_probs_BM: Tensor, numbers_BM: Tensor, size: int) -> Tensor:
    """Places of the ``size`` largest log-probabilities (fewer where M is smaller), best first, int64 (B, size).

    Equal ones are ordered by their number, lowest first (those of -inf in any order). ``torch.topk`` alone leaves to
    chance which of several equal values it takes, so rows where the last place is contested are chosen again by keys
    that are all different.

    Args:
        log_probs_BM: float32, no NaN.
        numbers_BM: int64, 0 <= number < 2^31, different along a row where log-probabilities are finite.
        size: how many.
    """
    size = min(size, log_probs_BM.shape[1])
    best_BN = log_probs_BM.topk(min(size + 1, log_probs_BM.shape[1]), dim=1).indices
    if best_BN.shape[1] > size:
        border_B2 = log_probs_BM.gather(1, best_BN[:, -2:])
        contested = ((border_B2[:, 0] == border_B2[:, 1]) & (border_B2[:, 0] != _DEAD)).nonzero()[:, 0]
        best_BN = best_BN[:, :size]
        if len(contested):
            best_BN[contested] = _keys(log_probs_BM[contested], numbers_BM[contested]).topk(size, dim=1).indices
    order_BN = _keys(log_probs_BM.gather(1, best_BN), numbers_BM.gather(1, best_BN)).argsort(dim=1, descending=True)
    return best_BN.gather(1, order_BN)


def _keys(log_probs_BM: Tensor, numbers_BM: Tensor) -> Tensor:
    """int64 that order by log-probability and then by number: the float32 in the upper half, the number below."""
    bits_BM = (log_probs_BM + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered_BM = torch.where(bits_BM < 0, bits_BM ^ _LARGEST_NUMBER, bits_BM)
    return (ordered_BM.long() << 32) + (_LARGEST_NUMBER - numbers_BM)


def as_list(tree: TrieTensors, leaves_BN: Tensor, log_probs_BN: Tensor, list_length: int) -> tuple[Tensor, Tensor]:
    """Leaves -> items; dead ones become ABSENT, and rows are filled up to ``list_length``."""
    items_BN = tree.item_of_leaf[leaves_BN].masked_fill(log_probs_BN == _DEAD, ABSENT)
    missing = (0, list_length - items_BN.shape[1])
    return (
        torch.nn.functional.pad(items_BN, missing, value=ABSENT),
        torch.nn.functional.pad(log_probs_BN, missing, value=_DEAD),
    )


def _close(totals_BKC: Tensor, tree: TrieTensors, depth: int, nodes_BK: Tensor, closed_BX: Tensor) -> None:
    """Give the children ``closed_BX`` (ABSENT is none) of the beams' nodes probability 0, in place."""
    inner_BX = closed_BX.clamp_min(0)
    hits_BXK = (tree.parent[depth][inner_BX][:, :, None] == nodes_BK[:, None, :]) & (closed_BX >= 0)[:, :, None]
    user, place, beam = hits_BXK.nonzero(as_tuple=True)
    totals_BKC[user, beam, tree.slot[depth][inner_BX][user, place]] = _DEAD
