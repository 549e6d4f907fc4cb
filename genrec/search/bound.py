"""Exact search that stops early: best first, by the bound log p(prefix) >= log p(item)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.beam import best_leaves, best_prefixes, prefixes_at_once, search_beam, user_chunks
from genrec.search.trie import Trie

_ROUNDING = 1e-4
"""By how many nats two computations of one log-probability may differ: the same sums in batches of other shapes."""


@torch.inference_mode()
def search_bound(
    decoder: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    *,
    list_length: int,
    block_size: int | None = None,
    excluded_BH: np.ndarray | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The most probable items of one stream, none missed.

    Prefixes of all but the last code are kept as long as they are not less probable than the last item of a list that
    is already known: that of a beam search of width ``block_size``, which takes less time than it saves. With two
    levels none is needed. What is below them is found best first (``best_leaves``).

    Args:
        decoder: the stream's decoder, in eval mode.
        encoded: B users' histories.
        trie: the stream's trie.
        list_length: items N wanted.
        block_size: prefixes of a user that are expanded together; by default 24, and more where users are few.
        excluded_BH: items that must not be found, negative entries are left out.

    Returns:
        ``items_BN`` and ``log_probs_BN`` as ``search_beam`` gives them, and ``prefixes_B`` int64: how many prefixes
        were expanded, the root left out.

    Raises:
        FloatingPointError: the decoder gave NaN.
    """
    parts = []
    if block_size is None:
        block_size = max(24, min(64, prefixes_at_once(encoded) // max(1, len(encoded.mask_BT))))
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
    worst_B, known = None, 0
    if trie.num_levels > 2:
        _, known_BN = search_beam(
            decoder, encoded, trie, beam_width=block_size, list_length=list_length, excluded_BH=excluded_BH
        )
        worst_B = known_BN[:, -1] - _ROUNDING
        known = sum(min(block_size, trie.num_nodes(depth)) for depth in range(1, trie.num_levels))
    exhausted = None if excluded_BH is None else trie.exhausted(excluded_BH)
    prefixes, state, inner_B = best_prefixes(decoder, encoded, trie, exhausted, worst_B=worst_B)
    items_BN, log_probs_BN, prefixes_B = best_leaves(
        decoder, state, trie, prefixes, exhausted, list_length=list_length, block_size=block_size
    )
    return items_BN, log_probs_BN, known + inner_B + prefixes_B
