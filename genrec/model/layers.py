"""Transformer layers (pre-norm), shared by history encoders, decoders and tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def init_weights(module: nn.Module, std: float = 0.02) -> None:
    """Normal weights and zero biases, in place; norms keep ones and zeros."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=std)


class Dropout(nn.Module):
    """Dropout whose masks cost an eighth on the CPU: one random 64-bit word decides eight elements.

    There the probability is rounded to a multiple of 1/256, at most 255/256, and the scale is that of the rounded one.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.threshold = min(round(256 * probability), 255)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements with the given probability and scale up the others, in training mode."""
        if not self.training or self.threshold == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return x * keep.to(x.dtype).mul_(256 / (256 - self.threshold))


class Attention(nn.Module):
    """Multi-head attention with separate query and key/value sides."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"a width of {dim} cannot be divided by {num_heads} heads")
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def keys_values(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (B, heads, T, D / heads)."""
        B, T, D = x_BTD.shape
        both = self.key_value(x_BTD).view(B, T, 2, self.num_heads, D // self.num_heads)
        key, value = both.permute(2, 0, 3, 1, 4)
        return key, value

    def forward(
        self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend; ``mask`` is True where a query may look, broadcast over (B, heads, queries, keys)."""
        B, T, D = x_BTD.shape
        query = self.query(x_BTD).view(B, T, self.num_heads, D // self.num_heads).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(query, *keys_values, attn_mask=mask, is_causal=is_causal)
        return self.output(mixed.transpose(1, 2).reshape(B, T, D))


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU and dropout between."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden_dim), nn.GELU(), Dropout(dropout), nn.Linear(hidden_dim, dim))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each normalised before and added to its input."""

    def __init__(self, dim: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(dim), Attention(dim, num_heads)
        self.feedforward_norm, self.feedforward = nn.LayerNorm(dim), FeedForward(dim, feedforward_dim, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        normed = self.attention_norm(x_BTD)
        mixed = self.attention(normed, self.attention.keys_values(normed), mask, is_causal)
        x_BTD = x_BTD + self.dropout(mixed)
        return x_BTD + self.dropout(self.feedforward(self.feedforward_norm(x_BTD)))


class DecoderLayer(nn.Module):
    """Self-attention over the written tokens, cross-attention to what is read, feed-forward."""

    def __init__(self, dim: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(dim), Attention(dim, num_heads)
        self.cross_norm, self.cross_attention = nn.LayerNorm(dim), Attention(dim, num_heads)
        self.feedforward_norm, self.feedforward = nn.LayerNorm(dim), FeedForward(dim, feedforward_dim, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x_NSD: Tensor,
        memory: tuple[Tensor, Tensor],
        memory_mask: Tensor | None,
        *,
        rows: int,
        is_causal: bool,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer over N token sequences that belong, in order, to ``rows`` users.

        Args:
            x_NSD: tokens; N is a multiple of ``rows``: the sequences of one user share its memory.
            memory: keys and values of what is read, (rows, heads, T, D / heads).
            memory_mask: True where a token may look, broadcast over (rows, heads, N / rows * S, T).
            rows: number of users B.
            is_causal: whether a token sees only those before it.
            past: keys and values of tokens written earlier, (N, heads, P, D / heads).

        Returns:
            The tokens (N, S, D), and all keys and values so far.
        """
        N, S, D = x_NSD.shape
        normed = self.self_norm(x_NSD)
        key, value = self.self_attention.keys_values(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        causal = is_causal and S > 1
        x_NSD = x_NSD + self.dropout(self.self_attention(normed, (key, value), is_causal=causal))
        read = self.cross_norm(x_NSD).view(rows, N // rows * S, D)
        read = self.cross_attention(read, memory, memory_mask)
        x_NSD = x_NSD + self.dropout(read.view(N, S, D))
        return x_NSD + self.dropout(self.feedforward(self.feedforward_norm(x_NSD))), (key, value)
