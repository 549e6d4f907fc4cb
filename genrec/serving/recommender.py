"""Recommendations from a finished run: histories in, ranked items with what each stream says about them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec.errors import DataError, TrainingError
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_model import load_model, load_streams, recipe_of_run
from genrec.families import Merge, merges
from genrec.formats.text import shown
from genrec.merges.single import Single
from genrec.registry import plugin_errors
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.search.streams import search_streams
from genrec.serving.hub import run_folder
from genrec.serving.item_names import ItemNames
from genrec.serving.recommendations import Recommendations, Votes
from genrec.types import ABSENT, Candidates, Histories, Ranking

_MOST_AT_ONCE = 8192
"""Histories that are searched together; their candidates are in memory."""
_ITEMS_AT_ONCE = 2**18
"""Items of their lists."""


class Recommender:
    """The model of a finished run, ready to recommend. It imports no training code, and threads may share it.

    Plugins come from ``plugins/`` of the working folder; nothing in the run's folder is ever imported.

    Args:
        run: the run's folder.
        environment: on which device to compute.

    Raises:
        DataError: the folder holds no finished run.
        RecipeError: its recipe names a plugin that is not there.
    """

    def __init__(self, run: Path, *, environment: Environment = THIS_MACHINE) -> None:
        folder = RunFolder.open(run)
        self.path = folder.path
        self.recipe = recipe_of_run(folder)
        items = folder.read_items()
        self.names = ItemNames(items.keys, items.titles)
        self.counts_I = items.counts_I
        """Training purchases of each item, int64 (I,); None in runs of earlier versions."""
        self.streams = load_streams(self.recipe, folder.path)
        self.tries = {name: context.trie for name, context in self.streams.items()}
        self.model = load_model(self.recipe, folder.path, self.streams, len(self.names)).to(environment.torch_device)
        self._code_tries = {
            name: trie for name, trie in self.tries.items() if self.recipe.streams[name].decoder.writes_codes
        }

    @classmethod
    @plugin_errors()
    def load(cls, path: str | Path, *, device: str = "auto") -> Recommender:
        """Load the model of a finished run.

        Args:
            path: folder of the run or of an export, or ``hf://user/name`` (with ``@revision``) for an export on the
                Hugging Face Hub.
            device: auto, cpu, cuda, cuda:1 or mps.

        Raises:
            DataError: the folder is not that of a finished run, or a file is missing or damaged.
            PluginError: its recipe names a plugin that is not in ``plugins/`` of the working folder.
        """
        environment = Environment(device)
        environment.check_device()
        return cls(run_folder(path), environment=environment)

    def __repr__(self) -> str:
        return f"Recommender({self.recipe.title}: {len(self.names):,} items, streams {', '.join(self.tries)})"

    @property
    def keys(self) -> list[str]:
        """The key of each item."""
        return self.names.keys

    @property
    def titles(self) -> list[str]:
        """The title of each item; "" where it has none."""
        return self.names.titles

    def row(self, name: str) -> int:
        """The item that a key or a title names; upper and lower case differ only where keys do.

        Raises:
            DataError: no item has that key or title, or several have it.
        """
        return self.names.row(name)

    def parse_history(self, texts: Iterable[str]) -> list[str]:
        """The keys of the items in some texts, in their order.

        Args:
            texts: each a key, a title, or several of them separated by commas. A name that contains commas itself is
                recognized: of several readings, the longest names come first.

        Raises:
            DataError: no item has a name, or several have it.
        """
        return [self.keys[row] for text in texts for row in self.names.rows_in(text)]

    @plugin_errors()
    def recommend(
        self,
        histories: Iterable[str] | Iterable[Iterable[str]],
        k: int = 10,
        *,
        seen: Literal["keep", "filter"] | None = "filter",
        exclude: Iterable[str] = (),
        merge: Merge | str | None = None,
        explain: bool = True,
    ) -> Recommendations:
        """Recommend the next items, with the search of the run.

        Args:
            histories: keys or titles of items, oldest first: one history, or several of them; lists, arrays or Series.
                A single text is a history of one item. Items that are not in the catalog are skipped and counted; a
                history without any known item gets the most popular items.
            k: number of items for each history, at least 1.
            seen: ``filter`` leaves out the items of the history, ``keep`` does not; None follows the recipe.
            exclude: keys or titles of items that no list may have, such as those that are sold out; all items of a
                title. Names that are not in the catalog are ignored.
            merge: another merge than the run's: an object, the name of a merge that is not fitted, or the name of a
                stream for the stream alone.
            explain: also give each stream's rank, log-probability and share of each item.

        Returns:
            A list of at most ``k`` items for each history.

        Raises:
            DataError: an argument has another type or value, or a history needs popular items and the run, which is of
                an earlier version, has no counts of purchases.
            TrainingError: the model gives log-probabilities that are not finite.
        """
        if seen not in ("keep", "filter", None):
            raise DataError(f"seen: found {seen!r}, expected 'keep', 'filter' or None")
        k = min(_count(k), len(self.names))
        merge = self._merge(merge)
        allowed_I = self._allowed(exclude)
        asked = _several(histories)
        known = [[row for row in map(self.names.find, history) if row is not None] for history in asked]
        ranking, votes = _nothing(len(known), k, tuple(self.tries) if explain else None)
        users = np.flatnonzero([len(rows) > 0 for rows in known])
        if allowed_I is None or allowed_I.any():
            at_once = max(1, min(_MOST_AT_ONCE, _ITEMS_AT_ONCE // k))
            for start in range(0, len(users), at_once):
                some_U = users[start : start + at_once]
                found = self._search([known[user] for user in some_U], k, merge, allowed_I, seen)
                merged = self._merged(found, merge, k)
                width = merged.items_BN.shape[1]
                ranking.items_BN[some_U, :width], ranking.scores_BN[some_U, :width] = merged.items_BN, merged.scores_BN
                if votes is not None and found.items_BC.shape[1]:  # none is left where all items are seen
                    votes.put(some_U, Votes.of(found, merged))
        is_fallback = [not rows for rows in known]
        if any(is_fallback):
            items_N, scores_N = self._popular(k, allowed_I)
            ranking.items_BN[is_fallback, : len(items_N)] = items_N
            ranking.scores_BN[is_fallback, : len(items_N)] = scores_N
        return Recommendations(
            self.names,
            self._code_tries,
            ranking,
            votes,
            unknown=[len(history) - len(rows) for history, rows in zip(asked, known, strict=True)],
            is_fallback=is_fallback,
        )

    def _search(
        self,
        rows: list[list[int]],
        k: int,
        merge: Merge,
        allowed_I: np.ndarray | None,
        seen: Literal["keep", "filter"] | None,
    ) -> Candidates:
        """The candidates of all streams for histories of at least one item each."""
        settings = self.recipe.search
        try:
            return search_streams(
                self.model,
                self.tries,
                Histories.of(rows),
                settings.model_copy(update={"list_length": max(settings.list_length, k)}),
                num_items=len(self.names),
                max_history=self.recipe.max_history,
                with_scores=merge.needs_scores,
                seen=self.recipe.evaluation.seen_items if seen is None else seen,
                allowed_I=allowed_I,
                title=None,
            )
        except TrainingError as error:
            raise TrainingError(f"{self.path / 'model.safetensors'}: {error}") from None

    def _merged(self, found: Candidates, merge: Merge, k: int) -> Ranking:
        try:
            return merge.merge(found, top_n=k)
        except DataError as error:
            where = f"{self.path / 'merge.json'}: " if merge is self.recipe.merge else ""
            raise DataError(f"{where}{error}") from None

    def _merge(self, merge: Merge | str | None) -> Merge:
        """The merge to use; one stream needs none.

        Raises:
            DataError: there is no such merge, or it would have to be fitted.
        """
        if len(self.tries) == 1:
            return Single(stream=next(iter(self.tries)))
        if merge is None:
            return self.recipe.merge
        if isinstance(merge, Merge):
            return merge
        if isinstance(merge, str) and merge in self.tries:
            return Single(stream=merge)
        if merge == self.recipe.merge.type_name:
            return self.recipe.merge
        if merge in self.merge_names():
            return merges.get(merge)()
        expected = ", ".join([*self.merge_names(), *self.tries])
        raise DataError(f"merge: found {shown(merge)}, expected one of {expected}")

    def merge_names(self) -> list[str]:
        """The names of the merges that :meth:`recommend` takes: that of the run first, then those without a fit."""
        own = self.recipe.merge.type_name
        others = [name for name in merges.names() if name not in (own, Single.type_name)]
        return [own, *(name for name in others if not _is_fitted(merges.get(name)))]

    def _allowed(self, exclude: Iterable[str]) -> np.ndarray | None:
        names = [exclude] if isinstance(exclude, str) or not isinstance(exclude, Iterable) else list(exclude)
        for name in (name for name in names if not isinstance(name, str)):
            raise DataError(f"exclude: found {shown(name)} ({type(name).__name__}), expected keys or titles as texts")
        if not names:
            return None
        allowed_I = np.ones(len(self.names), dtype=bool)
        allowed_I[[row for name in names for row in self.names.find_all(name)]] = False
        return allowed_I

    def _popular(self, k: int, allowed_I: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The items with most training purchases, and their shares of all purchases."""
        if self.counts_I is None:
            raise DataError(
                f"{self.path}: a history has no known item, and this run of an earlier version has no counts of "
                "purchases for a list of popular items; run its recipe again"
            )
        order = np.argsort(-self.counts_I, kind="stable")
        items_N = (order if allowed_I is None else order[allowed_I[order]])[:k]
        return items_N, self.counts_I[items_N] / max(self.counts_I.sum(), 1)


