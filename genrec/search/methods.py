"""The search methods by name."""

from __future__ import annotations

from collections.abc import Mapping

from genrec.search.beam import BeamSearch
from genrec.search.bound import BoundSearch
from genrec.search.exact import ExactSearch
from genrec.search.method import SearchMethod

METHODS: Mapping[str, type[SearchMethod]] = {"beam": BeamSearch, "bound": BoundSearch, "exact": ExactSearch}
"""The class of each value of the recipe's ``search.method``."""
