"""Exact log-probabilities of given items: every prefix of their codes is expanded once for a user."""

from __future__ import annotations

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.method import Found
from genrec.search.prefixes import user_chunks
from genrec.semantic_ids.trie import Trie, TrieTensors

_DEAD = float("-inf")


@torch.inference_mode()
def score_items(
    decoder: DecoderModule, encoded: Encoded, trie: Trie, items_BC: Tensor, found: Found | None = None
) -> Tensor:
    """Log-probabilities of given items, whether or not a search may find them.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.
        items_BC: item numbers; negative entries are ignored.
        found: what a search returned for these users; if it holds the log-probabilities of all leaves, these are used.

    Returns:
        ``log_probs_BC`` float32 (nats): NaN where the entry is negative, -inf for items without codes in this stream.
    """
    tree = trie.on(items_BC.device)
    leaves_BC = tree.leaf_of_item[items_BC.clamp_min(0)]
    is_item_BC, has_code_BC = items_BC >= 0, leaves_BC >= 0
    is_asked_BC = is_item_BC & has_code_BC
    if found is not None and found.log_probs_BM is not None:
        log_probs_BC = found.log_probs_BM.gather(1, leaves_BC.clamp_min(0))
    elif is_asked_BC.any():
        # Other entries repeat an item that is asked for, so that they need no prefix of their own.
        largest_B1 = leaves_BC.masked_fill(~is_asked_BC, 0).amax(1, keepdim=True)
        log_probs_BC = _score_leaves(decoder, encoded, tree, leaves_BC.where(is_asked_BC, largest_B1))
    else:
        log_probs_BC = torch.zeros(items_BC.shape, dtype=torch.float32, device=items_BC.device)
    return log_probs_BC.masked_fill(~has_code_BC, _DEAD).masked_fill(~is_item_BC, torch.nan)


def _score_leaves(decoder: DecoderModule, encoded: Encoded, tree: TrieTensors, leaves_BC: Tensor) -> Tensor:
    """Log-probabilities of leaves (B, C), C at least 1."""
    leaves_BC, order_BC = leaves_BC.sort(dim=1)
    num_levels = len(tree.parent)
    # Leaves in order bring the nodes above them in order, so equal ones are neighbors at every depth.
    paths = [leaves_BC]
    for depth in reversed(range(num_levels)):
        paths.insert(0, tree.parent[depth][paths[0]])
    places = [torch.cat([path[:, :1] * 0, (path[:, 1:] != path[:, :-1]).cumsum(1)], 1) for path in paths[:-1]]
    widest = max(int(place_BC[:, -1].max()) + 1 for place_BC in places)
    totals = [
        _walk_down(decoder, encoded.rows(rows), tree, [path[rows] for path in paths], [place[rows] for place in places])
        for rows in user_chunks(encoded, widest)
    ]
    return torch.empty_like(totals[0]).resize_(order_BC.shape).scatter_(1, order_BC, torch.cat(totals))


def _walk_down(
    decoder: DecoderModule, encoded: Encoded, tree: TrieTensors, paths: list[Tensor], places: list[Tensor]
) -> Tensor:
    """Log-probabilities of leaves.

    Args:
        decoder: the stream's decoder.
        encoded: B users' histories.
        tree: of the stream.
        paths: for each depth from the root to the leaves, the nodes above the leaves or the leaves themselves (B, C).
        places: for each depth but the last, the place of each node among the user's distinct nodes (B, C).
    """
    state = decoder.begin(encoded)
    totals_BC = torch.zeros(paths[0].shape, dtype=torch.float32, device=paths[0].device)
    origin_BC = places[0]
    for depth, place_BC in enumerate(places):
        nodes_BK, origin_BK = _distinct(paths[depth], place_BC), _distinct(origin_BC, place_BC)
        steps_BKC = decoder.expand(state, depth, nodes_BK, origin_BK)
        chosen_BC = place_BC * steps_BKC.shape[2] + tree.slot[depth][paths[depth + 1]]
        totals_BC += steps_BKC.flatten(1).gather(1, chosen_BC).float()
        origin_BC = place_BC
    return totals_BC


def _distinct(values_BC: Tensor, place_BC: Tensor) -> Tensor:
    """The value at each place (B, K); a user with fewer than K places repeats its last."""
    K = int(place_BC[:, -1].max()) + 1
    return values_BC[:, -1:].repeat(1, K).scatter_(1, place_BC, values_BC)
