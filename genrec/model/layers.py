"""Transformer layers, shared by history encoders, decoders, tasks and baselines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_LONGEST_PLAIN = 128
"""Up to so many keys plain products take less time on a CPU than torch's fused attention, forward and backward."""


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


class Folded(NamedTuple):
    """What B users' many queries read, multiplied beforehand with the maps of queries and outputs.

    With keys K, values V and the maps of one head, ``(x Wq) K'`` is ``x (Wq K')`` and ``(a V) Wo`` is ``a (V Wo)``: a
    query then costs two products with T columns a head instead of two with the width D. M is heads * T.
    """

    query_BDM: Tensor
    offset_B1M: Tensor
    """Biases of the queries, and -inf where nothing may be read."""
    output_BMD: Tensor


class Packing(NamedTuple):
    """How the N items of B histories stand one behind the other, without padding."""

    mask_BT: Tensor
    """True at items; items come first, padding last."""
    place_N: Tensor
    """Place of each item in the B * T places."""
    last_B: Tensor
    """Which of the N items is the last of each history."""

    @classmethod
    def of(cls, mask_BT: Tensor) -> Packing:
        """That of histories of at least one item each."""
        return cls(mask_BT, mask_BT.flatten().nonzero()[:, 0], mask_BT.sum(1).cumsum(0) - 1)

    def pack(self, x_BTE: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...)."""
        return x_BTE.flatten(0, 1).index_select(0, self.place_N)

    def pad(self, x_NE: Tensor) -> Tensor:
        """(N, E) -> (B, T, E), zeros at padding."""
        x_ME = x_NE.new_zeros(self.mask_BT.numel(), x_NE.shape[1]).index_copy_(0, self.place_N, x_NE)
        return x_ME.view(*self.mask_BT.shape, -1)


def _attend(
    query_BHQd: Tensor, key_BHTd: Tensor, value_BHTd: Tensor, mask: Tensor | None, *, is_causal: bool
) -> Tensor:
    """Torch's fused attention; on the CPU, where that is made for long sequences, short ones by plain products."""
    Q, T = query_BHQd.shape[2], key_BHTd.shape[2]
    if query_BHQd.device.type != "cpu" or T > _LONGEST_PLAIN:
        return functional.scaled_dot_product_attention(
            query_BHQd, key_BHTd, value_BHTd, attn_mask=mask, is_causal=is_causal
        )
    logits_BHQT = (query_BHQd / math.sqrt(query_BHQd.shape[3])) @ key_BHTd.transpose(2, 3)
    if is_causal:
        logits_BHQT = logits_BHQT + torch.full((Q, T), -torch.inf).triu(1)
    elif mask is not None and mask.is_floating_point():
        logits_BHQT = logits_BHQT + mask
    elif mask is not None:
        logits_BHQT = logits_BHQT.masked_fill(~mask, -torch.inf)
    return logits_BHQT.softmax(3) @ value_BHTd


