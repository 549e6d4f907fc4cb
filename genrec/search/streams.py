"""Search of every stream of a retriever for many users, in batches: histories in, candidates out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from genrec.errors import REMEDY, DataError, TrainingError
from genrec.model.contracts import DecoderModule, Encoded
from genrec.runtime.float32_products import by_onednn
from genrec.runtime.malloc import disable_malloc_trim
from genrec.runtime.progress import Bar, console
from genrec.search.candidates import stack, unite
from genrec.search.method import Found, SearchMethod, SearchRules
from genrec.search.methods import METHODS
from genrec.search.scores import score_items
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, Candidates, Histories, StreamCandidates


class Searchable(Protocol):
    """What a search needs of a model; an ``nn.Module``."""

    @property
    def training(self) -> bool: ...

    @property
    def decoders(self) -> Mapping[str, DecoderModule]:
        """The decoder of each stream."""
        ...

    def encode(self, history_BT: Tensor, *, to_search: bool = False) -> Mapping[str, Encoded]:
        """Read histories padded at the end with ``num_items``; ``to_search``: what a search needs of them suffices."""
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
    method: SearchMethod | None = None,
    allowed_I: np.ndarray | None = None,
    title: str | None = "searching",
    on_expanded: Callable[[Mapping[str, float]], None] | None = None,
) -> Candidates:
    """The candidates of all streams for each user.

    Users are searched in batches of similar history length; the candidates are in the users' own order and do not
    depend on who shares a batch. A retriever in training mode is put in eval mode meanwhile; one in eval mode may be
    searched by several threads at once.

    Args:
        retriever: the model; the work is done where its parameters are.
        tries: the trie of each stream, in the order of the result.
        histories: one history of at least one item a user.
        settings: method, width, list length and batch size.
        num_items: number of the padding item.
        max_history: most recent items that the model reads.
        with_scores: whether every stream gives its exact log-probability of every candidate (``needs_scores``).
        seen: ``filter`` excludes all items of a user's whole history; lists are as long as without.
        method: how each stream is searched; None: by the method that the settings name.
        allowed_I: items that may be recommended, bool; None: all. Others still count as history.
        title: of the progress bar; None: no progress is shown.
        on_expanded: called at the end with the number of prefixes expanded per user in each stream, on average.

    Raises:
        DataError: a user without history.
        TrainingError: a decoder gave NaN.
    """
    disable_malloc_trim()
    lengths = histories.lengths
    if (lengths == 0).any():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise DataError(f"search: the history of row {row} is empty, expected at least one item; leave such users out")
    order = np.argsort(lengths, kind="stable")
    method = method or METHODS[settings.method].of(settings)
    was_training = retriever.training
    device = next(iter(retriever.parameters())).device
    if was_training:  # a model in eval mode may be searched by several threads
        retriever.train(False)
    parts = [_none(tries)]
    num_expanded = dict.fromkeys(tries, 0)
    try:
        with _bar(title, len(order)) as advance, by_onednn(), torch.inference_mode():
            for start in range(0, len(order), settings.batch_size):
                batch = histories.take(order[start : start + settings.batch_size])
                longest = int(batch.lengths.max())
                history_BT = batch.last(min(max_history, longest), padding=num_items)[0]
                encoded = retriever.encode(torch.from_numpy(history_BT).to(device), to_search=True)
                excluded_BH = batch.last(longest, padding=ABSENT)[0] if seen == "filter" else None
                rules = SearchRules(settings.list_length, excluded_BH, allowed_I)
                found = {
                    name: _search(method, retriever.decoders[name], encoded[name], trie, rules, name)
                    for name, trie in tries.items()
                }
                for name in tries:
                    num_expanded[name] += int(found[name].num_expanded_B.sum())
                parts.append(_unite(retriever, encoded, tries, found, with_scores=with_scores))
                advance(len(batch))
    finally:
        if was_training:
            retriever.train()
    if on_expanded is not None and len(order):
        on_expanded({name: count / len(order) for name, count in num_expanded.items()})
    return stack(parts).take(np.argsort(order))


@contextmanager
def _bar(title: str | None, total: int) -> Iterator[Callable[[int], object]]:
    """What a search calls with the number of users it has searched."""
    if title is None:
        yield lambda _: None
        return
    with Bar(title, total) as bar:
        yield bar.advance


def _search(
    method: SearchMethod, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules, stream: str
) -> Found:
    try:
        return method.search(decoder, encoded, trie, rules)
    except FloatingPointError as error:
        raise TrainingError(f"stream {stream!r}: {error}; {REMEDY}") from error


def log_expanded(means: Mapping[str, float]) -> None:
    """Print the averages that :func:`search_streams` passes to ``on_expanded``."""
    each = ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())
    console.print(f"prefixes expanded per user, on average: {each}", style="dim", markup=False)


def _unite(
    retriever: Searchable,
    encoded: Mapping[str, Encoded],
    tries: Mapping[str, Trie],
    found: Mapping[str, Found],
    *,
    with_scores: bool,
) -> Candidates:
    """The lists of all streams for the users of a batch -> their candidates."""

    def score(name: str, items_BC: np.ndarray) -> np.ndarray:
        on_device_BC = torch.from_numpy(items_BC).to(encoded[name].states_BTD.device)
        scores_BC = score_items(retriever.decoders[name], encoded[name], tries[name], on_device_BC, found[name])
        return scores_BC.cpu().numpy()

    lists = {
        name: StreamCandidates(of_stream.items_BN.cpu().numpy(), of_stream.log_probs_BN.cpu().numpy())
        for name, of_stream in found.items()
    }
    code_lengths = {name: trie.num_levels for name, trie in tries.items()}
    return unite(lists, code_lengths, scores=score if with_scores else None)


def _none(tries: Mapping[str, Trie]) -> Candidates:
    """The candidates of no users at all."""
    empty = {name: StreamCandidates(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32)) for name in tries}
    return unite(empty, {name: trie.num_levels for name, trie in tries.items()})
