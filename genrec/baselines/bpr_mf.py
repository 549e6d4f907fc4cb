"""BPR-MF (Rendle et al. 2009): matrix factorization that ranks a user's items above the others, without order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from genrec.baselines._trained import ProductNetwork, Several, TrainedBaseline
from genrec.errors import DataError
from genrec.families import baselines
from genrec.runtime.limits import Count, Length, Width
from genrec.runtime.seeds import derive
from genrec.types import Catalog, Histories

_TOWARD_MEAN = 1e-3
"""Weight of half the squared distance of a folded-in user from the mean user: it alone counts without a history."""


@baselines.register("bpr_mf")
class BprMf(TrainedBaseline):
    """One vector for each user and item, trained so that a user's items score above items that the user has not.

    ``dim``, ``l2`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on the
    validation users is kept.

    **A history is folded in**: a ranking is of a history, whose user is not known, and has items that came after
    training. The user's vector minimizes the loss of training on the items of the history, with the item vectors
    as they are: one Newton step over all pairs of an item of the history and an item of the catalog. The vector of a
    user without items is the mean of the trained ones. Of training, a ranking reads the item vectors and that mean.

    Differs from the paper: AdamW in place of plain gradient steps, one item drawn for each item of a user and epoch in
    place of drawing both, no regularization of an item that is not in the batch, folded-in users.
    """

    grid: ClassVar[tuple[str, ...]] = ("dim", "l2", "learning_rate")

    dim: Width | Several[Width] = 64
    """Width of user and item vectors; one or a list to choose from."""
    l2: NonNegativeFloat | Several[NonNegativeFloat] = 0.06
    """Weight of half the squared lengths of the three vectors of each sample; one or a list to choose from."""
    max_history: Length = 50
    """Most recent items that are folded in; training uses all."""
    learning_rate: PositiveFloat | Several[PositiveFloat] = 5e-3
    """Peak learning rate of AdamW; one or a list to choose from."""
    batch_size: Count = 1024
    """Interactions in a batch."""
    max_epochs: Count = 20
    """Passes over the training interactions at most."""

    def build(self, catalog: Catalog, train: Histories) -> BprMfNetwork:
        """Vectors of all training users and items."""
        dim, l2 = self.dim, self.l2
        assert not isinstance(dim, tuple)
        assert not isinstance(l2, tuple)
        return BprMfNetwork(len(train), len(catalog), dim=dim, l2=l2, max_history=self.max_history)

    def batches(self, network: ProductNetwork, train: Histories, *, seed: int) -> Callable[[int], Iterable[Triples]]:
        """Interactions, each with an item that its user has not."""
        device = network.item_table.weight.device
        return lambda epoch: _Epoch(train, network.num_items, self.batch_size, derive(seed, "triples", epoch), device)


@dataclass(frozen=True)
class Triples:
    """Users, an item that each has, and one that each has not; int64 (B,) each."""

    user_B: Tensor
    positive_B: Tensor
    negative_B: Tensor

    def __len__(self) -> int:
        return len(self.user_B)


@dataclass(frozen=True)
class _Epoch:
    """All interactions once, in a random order."""

    train: Histories
    num_items: int
    batch_size: int
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        if not len(self.train.items):
            raise DataError("training: there are no interactions, expected at least one; give a larger dataset")

    def __len__(self) -> int:
        return -(-len(self.train.items) // self.batch_size)

    def __iter__(self) -> Iterator[Triples]:
        generator = np.random.default_rng(self.seed)
        user = np.repeat(np.arange(len(self.train)), self.train.lengths)
        positive = self.train.items.astype(np.int64)
        has = np.unique(user * self.num_items + positive)
        negative = generator.integers(self.num_items, size=len(user))
        for _ in range(16):  # a user who has the whole catalog keeps what was drawn
            again = np.flatnonzero(np.isin(user * self.num_items + negative, has))
            negative[again] = generator.integers(self.num_items, size=len(again))
            if not len(again):
                break
        shuffled = generator.permutation(len(user))
        for start in range(0, len(user), self.batch_size):
            rows = shuffled[start : start + self.batch_size]
            yield Triples(*(torch.from_numpy(x[rows]).to(self.device) for x in (user, positive, negative)))


class BprMfNetwork(ProductNetwork):
    """User and item vectors.

    Args:
        num_users: of training.
        num_items: size of the catalog; stands for padding.
        dim: D.
        l2: weight of half the squared lengths of the vectors of a sample.
        max_history: items of a history that are folded in.
    """

    def __init__(self, num_users: int, num_items: int, *, dim: int, l2: float, max_history: int) -> None:
        super().__init__(num_items, dim, max_history)
        self.user_table, self.l2 = nn.Embedding(num_users, dim), l2
        for table in (self.user_table, self.item_table):
            nn.init.normal_(table.weight, std=0.1)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()

    def losses(self, batch: Triples) -> dict[str, Tensor]:
        """-log sigmoid of the difference of the scores of both items, and the regularization."""
        user_BD = self.user_table(batch.user_B)
        item_2BD = self.item_table(torch.stack([batch.positive_B, batch.negative_B]))
        score_2B = (user_BD * item_2BD).sum(2)
        squares = user_BD.square().sum() + item_2BD.square().sum()
        return {
            "bpr": -functional.logsigmoid(score_2B[0] - score_2B[1]).mean(),
            "l2": 0.5 * self.l2 * squares / len(batch),
        }

    def last_states(self, history_BT: Tensor) -> Tensor:
        """Vectors of the users of some histories, (B, D).

        For each item i of the history, averaged over all items j, the loss at x = 0 has the gradient
        -(q_i - mean q) / 2 and the curvature ((q_i - mean q)(q_i - mean q)' + cov q) / 4 + l2.
        """
        items_ID, users_UD = self.item_vectors_ID.detach(), self.user_table.weight.detach()
        mean_D, identity_DD = items_ID.mean(0), torch.eye(items_ID.shape[1], device=items_ID.device)
        covariance_DD = (items_ID - mean_D).T @ (items_ID - mean_D) / len(items_ID)
        is_item_BT1 = (history_BT != self.num_items)[:, :, None]
        centered_BTD = (self.item_table(history_BT) - mean_D) * is_item_BT1
        each_DD = covariance_DD / 4 + self.l2 * identity_DD
        curvature_BDD = centered_BTD.transpose(1, 2) @ centered_BTD / 4 + is_item_BT1.sum(1, keepdim=True) * each_DD
        pull_BD = centered_BTD.sum(1) / 2 + _TOWARD_MEAN * users_UD.mean(0)
        return torch.linalg.solve(curvature_BDD + _TOWARD_MEAN * identity_DD, pull_BD)
