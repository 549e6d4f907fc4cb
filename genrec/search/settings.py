"""How a stream is searched: the recipe's ``search`` block."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


class SearchSettings(BaseModel):
    """Beam search under the trie, or exact search in one of two ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Literal["beam", "bound", "exact"] = "beam"
    """``beam`` keeps ``beam_width`` prefixes a level. ``bound`` misses no item: best first, until no prefix left is as
    probable as the list's last item; the surer the model, the sooner. ``exact`` scores every item."""
    beam_width: PositiveInt = 100
    """For ``beam``: prefixes kept at each level."""
    list_length: PositiveInt = 50
    """Items that each stream hands to the merge."""
    batch_size: PositiveInt = 64
    """Users searched together."""
