"""For authors of components: a check of a component against its family's contract, and tiny worlds for tests."""

from genrec.testing.contracts import check
from genrec.testing.worlds import (
    Clockwork,
    clockwork,
    tiny_candidates,
    tiny_catalog,
    tiny_dataset,
    tiny_histories,
    tiny_vectors,
)

__all__ = [
    "Clockwork",
    "check",
    "clockwork",
    "tiny_candidates",
    "tiny_catalog",
    "tiny_dataset",
    "tiny_histories",
    "tiny_vectors",
]
