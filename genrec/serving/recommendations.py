"""Recommended items with what each stream says about them: lists of objects, and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from genrec.reporting.tables import Table
from genrec.semantic_ids.trie import Trie
from genrec.serving.item_names import ItemNames
from genrec.types import ABSENT, Candidates, Ranking

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_MOST_NEIGHBORS = 5
_CELLS = 2**24
"""Maximum number of comparisons in memory."""


@dataclass(frozen=True)
class StreamVote:
    """One stream's evidence for a recommended item."""

    rank: int | None
    """Place in the stream's own list, from 1; None where it did not propose the item."""
    log_prob: float | None
    """Log-probability (nats) of the item's code; None where it is not known."""
    share: float
    """Its probability of the item as a share of all streams' probabilities of it; the shares of an item sum to 1."""
    semantic_id: tuple[int, ...] | None
    """The item's codes in this stream; None where it has none, or the stream has no codes."""
    neighbors: tuple[str, ...]
    """Keys of at most five other items whose codes differ in the last one only."""


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    key: str
    title: str
    score: float
    """The merge's score; the log-probability (nats) if there is one stream. In the list of popular items that stands in
    for a history without known items: the item's share of all training purchases."""
    streams: dict[str, StreamVote]
    """By stream; empty without ``explain`` and for popular items."""


@dataclass(frozen=True)
class Votes:
    """What S streams say about N recommended items of B histories."""

    streams: tuple[str, ...]
    ranks_BNS: np.ndarray
    """int32 from 0; ABSENT where the stream did not propose the item."""
    log_probs_BNS: np.ndarray
    """float32 (nats); NaN where it is not known."""
    shares_BNS: np.ndarray
    """float32; sum to 1 over S, NaN where there is no item."""

    @classmethod
    def of(cls, found: Candidates, ranking: Ranking) -> Votes:
        """Look up the ranked items among the candidates that were merged, at least one of a history."""
        column_BN = _columns(ranking.items_BN, found.items_BC)
        is_item_BN1 = (ranking.items_BN != ABSENT)[:, :, None]
        log_probs_BNS = np.take_along_axis(found.log_probs_BCS, column_BN[:, :, None], axis=1)
        log_probs_BNS = np.where(is_item_BN1 & np.isfinite(log_probs_BNS), log_probs_BNS, np.float32(np.nan))
        ranks_BNS = np.take_along_axis(found.ranks_BCS, column_BN[:, :, None], axis=1)
        best_BN1 = np.fmax.reduce(log_probs_BNS, axis=2, keepdims=True)
        weights_BNS = np.nan_to_num(np.exp(log_probs_BNS - best_BN1))
        with np.errstate(invalid="ignore"):
            shares_BNS = weights_BNS / weights_BNS.sum(axis=2, keepdims=True)
        return cls(found.streams, np.where(is_item_BN1, ranks_BNS, ABSENT), log_probs_BNS, shares_BNS)

    def put(self, users: np.ndarray, part: Votes) -> None:
        """Replace the votes of some histories, whose lists may be shorter."""
        width = part.ranks_BNS.shape[1]
        for name in ("ranks_BNS", "log_probs_BNS", "shares_BNS"):
            getattr(self, name)[users, :width] = getattr(part, name)


