"""Exact search that stops early: best first, by the bound log p(prefix) >= log p(item)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.beam import BeamSearch
from genrec.search.exact import ExactSearch
from genrec.search.method import Found, SearchMethod, SearchRules
from genrec.search.prefixes import best_leaves, best_prefixes, prefixes_at_once, user_chunks
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.trie import Trie

_ROUNDING = 1e-4
"""By how many nats two computations of one log-probability may differ: the same sums in batches of other shapes."""


@dataclass(frozen=True)
class BoundSearch(SearchMethod):
    """Misses no item, and expands only prefixes that may lead to one.

    Prefixes of all but the last code are kept as long as they are not less probable than the last item of a list that
    is already known: that of a beam search of width ``block_size``, which takes less time than it saves. With two
    levels none is needed. What is below them is found best first (``best_leaves``). Where it takes less time to expand
    all prefixes together, they are.
    """

    block_size: int | None = None
    """Prefixes of a user that are expanded together; None: 24, and more where users are few."""

    @classmethod
    def of(cls, settings: SearchSettings) -> BoundSearch:
        return cls()

    @torch.inference_mode()
    def search(self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules) -> Found:
        # Without the bound nothing may be left out.
        if not decoder.bounds_descendants or trie.num_nodes(trie.num_levels - 1) <= decoder.prefixes_for_all:
            return ExactSearch().search(decoder, encoded, trie, rules)
        block_size = self.block_size
        if block_size is None:
            block_size = max(24, min(64, prefixes_at_once(encoded) // max(1, len(encoded.mask_BT))))
        return Found.concatenate(
            [
                _search_chunk(decoder, encoded.rows(rows), trie, rules.rows(rows), block_size)
                for rows in user_chunks(encoded, block_size)
            ]
        )


def _search_chunk(decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules, block_size: int) -> Found:
    worst_B, known = None, 0
    if trie.num_levels > 2:
        known_BN = BeamSearch(block_size).search(decoder, encoded, trie, rules).log_probs_BN
        worst_B = known_BN[:, -1] - _ROUNDING
        known = sum(min(block_size, trie.num_nodes(depth)) for depth in range(1, trie.num_levels))
    closed = rules.closed_nodes(trie)
    prefixes, state, inner_B = best_prefixes(
        decoder, encoded, trie, closed, prune=None if worst_B is None else partial(_drop_below, worst_B)
    )
    found = best_leaves(decoder, state, trie, prefixes, closed, list_length=rules.list_length, block_size=block_size)
    return found._replace(num_expanded_B=known + inner_B + found.num_expanded_B)


def _drop_below(worst_B: Tensor, totals_BKC: Tensor) -> Tensor:
    """No item below a prefix is more probable than the prefix, so none below these enters the list."""
    return totals_BKC.masked_fill_(totals_BKC < worst_B[:, None, None], float("-inf"))
