"""The interface of a search method: one stream's decoder, its trie and the rules of the search in, ranked items out.

A rule that restricts lists, whatever the method, is a field of :class:`SearchRules` and is applied in its two methods:
to nodes of the trie for methods that walk down it, to leaves for methods that score all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from genrec.model.contracts import DecoderModule, Encoded
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.trie import Trie, TrieTensors
from genrec.types import ABSENT

_DEAD = float("-inf")


@dataclass(frozen=True)
class SearchRules:
    """What the lists of B users may hold, and how long they are."""

    list_length: int
    """Items N per list."""
    excluded_BH: np.ndarray | None = None
    """Items that each user's list must not hold, int64; negative entries are ignored. The search is that in the trie of
    the other items: no prefix that leads to excluded items alone takes a place in a beam, so lists stay full."""
    allowed_I: np.ndarray | None = None
    """Items that lists may hold, bool, the same for all users; None: all. As for ``excluded_BH``, lists stay full."""

    def __post_init__(self) -> None:
        if self.allowed_I is not None and (self.allowed_I.dtype != bool or self.allowed_I.ndim != 1):
            raise ValueError(
                f"search: allowed_I is {self.allowed_I.dtype} of shape {self.allowed_I.shape}, "
                "expected one bool for each item"
            )

    def rows(self, index: slice) -> SearchRules:
        """The rules of some of the users."""
        return self if self.excluded_BH is None else replace(self, excluded_BH=self.excluded_BH[index])

    def closed_nodes(self, trie: Trie) -> ClosedNodes | None:
        """The nodes of a trie that a search must not enter; None if it may enter all."""
        if self.excluded_BH is None and self.allowed_I is None:
            return None
        of_users = None if self.excluded_BH is None else trie.exhausted(self.excluded_BH, self.allowed_I)
        if self.allowed_I is None:
            return ClosedNodes(of_users)
        return ClosedNodes(of_users, tuple(counts == 0 for counts in trie.allowed_counts(self.allowed_I)))

    def mask_leaves(self, log_probs_BM: Tensor, trie: Trie) -> Tensor:
        """The log-probabilities of all leaves, -inf for items that must not be found; the argument is not changed."""
        if self.allowed_I is not None:
            is_closed_M = torch.from_numpy(~self.allowed_I[trie.item_of_leaf]).to(log_probs_BM.device)
            log_probs_BM = log_probs_BM.masked_fill(is_closed_M, _DEAD)
        if self.excluded_BH is not None:
            leaves_BH = np.where(self.excluded_BH >= 0, trie.nodes_IL[self.excluded_BH, -1], ABSENT)
            user, place = np.nonzero(leaves_BH != ABSENT)
            log_probs_BM = log_probs_BM.clone()
            log_probs_BM[torch.from_numpy(user), torch.from_numpy(leaves_BH[user, place])] = _DEAD
        return log_probs_BM


@dataclass(frozen=True)
class ClosedNodes:
    """Nodes of one trie that a search must not enter, for each of B users and for all users."""

    of_users: tuple[np.ndarray, ...] | None
    """of_users[d]: node numbers at depth d + 1, int64 (B, X), ABSENT behind the last (``Trie.exhausted``)."""
    of_all: tuple[np.ndarray, ...] | None = None
    """of_all[d]: whether a node of depth d + 1 is closed for every user, bool (nodes at depth d + 1,)."""

    def mask_children(
        self, totals_BKC: Tensor, tree: TrieTensors, depth: int, nodes_BK: Tensor, users: Tensor | None = None
    ) -> None:
        """Set the log-probabilities of closed children of some nodes to -inf, in place.

        Args:
            totals_BKC: log-probabilities of the children.
            tree: the trie on their device.
            depth: of the parents.
            nodes_BK: the parents.
            users: which of the users the rows are; None: all of them.
        """
        if self.of_all is not None:
            is_closed = torch.from_numpy(self.of_all[depth]).to(totals_BKC.device)
            totals_BKC.masked_fill_(is_closed[tree.children(depth, nodes_BK)[0]], _DEAD)
        if self.of_users is None:
            return
        closed_BX = self.of_users[depth] if users is None else self.of_users[depth][users.cpu().numpy()]
        closed_BX = torch.from_numpy(closed_BX).to(totals_BKC.device)
        inner_BX = closed_BX.clamp_min(0)
        hits_BXK = (tree.parent[depth][inner_BX][:, :, None] == nodes_BK[:, None, :]) & (closed_BX >= 0)[:, :, None]
        user, place, beam = hits_BXK.nonzero(as_tuple=True)
        totals_BKC[user, beam, tree.slot[depth][inner_BX][user, place]] = _DEAD


class Found(NamedTuple):
    """The ranked items of B users in one stream."""

    items_BN: Tensor
    """int64, best first; ABSENT where a list ends early."""
    log_probs_BN: Tensor
    """float32 (nats), not increasing along a row; -inf where ABSENT."""
    num_expanded_B: Tensor
    """Prefixes that were expanded for each user, int64; the root does not count."""
    log_probs_BM: Tensor | None = None
    """Log-probabilities of all leaves, excluded items included, float32; where they are computed anyway."""

    @classmethod
    def concatenate(cls, parts: Sequence[Found]) -> Found:
        """The lists of several groups of users, one below the other."""
        items, log_probs, num_expanded, _ = zip(*parts, strict=True)
        return cls(torch.cat(items), torch.cat(log_probs), torch.cat(num_expanded))


class SearchMethod(ABC):
    """One way to search a stream. Its fields are its own settings; :class:`SearchRules` hold for every method."""

    @classmethod
    @abstractmethod
    def of(cls, settings: SearchSettings) -> Self:
        """The method with the settings of a recipe."""

    @abstractmethod
    def search(self, decoder: DecoderModule, encoded: Encoded, trie: Trie, rules: SearchRules) -> Found:
        """The most probable items of one stream.

        Equal log-probabilities are ordered by node number, which is the order of the codes.

        Args:
            decoder: the stream's decoder, in eval mode.
            encoded: B users' histories.
            trie: the stream's trie.
            rules: of these B users.

        Raises:
            FloatingPointError: the decoder gave NaN.
        """
