"""Retrievers of a given size over random codes, evaluation users, and the minimal cost of decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from genrec.decoders.transformer import Transformer
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams
from genrec.semantic_ids.trie import Trie
from genrec.serving.recommender import Recommender
from genrec.types import ABSENT, Candidates, Histories, ItemVectors, SemanticIds


@dataclass(frozen=True)
class Sizes:
    """The sizes that determine the cost of a model; the defaults are EAGER's (Beauty, k = 256)."""

    num_items: int = 12_101
    num_levels: int = 2
    branching: int = 256
    """Codes k of a level; with one level every item has its own code."""
    num_streams: int = 2
    vocabulary: Literal["level", "path"] = "level"
    dim: int = 128
    num_heads: int = 4
    feedforward_dim: int = 512
    encoder_layers: int = 1
    decoder_layers: int = 4
    history: int = 20
    """Items of each user, and positions that the model has."""

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Codes at each level."""
        return (self.num_items,) if self.num_levels == 1 else (self.branching,) * self.num_levels


@dataclass(frozen=True)
class Subject:
    """One stream of a model, and evaluation users."""

    sizes: Sizes
    retriever: Retriever
    trie: Trie
    stream: str
    known: Histories | None = None
    """Users of a finished run's dataset; None: random histories."""

    def histories(self, num_users: int) -> Histories:
        """``num_users`` users with ``sizes.history`` items each; known users repeat where there are fewer."""
        if self.known is None:
            return random_histories(self.sizes, num_users)
        return self.known.take(np.resize(np.arange(len(self.known)), num_users))

    def search(self, histories: Histories, **options: Any) -> Candidates:
        """:func:`search` in this stream alone."""
        return search(self.retriever, {self.stream: self.trie}, histories, **options)


class Widths(TypedDict):
    """How wide a search is, and how long its lists are."""

    beam_width: int
    list_length: int


def random_ids(sizes: Sizes, seed: int) -> SemanticIds:
    """Distinct semantic IDs of all items.

    The first code is balanced, as a tree's is. With two levels so is the second; deeper ones are drawn.
    """
    generator = np.random.default_rng(seed)
    place_I = generator.permutation(sizes.num_items)
    k, levels = sizes.branching, sizes.num_levels
    if levels == 1:
        return SemanticIds(place_I[:, None].astype(np.int32), sizes.vocabulary_sizes)
    if sizes.num_items > k**levels:
        raise ValueError(f"{sizes.num_items:,} items do not fit into {levels} levels of {k} codes")
    if levels == 2:
        return SemanticIds(np.stack(np.divmod(place_I, k)[::-1], axis=1).astype(np.int32), sizes.vocabulary_sizes)
    codes_IL = generator.integers(0, k, (sizes.num_items, levels))
    codes_IL[:, 0] = place_I % k
    weights_L = k ** np.arange(levels)[::-1]
    while len(repeated := _repeated(codes_IL @ weights_L)):
        codes_IL[repeated, 1:] = generator.integers(0, k, (len(repeated), levels - 1))
    return SemanticIds(codes_IL.astype(np.int32), sizes.vocabulary_sizes)


def _repeated(keys_I: np.ndarray) -> np.ndarray:
    """Rows whose key an earlier row has."""
    is_first = np.zeros(len(keys_I), dtype=bool)
    is_first[np.unique(keys_I, return_index=True)[1]] = True
    return np.flatnonzero(~is_first)


def build_retriever(sizes: Sizes, seed: int = 0) -> tuple[Retriever, dict[str, Trie]]:
    """A model with random weights, in eval mode, and the trie of each of its streams."""
    nothing = ItemVectors(np.zeros((sizes.num_items, 1), np.float32), np.ones(sizes.num_items, bool))
    contexts = {}
    for number in range(sizes.num_streams):
        ids = random_ids(sizes, seed + number)
        contexts[f"stream {number}"] = StreamContext(ids, Trie.of(ids), nothing)
    encoder = ItemIds(
        num_layers=sizes.encoder_layers,
        num_heads=sizes.num_heads,
        feedforward_dim=sizes.feedforward_dim,
        dim=sizes.dim,
        max_history=sizes.history,
    )
    decoder = Transformer(
        num_layers=sizes.decoder_layers,
        num_heads=sizes.num_heads,
        feedforward_dim=sizes.feedforward_dim,
        vocabulary=sizes.vocabulary,
    )
    decoders = dict.fromkeys(contexts, decoder)
    retriever = Retriever(encoder, decoders, (), contexts, num_items=sizes.num_items, seed=seed).eval()
    return retriever, {name: context.trie for name, context in contexts.items()}


