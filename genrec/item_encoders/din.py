"""Deep Interest Network (Zhou et al. 2018) on item ids: behaviour vectors learned from training histories alone."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genrec.errors import DataError
from genrec.families import ItemEncoder, item_encoders
from genrec.item_encoders._rows import fill_unseen, unit_rows
from genrec.runtime.environment import WorkContext
from genrec.seeds import derive
from genrec.training.settings import TrainingSettings
from genrec.types import Catalog, Histories, ItemVectors


class DinTraining(TrainingSettings):
    """Training settings with DIN's defaults."""

    learning_rate: PositiveFloat = 3e-3
    """Peak learning rate."""
    warmup_steps: NonNegativeInt = 200
    """Steps of linear warm-up."""
    batch_size: PositiveInt = 256
    """Targets in a batch."""
    max_epochs: PositiveInt = 12
    """Passes over the training histories at most."""
    patience: PositiveInt = 2
    """Epochs without a better ranking of the held-out items before training stops."""


@item_encoders.register("din")
class Din(ItemEncoder):
    """Item table of a Deep Interest Network trained to predict the next item of training histories (EAGER, 4.1).

    Differs from the paper: DIN's click head (an MLP on the pooled history and the candidate) is a dot product, the
    two-tower form that EAGER asks for, so that closeness of item vectors means what the tokenizer takes it to mean;
    the activation unit also reads how long ago an item was, in place of the released code's windows by age.
    """

    is_random = True

    dim: PositiveInt = 96
    """Width of the item table."""
    max_history: PositiveInt = 20
    """Most recent items that are read."""
    attention_hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (36,)
    """Hidden layers of the local activation unit (DIN: one of 36; EAGER's released code: 64 and 16)."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout of item vectors while training; without it the table learns the histories by heart in two passes."""
    num_negatives: PositiveInt = 32
    """Negatives drawn for each batch and shared by its targets (sampled softmax with log-q correction)."""
    popularity_power: float = Field(default=0.75, ge=0, le=1)
    """Negatives are drawn in proportion to an item's count to this power; 0 draws uniformly."""
    normalize: bool = True
    """Scale vectors to length 1, so that an item's count does not decide where it lies."""
    training: DinTraining = DinTraining()
    """Optimisation and stopping; ``validation_users`` have their last training item held out."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        count_I = np.bincount(train.items, minlength=len(catalog))
        if not (train.lengths > 1).any():
            raise DataError("din: no training history has two items; choose an item encoder that does not need them")
        vectors_IE = self._trained_table(train, count_I, context).astype(np.float32)
        if self.normalize:
            vectors_IE = unit_rows(vectors_IE)
        vectors_IE, notes = fill_unseen(vectors_IE, count_I > 0)
        return ItemVectors(vectors_IE.astype(np.float32), np.ones(len(catalog), dtype=bool), notes)

    def _trained_table(self, train: Histories, count_I: np.ndarray, context: WorkContext) -> np.ndarray:
        """The item table after training, (I, dim)."""
        import torch

        from genrec.item_encoders._din_network import DinNetwork, DinSamples, sampled_softmax
        from genrec.training.trainer import train as fit

        seed, device = context.seed, context.device
        torch.manual_seed(derive(seed, "din", "weights"))
        network = DinNetwork(len(count_I), self.dim, self.attention_hidden, self.max_history, self.dropout).to(device)
        kept, prefixes, answers = held_out(train, self.training.validation_users, derive(seed, "din", "held out"))
        samples = DinSamples(kept, self.max_history)
        q_I = np.where(count_I > 0, np.maximum(count_I, 1) ** self.popularity_power, 0.0)
        q_I = q_I / q_I.sum()
        log_q_I = torch.from_numpy(np.log(np.maximum(q_I * self.num_negatives, 1e-12))).float().to(device)

        def batches(epoch: int):
            generator = np.random.default_rng(derive(seed, "din", "batches", epoch))
            return samples.batches(self.training.batch_size, self.num_negatives, q_I, generator)

        def loss(batch):
            batch = batch.to(device)
            return {"sampled_softmax": sampled_softmax(network(batch), batch, log_q_I)}

        def table() -> np.ndarray:
            return network.item_table.weight.detach().float().cpu().numpy()

        def validate() -> float:
            return neighbor_ndcg(table(), prefixes, answers)

        fit(network, batches, loss, self.training, validate=validate if len(answers) else None, seed=seed, title="din")
        return table()


def held_out(train: Histories, num_users: int, seed: int) -> tuple[Histories, Histories, np.ndarray]:
    """Hold out the last training item of some users that keep two or more.

    Returns:
        all histories without the held-out items, the shortened histories alone, and the items held out.
    """
    eligible = np.flatnonzero(train.lengths >= 3)
    size = min(num_users, len(eligible) // 2)
    users = np.sort(np.random.default_rng(seed).choice(eligible, size, replace=False))
    last = train.offsets[users + 1] - 1
    keep = np.ones(len(train.items), dtype=bool)
    keep[last] = False
    lengths = train.lengths.copy()
    lengths[users] -= 1
    kept = Histories(train.items[keep], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return kept, kept.take(users), train.items[last].astype(np.int64)


def neighbor_ndcg(vectors_IE: np.ndarray, histories: Histories, targets: np.ndarray, cutoff: int = 10) -> float:
    """NDCG of the targets when items are ranked by cosine with the mean of a history's last 5 vectors.

    Items of the history itself are passed over.
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
