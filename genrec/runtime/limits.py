"""Upper bounds of settings that decide how much memory or time a recipe takes: errors before any work."""

from typing import Annotated

from pydantic import Field

Width = Annotated[int, Field(ge=1, le=65_536)]
"""Width of vectors, states and layers."""
Depth = Annotated[int, Field(ge=1, le=256)]
"""Number of layers or levels."""
Length = Annotated[int, Field(ge=1, le=100_000)]
"""Length of a history, a list or a beam."""
Codes = Annotated[int, Field(ge=1, le=1_048_576)]
"""Codes of a level, or children of a node."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""Batch sizes, samples, iterations."""
