"""The outcome of a study as files: ``<study>-<dataset>-<budget>.json``, and the ranks of every user beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genrec.errors import DataError
from genrec.runtime.files import read_json, replacing, write_text
from genrec.types import ABSENT

_ABSENT = 255
"""Of a rank in the file, where ranks are uint8: lists of a study have at most 254 items."""


def name_of(outcome: Mapping[str, Any]) -> str:
    """The stem of the files of an outcome."""
    return f"{outcome['study']}-{outcome['dataset']}-{outcome['budget']}"


def write(outcome: Mapping[str, Any], ranks: Mapping[str, np.ndarray], folder: Path) -> Path:
    """Write both files.

    Args:
        outcome: plain data.
        ranks: row -> rank of every user under each of its seeds, int32 (S, U).
        folder: must exist.

    Returns:
        The JSON file.
    """
    file = folder / f"{name_of(outcome)}.json"
    write_text(file, json.dumps(outcome, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    if ranks:
        tensors = {
            name: np.where(ranks_SU == ABSENT, _ABSENT, ranks_SU).astype(np.uint8) for name, ranks_SU in ranks.items()
        }
        with replacing(file.with_suffix(".safetensors")) as partial:
            save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, partial)
    return file


def read_ranks(file: Path) -> dict[str, np.ndarray]:
    """The ranks of an outcome, int32 (S, U) by row; empty if it has none.

    Args:
        file: the JSON file.

    Raises:
        DataError: the file of the ranks is damaged.
    """
    ranks = file.with_suffix(".safetensors")
    if not ranks.is_file():
        return {}
    try:
        tensors = load_file(ranks)
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{ranks}: cannot be read ({error}); run the study again") from error
    return {
        name: np.where(tensor == _ABSENT, ABSENT, tensor.astype(np.int32)).astype(np.int32)
        for name, tensor in tensors.items()
    }


def read_all(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every outcome in a folder with its file, in the order of the names."""
    for file in sorted(folder.glob("*.json")):
        content = read_json(file)
        if isinstance(content, dict) and "study" in content and "rows" in content:
            yield file, content
