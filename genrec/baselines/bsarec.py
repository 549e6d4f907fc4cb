"""BSARec (Shin et al., AAAI 2024): SASRec whose attention is mixed with a filter of the history's frequencies."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from genrec.baselines.sasrec import PostNormLayer, Sasrec
from genrec.families import baselines
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


class BsarecLayer(PostNormLayer):
    """A layer whose self-attention is mixed with a frequency filter; both are added to their input and normalized.

    Args:
        frequencies: the filter.
        alpha: its share.
        dim, num_heads, feedforward_dim, dropout: of the other parts.
    """

    def __init__(
        self, frequencies: FrequencyFilter, alpha: float, dim: int, num_heads: int, feedforward_dim: int, dropout: float
    ) -> None:
        super().__init__(dim, num_heads, feedforward_dim, dropout)
        self.frequencies, self.frequency_norm, self.alpha = frequencies, nn.LayerNorm(dim), alpha

    def mix(self, x_BTD: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        attended_BTD = super().mix(x_BTD, mask, is_causal)
        filtered_BTD = self.frequency_norm(x_BTD + self.dropout(self.frequencies(x_BTD)))
        return self.alpha * filtered_BTD + (1 - self.alpha) * attended_BTD


class FrequencyFilter(nn.Module):
    """The lowest frequencies of a history, plus the others rescaled by the square of one factor a channel.

    The low-pass part is a product with a circulant (T, T) matrix, so it does not matter at which end zeros pad a
    history to ``max_history`` items, and those zeros need not be there.

    Args:
        dim: D.
        max_history: length over which frequencies are taken; T at most.
        num_frequencies: how many pass unchanged, the constant one included; at most ``max_history // 2 + 1``.
    """

    low_pass_TT: Tensor

    def __init__(self, dim: int, max_history: int, num_frequencies: int) -> None:
        super().__init__()
        self.factor_D = nn.Parameter(torch.randn(dim))
        spectrum_FT = torch.fft.rfft(torch.eye(max_history), dim=0)
        spectrum_FT[num_frequencies:] = 0
        self.register_buffer("low_pass_TT", torch.fft.irfft(spectrum_FT, n=max_history, dim=0), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D), zero where there is padding -> (B, T, D)."""
        T = x_BTD.shape[1]
        low_BTD = self.low_pass_TT[:T, :T] @ x_BTD
        return low_BTD + self.factor_D.square() * (x_BTD - low_BTD)
