"""Recommendations from a finished run: histories by key or title in, items with each stream's share out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from genrec.errors import DataError, TrainingError
from genrec.experiment.finished_run import load_model, load_streams
from genrec.experiment.run_folder import RunFolder
from genrec.families import merges
from genrec.merges.single import Single
from genrec.recipe import Recipe
from genrec.recipe.loading import load_recipe_of_run
from genrec.registry import plugin_errors
from genrec.reporting.tables import Table
from genrec.runtime.checksums import parsing
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.search.streams import search_streams
from genrec.types import ABSENT, Candidates, Histories

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class StreamVote:
    """One stream's evidence for a recommended item."""

    rank: int | None
    """Place in the stream's own list, from 1; None where it did not propose the item."""
    log_prob: float | None
    """Log-probability (nats) of the item's code; None where it is not known."""
    share: float
    """Its probability of the item as a share of all streams' probabilities of it; the shares of an item sum to 1."""


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    key: str
    title: str
    score: float
    """The merge's score; the log-probability (nats) if there is one stream."""
    streams: dict[str, StreamVote]


class Recommendations(Sequence[list[Recommendation]]):
    """The recommended items of each history, best first: a sequence of lists, and a table."""

    def __init__(self, lists: Sequence[list[Recommendation]]) -> None:
        self._lists = list(lists)

    def __len__(self) -> int:
        return len(self._lists)

    @overload
    def __getitem__(self, place: int) -> list[Recommendation]: ...
    @overload
    def __getitem__(self, place: slice) -> Recommendations: ...
    def __getitem__(self, place: int | slice) -> list[Recommendation] | Recommendations:
        return Recommendations(self._lists[place]) if isinstance(place, slice) else self._lists[place]

    def table(self) -> Table:
        """A row for each recommended item: place of its history, rank from 1, key, title, score, and by stream its
        rank (``<stream> rank``, null where the stream did not propose the item), log-probability and share.
        """
        rows = [
            (place, rank, item) for place, items in enumerate(self._lists) for rank, item in enumerate(items, start=1)
        ]
        columns: dict[str, list[Any]] = {
            "history": [place for place, _, _ in rows],
            "rank": [rank for _, rank, _ in rows],
            "item": [item.key for _, _, item in rows],
            "title": [item.title for _, _, item in rows],
            "score": [item.score for _, _, item in rows],
        }
        for name in rows[0][2].streams if rows else ():
            votes = [item.streams[name] for _, _, item in rows]
            columns[f"{name} rank"] = [vote.rank for vote in votes]
            columns[f"{name} log_prob"] = [vote.log_prob for vote in votes]
            columns[f"{name} share"] = [vote.share for vote in votes]
        return Table(columns)

    def to_polars(self) -> pl.DataFrame:
        """:meth:`table` as a polars DataFrame."""
        return self.table().to_polars()

    def to_pandas(self) -> pd.DataFrame:
        """:meth:`table` as a pandas DataFrame.

        Raises:
            GenrecError: pandas is not installed.
        """
        return self.table().to_pandas()

    def __repr__(self) -> str:
        shown = "; ".join(", ".join(item.title or item.key for item in items[:3]) for items in self._lists[:3])
        count = "1 history" if len(self) == 1 else f"{len(self):,} histories"
        return f"Recommendations({count}: {shown}{', ...' if shown else ''})"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Recommender:
    """The model of a finished run, ready to recommend.

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
        self._folder = folder.path
        self.recipe = recipe_of_run(folder)
        items = folder.read_items()
        self.keys: list[str] = items["keys"]
        self.titles: list[str] = items["titles"]
        self._row_of_key = {key: row for row, key in enumerate(self.keys)}
        self._rows_of_title, self._rows_of_folded_key = _rows_by_folded(self.titles), _rows_by_folded(self.keys)
        streams = load_streams(self.recipe, folder.path)
        self.model = load_model(self.recipe, folder.path, streams, len(self.keys)).to(environment.torch_device)
        self.tries = {name: context.trie for name, context in streams.items()}

    def __repr__(self) -> str:
        return f"Recommender({self.recipe.title}: {len(self.keys):,} items, streams {', '.join(self.tries)})"

    @classmethod
    @plugin_errors()
    def load(cls, path: str | Path, *, device: str = "auto") -> Recommender:
        """Load the model of a finished run.

        Args:
            path: folder of the run.
            device: auto, cpu, cuda, cuda:1 or mps.

        Raises:
            DataError: the folder is not that of a finished run, or a file is missing or damaged.
            RecipeError: its recipe names a plugin that is not in ``plugins/`` of the working folder.
        """
        environment = Environment(device)
        environment.check_device()
        return cls(Path(path), environment=environment)

    def row(self, name: str) -> int:
        """The item that a key or a title names; upper and lower case differ only where keys do.

        Raises:
            DataError: no item has that key or title, or several have it.
        """
        name = name.strip()
        rows, what = self._named(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            keys = ", ".join(self.keys[row] for row in rows)
            exactly = "use a key" if what == "title" else "write it exactly"
            raise DataError(f"{name!r}: {len(rows)} items have this {what}; {exactly}: {keys}")
        near = get_close_matches(name.casefold(), self._rows_of_title, n=3, cutoff=0.5)
        near += [title for title in self._rows_of_title if name and name.casefold() in title and title not in near][:3]
        near += get_close_matches(name, self.keys, n=2, cutoff=0.8)
        shown = [self.titles[self._rows_of_title[text][0]] if text in self._rows_of_title else text for text in near]
        hint = f"; did you mean {' or '.join(map(repr, shown))}?" if shown else ""
        raise DataError(f"{name!r}: no item has this key or title, expected one of {len(self.keys):,} items{hint}")

    def parse_history(self, texts: Iterable[str]) -> list[str]:
        """The keys of the items in some texts, in their order.

        Args:
            texts: each a key, a title, or several of them separated by commas. A name that contains commas itself is
                recognized: of several readings, the longest names come first.

        Raises:
            DataError: no item has a name, or several have it.
        """
        return [self.keys[row] for text in texts for row in self._rows_in(text)]

    def _rows_in(self, text: str) -> Iterator[int]:
        parts, start = text.split(","), 0
        while start < len(parts):
            ends = range(len(parts), start, -1)
            names = {end: ",".join(parts[start:end]).strip() for end in ends}
            end = next((end for end in ends if self._named(names[end])[0]), start + 1)
            if names[end] or len(parts) == 1:  # nothing between two commas names nothing
                yield self.row(names[end])
            start = end

    def _named(self, name: str) -> tuple[list[int], str]:
        """The items that a name may mean, and whether it is their title or their key."""
        if name in self._row_of_key:
            return [self._row_of_key[name]], "key"
        if rows := self._rows_of_title.get(name.casefold()):
            return rows, "title"
        return self._rows_of_folded_key.get(name.casefold(), []), "key"

    @plugin_errors()
    def recommend(
        self,
        histories: Iterable[str] | Iterable[Iterable[str]],
        k: int = 10,
        *,
        seen: Literal["keep", "filter"] | None = "filter",
    ) -> Recommendations:
        """Recommend the next items, with the search and merge of the run.

        Args:
            histories: keys or titles of items, oldest first: one history, or several of them; lists, arrays or Series.
                A single text is a history of one item.
            k: number of items for each history, at least 1.
            seen: ``filter`` leaves out the items of the history, ``keep`` does not; None follows the recipe.

        Returns:
            A list of at most ``k`` items for each history.

        Raises:
            DataError: a history is empty, an item is not in the catalog, or an argument has another type or value.
            TrainingError: the model gives log-probabilities that are not finite.
        """
        if seen not in ("keep", "filter", None):
            raise DataError(f"seen: found {seen!r}, expected 'keep', 'filter' or None")
        k = min(_count(k), len(self.keys))
        rows = [self._rows(history, number) for number, history in enumerate(_several(histories), start=1)]
        settings = self.recipe.search
        try:
            found = search_streams(
                self.model,
                self.tries,
                Histories.of(rows),
                settings.model_copy(update={"list_length": max(settings.list_length, k)}),
                num_items=len(self.keys),
                max_history=self.recipe.max_history,
                with_scores=self.recipe.merge.needs_scores,
                seen=self.recipe.evaluation.seen_items if seen is None else seen,
            )
        except TrainingError as error:
            raise TrainingError(f"{self._folder / 'model.safetensors'}: {error}") from None
        stream, *others = found.streams
        merge = self.recipe.merge if others else Single(stream=stream)
        try:
            ranking = merge.merge(found, top_n=k)
        except DataError as error:
            raise DataError(f"{self._folder / 'merge.json'}: {error}") from None
        return Recommendations(
            [
                [
                    Recommendation(
                        self.keys[item], self.titles[item], float(score), self._votes(found, user, int(item))
                    )
                    for item, score in zip(ranking.items_BN[user], ranking.scores_BN[user], strict=True)
                    if item != ABSENT
                ]
                for user in range(len(rows))
            ]
        )

    def _rows(self, history: Sequence[str], number: int) -> list[int]:
        if not history:
            raise DataError(f"history {number}: found no item, expected at least one key or title")
        return [self.row(name) for name in history]

    def _votes(self, found: Candidates, user: int, item: int) -> dict[str, StreamVote]:
        column = int(np.flatnonzero(found.items_BC[user] == item)[0])
        log_probs_S, ranks_S = found.log_probs_BCS[user, column], found.ranks_BCS[user, column]
        known_S = np.isfinite(log_probs_S)
        weights_S = np.where(known_S, np.exp(np.where(known_S, log_probs_S - np.max(log_probs_S[known_S]), 0.0)), 0.0)
        return {
            name: StreamVote(
                rank=None if ranks_S[s] == ABSENT else int(ranks_S[s]) + 1,
                log_prob=float(log_probs_S[s]) if known_S[s] else None,
                share=float(weights_S[s] / weights_S.sum()),
            )
            for s, name in enumerate(found.streams)
        }


def _rows_by_folded(names: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each name, regardless of upper and lower case; without empty names."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name:
            rows.setdefault(name.casefold(), []).append(row)
    return rows


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
    if isinstance(entries, bytes | set | frozenset) or not isinstance(entries, Iterable):
        raise DataError(_unfit(entries))
    return list(entries)


def _unfit(found: Any) -> str:
    return (
        f"histories: found {found!r} ({type(found).__name__}), expected keys or titles as texts, oldest first: "
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


def recipe_of_run(folder: RunFolder) -> Recipe:
    """The recipe of a finished run as it was run, with its merge as it was fitted.

    Raises:
        DataError: a file of the run is missing or damaged.
        RecipeError: the recipe names a plugin that is not in ``plugins/`` of the working folder.
    """
    file = folder.path / "recipe.yaml"
    if not file.is_file():
        raise DataError(f"{file}: missing; the run is not complete")
    recipe = load_recipe_of_run(file)
    fitted = folder.read_json("merge.json")
    with parsing(folder.path / "merge.json", "the settings of a merge"):
        merge = merges.get(fitted.pop("type"))(**fitted)
    return recipe.model_copy(update={"merge": merge})
