"""A run that is served: recommendations, items, similar items and trees of codes as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
from pydantic_core import to_json

from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS, column_name, main_cutoff
from genrec.reporting.report import read_metrics
from genrec.runtime.checksums import parsing
from genrec.semantic_ids.trie import Trie
from genrec.serving.recommendations import Recommendation
from genrec.serving.recommender import Recommender
from genrec.serving.service.images import Thumbnails
from genrec.serving.service.title_search import TitleSearch
from genrec.types import ABSENT

_PARTS = ("mean", "low", "high")
_EXAMPLES = 3
"""Items that stand for all items below a node."""


class Question(NamedTuple):
    """What is asked about a history; equal questions are computed together."""

    run: str
    k: int
    seen: Literal["filter", "keep"] | None
    exclude: tuple[str, ...]
    merge: str | None
    explain: bool


class UnknownNameError(Exception):
    """A run, merge, stream, item or node that does not exist; its text names it."""


class ServedRun:
    """A loaded run.

    Args:
        name: under which it is served.
        recommender: its model.
        images: of its items.
    """

    def __init__(self, name: str, recommender: Recommender, images: Thumbnails) -> None:
        self.name, self.recommender, self.images = name, recommender, images
        self._code_streams = [s for s in recommender.tries if recommender.recipe.streams[s].decoder.writes_codes]
        self._merges = recommender.merge_names() if len(recommender.tries) > 1 else []
        self._counts_I = None if recommender.counts_I is None else recommender.counts_I.tolist()
        weight_I = np.zeros(len(recommender.names)) if recommender.counts_I is None else recommender.counts_I
        self._weight_I = weight_I
        self._titles = TitleSearch(recommender.keys, recommender.titles, weight_I)
        self._unit_vectors: dict[str, np.ndarray] = {}
        self._lock = Lock()
        self.json_name = to_json(name)
        self._query = f"?run={quote(name, safe='')}"

    def describe(self) -> dict[str, Any]:
        """The entry of the list of runs."""
        recipe, streams = self.recommender.recipe, self.recommender.streams
        dataset, methods = _results(self.recommender.path)
        return {
            "name": self.name,
            "title": recipe.title,
            "dataset": dataset,
            "items": len(self.recommender.names),
            "streams": [
                {
                    "name": name,
                    "writes_codes": name in self._code_streams,
                    "has_vectors": bool(context.vectors.vectors_IE.shape[1]),
                    "levels": context.trie.num_levels,
                    "vocabulary_sizes": list(context.trie.vocabulary_sizes),
                }
                for name, context in streams.items()
            ],
            "merges": self._merges,
            "merge": recipe.merge.type_name,
            "seen": recipe.evaluation.seen_items,
            "images": self.images.state,
            "metrics": methods,
        }

    def check_merge(self, merge: str | None) -> None:
        """Check the name of a merge or stream.

        Raises:
            UnknownNameError: there is no such merge.
        """
        known = [*self._merges, *self.recommender.tries]
        if merge is not None and merge not in known:
            raise UnknownNameError(f"merge: found {shown(merge)}, expected one of {', '.join(known)}, or null")

    def recommend(self, question: Question, histories: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """The recommended lists of some histories.

        Raises:
            DataError: a history needs popular items, and the run has no counts of purchases.
        """
        try:
            found = self.recommender.recommend(
                histories,
                question.k,
                seen=question.seen,
                exclude=question.exclude,
                merge=question.merge,
                explain=question.explain,
            )
        except DataError as error:  # clients need not know the folders of the machine
            raise DataError(str(error).removeprefix(f"{self.recommender.path}: ")) from error
        return [
            {"items": [self._recommended(item) for item in items], "unknown": unknown, "fallback": is_fallback}
            for items, unknown, is_fallback in zip(found, found.unknown, found.is_fallback, strict=True)
        ]

    def search(self, query: str, limit: int, offset: int) -> dict[str, Any]:
        """One page of the items that match a query, those with more purchases first."""
        rows = self._titles.search(query)
        return {"items": [self._found(row) for row in rows[offset : offset + limit]], "total": len(rows)}

    def item(self, key: str) -> dict[str, Any]:
        """An item and its semantic IDs.

        Raises:
            UnknownNameError: there is no such item.
        """
        row = self.row(key)
        ids = {name: _codes(self.recommender.tries[name], row) for name in self._code_streams}
        return {**self._found(row), "semantic_ids": ids}

    def similar(self, key: str, k: int, stream: str | None) -> dict[str, Any]:
        """The items whose vectors in a stream are most similar.

        Raises:
            UnknownNameError: there is no such item, or no such stream that has vectors.
        """
        row, stream = self.row(key), self._vector_stream(stream)
        trie = self.recommender.tries[stream] if stream in self._code_streams else None
        present_I = self.recommender.streams[stream].vectors.present_I
        rows, cosine_I = [], np.zeros(0)
        if present_I[row]:
            unit_IE = self._unit(stream)
            cosine_I = unit_IE @ unit_IE[row]
            cosine_I[~present_I] = -np.inf
            cosine_I[row] = -np.inf
            count = min(k, int(present_I.sum()) - 1)
            best = np.argpartition(-cosine_I, count - 1)[:count] if count else np.zeros(0, np.int64)
            rows = best[np.argsort(-cosine_I[best], kind="stable")].tolist()
        return {
            "stream": stream,
            "items": [
                {
                    **self.summary(near),
                    "cosine": min(float(cosine_I[near]), 1.0),
                    "semantic_id": None if trie is None else _codes(trie, near),
                    "shared_codes": 0 if trie is None else _shared_codes(trie, row, near),
                }
                for near in rows
            ],
        }

    def tree(self, stream: str, prefix: Sequence[int], key: str | None, limit: int, offset: int) -> dict[str, Any]:
        """A node of a stream's tree of codes, and one page of its children.

        Raises:
            UnknownNameError: there is no such stream that generates codes, no such node or no such item.
        """
        if stream not in self._code_streams:
            known = ", ".join(self._code_streams) or "none: no stream of this run generates codes"
            raise UnknownNameError(f"stream: found {shown(stream)}, expected one that generates codes: {known}")
        path = None if key is None else _codes(self.recommender.tries[stream], self.row(key))
        trie, node = self.recommender.tries[stream], 0
        for depth, code in enumerate(prefix):
            first, last = trie.child_start[depth][node : node + 2].tolist() if depth < trie.num_levels else (0, 0)
            place = first + int(np.searchsorted(trie.codes[depth][first:last], code)) if last else 0
            if not first <= place < last or trie.codes[depth][place] != code:
                raise UnknownNameError(f"prefix: {','.join(map(str, prefix))} leads to no node of stream {stream}")
            node = place
        depth = len(prefix)
        first, last = trie.child_start[depth][node : node + 2].tolist() if depth < trie.num_levels else (0, 0)
        shown_children = range(min(first + offset, last), min(first + offset + limit, last))
        leaf_start, leaf_end = _leaves(trie, depth, node, node + 1)
        return {
            "stream": stream,
            "levels": trie.num_levels,
            "prefix": list(prefix),
            "num_items": leaf_end - leaf_start,
            "total": last - first,
            "children": [self._child(trie, depth, child) for child in shown_children],
            "path": path,
        }

    def summary(self, row: int) -> dict[str, Any]:
        """Key, title and image of an item."""
        names = self.recommender.names
        return {"key": names.keys[row], "title": names.titles[row], "image": self._image(row)}

    def row(self, key: str) -> int:
        """The item that a key, or else a title, names.

        Raises:
            UnknownNameError: there is no such item, or several have that title.
        """
        row = self.recommender.names.find(key)
        if row is None:
            raise UnknownNameError(f"item: found {shown(key)}, expected the key of an item; GET /items searches titles")
        return row

    def _recommended(self, item: Recommendation) -> dict[str, Any]:
        votes = {
            name: {
                "rank": vote.rank,
                "log_prob": vote.log_prob,
                "share": vote.share,
                "semantic_id": vote.semantic_id,
                "neighbors": vote.neighbors,
            }
            for name, vote in item.streams.items()
        }
        row = self.recommender.names.find(item.key) if self.images.state == "available" else None
        image = None if row is None else self._image(row)
        return {"key": item.key, "title": item.title, "image": image, "score": item.score, "streams": votes}

    def _found(self, row: int) -> dict[str, Any]:
        return {**self.summary(row), "count": None if self._counts_I is None else self._counts_I[row]}

    def _image(self, row: int) -> str | None:
        if not self.images.has(row):
            return None
        return f"images/{quote(self.recommender.keys[row], safe='')}{self._query}"

    def _vector_stream(self, stream: str | None) -> str:
        """The stream of that name; by default the first that has codes and vectors, else the first with vectors."""
        known = [name for name, s in self.recommender.streams.items() if s.vectors.vectors_IE.shape[1]]
        if stream is None and known:
            return next((name for name in known if name in self._code_streams), known[0])
        if stream not in known:
            raise UnknownNameError(
                f"stream: found {shown(stream)}, expected one with item vectors: "
                f"{', '.join(known) or 'none: no stream of this run has them'}"
            )
        return stream

    def _unit(self, stream: str) -> np.ndarray:
        """The item vectors of a stream, of length 1, float32 (I, E); computed on first use."""
        with self._lock:
            if stream not in self._unit_vectors:
                vectors_IE = self.recommender.streams[stream].vectors.vectors_IE
                lengths_I1 = np.linalg.norm(vectors_IE, axis=1, keepdims=True)
                self._unit_vectors[stream] = vectors_IE / np.maximum(lengths_I1, np.float32(1e-30))
            return self._unit_vectors[stream]

    def _child(self, trie: Trie, depth: int, child: int) -> dict[str, Any]:
        first, last = _leaves(trie, depth + 1, child, child + 1)
        rows = trie.item_of_leaf[first:last]
        best = rows[np.argsort(-self._weight_I[rows], kind="stable")[:_EXAMPLES]].tolist()
        return {
            "code": int(trie.codes[depth][child]),
            "num_items": last - first,
            "examples": [self.summary(row) for row in best],
            "is_leaf": depth + 1 == trie.num_levels,
        }


def shown(name: str | None) -> str:
    """A name in a message, shortened."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _codes(trie: Trie, row: int) -> list[int] | None:
    nodes_L = trie.nodes_IL[row].tolist()
    return None if nodes_L[0] == ABSENT else [int(trie.codes[depth][node]) for depth, node in enumerate(nodes_L)]