def random_model(sizes: Sizes) -> Subject:
    """The first stream of :func:`build_retriever`."""
    retriever, tries = build_retriever(sizes)
    stream, trie = next(iter(tries.items()))
    return Subject(sizes, retriever, trie, stream)


def trained_model(run: Path, data: Path | None) -> Subject:
    """The first stream of a finished run of EAGER's sizes, and its test users who have as many items as it reads."""
    recommender = Recommender(run)
    stream, trie = next(iter(recommender.tries.items()))
    recipe = recommender.recipe
    histories = recipe.dataset.load(data).test.histories
    history = recipe.max_history
    long = histories.take(np.flatnonzero(histories.lengths >= history))
    if not len(long):
        raise SystemExit(f"{run}: no test user has {history} items")
    sizes = Sizes(
        num_items=len(recommender.keys),
        num_levels=trie.num_levels,
        branching=max(trie.vocabulary_sizes),
        num_streams=1,
        vocabulary=getattr(recipe.streams[stream].decoder, "vocabulary", "level"),
        history=history,
    )
    return Subject(sizes, recommender.model, trie, stream, long)


def random_histories(sizes: Sizes, num_users: int, seed: int = 0) -> Histories:
    """Users with ``sizes.history`` items each."""
    items_UT = np.random.default_rng(seed).integers(0, sizes.num_items, (num_users, sizes.history))
    return Histories.of(list(items_UT))


def search(
    retriever: Retriever,
    tries: Mapping[str, Trie],
    histories: Histories,
    *,
    beam_width: int = 100,
    list_length: int = 20,
    method: Literal["beam", "bound", "exact"] = "beam",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    on_expanded: Callable[[Mapping[str, float]], None] | None = None,
) -> Candidates:
    """Search as in a run; without a ``batch_size``, all histories in one batch."""
    settings = SearchSettings(
        method=method,
        beam_width=beam_width,
        list_length=list_length,
        batch_size=batch_size or len(histories),
        precision=precision,
    )
    return search_streams(
        retriever,
        tries,
        histories,
        settings,
        num_items=retriever.num_items,
        max_history=retriever.max_history,
        on_expanded=on_expanded,
    )


def lists_of(candidates: Candidates, stream: int) -> list[list[int]]:
    """The ranked items of one stream for each user."""
    lists = []
    for items_C, ranks_CS in zip(candidates.items_BC, candidates.ranks_BCS, strict=True):
        found = np.flatnonzero(ranks_CS[:, stream] != ABSENT)
        lists.append(items_C[found[np.argsort(ranks_CS[found, stream])]].tolist())
    return lists


def count_faults(lists: list[list[int]], num_items: int) -> int:
    """Items of ranked lists that are none, or that stand in their list twice."""
    return sum(len(items) - len({item for item in items if 0 <= item < num_items}) for items in lists)


def decoding_flop(sizes: Sizes, tries: Mapping[str, Trie], beam_width: int = 100) -> float:
    """Least floating-point operations of one user's search (a multiply-add counts 2), vocabulary ``level``.

    The history is read once, its keys and values are made once for each stream, the first token is written once and
    every later one once for each beam; no token is written after the last code.
    """
    d, ff, T = sizes.dim, sizes.feedforward_dim, sizes.history
    reading = sizes.encoder_layers * T * (8 * d * d + 4 * d * ff + 4 * T * d)
    memory = sizes.decoder_layers * 4 * T * d * d
    token = sizes.decoder_layers * (12 * d * d + 4 * d * ff + 4 * T * d)
    total = float(reading)
    for trie in tries.values():
        total += memory
        for depth, size in enumerate(trie.vocabulary_sizes):
            own = sizes.decoder_layers * 4 * (depth + 1) * d  # attention to the tokens written so far
            total += min(beam_width, trie.num_nodes(depth)) * (token + own + 2 * d * size)
    return total


def training_flop(sizes: Sizes) -> float:
    """Least floating-point operations of one training sample without tasks, three times those of going forward."""
    d, ff, T = sizes.dim, sizes.feedforward_dim, sizes.history
    reading = sizes.encoder_layers * T * (8 * d * d + 4 * d * ff + 4 * T * d)
    token = sizes.decoder_layers * (12 * d * d + 4 * d * ff + 4 * T * d)
    logits = sum(2 * d * size for size in sizes.vocabulary_sizes)
    own = sizes.decoder_layers * 4 * d * sizes.num_levels * (sizes.num_levels + 1) / 2
    stream = sizes.decoder_layers * 4 * T * d * d + sizes.num_levels * token + own + logits
    return 3.0 * (reading + sizes.num_streams * stream)
