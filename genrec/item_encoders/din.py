"""Deep Interest Network (Zhou et al. 2018) on item ids: behavior vectors learned from training histories alone."""

from __future__ import annotations

import numpy as np
import torch

from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import fill_unseen, unit_rows
from genrec.model.deep_interest import DinNetwork
from genrec.runtime.environment import WorkContext
from genrec.training.deep_interest import DinSettings, train_network
from genrec.types import Catalog, Histories, ItemVectors


@item_encoders.register("din")
class Din(DinSettings, ItemEncoder):
    """Item table of a Deep Interest Network trained to predict the next item of training histories (EAGER, 4.1).

    Differs from the paper: DIN's click head (an MLP on the pooled history and the candidate) is a dot product, the
    two-tower form that EAGER requires, so that the tokenizer clusters by the similarity that training optimizes; the
    activation unit also reads an item's distance from the target, in place of the released code's windows by age.
    """

    is_random = True

    normalize: bool = True
    """Scale vectors to length 1, so that an item's frequency does not affect its position."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        """Train the network; an epoch's score is :func:`neighbor_ndcg` of the held-out items.

        Raises:
            DataError: no training history has two items.
        """

        def validate(network: DinNetwork, prefixes: Histories, targets: np.ndarray) -> float:
            return neighbor_ndcg(_table(network), prefixes, targets)

        network = train_network(self, train, len(catalog), validate, seed=context.seed, device=context.device)
        vectors_IE = _table(network).astype(np.float32)
        if self.normalize:
            vectors_IE = unit_rows(vectors_IE)
        count_I = np.bincount(train.items, minlength=len(catalog))
        vectors_IE, notes = fill_unseen(vectors_IE, count_I > 0)
        return ItemVectors(vectors_IE.astype(np.float32), np.ones(len(catalog), dtype=bool), notes)


@torch.no_grad()
def _table(network: DinNetwork) -> np.ndarray:
    """Its item table, (I, dim)."""
    return network.item_table.weight.float().cpu().numpy()


def neighbor_ndcg(vectors_IE: np.ndarray, histories: Histories, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG of the targets when items are ranked by cosine with the mean of a history's last 5 vectors.

    Items of the history are excluded.
    """
    unit_IE = unit_rows(vectors_IE)
    gain = 0.0
    for start in range(0, len(targets), 512):
        rows = np.arange(start, min(start + 512, len(targets)))
        history_BT, length_B = histories.take(rows).last(5, padding=len(unit_IE))
        padded = np.vstack([unit_IE, np.zeros_like(unit_IE[:1])])
        score_BI = (padded[history_BT].sum(1) / length_B[:, None]) @ unit_IE.T
        target_B = targets[rows]
        own_B = score_BI[np.arange(len(rows)), target_B].copy()
        seen = history_BT < len(unit_IE)
        score_BI[np.nonzero(seen)[0], history_BT[seen]] = -np.inf
        rank_B = (score_BI > own_B[:, None]).sum(1)
        gain += float((1.0 / np.log2(rank_B[rank_B < cutoff] + 2.0)).sum())
    return gain / len(targets)
