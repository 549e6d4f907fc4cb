"""Exact log-probabilities of one stream: of every item of the catalogue, or of given candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded, Outputs
from genrec.search.beam import as_list, user_chunks
from genrec.search.top import top
from genrec.search.trie import Trie

_DEAD = float("-inf")
_CHILDREN_OF_A_PREFIX = 1024


@torch.inference_mode()
def score_all(decoder: DecoderModule, encoded: Encoded, trie: Trie) -> Tensor:
    """Log-probability of every item, by expanding every node of every depth.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.

    Returns:
        ``log_probs_BI`` float32 (nats), -inf for items that have no code in this stream.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    # A node whose children outnumber the model's activations counts as several.
    widths = (trie.num_nodes(d) * max(1, trie.max_children(d) // _CHILDREN_OF_A_PREFIX) for d in range(trie.num_levels))
    log_probs_BI = encoded.states_BTD.new_full(
        (len(encoded.states_BTD), len(trie.nodes_IL)), _DEAD, dtype=torch.float32
    )
    leaf_items = trie.on(encoded.states_BTD.device).item_of_leaf
    for rows in user_chunks(encoded, max(widths)):
        log_probs_BI[rows, leaf_items] = _score_leaves(decoder, encoded.rows(rows), trie)
    return log_probs_BI


def _score_leaves(decoder: DecoderModule, encoded: Encoded, trie: Trie) -> Tensor:
    """Log-probability of every leaf, float32 (B, nodes at depth L)."""
    tree = trie.on(encoded.states_BTD.device)
    num_users = len(encoded.states_BTD)
    state = decoder.begin(encoded)
    totals_BK = encoded.states_BTD.new_zeros(num_users, 1, dtype=torch.float32)
    parents = torch.zeros(1, dtype=torch.int64, device=encoded.states_BTD.device)
    for depth in range(trie.num_levels):
        nodes = torch.arange(trie.num_nodes(depth), device=parents.device)
        steps_BKC = decoder.expand(state, depth, nodes.repeat(num_users, 1), parents.repeat(num_users, 1))
        if torch.isnan(steps_BKC).any():
            raise FloatingPointError(f"search: the decoder gave NaN log-probabilities at level {depth + 1}")
        parents = tree.parent[depth]
        places = parents * steps_BKC.shape[2] + tree.slot[depth]
        totals_BK = totals_BK[:, parents] + steps_BKC.flatten(1)[:, places].float()
    return totals_BK


@torch.inference_mode()
def score_items(decoder: DecoderModule, encoded: Encoded, items_BC: Tensor, *, chunk_size: int = 4096) -> Tensor:
    """Log-probability of given items, by teacher forcing.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        items_BC: item numbers; negative entries are left out.
        chunk_size: about how many items go through the decoder together.

    Returns:
        ``log_probs_BC`` float32 (nats): NaN where the entry was left out, -inf for items without codes in this stream.
    """
    # A decoder may spend as much on an entry that is left out, so the asked ones move together to the left.
    order_BC = (items_BC < 0).to(torch.uint8).argsort(dim=1, stable=True)
    packed_BQ = items_BC.gather(1, order_BC)[:, : int((items_BC >= 0).sum(1).max()) if items_BC.numel() else 0]
    log_probs_BQ = torch.full(packed_BQ.shape, torch.nan, dtype=torch.float32, device=items_BC.device)
    size = max(1, chunk_size // max(1, packed_BQ.shape[1]))
    for start in range(0, len(packed_BQ), size):
        chunk = slice(start, start + size)
        is_asked_BQ = packed_BQ[chunk] >= 0
        if is_asked_BQ.any():
            outputs: Outputs = decoder(encoded.rows(chunk), packed_BQ[chunk])
            log_probs_N = outputs.log_probs_NL.float().sum(1).masked_fill(~outputs.present_N, _DEAD)
            log_probs_BQ[chunk][is_asked_BQ] = log_probs_N
    log_probs_BC = torch.full(items_BC.shape, torch.nan, dtype=torch.float32, device=items_BC.device)
    return log_probs_BC.scatter(1, order_BC[:, : packed_BQ.shape[1]], log_probs_BQ)


def best_items(log_probs_BI: Tensor, trie: Trie, *, list_length: int) -> tuple[Tensor, Tensor]:
    """The ``list_length`` best of :func:`score_all`, in the form and with the ties of ``search_beam``."""
    tree = trie.on(log_probs_BI.device)
    leaf_log_probs_BM = log_probs_BI[:, tree.item_of_leaf]
    leaves = torch.arange(len(tree.item_of_leaf), device=log_probs_BI.device).expand_as(leaf_log_probs_BM)
    best_BN = top(leaf_log_probs_BM, leaves, list_length)
    return as_list(tree, best_BN, leaf_log_probs_BM.gather(1, best_BN), list_length)
