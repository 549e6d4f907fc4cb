"""How much more or less likely an item is for a user who has had it: for decoders that score items."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from genrec.model.contracts import Encoded

_UNIT = 10.0
"""Nats of a parameter's unit: a factor has to go from 1 to almost 0 where nobody buys an item twice, and an optimizer
moves each parameter by one learning rate a step, however large the gradient."""
_LEAST_REST = 1e-6
"""Probability left to all items that a user has not had, at least; log(0) has no gradient."""


class Had(NamedTuple):
    """The items that N queries' users have had lately."""

    items_NK: Tensor
    """Item numbers; where ``log_factor_NK`` is 0 for padding or an item that is there already, any item."""
    log_factor_NK: Tensor
    """Log of the factor on the item's probability, before all are normalized."""


class UserState(NamedTuple):
    """What a search knows of B users: what the decoder scores items by, and what the users have had."""

    tensor_BE: Tensor
    had: Had | None

    def rows(self, index: Tensor | slice) -> UserState:
        """Some of the users."""
        had = None if self.had is None else Had(*(part[index] for part in self.had))
        return UserState(self.tensor_BE[index], had)


class Repeats(nn.Module):
    """A factor for each of the K most recent items: by place, and by how often the item is among them.

    p'(i) = f(i) p(i) / Z, with f = 1 for all other items. Learned with the decoder that gives p, so that a model of
    purchases that nobody repeats does not recommend what a user has, and one of visits knows who comes back.

    Args:
        num_items: size of the catalog.
        num_places: K.
    """

    def __init__(self, num_items: int, num_places: int) -> None:
        super().__init__()
        self.num_items, self.num_places = num_items, num_places
        self.place_K = nn.Parameter(torch.zeros(num_places))
        self.doubling = nn.Parameter(torch.zeros(()))

    def had(self, encoded: Encoded, row_N: Tensor, last_N: Tensor) -> Had:
        """What some users have had, up to the place ``last_N`` of their histories, included."""
        history_BT = encoded.history_BT
        assert history_BT is not None
        place_NK = last_N[:, None] - torch.arange(self.num_places, device=history_BT.device)
        items_NK = history_BT[row_N[:, None], place_NK.clamp_min(0)]
        is_item_NK = (place_NK >= 0) & (items_NK != self.num_items)
        same_NKK = (items_NK[:, :, None] == items_NK[:, None]) & is_item_NK[:, None] & is_item_NK[:, :, None]
        is_later_NK = torch.tril(same_NKK, -1).any(2)  # the same item stands at a more recent place
        count_NK = same_NKK.sum(2).clamp_min(1)
        log_factor_NK = _UNIT * (self.place_K + self.doubling * count_NK.log2())
        return Had(items_NK.masked_fill(~is_item_NK, 0), log_factor_NK.masked_fill(is_later_NK | ~is_item_NK, 0.0))

    def last(self, encoded: Encoded) -> Tensor:
        """The place (B,) of the most recent item of each whole history."""
        assert encoded.history_BT is not None
        return (encoded.history_BT != self.num_items).sum(1) - 1

    def of_items(self, log_probs_N: Tensor, items_N: Tensor, had: Had, had_log_probs_NK: Tensor) -> Tensor:
        """The log-probability (N,) of one item a query.

        Args:
            log_probs_N: without the factors.
            items_N: the items.
            had: of each query.
            had_log_probs_NK: the log-probabilities of its items, without the factors.
        """
        own_N = had.log_factor_NK.masked_fill(had.items_NK != items_N[:, None], 0.0).sum(1)
        return log_probs_N + own_N - _log_sum(had, had_log_probs_NK)

    def of_all(self, log_probs_BM: Tensor, leaf_I: Tensor, had: Had) -> Tensor:
        """The log-probabilities (B, M) of all leaves of a tree of one level.

        Args:
            log_probs_BM: without the factors.
            leaf_I: the leaf of each item; negative where it has none.
            had: of each user.
        """
        leaf_BK = leaf_I[had.items_NK]
        known = Had(leaf_BK.clamp_min(0), had.log_factor_NK.masked_fill(leaf_BK < 0, 0.0))
        had_log_probs_BK = log_probs_BM.gather(1, known.items_NK)
        normalized_BM = log_probs_BM - _log_sum(known, had_log_probs_BK)[:, None]
        return normalized_BM.scatter_add_(1, known.items_NK, known.log_factor_NK)


def _log_sum(had: Had, log_probs_NK: Tensor) -> Tensor:
    """The log of the sum (N,) that the factors lead to: 1 plus what they change."""
    change_N = (log_probs_NK.exp() * had.log_factor_NK.expm1()).sum(1)
    return torch.log(1 + change_N.clamp_min(_LEAST_REST - 1))
