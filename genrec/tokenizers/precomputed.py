"""Precomputed codes, read from a JSON or Parquet file by item key."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from genrec.errors import DataError
from genrec.families import Tokenizer, tokenizers
from genrec.formats.json_text import JsonError, parse_json
from genrec.formats.keys import examples, key_text, match_keys
from genrec.formats.text import decode, shown
from genrec.runtime.environment import InputFile, WorkContext
from genrec.tokenizers._collisions import add_suffix, count_collisions
from genrec.tokenizers._present import for_all_items
from genrec.types import ItemVectors, SemanticIds

_MARKED = re.compile(r"<[A-Za-z]+_(\d{1,18})>", re.ASCII)
_LARGEST_CODE = 2**24
_ANY_SIZE = 2**16
_MOST_UNUSED = 16
"""Codes of a level for each item, above which a vocabulary of more than ``_ANY_SIZE`` codes would be mostly unused."""


@tokenizers.register("precomputed")
class Precomputed(Tokenizer):
    """Read each item's codes from ``file``; the item vectors only determine the number of items.

    Items that the file does not name are absent. A code that is shorter than the longest one is padded with a code of
    its own at each further level, so that it is no other item's prefix.
    """

    reads_vectors: ClassVar[bool] = False

    file: InputFile
    """``.json``: ``{"<item key>": [3, 17, 4], ...}``; codes may be written ``"<a_3>"`` too. ``.parquet``: the columns
    ``key`` (text) and ``codes`` (list of integers). Looked for as named, beside the recipe and in the data folder."""
    collisions: Literal["suffix", "error"] = "suffix"
    """What happens to items of one code: a further level numbers them, or the file is refused."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Look up every item's codes.

        Raises:
            DataError: the file is missing or malformed, names no item of the catalog, or (``collisions: error``) gives
                two items one code.
        """
        file = context.find_file(self.file)
        found = _read(file)
        known = {item: found[key] for key, item in match_keys(keys, found).items()}
        rows_N = np.array([row for row, key in enumerate(keys) if key in known], dtype=np.int64)
        if len(rows_N) == 0:
            raise DataError(
                f"{file}: none of its {len(found)} keys (e.g. {examples(found)}) is an item of the catalog (e.g. "
                f"{examples(keys)}); expected the data set's own item keys"
            )
        notes = []
        if unknown := len(found) - len(rows_N):
            notes.append(f"{file.name}: {unknown:,} of {len(found):,} keys are not in the catalog and are left out")
        if unnamed := len(keys) - len(rows_N):
            few = f" (its keys: {examples(found)}; items: {examples(keys)})" if 2 * unnamed > len(keys) else ""
            notes.append(f"{file.name}: {unnamed:,} of {len(keys):,} items are not in the file{few}")
        codes_NL = _rectangle([known[keys[row]] for row in rows_N])
        sizes = tuple(int(size) + 1 for size in codes_NL.max(axis=0))
        if max(sizes) > max(_ANY_SIZE, _MOST_UNUSED * len(rows_N)):
            raise DataError(
                f"{file}: the largest code is {max(sizes) - 1:,} for {len(rows_N):,} items, and a level's vocabulary "
                "has as many codes; expected codes numbered from 0 without large gaps"
            )
        collisions = count_collisions(codes_NL)
        if collisions and self.collisions == "error":
            raise DataError(
                f"{file}: {collisions} items share their code with another, "
                f"e.g. {_shown(codes_NL, rows_N, keys)}; give every item its own, or use collisions: suffix"
            )
        codes_NL, sizes = add_suffix(codes_NL, sizes)
        return SemanticIds(for_all_items(codes_NL, rows_N, len(keys)), sizes, {}, collisions, tuple(notes))


def _read(file: Path) -> dict[str, list[int]]:
    """The codes by item key."""
    content = file.read_bytes()
    match file.suffix:
        case ".json":
            raw = _from_json(content, file)
        case ".parquet":
            raw = _from_parquet(content, file)
        case suffix:
            raise DataError(f"{file}: codes come as .json or .parquet, not as {suffix or 'a file without ending'}")
    return {key: _checked(codes, key, file) for key, codes in raw.items()}


def _from_json(content: bytes, file: Path) -> dict[str, Any]:
    twice: list[str] = []
    try:
        raw = parse_json(decode(file, content), twice.append)
    except JsonError as error:
        raise DataError(
            f'{file}: not valid JSON (line {error.line}: {error}); expected {{"<item key>": [3, 17, 4], ...}}'
        ) from None
    if not isinstance(raw, dict):
        raise DataError(f'{file}: holds a {type(raw).__name__}; expected {{"<item key>": [3, 17, 4], ...}}')
    if twice:
        raise DataError(f"{file}: the key {twice[0]!r} appears twice; expected each item once")
    return raw


def _from_parquet(content: bytes, file: Path) -> dict[str, Any]:
    import polars

    from genrec.formats.parquet import reading_parquet

    with reading_parquet(file):
        table = polars.read_parquet(content)
    if not {"key", "codes"} <= set(table.columns):
        raise DataError(f"{file}: has the columns {', '.join(table.columns)}; expected key and codes")
    with reading_parquet(file):
        keys, codes = [key_text(key) for key in table["key"].to_list()], table["codes"].to_list()
    if None in keys:
        found = table["key"][keys.index(None)]
        raise DataError(f"{file}: the key {found!r} is blank or no key; expected texts or whole numbers")
    if len(set(keys)) != len(keys):
        [(twice, _)] = Counter(keys).most_common(1)
        raise DataError(f"{file}: the key {twice!r} appears twice; expected each item once")
    return {key: found for key, found in zip(keys, codes, strict=True) if key is not None}


def _checked(codes: Any, key: str, file: Path) -> list[int]:
    """The codes of one item as integers."""
    if not isinstance(codes, list) or not codes:
        raise DataError(f"{file}: item {key!r} has {shown(codes)}; expected a list of codes such as [3, 17, 4]")
    numbers = []
    for code in codes:
        marked = _MARKED.fullmatch(code) if isinstance(code, str) else None
        number = int(marked[1]) if marked else code
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _LARGEST_CODE:
            raise DataError(
                f"{file}: item {key!r} has the code {shown(code)}; expected whole numbers from 0 to {_LARGEST_CODE - 1}"
            )
        numbers.append(number)
    return numbers


def _rectangle(codes: list[list[int]]) -> np.ndarray:
    """Codes of one length, int64 (N, L): where a code has ended stands one more than the level's largest code."""
    num_levels = max(map(len, codes))
    table_NL = np.array([[*code, *[-1] * (num_levels - len(code))] for code in codes], dtype=np.int64)
    return np.where(table_NL < 0, table_NL.max(axis=0) + 1, table_NL)


def _shown(codes_NL: np.ndarray, rows_N: np.ndarray, keys: tuple[str, ...]) -> str:
    _, group_N, size = np.unique(codes_NL, axis=0, return_inverse=True, return_counts=True)
    first, second = np.flatnonzero(group_N == np.flatnonzero(size > 1)[0])[:2]
    return f"{keys[rows_N[first]]!r} and {keys[rows_N[second]]!r} both have {codes_NL[first].tolist()}"
