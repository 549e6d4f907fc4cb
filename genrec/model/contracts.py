"""The contracts of a model's modules: history encoders, decoders and tasks.

A decoder works with trie nodes and items only; its vocabulary maps a node to a vector
(:mod:`genrec.model.vocabularies`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from genrec.semantic_ids.trie import Trie
from genrec.types import Histories, ItemVectors, SemanticIds

if TYPE_CHECKING:
    from genrec.model.growth import Growth
    from genrec.model.vocabularies import Vocabulary


@dataclass(frozen=True)
class StreamContext:
    """The inputs of one stream, before any module is built."""

    ids: SemanticIds
    trie: Trie
    vectors: ItemVectors
    """The vectors that were tokenized."""
    encoded_I: np.ndarray | None = None
    """Items whose vector comes from their own content, bool (I,). Under ``absent_items: nearest`` the others that are
    present have that of their nearest item. None: all present ones."""

    def encoded_vectors(self) -> ItemVectors:
        """The vectors without copies: what a task may compare a prediction with."""
        if self.encoded_I is None:
            return self.vectors
        return replace(self.vectors, present_I=self.vectors.present_I & self.encoded_I)


@dataclass(frozen=True)
class BuildContext:
    """The inputs from which a component builds its module."""

    num_items: int
    dim: int
    """Width D of the states: for a task that of all streams it reads, if they agree."""
    max_history: int
    streams: Mapping[str, StreamContext]
    stream: str | None = None
    """The stream a decoder or an unshared history encoder is built for."""
    item_table: nn.Embedding | None = None
    """For a history encoder: the table to use instead of a new one (of any width). For a decoder: the item
    table of its history encoder, (num_items + 1, D), the last row is padding; None where items have no table."""
    train: Histories | None = None
    """Training histories, for decoders that count; None when a finished run is loaded, because its weights and buffers
    come from its folder."""
    decoders: Mapping[str, DecoderModule] | None = None
    """For tasks: the decoders, whose vocabularies a task may share."""
    dims: Mapping[str, int] = field(default_factory=dict)
    """For tasks: the width D of each stream's states."""

    def dim_of(self, stream: str) -> int:
        """The width D of a stream's states."""
        return self.dims.get(stream, self.dim)

    def of_stream(self, name: str, **changes: Any) -> BuildContext:
        """The same context seen from one stream."""
        return replace(self, stream=name, **changes)

    @property
    def own(self) -> StreamContext:
        """The stream this context belongs to."""
        assert self.stream is not None
        return self.streams[self.stream]


@dataclass(frozen=True)
class Encoded:
    """Encoded histories of users."""

    states_BTD: Tensor
    mask_BT: Tensor
    """True at items; items come first, padding last. Every row has at least one item."""
    is_causal: bool
    """Whether state t depends on items 0..t only, so that it encodes the prefix that ends there."""
    history_BT: Tensor | None = None
    """The item numbers that were read, padded at the end; :class:`~genrec.model.retriever.Retriever` adds them. All of
    them, even where the states are those of the most recent items alone."""
    code_states_BMD: Tensor | None = None
    """For decoders with attention: finer states than those of the items, the same number for each item (one for each of
    its codes), items in the order of the history; None: the states of the items are all there is."""

    @property
    def memory_BMD(self) -> Tensor:
        """What a decoder attends to: the states of the codes where there are some, otherwise those of the items."""
        return self.states_BTD if self.code_states_BMD is None else self.code_states_BMD

    def per_item(self, values_T: Tensor) -> Tensor:
        """Values (..., T) of items -> (..., M), those of the states in :attr:`memory_BMD`."""
        if self.code_states_BMD is None:
            return values_T
        count = self.code_states_BMD.shape[1] // self.states_BTD.shape[1]
        return values_T.unsqueeze(-1).expand(*values_T.shape, count).flatten(-2)

    @property
    def last_BD(self) -> Tensor:
        """The state of each user's most recent item."""
        last = self.mask_BT.sum(1) - 1
        return self.states_BTD[torch.arange(len(last), device=last.device), last]

    def last_only(self) -> Encoded:
        """The same users with the state of the most recent item alone (T = 1)."""
        return Encoded(self.last_BD[:, None], self.mask_BT.new_ones(len(self.mask_BT), 1), True, self.history_BT)

    def select_targets(self, target_BQ: Tensor, *, all_positions: bool) -> tuple[Tensor, Tensor]:
        """The requested targets (N,), in row-major order, and the state that predicts each (N, D).

        Args:
            target_BQ: as :meth:`DecoderModule.forward` takes them.
            all_positions: as :meth:`DecoderModule.forward` takes it.
        """
        row_N, query_N = torch.nonzero(target_BQ >= 0, as_tuple=True)
        state_ND = self.states_BTD[row_N, query_N] if all_positions else self.last_BD[row_N]
        return target_BQ[row_N, query_N], state_ND

    def rows(self, index: Tensor | slice) -> Encoded:
        """Some of the users."""
        history_BT, codes_BMD = (
            None if part is None else part[index] for part in (self.history_BT, self.code_states_BMD)
        )
        return Encoded(self.states_BTD[index], self.mask_BT[index], self.is_causal, history_BT, codes_BMD)


