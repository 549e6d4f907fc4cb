"""Exact search of one stream: every item of the catalog is scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.method import Found, SearchMethod, SearchRules
from genrec.search.prefixes import as_list, user_chunks
from genrec.search.settings import SearchSettings
from genrec.search.top import top
from genrec.semantic_ids.trie import Trie

_DEAD = float("-inf")
_CHILDREN_OF_A_PREFIX = 1024


@dataclass(frozen=True)
class ExactSearch(SearchMethod):
    """Expands every prefix; the log-probabilities of all items also serve ``score_items``."""

    @classmethod
    def of(cls, settings: SearchSettings) -> ExactSearch:
        return cls()

    @torch.inference_mode()
    def search(self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules) -> Found:
        log_probs_BI = score_all(decoder, encoded, trie)
        lists = best_items(rules.mask_items(log_probs_BI), trie, list_length=rules.list_length)
        num_prefixes = sum(trie.num_nodes(depth) for depth in range(1, trie.num_levels))
        num_expanded_B = torch.full((len(log_probs_BI),), num_prefixes, device=log_probs_BI.device)
        return Found(*lists, num_expanded_B, log_probs_BI)


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


def best_items(log_probs_BI: Tensor, trie: Trie, *, list_length: int) -> tuple[Tensor, Tensor]:
    """The ``list_length`` best of :func:`score_all`, as in :class:`Found`, ties as in every method."""
    tree = trie.on(log_probs_BI.device)
    leaf_log_probs_BM = log_probs_BI[:, tree.item_of_leaf]
    leaves = torch.arange(len(tree.item_of_leaf), device=log_probs_BI.device).expand_as(leaf_log_probs_BM)
    best_BN = top(leaf_log_probs_BM, leaves, list_length)
    return as_list(tree, best_BN, leaf_log_probs_BM.gather(1, best_BN), list_length)
