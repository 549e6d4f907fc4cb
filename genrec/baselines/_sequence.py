"""What baselines share that read a history in its order: settings, samples, loss.

A baseline adds its network and the settings of that (:mod:`genrec.baselines.sasrec`, :mod:`genrec.baselines.gru4rec`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genrec.baselines._losses import LossName, next_item_loss
from genrec.baselines._trained import ProductNetwork, Several, TrainedBaseline
from genrec.training.batches import HistoryBatch, HistoryBatches
from genrec.types import ABSENT, Catalog, Histories

Ratio = Annotated[float, Field(ge=0, lt=1)]


class SequenceBaseline(TrainedBaseline):
    """A network over item IDs that is trained to predict the next item.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept. A subclass adds settings and :meth:`network`.
    """

    grid: ClassVar[tuple[str, ...]] = ("dim", "dropout", "learning_rate")

    dropout: Ratio | Several[Ratio] = 0.5
    """Dropout of embeddings and of each layer; one or a list to choose from."""
    samples: Literal["all_positions", "prefixes"] = "all_positions"
    """Train all positions of a sequence at once, or every prefix as a sample whose loss is at its last position."""
    loss: LossName = "cross_entropy"
    """Cross-entropy over the whole catalog; or against one item for each target, drawn uniformly from those that are
    not in the sample: binary cross-entropy, the loss of SASRec and of older tables, or BPR, -log sigmoid of the
    difference of the two scores. Those two lower no score of an item of the history: filter seen items."""

    @abstractmethod
    def network(self, num_items: int, *, dim: int, dropout: float) -> SequenceNetwork:
        """A network with fresh weights; the global generator of torch is seeded before."""

    def build(self, catalog: Catalog, train: Histories) -> SequenceNetwork:
        """A network with fresh weights and the loss of the settings."""
        dim, dropout = self.dim, self.dropout
        assert not isinstance(dim, tuple)
        assert not isinstance(dropout, tuple)
        network = self.network(len(catalog), dim=dim, dropout=dropout)
        network.loss = self.loss
        return network

    def batches(
        self, network: ProductNetwork, train: Histories, *, seed: int
    ) -> Callable[[int], Iterable[HistoryBatch]]:
        """Histories and the items that follow."""
        return HistoryBatches(
            train,
            num_items=network.num_items,
            max_history=self.max_history,
            batch_size=self.batch_size,
            all_positions=self.samples == "all_positions",
            seed=seed,
            device=network.item_table.weight.device,
        ).epoch


class SequenceNetwork(ProductNetwork):
    """Item IDs (B, T) -> states (B, T, D), whose products with item vectors are the scores of the next item.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: width of item vectors.
        max_history: T at most.
    """

    loss: LossName = "cross_entropy"

    @abstractmethod
    def forward(self, history_BT: Tensor) -> Tensor:
        """States (B, T, D): what follows each item of histories that are padded at the end.

        Padding changes no state of an item. A network that is trained at all positions is causal.
        """

    def last_states(self, history_BT: Tensor) -> Tensor:
        """States (B, D): what follows each history; that of the padding where a history is empty."""
        return self.states_at_end(self(history_BT), history_BT)

    def states_at_end(self, states_BTD: Tensor, history_BT: Tensor) -> Tensor:
        """The states (B, D) of the last item of each history."""
        last_B = ((history_BT != self.num_items).sum(1) - 1).clamp(min=0)
        return states_BTD[torch.arange(len(history_BT), device=history_BT.device), last_B]

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The loss of the item that follows each position or each whole history."""
        is_target_BQ = batch.target_BQ != ABSENT
        states_BQD = self(batch.history_BT) if batch.all_positions else self.last_states(batch.history_BT)[:, None]
        states_ND, target_N = states_BQD[is_target_BQ], batch.target_BQ[is_target_BQ]
        known_NT = batch.history_BT[is_target_BQ.nonzero()[:, 0]]
        return {self.loss: next_item_loss(self.loss, states_ND, self.item_vectors_ID, target_N, known_NT)}
