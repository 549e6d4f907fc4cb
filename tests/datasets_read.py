"""Helpers for tests of datasets: histories by the source's own keys, and the text of an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrec.errors import DataError
from genrec.families import DatasetSource
from genrec.types import Dataset


def keys_of(dataset: Dataset) -> dict[str, list[str]]:
    """User key -> item keys, in order."""
    return {
        user: [dataset.catalog.keys[item] for item in dataset.histories[row].tolist()]
        for row, user in enumerate(dataset.user_keys)
    }


def error_of(source: DatasetSource, data: Path) -> str:
    """What is said when it is loaded; it must be a mistake of the user's."""
    with pytest.raises(DataError) as caught:
        source.load(data)
    return str(caught.value)
