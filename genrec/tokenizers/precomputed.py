"""Precomputed codes, read from a JSON or Parquet file by item key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from genrec.errors import DataError
from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import InputFile, WorkContext
from genrec.tokenizers._collisions import add_suffix, count_collisions
from genrec.tokenizers._present import for_all_items
from genrec.types import ItemVectors, SemanticIds

_MARKED = re.compile(r"<[A-Za-z]+_(\d+)>")
_LARGEST_CODE = 2**24


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
        known = _read(file)
        rows_N = np.array([row for row, key in enumerate(keys) if key in known], dtype=np.int64)
        if len(rows_N) == 0:
            raise DataError(
                f"{file}: none of its {len(known)} keys (the first: {next(iter(known), '')!r}) is an item of the "
                f"catalog (the first: {keys[0]!r}); expected the data set's own item keys"
            )
        notes = []
        if unknown := len(known) - len(rows_N):
            notes.append(f"{file.name}: {unknown:,} of {len(known):,} keys are not in the catalog and are left out")
        if unnamed := len(keys) - len(rows_N):
            notes.append(f"{file.name}: {unnamed:,} of {len(keys):,} items are not in the file")
        codes_NL = _rectangle([known[keys[row]] for row in rows_N])
        sizes = tuple(int(size) + 1 for size in codes_NL.max(axis=0))
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
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise DataError(f"{file}: the key {twice!r} appears twice; expected each item once")
        return made

    try:
        raw = json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{file}: not valid JSON ({error}); expected {{"<item key>": [3, 17, 4], ...}}') from error
    if not isinstance(raw, dict):
        raise DataError(f'{file}: holds a {type(raw).__name__}; expected {{"<item key>": [3, 17, 4], ...}}')
    return raw


def _from_parquet(content: bytes, file: Path) -> dict[str, Any]:
    import polars

    try:
        table = polars.read_parquet(content)
    except Exception as error:
        raise DataError(f"{file}: not a readable Parquet file ({error})") from error
    if not {"key", "codes"} <= set(table.columns):
        raise DataError(f"{file}: has the columns {', '.join(table.columns)}; expected key and codes")
    keys = [str(key) for key in table["key"].to_list()]
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        twice = next(key for key in keys if key in seen or seen.add(key))
        raise DataError(f"{file}: the key {twice!r} appears twice; expected each item once")
    return dict(zip(keys, table["codes"].to_list(), strict=True))


def _checked(codes: Any, key: str, file: Path) -> list[int]:
    """The codes of one item as integers."""
    if not isinstance(codes, list) or not codes:
        raise DataError(f"{file}: item {key!r} has {codes!r}; expected a list of codes such as [3, 17, 4]")
    numbers = []
    for code in codes:
        marked = _MARKED.fullmatch(code) if isinstance(code, str) else None
        number = int(marked[1]) if marked else code
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _LARGEST_CODE:
            raise DataError(
                f"{file}: item {key!r} has the code {code!r}; expected whole numbers from 0 to {_LARGEST_CODE - 1}"
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