def _mapped(x_BHTd: Tensor, maps_HdD: Tensor) -> Tensor:
    """Each head's part by its own map, (B, H * T, D): one product a head, not one (and one copy of the maps) a user."""
    B, H, T, d = x_BHTd.shape
    mapped_HND = torch.bmm(x_BHTd.transpose(0, 1).reshape(H, B * T, d), maps_HdD)
    return mapped_HND.view(H, B, T, -1).transpose(0, 1).reshape(B, H * T, -1)


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
        key, value = self._by_heads(self.key_value(x_BTD)).chunk(2, 1)
        return key, value

    def forward(
        self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend; ``mask`` is True where a query may look, broadcast over (B, heads, queries, keys)."""
        mixed = _attend(self._by_heads(self.query(x_BTD)), *keys_values, mask, is_causal=is_causal)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def read_packed(self, x_ND: Tensor, packing: Packing, *, is_causal: bool, last_only: bool) -> Tensor:
        """:meth:`forward` of packed histories on themselves, in which padding takes part in no product with weights.

        Args:
            x_ND: the items.
            packing: how they stand.
            is_causal: whether an item sees only those before it.
            last_only: only the last item of each history asks.

        Returns:
            (N, D), or (B, D) with ``last_only``.
        """
        key, value = self._by_heads(packing.pad(self.key_value(x_ND))).chunk(2, 1)
        if last_only:
            query = self._by_heads(self.query(x_ND[packing.last_B])[:, None])
            mixed = _attend(query, key, value, packing.mask_BT[:, None, None, :], is_causal=False)
            return self.output(mixed.transpose(1, 2).flatten(1))
        query = self._by_heads(packing.pad(self.query(x_ND)))
        # Padding stands at the end, so that a causal mask hides it from every item.
        mask = None if is_causal else packing.mask_BT[:, None, None, :]
        mixed = _attend(query, key, value, mask, is_causal=is_causal)
        return self.output(packing.pack(mixed.transpose(1, 2).flatten(2)))

    def _by_heads(self, x_BTE: Tensor) -> Tensor:
        """(B, T, E) -> (B, E / width of a head, T, width of a head)."""
        return x_BTE.unflatten(2, (-1, self.query.in_features // self.num_heads)).transpose(1, 2)

    def fold(self, x_BTD: Tensor, mask: Tensor) -> Folded:
        """Make ready what very many queries of each user read.

        Args:
            x_BTD: what is read.
            mask: True where it may be read, or what is added to the logits; broadcast over (B, heads, 1, T).
        """
        B, T, D = x_BTD.shape
        H = self.num_heads
        key_BHTd, value_BHTd = self.keys_values(x_BTD)
        scaled_BHTd = key_BHTd / math.sqrt(D // H)
        query_BMD = _mapped(scaled_BHTd, self.query.weight.view(H, D // H, D))
        offset_BHT1 = scaled_BHTd @ self.query.bias.view(H, D // H, 1)
        added = (
            mask
            if mask.is_floating_point()
            else torch.zeros_like(mask, dtype=x_BTD.dtype).masked_fill(~mask, -torch.inf)
        )
        # The weights of a head sum to 1, so each head brings its share of the output's bias.
        output_BMD = _mapped(value_BHTd, self.output.weight.view(D, H, D // H).permute(1, 2, 0)) + self.output.bias / H
        return Folded(
            query_BMD.transpose(1, 2), (offset_BHT1.squeeze(3) + added.squeeze(2)).view(B, 1, H * T), output_BMD
        )

    def read(self, x_BKD: Tensor, folded: Folded) -> Tensor:
        """:meth:`forward` of K queries a user on what :meth:`fold` made ready."""
        B, K, _ = x_BKD.shape
        logits_BKM = torch.baddbmm(folded.offset_B1M, x_BKD, folded.query_BDM)
        # In float32: few numbers a row, which torch takes three times as long for in bfloat16.
        weights_BKHT = logits_BKM.view(B, K, self.num_heads, -1).softmax(3, dtype=torch.float32)
        return weights_BKHT.view(B, K, -1) @ folded.output_BMD

    def step(self, x_BKD: Tensor, past: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend from one token a beam to itself and to those before it.

        Args:
            x_BKD: the tokens of K beams a user.
            past: keys and values of each token before, oldest first, (B, K, D); (B, 1, D) where all beams share it.

        Returns:
            The mixture (B, K, D), and the token's own key and value.
        """
        B, K, D = x_BKD.shape
        key, value = self.key_value(x_BKD).split(D, dim=2)
        if not past:
            return self.output(value), (key, value)
        heads = (self.num_heads, D // self.num_heads)
        query = self.query(x_BKD).unflatten(2, heads)
        tokens = [(k.unflatten(2, heads), v.unflatten(2, heads)) for k, v in (*past, (key, value))]
        # One product a token: joining keys into one tensor, to attend as usual, costs more than attending.
        # The tokens come first: a softmax over the last axis would go number by number.
        logits = torch.stack([(query * k).sum(3, dtype=torch.float32) for k, _ in tokens])
        weights = logits.div_(math.sqrt(heads[1])).softmax(0).to(value.dtype).unsqueeze(4)
        mixed = weights[0] * tokens[0][1]
        for weight, (_, v) in zip(weights[1:], tokens[1:], strict=True):
            mixed.addcmul_(weight, v)
        return self.output(mixed.view(B, K, D)), (key, value)


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU and dropout between."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden_dim), nn.GELU(), Dropout(dropout), nn.Linear(hidden_dim, dim))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each normalized before and added to its input."""

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

    def read_packed(self, x_ND: Tensor, packing: Packing, *, is_causal: bool, last_only: bool = False) -> Tensor:
        """:meth:`forward` in eval mode of packed histories, (N, D) -> (N, D); with ``last_only`` -> (B, D), their last
        items.
        """
        mixed = self.attention.read_packed(self.attention_norm(x_ND), packing, is_causal=is_causal, last_only=last_only)
        x_ND = (x_ND[packing.last_B] if last_only else x_ND) + mixed
        return x_ND + self.feedforward(self.feedforward_norm(x_ND))


class PostNormLayer(EncoderLayer):
    """Self-attention and feed-forward, each added to its input and normalized after."""

    def forward(self, x_BTD: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self._fed_forward(self.mix(x_BTD, mask, is_causal))

    def mix(self, x_BTD: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        """What the items of a history learn from each other, (B, T, D)."""
        mixed_BTD = self.attention(x_BTD, self.attention.keys_values(x_BTD), mask, is_causal)
        return self.attention_norm(x_BTD + self.dropout(mixed_BTD))

    def read_packed(self, x_ND: Tensor, packing: Packing, *, is_causal: bool, last_only: bool = False) -> Tensor:
        return self._fed_forward(self.mix_packed(x_ND, packing, is_causal=is_causal, last_only=last_only))

    def mix_packed(self, x_ND: Tensor, packing: Packing, *, is_causal: bool, last_only: bool) -> Tensor:
        """:meth:`mix` in eval mode of packed histories, (N, D); with ``last_only`` of their last items, (B, D)."""
        mixed = self.attention.read_packed(x_ND, packing, is_causal=is_causal, last_only=last_only)
        return self.attention_norm((x_ND[packing.last_B] if last_only else x_ND) + mixed)

    def _fed_forward(self, x: Tensor) -> Tensor:
        return self.feedforward_norm(x + self.dropout(self.feedforward(x)))


class DecoderLayer(nn.Module):
    """Self-attention over the written tokens, cross-attention to what is read, feed-forward."""

    def __init__(self, dim: int, num_heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(dim), Attention(dim, num_heads)
        self.cross_norm, self.cross_attention = nn.LayerNorm(dim), Attention(dim, num_heads)
        self.feedforward_norm, self.feedforward = nn.LayerNorm(dim), FeedForward(dim, feedforward_dim, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self, x_NSD: Tensor, memory: tuple[Tensor, Tensor], memory_mask: Tensor | None, *, rows: int, is_causal: bool
    ) -> Tensor:
        """One layer over N token sequences that belong, in order, to ``rows`` users.

        Args:
            x_NSD: tokens; N is a multiple of ``rows``: the sequences of one user share its memory.
            memory: keys and values of what is read, (rows, heads, T, D / heads).
            memory_mask: True where a token may look, broadcast over (rows, heads, N / rows * S, T).
            rows: number of users B.
            is_causal: whether a token sees only those before it.
        """
        N, S, D = x_NSD.shape
        normed = self.self_norm(x_NSD)
        mixed = self.self_attention(normed, self.self_attention.keys_values(normed), is_causal=is_causal and S > 1)
        x_NSD = x_NSD + self.dropout(mixed)
        read = self.cross_norm(x_NSD).view(rows, N // rows * S, D)
        read = self.cross_attention(read, memory, memory_mask)
        x_NSD = x_NSD + self.dropout(read.view(N, S, D))
        return x_NSD + self.dropout(self.feedforward(self.feedforward_norm(x_NSD)))

    def step(
        self, x_BKD: Tensor, past: list[tuple[Tensor, Tensor]], memory: Folded
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """:meth:`forward` in eval mode for one token a beam, K beams a user.

        Args:
            x_BKD: tokens.
            past: as in :meth:`Attention.step`.
            memory: what is read, from ``cross_attention.fold``.

        Returns:
            The tokens (B, K, D), and their keys and values.
        """
        mixed_BKD, own = self.self_attention.step(self.self_norm(x_BKD), past)
        x_BKD = x_BKD + mixed_BKD
        x_BKD += self.cross_attention.read(self.cross_norm(x_BKD), memory)
        x_BKD += self.feedforward(self.feedforward_norm(x_BKD))
        return x_BKD, own
