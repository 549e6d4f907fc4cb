"""Every stream of a retriever, searched for every user of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from genrec.errors import DataError
from genrec.float32_products import by_onednn
from genrec.freed_memory import keep_freed_memory
from genrec.model.contracts import DecoderModule, Encoded
from genrec.progress import Bar, console
from genrec.search.beam import search_beam
from genrec.search.bound import search_bound
from genrec.search.candidates import stack, unite
from genrec.search.exact import best_items, score_all, score_items
from genrec.search.settings import SearchSettings
from genrec.search.trie import Trie
from genrec.types import ABSENT, Candidates, Histories, StreamCandidates


class Searchable(Protocol):
    """What a search needs of a model; an ``nn.Module``."""

    @property
    def training(self) -> bool: ...

    @property
    def decoders(self) -> Mapping[str, DecoderModule]:
        """The decoder of each stream."""
        ...

    def encode(self, history_BT: Tensor) -> Mapping[str, Encoded]:
        """Read histories padded at the end with ``num_items``, once for each stream."""
        ...

    def train(self, mode: bool = True) -> object: ...

    def parameters(self) -> Iterable[Tensor]: ...


def search_streams(
    retriever: Searchable,
    tries: Mapping[str, Trie],
    histories: Histories,
    settings: SearchSettings,
    *,
    num_items: int,
    max_history: int,
    with_scores: bool = False,
    seen: Literal["keep", "filter"] = "keep",
    title: str = "searching",
    told: Callable[[Mapping[str, float]], None] | None = None,
) -> Candidates:
    """What all streams together propose to each user.

    Users are searched in batches of similar history length; the answer is in their own order and does not depend on
    who shares a batch. The retriever is put in eval mode meanwhile.

    Args:
        retriever: the model; the work is done where its parameters are.
        tries: the streams in the order wanted, each with its trie.
        histories: one history of at least one item a user.
        settings: method, width, list length and batch size.
        num_items: number of the padding item.
        max_history: most recent items that the model reads.
        with_scores: whether every stream gives its exact log-probability of every candidate (``needs_scores``).
        seen: ``filter`` leaves out all items of a user's whole history; lists are as long as without.
        title: what the progress bar says.
        told: for ``bound``: is told how many prefixes were expanded for a user, on average, in each stream.

    Raises:
        DataError: a user without history.
    """
    keep_freed_memory()
    lengths = histories.lengths
    if (lengths == 0).any():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise DataError(f"search: the history of row {row} is empty, expected at least one item; leave such users out")
    order = np.argsort(lengths, kind="stable")
    was_training = retriever.training
    device = next(iter(retriever.parameters())).device
    retriever.train(False)
    parts = [_none(tries)]
    prefixes = dict.fromkeys(tries, 0)
    try:
        with Bar(title, len(order)) as bar, by_onednn(), torch.inference_mode():
            for start in range(0, len(order), settings.batch_size):
                batch = histories.take(order[start : start + settings.batch_size])
                longest = int(batch.lengths.max())
                history_BT = batch.last(min(max_history, longest), padding=num_items)[0]
                encoded = retriever.encode(torch.from_numpy(history_BT).to(device))
                excluded_BH = batch.last(longest, padding=ABSENT)[0] if seen == "filter" else None
                parts.append(_search_batch(retriever, encoded, tries, settings, excluded_BH, with_scores, prefixes))
                bar.advance(len(batch))
    finally:
        retriever.train(was_training)
    if told is not None and settings.method == "bound" and len(order):
        told({name: count / len(order) for name, count in prefixes.items()})
    return stack(parts).take(np.argsort(order))


def tell_prefixes(means: Mapping[str, float]) -> None:
    """Print what ``told`` is told."""
    each = ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())
    console.print(f"prefixes expanded for a user, on average: {each}", style="dim", markup=False)


def _search_batch(
    retriever: Searchable,
    encoded: Mapping[str, Encoded],
    tries: Mapping[str, Trie],
    settings: SearchSettings,
    excluded_BH: np.ndarray | None,
    with_scores: bool,
    prefixes: dict[str, int],
) -> Candidates:
    """The candidates of some users; adds to ``prefixes`` how many a search by bound expanded in each stream."""
    beams: dict[str, StreamCandidates] = {}
    exact_BI: dict[str, Tensor] = {}
    for name, trie in tries.items():
        decoder = retriever.decoders[name]
        if settings.method == "exact":
            exact_BI[name] = score_all(decoder, encoded[name], trie)
            allowed_BI = exact_BI[name] if excluded_BH is None else _without(exact_BI[name], excluded_BH)
            items_BN, log_probs_BN = best_items(allowed_BI, trie, list_length=settings.list_length)
        elif settings.method == "bound":
            items_BN, log_probs_BN, prefixes_B = search_bound(
                decoder, encoded[name], trie, list_length=settings.list_length, excluded_BH=excluded_BH
            )
            prefixes[name] += int(prefixes_B.sum())
        else:
            device_type, is_lower = encoded[name].states_BTD.device.type, settings.precision == "bfloat16"
            with torch.autocast(device_type, torch.bfloat16, enabled=is_lower):
                items_BN, log_probs_BN = search_beam(
                    decoder,
                    encoded[name],
                    trie,
                    beam_width=settings.beam_width,
                    list_length=settings.list_length,
                    excluded_BH=excluded_BH,
                )
        beams[name] = StreamCandidates(items_BN.cpu().numpy(), log_probs_BN.cpu().numpy())

    def scores(name: str, items_BC: np.ndarray) -> np.ndarray:
        asked_BC = torch.from_numpy(items_BC).to(encoded[name].states_BTD.device)
        if name in exact_BI:
            log_probs_BC = exact_BI[name].gather(1, asked_BC.clamp_min(0)).masked_fill(asked_BC < 0, torch.nan)
        else:
            log_probs_BC = score_items(retriever.decoders[name], encoded[name], asked_BC)
        return log_probs_BC.cpu().numpy()

    code_lengths = {name: trie.num_levels for name, trie in tries.items()}
    return unite(beams, code_lengths, scores=scores if with_scores else None)


def _without(log_probs_BI: Tensor, excluded_BH: np.ndarray) -> Tensor:
    """The same with -inf for excluded items."""
    user, place = np.nonzero(excluded_BH >= 0)
    allowed_BI = log_probs_BI.clone()
    allowed_BI[torch.from_numpy(user), torch.from_numpy(excluded_BH[user, place])] = float("-inf")
    return allowed_BI


def _none(tries: Mapping[str, Trie]) -> Candidates:
    """The candidates of no users at all."""
    nobody = {name: StreamCandidates(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32)) for name in tries}
    return unite(nobody, {name: trie.num_levels for name, trie in tries.items()})
