"""What trained sequence baselines share: settings, a grid search over lists of values, training, loss and ranking.

A baseline adds its network and the settings of that (:mod:`genrec.baselines.sasrec`, :mod:`genrec.baselines.gru4rec`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from genrec.families import Baseline, FittedBaseline
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count, Length, Width
from genrec.runtime.progress import console
from genrec.runtime.seeds import derive
from genrec.search.top import top
from genrec.training import trainer
from genrec.training.batches import HistoryBatch, HistoryBatches
from genrec.training.settings import OptimizationSettings
from genrec.types import ABSENT, Catalog, Histories, Ranking

T = TypeVar("T")
Ratio = Annotated[float, Field(ge=0, lt=1)]
Several = Annotated[tuple[T, ...], Field(min_length=1)]

_LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
"""(state, item) pairs that are in memory at a time."""


class SequenceBaseline(Baseline):
    """A network over item IDs, trained by cross-entropy over the whole catalog.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept. A subclass adds settings and :meth:`network`.
    """

    is_random: ClassVar[bool] = True

    dim: Width | Several[Width] = 128
    """Width of item vectors and states; one or a list to choose from."""
    dropout: Ratio | Several[Ratio] = 0.5
    """Dropout of embeddings and of each layer; one or a list to choose from."""
    learning_rate: PositiveFloat | Several[PositiveFloat] = 1e-3
    """Peak learning rate of AdamW; one or a list to choose from."""
    max_history: Length = 20
    """Most recent items that are read."""
    samples: Literal["all_positions", "prefixes"] = "all_positions"
    """Train all positions of a sequence at once, or every prefix as a sample whose loss is at its last position."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate after warm-up: constant, or falling to 0 along a cosine over ``max_epochs``."""
    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; by default 5 % of the steps of ``max_epochs``, at most 2,000."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; embeddings, norms and biases are left out."""
    batch_size: Count = 256
    """Sequences, or prefixes, in a batch."""
    max_epochs: Count = 20
    """Passes over the training histories at most."""
    patience: Count | None = None
    """Stop after so many epochs without a new best on the validation users; None: train for ``max_epochs``."""
    epochs: Count | None = None
    """Stop after this many epochs, without validation; None: keep the best epoch on the validation users."""

    @abstractmethod
    def network(self, num_items: int, *, dim: int, dropout: float) -> SequenceNetwork:
        """A network with fresh weights; the global generator of torch is seeded before."""

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedSequenceBaseline:
        """Train for ``epochs``, or ``max_epochs``, and keep the last; see :meth:`fit_validated`."""
        return self.fit_validated(catalog, train, context=context, validate=None)

    def fit_validated(
        self,
        catalog: Catalog,
        train: Histories,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> FittedSequenceBaseline:
        """Train each combination, and keep the best epoch of the best one.

        Raises:
            DataError: no training history has two items.
            TrainingError: a loss is not finite.
            ValueError: there are several combinations, and no validation users to choose by.
        """
        if self.epochs is not None:
            validate = None
        combinations = list(product(listed(self.dim), listed(self.dropout), listed(self.learning_rate)))
        if len(combinations) > 1 and validate is None:
            raise ValueError(
                f"{self.type_name}: {len(combinations)} combinations, and no validation users to choose by"
            )
        best: tuple[float, Self, SequenceNetwork] | None = None
        for dim, dropout, rate in combinations:
            name = f"dim {dim}, dropout {dropout}, learning_rate {rate}"
            torch.manual_seed(derive(context.seed, self.type_name, "weights"))
            network = self.network(len(catalog), dim=dim, dropout=dropout).to(context.device)
            log = self._train(network, train, rate, name, context, validate)
            score = log.epochs[log.best_epoch - 1].validation or 0.0
            if best is None or score > best[0]:
                chosen = {"dim": dim, "dropout": dropout, "learning_rate": rate, "epochs": log.best_epoch}
                best = score, self.model_copy(update=chosen), network
                if len(combinations) > 1:
                    console.print(f"{self.type_name}: best so far: {name} (validation {score:.4f})", markup=False)
        assert best is not None
        return FittedSequenceBaseline(best[2], best[1])

    def _train(
        self,
        network: SequenceNetwork,
        train: Histories,
        learning_rate: float,
        name: str,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> trainer.TrainingLog:
        """Train one combination and leave it with its best weights."""
        batches = HistoryBatches(
            train,
            num_items=network.num_items,
            max_history=self.max_history,
            batch_size=self.batch_size,
            all_positions=self.samples == "all_positions",
            seed=context.seed,
            device=network.item_table.weight.device,
        )
        settings = OptimizationSettings(
            optimizer="adamw",
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience or self.max_epochs,
            schedule=self.schedule,
            gradient_clip=1.0,
        )
        return trainer.train(
            network,
            batches.epoch,
            network.losses,
            settings,
            validate=None if validate is None else lambda: validate(FittedSequenceBaseline(network)),
            seed=context.seed,
            title=f"{self.type_name}, {name}",
            folder=None if context.folder is None else context.folder / name.replace(", ", "_").replace(" ", "-"),
            epochs=self.epochs,
        )


class SequenceNetwork(nn.Module, ABC):
    """Item IDs (B, T) -> states (B, T, D), whose products with item vectors are the scores of the next item.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D.
        max_history: T at most.
    """

    def __init__(self, num_items: int, dim: int, max_history: int) -> None:
        super().__init__()
        self.num_items, self.max_history = num_items, max_history
        self.item_table = nn.Embedding(num_items + 1, dim, padding_idx=num_items)

    @property
    def item_vectors_ID(self) -> Tensor:
        """The output vectors; by default those of the input, without the row of the padding."""
        return self.item_table.weight[:-1]

    @abstractmethod
    def forward(self, history_BT: Tensor) -> Tensor:
        """States (B, T, D): what follows each item of histories that are padded at the end.

        Padding changes no state of an item. A network that is trained at all positions is causal.
        """

    def last_states(self, history_BT: Tensor) -> Tensor:
        """States (B, D): what follows each history; that of the padding where a history is empty."""
        last_B = ((history_BT != self.num_items).sum(1) - 1).clamp(min=0)
        return self(history_BT)[torch.arange(len(history_BT), device=history_BT.device), last_B]

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """Cross-entropy of the item that follows each position or each whole history, over the whole catalog."""
        is_target_BQ = batch.target_BQ != ABSENT
        states_BQD = self(batch.history_BT) if batch.all_positions else self.last_states(batch.history_BT)[:, None]
        states_ND, target_N = states_BQD[is_target_BQ], batch.target_BQ[is_target_BQ]
        return {"cross_entropy": catalog_cross_entropy(states_ND, self.item_vectors_ID, target_N)}


def catalog_cross_entropy(states_ND: Tensor, items_ID: Tensor, target_N: Tensor) -> Tensor:
    """Mean of -log softmax(states items')[target], a scalar; the (N, I) logits are never in memory at once."""
    return _CatalogCrossEntropy.apply(states_ND, items_ID, target_N)  # type: ignore[return-value]


class _CatalogCrossEntropy(torch.autograd.Function):
    """Computes the gradient beside the loss, a block of states at a time, while their probabilities are in memory."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, items_ID: Tensor, target_N: Tensor) -> Tensor:
        grad_states_ND, grad_items_ID = torch.empty_like(states_ND), torch.zeros_like(items_ID)
        loss, count = states_ND.new_zeros(()), len(states_ND)
        size = max(1, _LOGITS_AT_ONCE.get(states_ND.device.type, 2**21) // len(items_ID))
        for start in range(0, count, size):
            part = slice(start, start + size)
            states_nD, target_n1 = states_ND[part], target_N[part, None]
            log_probs_nI = (states_nD @ items_ID.T).log_softmax(1)
            loss -= log_probs_nI.gather(1, target_n1).sum()
            # d loss / d logits: the probabilities, less 1 at the target.
            error_nI = log_probs_nI.exp_().scatter_add_(1, target_n1, -torch.ones_like(target_n1, dtype=loss.dtype))
            grad_states_ND[part] = error_nI @ items_ID
            grad_items_ID.addmm_(error_nI.T, states_nD)
        ctx.save_for_backward(grad_states_ND.div_(count), grad_items_ID.div_(count))
        return loss / count

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_states_ND, grad_items_ID = ctx.saved_tensors
        return grad_states_ND * grad_outputs[0], grad_items_ID * grad_outputs[0], None


class FittedSequenceBaseline(FittedBaseline):
    """Ranks the whole catalog by the product of a user's state with each item's vector.

    Args:
        module: trained, or at some epoch of its training.
        chosen: see :attr:`FittedBaseline.chosen`.
    """

    def __init__(self, module: SequenceNetwork, chosen: Baseline | None = None) -> None:
        self.module, self.chosen = module, chosen

    @torch.no_grad()
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """The highest logits; equal ones are ordered by item number."""
        module = self.module.eval()
        device, num_items = module.item_table.weight.device, module.num_items
        size = max(1, _LOGITS_AT_ONCE.get(device.type, 2**21) // num_items)
        items_UN = np.full((len(histories), min(top_n, num_items)), ABSENT, dtype=np.int64)
        scores_UN = np.full(items_UN.shape, -np.inf, dtype=np.float32)
        for start in range(0, len(histories), size):
            rows = np.arange(start, min(start + size, len(histories)))
            part = histories.take(rows)
            history_BT, length_B = part.last(module.max_history, padding=num_items)
            history_BT = torch.from_numpy(history_BT[:, : max(int(length_B.max()), 1)]).to(device)
            scores_BI = (module.last_states(history_BT) @ module.item_vectors_ID.T).float()
            if exclude_seen:
                user_P = torch.from_numpy(np.repeat(np.arange(len(rows)), part.lengths)).to(device)
                scores_BI[user_P, torch.from_numpy(part.items.astype(np.int64)).to(device)] = -torch.inf
            items_BI = torch.arange(num_items, device=device).expand_as(scores_BI)
            best_BN = top(scores_BI, items_BI, items_UN.shape[1])
            items_UN[rows] = best_BN.cpu().numpy()
            scores_UN[rows] = scores_BI.gather(1, best_BN).cpu().numpy()
        return Ranking.top(items_UN, scores_UN, top_n)


def listed(values: T | tuple[T, ...]) -> tuple[T, ...]:
    """The values of a setting that takes one or a list."""
    return values if isinstance(values, tuple) else (values,)
