"""Deep Interest Network (Zhou et al. 2018) as a ranker: every item of the catalog is scored against the history."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import PositiveInt

from genrec.families import Baseline, FittedBaseline, baselines
from genrec.model.deep_interest import DinNetwork
from genrec.runtime.environment import WorkContext
from genrec.search.top import top
from genrec.training.deep_interest import DinSettings, DinTraining, train_network
from genrec.types import Catalog, Histories, Ranking

_CUTOFF = 10
_USERS_AT_ONCE = 64


class RankerTraining(DinTraining):
    """Training settings with fewer users held out, because ranking the catalog for one costs milliseconds."""

    validation_users: PositiveInt = 500
    """Random users whose last training item is held out; NDCG@10 on them selects the epoch."""


@baselines.register("din")
class Din(DinSettings, Baseline):
    """The network of the item encoder ``din``, used to rank: it scores each pair of history and item, without an index.

    The score of an item is its bias plus the sum over the history's items h of a(h, t) h.t, where the local activation
    unit a reads both; so no vector of the user can be computed before the item is known, and the time for a user grows
    with the catalog.

    Differs from the paper: the click head is that sum instead of an MLP, and the loss is a softmax over sampled items
    instead of clicks; see the item encoder. The epoch is selected on items held out of training histories, not on the
    validation users.
    """

    is_random: ClassVar[bool] = True

    training: RankerTraining = RankerTraining()  # type: ignore[reportIncompatibleVariableOverride]
    """Optimization and stopping; ``validation_users`` have their last training item held out."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedDin:
        """Train the network; an epoch's score is NDCG@10 of the held-out items among all items.

        Raises:
            DataError: no training history has two items.
        """

        def validate(network: DinNetwork, prefixes: Histories, targets: np.ndarray) -> float:
            was_training = network.training
            ranking = FittedDin(network, self.max_history).rank(prefixes, top_n=_CUTOFF, exclude_seen=False)
            network.train(was_training)
            hit_UN = ranking.items_BN == targets[:, None]
            return float((hit_UN / np.log2(np.arange(hit_UN.shape[1]) + 2.0)).sum(1).mean())

        network = train_network(
            self, train, len(catalog), validate, seed=context.seed, device=context.device, folder=context.folder
        )
        return FittedDin(network, self.max_history)


class FittedDin(FittedBaseline):
    """Ranks the whole catalog by the network's scores.

    Args:
        network: trained, or at some epoch of its training.
        max_history: most recent items that are read.
    """

    def __init__(self, network: DinNetwork, max_history: int) -> None:
        self.network, self.max_history = network, max_history

    @torch.no_grad()
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """The highest scores; equal ones are ordered by item number. Without history they are the items' biases."""
        network = self.network.eval()
        device, num_items = network.item_bias.device, len(network.item_bias)
        items_UN = np.empty((len(histories), min(top_n, num_items)), dtype=np.int64)
        scores_UN = np.empty(items_UN.shape, dtype=np.float32)
        for start in range(0, len(histories), _USERS_AT_ONCE):
            rows = np.arange(start, min(start + _USERS_AT_ONCE, len(histories)))
            part = histories.take(rows)
            items_P, row_P, steps_P = recent_items(part, self.max_history)
            scores_BI = network.scores_of_all(
                torch.from_numpy(items_P).to(device),
                torch.from_numpy(row_P).to(device),
                torch.from_numpy(steps_P).to(device),
                len(rows),
            )
            if exclude_seen:
                user_P = torch.from_numpy(np.repeat(np.arange(len(rows)), part.lengths)).to(device)
                scores_BI[user_P, torch.from_numpy(part.items.astype(np.int64)).to(device)] = -torch.inf
            best_BN = top(scores_BI, torch.arange(num_items, device=device).expand_as(scores_BI), items_UN.shape[1])
            items_UN[rows] = best_BN.cpu().numpy()
            scores_UN[rows] = scores_BI.gather(1, best_BN).cpu().numpy()
        return Ranking.top(items_UN, scores_UN, top_n)


def recent_items(histories: Histories, max_history: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most recent items of histories, the row of each and its distance to the end in steps; int64, each (P,)."""
    size = np.minimum(histories.lengths, max_history)
    row_P = np.repeat(np.arange(len(size)), size)
    steps_P = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    items_P = histories.items[histories.offsets[1:][row_P] - 1 - steps_P]
    return items_P.astype(np.int64), row_P, steps_P
