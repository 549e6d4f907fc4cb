"""Layers that mix attention with a filter of a history's frequencies (BSARec, Shin et al., AAAI 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genrec.model.layers import Packing, PostNormLayer


class FrequencyFilter(nn.Module):
    """The lowest frequencies of a history, plus the others rescaled by the square of one factor a channel.

    The low-pass part is a product with a circulant (T, T) matrix, so it does not matter at which end zeros pad a
    history to ``max_history`` items, and those zeros need not be there.

    Args:
        dim: D.
        max_history: length over which frequencies are taken; T at most.
        num_frequencies: how many pass unchanged, the constant one included; at most ``max_history // 2 + 1``.
        is_causal: whether the low-pass part of an item is that of the history that ends with it. Not in the paper.
    """

    low_pass_TT: Tensor

    def __init__(self, dim: int, max_history: int, num_frequencies: int, *, is_causal: bool = False) -> None:
        super().__init__()
        self.factor_D = nn.Parameter(torch.randn(dim))
        spectrum_FT = torch.fft.rfft(torch.eye(max_history), dim=0)
        spectrum_FT[num_frequencies:] = 0
        low_pass_TT = torch.fft.irfft(spectrum_FT, n=max_history, dim=0)
        self.register_buffer("low_pass_TT", low_pass_TT.tril() if is_causal else low_pass_TT, persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D), zero where there is padding -> (B, T, D)."""
        T = x_BTD.shape[1]
        return self._rescaled(x_BTD, self.low_pass_TT[:T, :T] @ x_BTD)

    def read_packed(self, x_ND: Tensor, packing: Packing, *, last_only: bool) -> Tensor:
        """:meth:`forward` of packed histories, (N, D); with ``last_only`` of their last items, (B, D)."""
        x_BTD = packing.pad(x_ND)
        T = x_BTD.shape[1]
        if not last_only:
            return self._rescaled(x_ND, packing.pack(self.low_pass_TT[:T, :T] @ x_BTD))
        row_BT = self.low_pass_TT[packing.mask_BT.sum(1) - 1, :T]
        return self._rescaled(x_ND[packing.last_B], (row_BT[:, None] @ x_BTD)[:, 0])

    def _rescaled(self, x: Tensor, low: Tensor) -> Tensor:
        return low + self.factor_D.square() * (x - low)


class BsarecLayer(PostNormLayer):
    """A layer whose self-attention is mixed with a frequency filter; both are added to their input and normalized.

    Args:
        frequencies: the filter.
        alpha: its share; that of attention is 1 - alpha.
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

    def mix_packed(self, x_ND: Tensor, packing: Packing, *, is_causal: bool, last_only: bool) -> Tensor:
        attended = super().mix_packed(x_ND, packing, is_causal=is_causal, last_only=last_only)
        read = x_ND[packing.last_B] if last_only else x_ND
        filtered = self.frequency_norm(read + self.frequencies.read_packed(x_ND, packing, last_only=last_only))
        return self.alpha * filtered + (1 - self.alpha) * attended
