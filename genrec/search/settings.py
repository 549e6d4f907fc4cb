"""How a stream is searched: the recipe's ``search`` block."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from genrec.runtime.limits import Count, Length


class SearchSettings(BaseModel):
    """Beam search under the trie, or exact search in one of two ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    method: Literal["beam", "bound", "exact"] = "beam"
    """``beam`` keeps ``beam_width`` prefixes a level. ``bound`` misses no item: best first, until no prefix left is as
    probable as the list's last item; the more confident the model, the sooner. ``exact`` scores every item."""
    beam_width: Length = 100
    """For ``beam``: prefixes kept at each level."""
    list_length: Length = 50
    """Items that each stream hands to the merge."""
    batch_size: Count = 64
    """Users searched together."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """For ``beam``: the precision of the decoders' matrix products. ``bfloat16`` is faster on processors that have
    instructions for it (``genrec doctor``) and slower on others. Log-probabilities, and scores of candidates for merges
    that need them, are float32 in either case; a few items of a list change, mostly near its end."""

    @model_validator(mode="after")
    def _exact_methods_are_exact(self) -> Self:
        if self.precision != "float32" and self.method != "beam":
            raise ValueError(
                f"precision {self.precision} is for method beam; found method {self.method}, which promises exact lists"
            )
        return self