def _shared_codes(trie: Trie, first: int, second: int) -> int:
    """Length of the prefix that two items share."""
    same_L = (trie.nodes_IL[first] == trie.nodes_IL[second]) & (trie.nodes_IL[first] != ABSENT)
    return int(same_L.cumprod().sum())


def _leaves(trie: Trie, depth: int, first: int, last: int) -> tuple[int, int]:
    """The range of the leaves below the nodes first:last of a depth."""
    for starts in trie.child_start[depth:]:
        first, last = int(starts[first]), int(starts[last])
    return first, last


def _results(folder: Path) -> tuple[str | None, list[dict[str, Any]]]:
    """The dataset of a run, and the metrics of its methods at the main cutoff; nothing without metrics.json."""
    if not (folder / "metrics.json").is_file():
        return None, []
    try:
        with parsing(folder / "metrics.json", "the results of a run"):
            metrics = read_metrics(folder)
            cutoff = main_cutoff(metrics["protocol"]["cutoffs"])
            methods = [
                {
                    "name": str(method["name"]),
                    "kind": str(method["kind"]),
                    "metrics": {
                        column_name(name, cutoff): {
                            part: float(of[str(cutoff)][part]) for part in ("mean", "low", "high")
                        }
                        for name, of in method.items()
                        if name in METRICS.names()
                    },
                }
                for method in metrics["methods"]
            ]
            return str(metrics["protocol"]["dataset"]), methods
    except DataError:  # a damaged report does not keep the model from being served
        return None, []