def _is_fitted(merge: type[Merge]) -> bool:
    return merge.fit is not Merge.fit


def _nothing(num_rows: int, k: int, streams: tuple[str, ...] | None) -> tuple[Ranking, Votes | None]:
    """A ranking of no items, to be filled."""
    ranking = Ranking(np.full((num_rows, k), ABSENT, dtype=np.int64), np.full((num_rows, k), -np.inf, np.float32))
    if streams is None:
        return ranking, None
    shape = (num_rows, k, len(streams))
    log_probs_BNS, shares_BNS = (np.full(shape, np.nan, np.float32) for _ in range(2))
    return ranking, Votes(streams, np.full(shape, ABSENT, np.int32), log_probs_BNS, shares_BNS)


def _several(histories: Iterable[str] | Iterable[Iterable[str]]) -> list[list[str]]:
    """Histories as a list; a flat list of names is one history."""
    entries = _listed(histories)
    if entries and all(isinstance(entry, str) for entry in entries):
        return [entries]
    lists = [_listed(entry) for entry in entries]
    for name in (name for names in lists for name in names if not isinstance(name, str)):
        raise DataError(_unfit(name))
    return lists


def _listed(entries: Any) -> list[Any]:
    if isinstance(entries, str):
        return [entries]
    is_table = isinstance(entries, Mapping) or hasattr(entries, "columns")  # iterating gives names, or columns
    if is_table or isinstance(entries, bytes | set | frozenset) or not isinstance(entries, Iterable):
        raise DataError(_unfit(entries))
    return list(entries)


def _unfit(found: Any) -> str:
    return (
        f"histories: found {shown(found)} ({type(found).__name__}), expected keys or titles as texts, oldest first: "
        "a list for one history, a list of lists for several"
    )


def _count(k: Any) -> int:
    """A number of items as an int."""
    try:
        count = index(k)
    except TypeError:
        count = 0
    if count < 1:
        raise DataError(f"k: found {k!r}, expected a whole number of at least 1")
    return count
