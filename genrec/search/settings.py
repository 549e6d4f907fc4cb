"""How a stream is searched: the recipe's ``search`` block."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


class SearchSettings(BaseModel):
    """Beam search under the trie, or every item."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Literal["beam", "exact"] = "beam"
    """``beam`` keeps ``beam_width`` prefixes a level; ``exact`` scores every item."""
    beam_width: PositiveInt = 100
    """Prefixes kept at each level."""
    list_length: PositiveInt = 50
    """Items that each stream hands to the merge."""
    batch_size: PositiveInt = 64
    """Users searched together."""
