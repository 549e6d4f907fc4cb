"""For authors of components: one call that holds a component to its family's contract, and tiny worlds to try it on."""

from genrec.testing.contracts import check
from genrec.testing.worlds import (
    Clockwork,
    clockwork,
    tiny_candidates,
    tiny_catalog,
    tiny_histories,
    tiny_vectors,
)

__all__ = ["Clockwork", "check", "clockwork", "tiny_candidates", "tiny_catalog", "tiny_histories", "tiny_vectors"]
