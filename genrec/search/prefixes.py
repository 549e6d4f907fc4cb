"""Prefixes of the trie, batched over users: how a search walks down from the root and ranks the leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, DecodingState, Encoded
from genrec.search.method import ClosedNodes, Found
from genrec.search.top import top
from genrec.semantic_ids.trie import Trie, TrieTensors
from genrec.types import ABSENT

_DEAD = float("-inf")
_PREFIXES_AT_ONCE = {"cpu": 2048, "cuda": 2**17}


class Prefixes(NamedTuple):
    """Prefixes K of B users at one depth, best first; dead ones are node 0 of log-probability -inf."""

    nodes_BK: Tensor
    totals_BK: Tensor
    """Their log-probabilities."""
    origin_BK: Tensor
    """Which of the prefixes of the depth before each descends from."""

    def rows(self, index: Tensor) -> Prefixes:
        """Those of some of the users."""
        return Prefixes(*(part[index] for part in self))

    @classmethod
    def root(cls, encoded: Encoded) -> Prefixes:
        """The root for each user."""
        totals_B1 = encoded.states_BTD.new_zeros(len(encoded.states_BTD), 1, dtype=torch.float32)
        return cls(totals_B1.long(), totals_B1, totals_B1.long())

    @classmethod
    def best(cls, totals_BM: Tensor, children_BM: Tensor, num_children: int, size: int) -> Prefixes:
        """The ``size`` best children of all prefixes, M = prefixes * ``num_children``."""
        best_BK = top(totals_BM, children_BM, size)
        totals_BK = totals_BM.gather(1, best_BK)
        is_dead_BK = totals_BK == _DEAD
        nodes_BK = children_BM.gather(1, best_BK).masked_fill(is_dead_BK, 0)
        return cls(nodes_BK, totals_BK, (best_BK // num_children).masked_fill(is_dead_BK, 0))


def best_prefixes(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    closed: ClosedNodes | None,
    *,
    beam_width: int | None = None,
    prune: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Prefixes, DecodingState, Tensor]:
    """The prefixes of all codes but the last that are kept.

    Args:
        decoder: the stream's decoder.
        encoded: B users' histories.
        trie: the stream's trie.
        closed: nodes that must not be entered, if any.
        beam_width: prefixes kept at each level, at most; None: as many as there are.
        prune: the rule of a search method: log-probabilities ``totals_BKC`` of the C children of K prefixes -> the same
            with -inf for children that are dropped; it may change its argument.

    Returns:
        The prefixes, the decoder's state, and ``expanded_B``, how many were expanded (the root does not count).
    """
    state, prefixes = decoder.begin(encoded), Prefixes.root(encoded)
    expanded_B = torch.zeros_like(prefixes.nodes_BK[:, 0])
    for depth in range(trie.num_levels - 1):
        expanded_B += (prefixes.totals_BK != _DEAD).sum(1) if depth else 0
        steps_BKC = decoder.expand(state, depth, prefixes.nodes_BK, prefixes.origin_BK)
        totals_BM, children_BM = extend(trie, depth, prefixes, steps_BKC, closed)
        if prune is not None:
            totals_BM = prune(totals_BM.view(steps_BKC.shape)).flatten(1)
        alive = max(1, int((totals_BM != _DEAD).sum(1).max()))
        prefixes = Prefixes.best(totals_BM, children_BM, steps_BKC.shape[2], min(alive, beam_width or alive))
    return prefixes, state, expanded_B


def best_leaves(
    decoder: DecoderModule,
    state: DecodingState,
    trie: Trie,
    prefixes: Prefixes,
    closed: ClosedNodes | None,
    *,
    list_length: int,
    block_size: int,
) -> Found:
    """The most probable items below prefixes of all codes but the last.

    No item is more probable than its prefix. So the prefixes are expanded in blocks, the most probable first; each
    block betters the list, and a user leaves the batch when the next prefix is less probable than the list's last item.
    If a decoder's prefixes do not bound their items (``bounds_descendants``), all prefixes are expanded.

    Args:
        decoder: the stream's decoder.
        state: of the prefixes.
        trie: the stream's trie.
        prefixes: of the last depth but one.
        closed: nodes that must not be entered, if any.
        list_length: N, items to return.
        block_size: prefixes of a user that are expanded together.

    Returns:
        The lists, and how many of the prefixes were expanded.
    """
    depth, device = trie.num_levels - 1, prefixes.nodes_BK.device
    num_users, num_prefixes = prefixes.nodes_BK.shape
    leaves_BN = torch.zeros(num_users, list_length, dtype=torch.int64, device=device)
    log_probs_BN = torch.full((num_users, list_length), _DEAD, device=device)
    expanded_B = torch.zeros(num_users, dtype=torch.int64, device=device)
    users = torch.arange(num_users, device=device)
    for first in range(0, num_prefixes, block_size):
        totals_UK = prefixes.totals_BK[:, first : first + block_size]
        is_open_UK = totals_UK != _DEAD
        if decoder.bounds_descendants:
            is_open_UK &= totals_UK >= log_probs_BN[users, -1:]
        going_on = is_open_UK[:, 0].nonzero()[:, 0]  # the first is the most probable
        if not len(going_on):
            break
        if len(going_on) < len(users):
            users, state, prefixes = users[going_on], state.rows(going_on), prefixes.rows(going_on)
            is_open_UK = is_open_UK[going_on]
        is_open_UK = is_open_UK[:, : int(is_open_UK.sum(1).max())]
        nodes_UK, totals_UK, origin_UK = (part[:, first : first + is_open_UK.shape[1]] for part in prefixes)
        block = Prefixes(nodes_UK.masked_fill(~is_open_UK, 0), totals_UK.masked_fill(~is_open_UK, _DEAD), origin_UK)
        expanded_B[users] += is_open_UK.sum(1) if depth else 0
        steps_UKC = decoder.expand(state, depth, block.nodes_BK, block.origin_BK)
        totals_UM, children_UM = extend(trie, depth, block, steps_UKC, closed, users)
        totals_UM = torch.cat([log_probs_BN[users], totals_UM], 1)
        children_UM = torch.cat([leaves_BN[users], children_UM], 1)
        best_UN = top(totals_UM, children_UM, list_length)
        log_probs_BN[users], leaves_BN[users] = totals_UM.gather(1, best_UN), children_UM.gather(1, best_UN)
    items_BN, log_probs_BN = as_list(trie.on(device), leaves_BN, log_probs_BN, list_length)
    return Found(items_BN, log_probs_BN, expanded_B)


def prefixes_at_once(encoded: Encoded) -> int:
    """How many prefixes keep a processor busy, and their activations in its cache."""
    return _PREFIXES_AT_ONCE.get(encoded.states_BTD.device.type, _PREFIXES_AT_ONCE["cpu"])


def user_chunks(encoded: Encoded, num_prefixes: int) -> Iterator[slice]:
    """Users in chunks of :func:`prefixes_at_once`, one user at least, of ``num_prefixes`` each."""
    num_users = len(encoded.states_BTD)
    size = max(1, prefixes_at_once(encoded) // num_prefixes)
    # Chunks of like size: a last one of a few users would cost nearly as much as a whole one.
    count = max(1, -(-num_users // size))
    yield from (slice(num_users * part // count, num_users * (part + 1) // count) for part in range(count))


def extend(
    trie: Trie,
    depth: int,
    prefixes: Prefixes,
    steps_BKC: Tensor,
    closed: ClosedNodes | None,
    users: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The log-probabilities of all children of prefixes.

    Args:
        trie: the stream's trie.
        depth: of the prefixes.
        prefixes: whose children are meant.
        steps_BKC: log-probabilities of their children, from ``expand``.
        closed: nodes that must not be entered, if any.
        users: which of the users of ``closed`` the rows are; None: all of them.

    Returns:
        ``totals_BM`` and the children's node numbers ``children_BM``, M = K * C; -inf beyond a node's last child and
        for closed children.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    check_steps(steps_BKC, depth)
    tree = trie.on(steps_BKC.device)
    totals_BKC = prefixes.totals_BK[:, :, None] + steps_BKC.float()
    children_BKC, exists_BKC = tree.children(depth, prefixes.nodes_BK)
    totals_BKC.masked_fill_(~exists_BKC, _DEAD)
    if closed is not None:
        closed.mask_children(totals_BKC, tree, depth, prefixes.nodes_BK, users)
    return totals_BKC.flatten(1), children_BKC.flatten(1)


def check_steps(steps_BKC: Tensor, depth: int) -> None:
    """Check what ``expand`` gave for nodes of a depth.

    Raises:
        FloatingPointError: it gave NaN.
    """
    if torch.isnan(steps_BKC.sum()):  # log-probabilities: no +inf among them that would make a NaN with -inf
        raise FloatingPointError(f"search: the decoder gave NaN log-probabilities at level {depth + 1}")


def as_list(tree: TrieTensors, leaves_BN: Tensor, log_probs_BN: Tensor, list_length: int) -> tuple[Tensor, Tensor]:
    """Leaves -> items; dead ones become ABSENT, and rows are filled up to ``list_length``."""
    items_BN = tree.item_of_leaf[leaves_BN].masked_fill(log_probs_BN == _DEAD, ABSENT)
    missing = (0, list_length - items_BN.shape[1])
    return (
        torch.nn.functional.pad(items_BN, missing, value=ABSENT),
        torch.nn.functional.pad(log_probs_BN, missing, value=_DEAD),
    )