class Recommendations(Sequence[list[Recommendation]]):
    """The recommended items of B histories, best first: a sequence of lists, and a table.

    Args:
        names: keys and titles of the catalog.
        tries: of the streams that write codes.
        ranking: at most N items a history.
        votes: of the streams; None without ``explain``.
        unknown: number of items of each history that are not in the catalog.
        is_fallback: whether a history got the popular items because the catalog has none of its items.
    """

    unknown: tuple[int, ...]
    """Number of items of each history that are not in the catalog."""
    is_fallback: tuple[bool, ...]
    """Whether a history got the popular items because the catalog has none of its items."""

    def __init__(
        self,
        names: ItemNames,
        tries: Mapping[str, Trie],
        ranking: Ranking,
        votes: Votes | None,
        *,
        unknown: Sequence[int],
        is_fallback: Sequence[bool],
    ) -> None:
        self._names, self._tries, self._ranking, self._votes = names, tries, ranking, votes
        self.unknown, self.is_fallback = tuple(unknown), tuple(is_fallback)

    def __len__(self) -> int:
        return len(self.unknown)

    @overload
    def __getitem__(self, place: int) -> list[Recommendation]: ...
    @overload
    def __getitem__(self, place: slice) -> Recommendations: ...
    def __getitem__(self, place: int | slice) -> list[Recommendation] | Recommendations:
        if not isinstance(place, slice):
            row = range(len(self))[place]
            return [
                self._item(row, column) for column in np.flatnonzero(self._ranking.items_BN[row] != ABSENT).tolist()
            ]
        votes = self._votes
        return Recommendations(
            self._names,
            self._tries,
            Ranking(self._ranking.items_BN[place], self._ranking.scores_BN[place]),
            votes and Votes(votes.streams, votes.ranks_BNS[place], votes.log_probs_BNS[place], votes.shares_BNS[place]),
            unknown=self.unknown[place],
            is_fallback=self.is_fallback[place],
        )

    def item_keys(self) -> list[list[str]]:
        """The keys of each history's items, best first."""
        keys = self._names.keys
        return [[keys[item] for item in items if item != ABSENT] for items in self._ranking.items_BN.tolist()]

    def table(self) -> Table:
        """A row for each recommended item.

        Its columns: place of the history, rank from 1, key, title, score, whether the list is a fallback, and by stream
        the item's rank (``<stream> rank``, null where the stream did not propose the item), log-probability, share and
        semantic ID (codes joined by hyphens).
        """
        is_item_BN = self._ranking.items_BN != ABSENT
        history_R, column_R = np.nonzero(is_item_BN)
        items = self._ranking.items_BN[is_item_BN]
        rows = items.tolist()
        columns: dict[str, Any] = {
            "history": history_R,
            "rank": np.cumsum(is_item_BN, axis=1)[is_item_BN],
            "item": [self._names.keys[row] for row in rows],
            "title": [self._names.titles[row] for row in rows],
            "score": self._ranking.scores_BN[is_item_BN],
            "fallback": np.asarray(self.is_fallback, dtype=bool)[history_R],
        }
        if self._votes is not None:
            votes = self._votes
            for number, name in enumerate(votes.streams):
                ranks_R = votes.ranks_BNS[history_R, column_R, number].astype(np.int64) + 1
                columns[f"{name} rank"] = np.ma.masked_less(ranks_R, 1)
                for label, values_BNS in (("log_prob", votes.log_probs_BNS), ("share", votes.shares_BNS)):
                    columns[f"{name} {label}"] = np.ma.masked_invalid(values_BNS[history_R, column_R, number])
                if name in self._tries:
                    codes = (_codes(self._tries[name], row) for row in rows)
                    columns[f"{name} semantic_id"] = [code and "-".join(map(str, code)) for code in codes]
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
        shown = "; ".join(", ".join(item.title or item.key for item in items[:3]) for items in self[:3])
        count = "1 history" if len(self) == 1 else f"{len(self):,} histories"
        return f"Recommendations({count}: {shown}{', ...' if shown else ''})"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _item(self, row: int, column: int) -> Recommendation:
        item, score = int(self._ranking.items_BN[row, column]), float(self._ranking.scores_BN[row, column])
        streams: dict[str, StreamVote] = {}
        if self._votes is not None and not self.is_fallback[row]:
            for number, name in enumerate(self._votes.streams):
                rank = int(self._votes.ranks_BNS[row, column, number])
                log_prob = float(self._votes.log_probs_BNS[row, column, number])
                trie = self._tries.get(name)
                streams[name] = StreamVote(
                    rank=None if rank == ABSENT else rank + 1,
                    log_prob=None if np.isnan(log_prob) else log_prob,
                    share=float(self._votes.shares_BNS[row, column, number]),
                    semantic_id=None if trie is None else _codes(trie, item),
                    neighbors=() if trie is None else tuple(self._names.keys[near] for near in _siblings(trie, item)),
                )
        return Recommendation(self._names.keys[item], self._names.titles[item], score, streams)


def _columns(items_BN: np.ndarray, candidates_BC: np.ndarray) -> np.ndarray:
    """The column of each item in its row of candidates, int64 (B, N); 0 where it is in none."""
    column_BN = np.empty(items_BN.shape, dtype=np.int64)
    size = max(1, _CELLS // max(1, items_BN.shape[1] * candidates_BC.shape[1]))
    for start in range(0, len(items_BN), size):
        rows = slice(start, start + size)
        column_BN[rows] = (items_BN[rows, :, None] == candidates_BC[rows, None, :]).argmax(axis=2)
    return column_BN


def _codes(trie: Trie, item: int) -> tuple[int, ...] | None:
    """The codes of an item."""
    nodes_L = trie.nodes_IL[item].tolist()
    return None if nodes_L[0] == ABSENT else tuple(int(trie.codes[d][node]) for d, node in enumerate(nodes_L))


def _siblings(trie: Trie, item: int) -> list[int]:
    """Some of the other items below the parent of an item's leaf."""
    nodes_L = trie.nodes_IL[item].tolist()
    if nodes_L[0] == ABSENT:
        return []
    parent = nodes_L[-2] if trie.num_levels > 1 else 0
    first, last = trie.child_start[-1][parent : parent + 2].tolist()
    leaves = trie.item_of_leaf[first : min(last, first + _MOST_NEIGHBORS + 1)].tolist()
    return [near for near in leaves if near != item][:_MOST_NEIGHBORS]
