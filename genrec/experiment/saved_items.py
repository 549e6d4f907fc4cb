"""The items of a run as JSON: keys, titles and how often each was bought in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec.types import Catalog, Histories

VERSIONS = "versions.json"
"""File of a run to which items were added: what was added, when and to which run; a list, oldest first."""


@dataclass(frozen=True)
class SavedItems:
    """The items of a run, in the row order of all matrices."""

    keys: list[str]
    titles: list[str]
    """"" where an item has none."""
    counts_I: np.ndarray | None
    """Training purchases of each item, int64 (I,); None in runs of earlier versions."""

    @classmethod
    def of(cls, catalog: Catalog, train: Histories) -> SavedItems:
        """The items of a catalog, counted in training histories."""
        return cls(list(catalog.keys), list(catalog.titles), np.bincount(train.items, minlength=len(catalog)))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        counts = {} if self.counts_I is None else {"counts": self.counts_I.tolist()}
        return {"keys": self.keys, "titles": self.titles, **counts}

    @classmethod
    def from_json(cls, content: Any) -> SavedItems:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: the content is something else.
        """
        keys, titles, counts = content["keys"], content["titles"], content.get("counts")
        for texts in (keys, titles):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise TypeError("not lists of texts")
        if len(keys) != len(titles):
            raise ValueError(f"{len(keys)} keys and {len(titles)} titles")
        if counts is None:
            return cls(keys, titles, None)
        if not isinstance(counts, list) or not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            raise TypeError("counts are not whole numbers of at least 0")
        if len(counts) != len(keys):
            raise ValueError(f"{len(keys)} keys and {len(counts)} counts")
        return cls(keys, titles, np.array(counts, dtype=np.int64))