class HistoryEncoderModule(nn.Module, ABC):
    """Histories of item numbers -> states."""

    is_causal: bool
    """Whether a state sees only its item and those before it: then all positions can be trained at once."""

    item_table: nn.Embedding | None
    """(num_items + 1, D), the last row is padding; an encoder without one sets None."""

    @abstractmethod
    def forward(self, history_BT: Tensor) -> Encoded:
        """Read histories padded at the end with ``num_items``."""

    def last(self, history_BT: Tensor) -> Tensor:
        """The state of each user's most recent item (B, D), in eval mode; an encoder may have a shorter way to it."""
        return self(history_BT).last_BD

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """Its parameters and persistent buffers with a row for each item or node, after new items were added.

        By default those of the item table: a new item's row is the mean of those of the most similar known items.

        Args:
            growth: makes the rows of new items and nodes from those of known ones.

        Returns:
            By name, as in ``state_dict``; tensors that are not named keep their values and their shape.
        """
        return {} if self.item_table is None else {"item_table.weight": growth.of_items(self.item_table.weight)}


@dataclass(frozen=True)
class Outputs:
    """The outputs of one decoder for N known targets, teacher-forced."""

    log_probs_NL: Tensor
    """Log-probability of each code of the target given the ones before; 0 where the target has no code."""
    hidden_NLD: Tensor
    """The state from which each code was predicted."""
    summary_ND: Tensor | None
    """The state of the summary token; None unless requested."""
    present_N: Tensor
    """Whether the target has codes in this stream, bool."""
    target_N: Tensor
    """The targets' item numbers, the same for all streams."""
    loss: Tensor | None = None
    """What is minimized, a scalar, where it is not the negative log-likelihood: the mean over the targets that have
    codes."""


class DecodingState(Protocol):
    """What a decoder stores of users while their codes are generated."""

    def rows(self, index: Tensor) -> Self:
        """The same for some of the users."""
        ...


@dataclass
class TensorState:
    """The state of a decoder that stores one tensor."""

    tensor_B: Tensor
    """Users are its first axis, (B, ...)."""

    def rows(self, index: Tensor) -> TensorState:
        """The same for some of the users."""
        return TensorState(self.tensor_B[index])


class DecoderModule(nn.Module, ABC):
    """Generates the codes of one stream."""

    vocabulary: Vocabulary

    reads_last_only: bool = False
    """Whether a search needs of the histories' states only that of the most recent item (``encoded.last_BD``)."""

    bounds_descendants: bool = True
    """As :attr:`genrec.families.Decoder.bounds_descendants`."""

    prefixes_for_all: int = 1
    """Up to so many prefixes of the last code, :meth:`expand_for_all` of all takes less time than :meth:`expand` of the
    most probable ones."""

    @abstractmethod
    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        """Score known targets (teacher forcing).

        Args:
            encoded: B histories.
            target_BQ: item numbers; negative entries are left out, the others become axis N in row-major order.
            all_positions: query q of a row sees the history up to its item q (``encoded.is_causal``, Q = T);
                otherwise every query of a row sees the whole history.
            with_summary: whether to return ``summary_ND``.
        """

    @abstractmethod
    def begin(self, encoded: Encoded) -> DecodingState:
        """What :meth:`expand` needs of B users, computed once and shared by all their beams."""

    @abstractmethod
    def expand(self, state: Any, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        """Log-probabilities of every child of some trie nodes.

        Args:
            state: from :meth:`begin`; it is changed at every depth but the last (it carries the beams' caches from one
                depth to the next), so that beams of the last depth can be asked about in several calls.
            depth: depth of the nodes; 0 for the root, where K = 1.
            nodes_BK: node numbers at that depth.
            origin_BK: which of the K beams of the depth before each node descends from.

        Returns:
            log_probs_BKC, C the largest number of children at this depth: log p(child | history, node), children in
            trie order, -inf beyond a node's last child.
        """

    def expand_for_all(self, state: Any, depth: int, nodes_K: Tensor, origin_K: Tensor, num_users: int) -> Tensor:
        """:meth:`expand` of the same nodes for all users; a decoder may have a shorter way to it.

        Args:
            state: as there.
            depth: as there.
            nodes_K: node numbers at that depth.
            origin_K: which of the nodes that were expanded at the depth before each descends from.
            num_users: B.

        Returns:
            log_probs_BKC, as there.
        """
        return self.expand(state, depth, nodes_K.expand(num_users, -1), origin_K.expand(num_users, -1))

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """As :meth:`HistoryEncoderModule.grown_tensors`; by default the tensors of its ``vocabulary``, if it has one.

        Args:
            growth: with the nodes of this decoder's stream.
        """
        vocabulary: Vocabulary | None = getattr(self, "vocabulary", None)
        grown = {} if vocabulary is None else vocabulary.grown_tensors(growth)
        return {f"vocabulary.{name}": tensor for name, tensor in grown.items()}


class TaskModule(nn.Module, ABC):
    """One auxiliary loss."""

    @abstractmethod
    def forward(self, outputs: Mapping[str, Outputs]) -> Tensor:
        """The loss, a scalar, of a training batch; random choices come from torch's global generator."""

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """As :meth:`HistoryEncoderModule.grown_tensors`; by default none."""
        return {}
