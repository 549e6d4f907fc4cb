"""Exact search of one stream: every item of the catalog is scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.method import Found, SearchMethod, SearchRules
from genrec.search.prefixes import as_list, check_steps, prefixes_at_once, user_chunks
from genrec.search.settings import SearchSettings
from genrec.search.top import top
from genrec.semantic_ids.trie import Trie

_CHILDREN_OF_A_PREFIX = 1024
_CHILDREN_AT_ONCE = 2**17
"""Of the prefixes that are expanded together; a decoder may copy the vector of each."""


@dataclass(frozen=True)
class ExactSearch(SearchMethod):
    """Expands every prefix; the log-probabilities of all leaves also serve ``score_items``."""

    @classmethod
    def of(cls, settings: SearchSettings) -> ExactSearch:
        return cls()

    @torch.inference_mode()
    def search(self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules) -> Found:
        log_probs_BM = score_leaves(decoder, encoded, trie)
        allowed_BM = rules.mask_leaves(log_probs_BM, trie)
        leaves_BM = torch.arange(allowed_BM.shape[1], device=allowed_BM.device).expand_as(allowed_BM)
        best_BN = top(allowed_BM, leaves_BM, rules.list_length)
        lists = as_list(trie.on(best_BN.device), best_BN, allowed_BM.gather(1, best_BN), rules.list_length)
        num_prefixes = sum(trie.num_nodes(depth) for depth in range(1, trie.num_levels))
        num_expanded_B = torch.full((len(log_probs_BM),), num_prefixes, device=log_probs_BM.device)
        return Found(*lists, num_expanded_B, log_probs_BM)


@torch.inference_mode()
def score_leaves(decoder: DecoderModule, encoded: Encoded, trie: Trie) -> Tensor:
    """Log-probability of every leaf, by expanding every node of every depth.

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.

    Returns:
        ``log_probs_BM`` float32 (nats), M leaves.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    widest = max(_size(trie, depth) for depth in range(max(1, trie.num_levels - 1)))
    chunks = [_score_chunk(decoder, encoded.rows(rows), trie) for rows in user_chunks(encoded, widest)]
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


def _size(trie: Trie, depth: int) -> int:
    """Nodes of a depth; one whose children outnumber the model's activations counts as several."""
    return trie.num_nodes(depth) * max(1, trie.max_children(depth) // _CHILDREN_OF_A_PREFIX)


def _score_chunk(decoder: DecoderModule, encoded: Encoded, trie: Trie) -> Tensor:
    tree = trie.on(encoded.states_BTD.device)
    num_users = len(encoded.states_BTD)
    state = decoder.begin(encoded)
    totals_BK = encoded.states_BTD.new_zeros(num_users, 1, dtype=torch.float32)
    origin_K = torch.zeros(1, dtype=torch.int64, device=totals_BK.device)
    for depth in range(trie.num_levels):
        nodes_K = torch.arange(trie.num_nodes(depth), device=totals_BK.device)
        is_last = depth + 1 == trie.num_levels  # it has the most nodes, and can be expanded in parts
        at_once = len(nodes_K)
        if is_last:
            most = min(prefixes_at_once(encoded) // max(1, num_users), _CHILDREN_AT_ONCE // trie.max_children(depth))
            at_once = max(1, most)
        parts = []
        for nodes_k, origin_k, totals_Bk in zip(
            nodes_K.split(at_once), origin_K.split(at_once), totals_BK.split(at_once, 1), strict=True
        ):
            steps_BkC = decoder.expand_for_all(state, depth, nodes_k, origin_k, num_users)
            check_steps(steps_BkC, depth)
            children_BM = (totals_Bk[:, :, None] + steps_BkC.float()).flatten(1)
            exists_M = tree.children(depth, nodes_k)[1].flatten()
            parts.append(children_BM if exists_M.all() else children_BM.index_select(1, exists_M.nonzero()[:, 0]))
        totals_BK = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        origin_K = tree.parent[depth]
    return totals_BK
