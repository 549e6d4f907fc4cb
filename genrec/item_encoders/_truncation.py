"""Texts that are longer than a text encoder reads: how many, where they are cut, and what that makes equal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_LABEL = re.compile(r"(?m)^([^\W\d_][\w ]{0,39}): ")
"""The name of a field before its value, as :func:`genrec.datasets.readers.descriptions.describe` writes it."""
_LABELED_RATIO = 0.05
"""What stands before a colon is the name of a field if so many texts have it; else it is part of a title."""
_BARE = "title or description"


def num_tokens(tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Tokens of each whole text, int64 (N,)."""
    tokens = tokenizer(list(texts), truncation=False, padding=False, verbose=False)
    return np.array([len(ids) for ids in tokens["input_ids"]], dtype=np.int64)


def truncation_notes(
    tokenizer: Any, texts: Sequence[str], lengths_N: np.ndarray, *, limit: int | None
) -> Iterator[str]:
    """Notes for the report if some texts are cut.

    Args:
        tokenizer: of transformers.
        texts: as they are encoded.
        lengths_N: tokens of each whole text.
        limit: tokens that the encoder reads; None: all.
    """
    rows: list[int] = np.flatnonzero(lengths_N > (limit or np.inf)).tolist()
    if not rows:
        return
    has_offsets = bool(getattr(tokenizer, "is_fast", False))
    read = tokenizer(
        [texts[row] for row in rows],
        truncation=True,
        max_length=limit,
        padding=False,
        return_offsets_mapping=has_offsets,
    )
    where = ""
    if has_offsets:
        ends = [max(end for _, end in offsets) for offsets in read["offset_mapping"]]
        fields = _fields_at([texts[row] for row in rows], ends, _labels(texts))
        where = f", cut in {', '.join(f'{field} ({count:,})' for field, count in fields.most_common(3))}"
    yield (
        f"{len(rows):,} of {len(texts):,} texts have more tokens than the {limit:,} that are read (up to "
        f"{int(lengths_N.max()):,}{where}); raise max_length where the model reads more, or put the fields that matter "
        "first in the dataset's text_fields"
    )
    groups: dict[tuple[int, ...], list[str]] = {}
    for row, ids in zip(rows, read["input_ids"], strict=True):
        groups.setdefault(tuple(ids), []).append(texts[row])
    if equal := sum(len(group) for group in groups.values() if len(set(group)) > 1):
        yield f"{equal:,} items have different texts but equal vectors, because their texts differ only after the cut"


def _labels(texts: Sequence[str]) -> set[str]:
    """The names of the fields that the texts consist of."""
    counts = Counter(label for text in texts for label in set(_LABEL.findall(text)))
    return {label for label, count in counts.items() if count >= max(2, _LABELED_RATIO * len(texts))}


def _fields_at(texts: Sequence[str], positions: Sequence[int], labels: set[str]) -> Counter[str]:
    """How many texts have which field at the position of their cut."""
    fields: Counter[str] = Counter()
    for text, position in zip(texts, positions, strict=True):
        line = text[text.rfind("\n", 0, position) + 1 :]
        found = _LABEL.match(line)
        fields[found[1] if found and found[1] in labels else _BARE] += 1
    return fields
