"""The error of an image encoder with missing inputs: the same in prepare() and encode()."""

from __future__ import annotations

import pytest

from genrec.errors import DataError
from genrec.families import ItemEncoder
from genrec.runtime.environment import WorkContext
from genrec.types import Catalog, Histories


def refusal_of(encoder: ItemEncoder, catalog: Catalog, histories: Histories) -> str:
    """The one text that ``prepare`` and ``encode`` both raise."""
    with pytest.raises(DataError) as caught:
        encoder.encode(catalog, histories, context=WorkContext(seed=0))
    with pytest.raises(DataError) as before:
        encoder.prepare(catalog, context=WorkContext())
    assert str(before.value) == str(caught.value)
    return str(caught.value)
