"""What trained baselines share: settings, a grid search over lists of values, training and ranking.

:mod:`genrec.baselines._sequence` adds what networks over histories share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from genrec.baselines._losses import LOGITS_AT_ONCE
from genrec.families import Baseline, FittedBaseline
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count, Length, Width
from genrec.runtime.progress import console
from genrec.runtime.seeds import derive
from genrec.search.top import top
from genrec.training import trainer
from genrec.training.settings import OptimizationSettings
from genrec.types import ABSENT, Catalog, Histories, Ranking

T = TypeVar("T")
Several = Annotated[tuple[T, ...], Field(min_length=1)]


class TrainedBaseline(Baseline):
    """A network that is trained with validation and scores items by products of vectors.

    The settings in ``grid`` take one value or a list: every combination is trained, and the best on the validation
    users is kept. A subclass adds settings, :meth:`build` and :meth:`batches`.
    """

    is_random: ClassVar[bool] = True
    grid: ClassVar[tuple[str, ...]] = ("dim", "learning_rate")
    """Settings that take a list."""

    dim: Width | Several[Width] = 128
    """Width of item vectors and states; one or a list to choose from."""
    learning_rate: PositiveFloat | Several[PositiveFloat] = 1e-3
    """Peak learning rate of AdamW; one or a list to choose from."""
    max_history: Length = 20
    """Most recent items that are read."""
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
    def build(self, catalog: Catalog, train: Histories) -> ProductNetwork:
        """A network with fresh weights for one combination; the global generator of torch is seeded before."""

    @abstractmethod
    def batches(self, network: ProductNetwork, train: Histories, *, seed: int) -> Callable[[int], Iterable[Any]]:
        """The batches of each epoch, from 1, which are the argument of the network's ``losses``.

        Raises:
            DataError: there is nothing to learn from.
        """

    def pretrain(
        self, network: ProductNetwork, catalog: Catalog, train: Histories, *, context: WorkContext, folder: Path | None
    ) -> None:
        """Train a combination on other tasks before its training; by default nothing.

        Args:
            network: is changed.
            catalog: as in :meth:`fit`.
            train: as in :meth:`fit`.
            context: as in :meth:`fit`.
            folder: where checkpoints are stored; None: none are.
        """

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedNetwork:
        """Train for ``epochs``, or ``max_epochs``, and keep the last; see :meth:`fit_validated`."""
        return self.fit_validated(catalog, train, context=context, validate=None)

    def fit_validated(
        self,
        catalog: Catalog,
        train: Histories,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> FittedNetwork:
        """Train each combination, and keep the best epoch of the best one.

        Raises:
            DataError: no training history has two items.
            TrainingError: a loss is not finite.
            ValueError: there are several combinations, and no validation users to choose by.
        """
        if self.epochs is not None:
            validate = None
        combinations = list(product(*(listed(getattr(self, field)) for field in self.grid)))
        if len(combinations) > 1 and validate is None:
            raise ValueError(
                f"{self.type_name}: {len(combinations)} combinations, and no validation users to choose by"
            )
        best: tuple[float, Self, ProductNetwork] | None = None
        for values in combinations:
            one = self.model_copy(update=dict(zip(self.grid, values, strict=True)))
            name = ", ".join(f"{field} {value}" for field, value in zip(self.grid, values, strict=True))
            torch.manual_seed(derive(context.seed, self.type_name, "weights"))
            network = one.build(catalog, train).to(context.device)
            log = one.train_network(network, catalog, train, name, context=context, validate=validate)
            score = log.epochs[log.best_epoch - 1].validation or 0.0
            if best is None or score > best[0]:
                best = score, one.model_copy(update={"epochs": log.best_epoch}), network
                if len(combinations) > 1:
                    console.print(f"{self.type_name}: best so far: {name} (validation {score:.4f})", markup=False)
        assert best is not None
        return FittedNetwork(best[2], best[1])

    def train_network(
        self,
        network: ProductNetwork,
        catalog: Catalog,
        train: Histories,
        name: str,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> trainer.TrainingLog:
        """Train one combination and leave it with its best weights."""
        folder = None if context.folder is None else context.folder / name.replace(", ", "_").replace(" ", "-")
        batches = self.batches(network, train, seed=context.seed)
        self.pretrain(network, catalog, train, context=context, folder=folder)
        return trainer.train(
            network,
            batches,
            network.losses,
            self.optimization(self.max_epochs),
            validate=None if validate is None else lambda: validate(FittedNetwork(network)),
            seed=context.seed,
            title=f"{self.type_name}, {name}",
            folder=folder,
            epochs=self.epochs,
        )

    def optimization(self, max_epochs: int) -> OptimizationSettings:
        """How one combination is trained."""
        rate = self.learning_rate
        assert not isinstance(rate, tuple)
        return OptimizationSettings(
            optimizer="adamw",
            learning_rate=rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            batch_size=self.batch_size,
            max_epochs=max_epochs,
            patience=self.patience or max_epochs,
            schedule=self.schedule,
            gradient_clip=1.0,
        )


class ProductNetwork(nn.Module, ABC):
    """Item IDs (B, T) -> states (B, D), whose products with item vectors are the scores of the next item.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: width of item vectors.
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
    def last_states(self, history_BT: Tensor) -> Tensor:
        """States (B, D): what follows each history; histories are padded at the end, and may be empty."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Losses of a batch by name, scalars."""


class FittedNetwork(FittedBaseline):
    """Ranks the whole catalog by the product of a user's state with each item's vector.

    Args:
        module: trained, or at some epoch of its training.
        chosen: see :attr:`FittedBaseline.chosen`.
    """

    def __init__(self, module: ProductNetwork, chosen: Baseline | None = None) -> None:
        self.module, self.chosen = module, chosen

    @torch.no_grad()
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """The highest logits; equal ones are ordered by item number."""
        module = self.module.eval()
        device, num_items = module.item_table.weight.device, module.num_items
        size = max(1, LOGITS_AT_ONCE.get(device.type, 2**21) // num_items)
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
