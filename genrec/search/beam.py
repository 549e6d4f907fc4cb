"""Beam search of one stream under its trie: batched over users and beams, never an invalid item, never one twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.exact import ExactSearch
from genrec.search.method import Found, SearchMethod, SearchRules
from genrec.search.prefixes import best_leaves, best_prefixes, prefixes_at_once, user_chunks
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.trie import Trie

_BLOCKS = 4
"""In how many blocks beams are expanded at the last level at most: lists are often full before the last one."""


@dataclass(frozen=True)
class BeamSearch(SearchMethod):
    """Keep the most probable prefixes of each level; returns N items where the trie has that many and N <= K.

    Prefixes that cannot be extended (all their children have probability 0) die: their log-probability is -inf and
    their node 0, so that tensors stay dense.
    """

    beam_width: int
    """Prefixes K kept at each level but the last, where ``list_length`` leaves are kept."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the decoders' matrix products; log-probabilities are float32 in either case."""

    @classmethod
    def of(cls, settings: SearchSettings) -> BeamSearch:
        return cls(settings.beam_width, settings.precision)

    @torch.inference_mode()
    def search(self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules) -> Found:
        if trie.num_levels == 1 and self.precision == "float32":
            return ExactSearch().search(decoder, encoded, trie, rules)
        # Few users need large blocks to fill the processor, many can afford blocks that stop a list early.
        smallest = -(-self.beam_width // _BLOCKS)
        block_size = min(self.beam_width, max(smallest, prefixes_at_once(encoded) // max(1, len(encoded.mask_BT))))
        is_lower = self.precision == "bfloat16"
        with torch.autocast(encoded.states_BTD.device.type, torch.bfloat16, enabled=is_lower):
            chunks = user_chunks(encoded, block_size)
            return Found.concatenate(
                [self._search_chunk(decoder, encoded.rows(rows), trie, rules.rows(rows), block_size) for rows in chunks]
            )

    def _search_chunk(
        self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules, block_size: int
    ) -> Found:
        closed = rules.closed_nodes(trie)
        prefixes, state, inner_B = best_prefixes(decoder, encoded, trie, closed, beam_width=self.beam_width)
        found = best_leaves(
            decoder, state, trie, prefixes, closed, list_length=rules.list_length, block_size=block_size
        )
        return found._replace(num_expanded_B=inner_B + found.num_expanded_B)
