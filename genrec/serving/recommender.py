"""Recommendations from a finished run: histories by key or title in, items with each stream's share out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from genrec.errors import DataError
from genrec.experiment.finished_run import load_model, load_streams
from genrec.experiment.run_folder import RunFolder
from genrec.families import merges
from genrec.recipe import Recipe, parse_recipe
from genrec.registry import add_plugin_folder
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.search.streams import search_streams
from genrec.types import ABSENT, Candidates, Histories


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
    """The merge's score."""
    streams: dict[str, StreamVote]


class Recommender:
    """The model of a finished run.

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
        self.recipe = _recipe_of(folder)
        items = folder.read_json("items.json")
        self.keys: list[str] = items["keys"]
        self.titles: list[str] = items["titles"]
        self._row_of_key = {key: row for row, key in enumerate(self.keys)}
        self._rows_of_title: dict[str, list[int]] = {}
        for row, title in enumerate(self.titles):
            if title:
                self._rows_of_title.setdefault(title.casefold(), []).append(row)
        streams = load_streams(self.recipe, folder.path)
        self.model = load_model(self.recipe, folder.path, streams, len(self.keys)).to(
            (environment or Environment()).torch_device
        )
        self.tries = {name: context.trie for name, context in streams.items()}

    def row(self, name: str) -> int:
        """The item that a key or a title (upper or lower case) names.

        Raises:
            DataError: no item has that key or title, or several have that title.
        """
        name = name.strip()
        if name in self._row_of_key:
            return self._row_of_key[name]
        rows = self._rows_of_title.get(name.casefold(), [])
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise DataError(
                f"{name!r}: {len(rows)} items have this title; use a key: {', '.join(self.keys[row] for row in rows)}"
            )
        near = get_close_matches(name.casefold(), self._rows_of_title, n=3, cutoff=0.5)
        near += [title for title in self._rows_of_title if name.casefold() in title and title not in near][:3]
        near += get_close_matches(name, self.keys, n=2, cutoff=0.8)
        shown = [self.titles[self._rows_of_title[text][0]] if text in self._rows_of_title else text for text in near]
        hint = f"; did you mean {' or '.join(map(repr, shown))}?" if shown else ""
        raise DataError(f"{name!r}: no item has this key or title, expected one of {len(self.keys):,} items{hint}")

    def recommend(self, histories: Sequence[Sequence[str]], *, top_n: int = 10) -> list[list[Recommendation]]:
        """Recommend for each history, under the run's own search, merge and rule about seen items.

        Args:
            histories: keys or titles, oldest first, at least one each.
            top_n: items for each history, at most the recipe's ``search.list_length`` from each stream.

        Raises:
            DataError: an empty history, or an item that is not in the catalog.
        """
        for number, history in enumerate(histories):
            if not history:
                raise DataError(f"history {number + 1}: found no item, expected at least one key or title")
        rows = [[self.row(name) for name in history] for history in histories]
        settings = self.recipe.search
        found = search_streams(
            self.model,
            self.tries,
            Histories.of(rows),
            settings.model_copy(update={"list_length": max(settings.list_length, top_n)}),
            num_items=len(self.keys),
            max_history=self.recipe.max_history,
            with_scores=self.recipe.merge.needs_scores,
            seen=self.recipe.evaluation.seen_items,
        )
        ranking = self.recipe.merge.merge(found, top_n=top_n)
        return [
            [
                Recommendation(self.keys[item], self.titles[item], float(score), self._votes(found, user, int(item)))
                for item, score in zip(ranking.items_BN[user], ranking.scores_BN[user], strict=True)
                if item != ABSENT
            ]
            for user in range(len(rows))
        ]

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


def _recipe_of(folder: RunFolder) -> Recipe:
    """The recipe as it was run, with its merge as it was fitted."""
    file = folder.path / "recipe.yaml"
    if not file.is_file():
        raise DataError(f"{file}: missing; the run is not complete")
    add_plugin_folder(Path.cwd() / "plugins")
    recipe = parse_recipe(file.read_text(encoding="utf-8"), name=str(file))
    fitted = folder.read_json("merge.json")
    return recipe.model_copy(update={"merge": merges.get(fitted.pop("type"))(**fitted)})
