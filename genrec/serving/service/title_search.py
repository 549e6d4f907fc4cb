"""Search of titles and keys, fast enough for an answer at each key press in catalogs of 100,000 items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TitleSearch:
    """The titles and keys of a catalog in lower case, the most popular items first.

    Args:
        keys: of each item.
        titles: of each item; "" where it has none.
        weight_I: items of larger weight come first among equal matches, those of lower number among equal weights.
    """

    def __init__(self, keys: Sequence[str], titles: Sequence[str], weight_I: np.ndarray) -> None:
        self._rows: list[int] = np.argsort(-weight_I, kind="stable").tolist()
        self._texts = [f"{titles[row]}\n{keys[row]}".casefold().lstrip("\n") for row in self._rows]

    def search(self, query: str) -> list[int]:
        """All items whose title or key contains every word of a query.

        Args:
            query: words; upper and lower case are the same. Without a word all items match.

        Returns:
            Item numbers: exact matches first, then titles that begin with the query (keys of items without a title),
            then the rest.
        """
        words = query.casefold().split()
        if not words:
            return self._rows
        texts, found = self._texts, range(len(self._texts))
        for word in sorted(words, key=len, reverse=True):
            found = [place for place in found if word in texts[place]]
        whole = " ".join(words)
        first = [place for place in found if texts[place].startswith(whole) or texts[place].endswith(f"\n{whole}")]
        exact = [place for place in first if f"\n{whole}\n" in f"\n{texts[place]}\n"]
        ordered = dict.fromkeys([*exact, *first, *found]) if first else found
        return [self._rows[place] for place in ordered]
