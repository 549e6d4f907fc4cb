"""BSARec (Shin et al., AAAI 2024): SASRec whose attention is mixed with a filter of the history's frequencies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import nn

from genrec.baselines.sasrec import Sasrec
from genrec.families import baselines
from genrec.model.frequency_layers import BsarecLayer, FrequencyFilter
from genrec.runtime.limits import Length


@baselines.register("bsarec")
class Bsarec(Sasrec):
    """SASRec whose attention is mixed with a frequency layer; with ``alpha`` 0 it is SASRec, its control.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Source: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention, AAAI 2024
    (arXiv 2312.10325); alpha and the number of frequencies are those of the authors' run on Amazon Beauty. Differs
    from it: histories of 20 items instead of 50, two heads instead of one, padding is zero instead of a vector for each
    position, dropout inside the feed-forward branches instead of in the attention weights, a rate of 1e-3 that falls
    along a cosine instead of 5e-4, and no sample with an empty history.
    """

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Share of the frequency layer; that of attention is 1 - alpha."""
    num_frequencies: Length = 3
    """Lowest frequencies of ``max_history`` items that pass unchanged; the others are rescaled by learned factors."""
    norm: Literal["post"] = "post"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Layer norms after each branch was added to its input."""

    @model_validator(mode="after")
    def _frequencies_are_of_prefixes(self) -> Bsarec:
        if self.alpha and self.samples != "prefixes":
            raise ValueError(
                "samples: found 'all_positions', expected 'prefixes' unless alpha is 0: the filter reads later items"
            )
        if self.num_frequencies > (most := self.max_history // 2 + 1):
            raise ValueError(
                f"num_frequencies: found {self.num_frequencies}, expected at most {most}: histories of "
                f"{self.max_history} items have no more"
            )
        return self

    def layer(self, dim: int, dropout: float) -> nn.Module:
        if not self.alpha:
            return super().layer(dim, dropout)
        frequencies = FrequencyFilter(dim, self.max_history, self.num_frequencies)
        return BsarecLayer(
            frequencies, self.alpha, dim, self.num_heads, max(1, round(self.feedforward_ratio * dim)), dropout
        )
