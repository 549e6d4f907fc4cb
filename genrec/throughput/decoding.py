"""Decoding throughput: users per second of the recipe's search over validation users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.search.streams import search_streams
from genrec.semantic_ids.trie import Trie
from genrec.throughput.timing import Seconds, Timing, counted_flops, now
from genrec.types import Histories

_WARM_UP_BATCHES = 2
_COUNTED_BATCHES = 32
"""At most; counting slows small batches down."""


def time_decoding(
    model: Retriever,
    tries: Mapping[str, Trie],
    histories: Histories,
    recipe: Recipe,
    *,
    batch_sizes: Sequence[int],
    repetitions: int,
    each_stream: bool = False,
) -> tuple[Timing, ...]:
    """Search all users at each batch size, repeatedly and after a warm-up; the sizes alternate.

    Args:
        model: on its device.
        tries: of its streams.
        histories: at least one; where they fill no batch they are repeated until they do, so that all batches are full.
        recipe: its search, its rule about seen items, and whether its merge needs every stream's scores.
        batch_sizes: users searched together.
        repetitions: of every batch size.
        each_stream: search each stream alone as well.

    Returns:
        One for each batch size with all streams, then one for each stream and batch size.
    """
    chosen = [tuple(tries), *([(name,) for name in tries] if each_stream and len(tries) > 1 else [])]
    searches = [
        _Search(model, {name: tries[name] for name in names}, _filled(histories, size), recipe, size)
        for names in chosen
        for size in batch_sizes
    ]
    for search in searches:
        search.warm_up()
    for number in range(repetitions):
        for search in searches:
            search.repeat(f"repetition {number + 1} of {repetitions}")
    return tuple(search.timing() for search in searches)


def _filled(histories: Histories, batch_size: int) -> Histories:
    """Whole batches with every user, the last one filled up with the first users."""
    batches = -(-len(histories) // batch_size)
    return histories.take(np.resize(np.arange(len(histories)), batches * batch_size))


@dataclass
class _Search:
    """One row: some streams at one batch size."""

    model: Retriever
    tries: Mapping[str, Trie]
    histories: Histories
    recipe: Recipe
    batch_size: int
    flops: int | None = None
    repetitions: list[Seconds] = field(default_factory=list)

    @property
    def name(self) -> str:
        return " + ".join(self.tries)

    def warm_up(self) -> None:
        """The longest histories; then users of all lengths, with their operations counted."""
        by_length = np.argsort(self.histories.lengths, kind="stable")
        self._search(self.histories.take(by_length[-_WARM_UP_BATCHES * self.batch_size :]), "warm-up")
        stride = -(-len(by_length) // (_COUNTED_BATCHES * self.batch_size))
        users = by_length[stride // 2 :: stride]
        with counted_flops() as flops:
            self._search(self.histories.take(users), "counting operations")
        if (counted := flops()) is not None:
            self.flops = round(counted * len(by_length) / len(users))

    def repeat(self, title: str) -> None:
        """Once more, timed."""
        device = next(self.model.parameters()).device
        began = now(device)
        self._search(self.histories, title)
        self.repetitions.append(now(device) - began)

    def timing(self) -> Timing:
        return Timing(self.name, self.batch_size, len(self.histories), self.flops, tuple(self.repetitions))

    def _search(self, histories: Histories, title: str) -> None:
        search_streams(
            self.model,
            self.tries,
            histories,
            self.recipe.search.model_copy(update={"batch_size": self.batch_size}),
            num_items=self.model.num_items,
            max_history=self.model.max_history,
            with_scores=self.recipe.merge.needs_scores,
            seen=self.recipe.evaluation.seen_items,
            title=f"decoding {self.name}, batches of {self.batch_size}: {title}",
        )


def described(recipe: Recipe) -> Iterator[str]:
    """Description of what is timed."""
    search = recipe.search
    width = f", beam width {search.beam_width}" if search.method == "beam" else ""
    yield f"search {search.method}{width}, lists of {search.list_length}, seen items: {recipe.evaluation.seen_items}"
    if recipe.merge.needs_scores:
        yield f"every stream scores every candidate, as merge {recipe.merge.type_name} needs it"
