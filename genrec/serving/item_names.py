"""From what people and programs call an item to its number: keys and titles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from genrec.errors import DataError
from genrec.formats.text import listed, shown

_LONGEST_COMPARED = 200


class ItemNames:
    """The keys and titles of a catalog. Upper and lower case differ only where keys do.

    Args:
        keys: of each item, unique.
        titles: of each item; "" where it has none.
    """

    def __init__(self, keys: Sequence[str], titles: Sequence[str]) -> None:
        self.keys, self.titles = list(keys), list(titles)
        self._row_of_key = {key: row for row, key in enumerate(self.keys)}
        self._rows_of_title, self._rows_of_folded_key = _rows_by_folded(self.titles), _rows_by_folded(self.keys)
        self._most_parts = 1 + max((name.count(",") for names in (self.keys, self.titles) for name in names), default=0)
        """Between commas of one name."""

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, name: str) -> int | None:
        """The item that a key or a title names; None if no item or several have it."""
        rows = self.find_all(name)
        return rows[0] if len(rows) == 1 else None

    def find_all(self, name: str) -> list[int]:
        """The items that a key or a title names; several if they have the same title."""
        row = self._row_of_key.get(name)
        return self._named(name.strip())[0] if row is None else [row]

    def row(self, name: str) -> int:
        """The item that a key or a title names.

        Raises:
            DataError: no item has that key or title, or several have it.
        """
        name = name.strip()
        rows, what = self._named(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            keys = listed(self.keys[row] for row in rows)
            exactly = "use a key" if what == "title" else "write it exactly"
            raise DataError(f"{shown(name)}: {len(rows)} items have this {what}; {exactly}: {keys}")
        near = get_close_matches(name.casefold()[:_LONGEST_COMPARED], self._rows_of_title, n=3, cutoff=0.5)
        near += [title for title in self._rows_of_title if name and name.casefold() in title and title not in near][:3]
        near += get_close_matches(name[:_LONGEST_COMPARED], self.keys, n=2, cutoff=0.8)
        names = [self.titles[self._rows_of_title[text][0]] if text in self._rows_of_title else text for text in near]
        hint = f"; did you mean {' or '.join(map(shown, names))}?" if names else ""
        raise DataError(f"{shown(name)}: no item has this key or title, expected one of {len(self.keys):,} items{hint}")

    def rows_in(self, text: str) -> Iterator[int]:
        """The items in a text of names separated by commas; of several readings, the longest names come first.

        Raises:
            DataError: no item has a name, or several have it.
        """
        parts, start = text.split(","), 0
        while start < len(parts):
            ends = range(min(start + self._most_parts, len(parts)), start, -1)
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


def _rows_by_folded(names: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each name, regardless of upper and lower case; without empty names."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name:
            rows.setdefault(name.casefold(), []).append(row)
    return rows
