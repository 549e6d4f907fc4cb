"""SASRec (Kang and McAuley 2018) with the loss that makes it strong: softmax cross-entropy over the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from genrec.families import Baseline, FittedBaseline, baselines
from genrec.progress import console
from genrec.runtime.environment import WorkContext
from genrec.seeds import derive
from genrec.training.settings import TrainingSettings
from genrec.types import Catalog, Histories

if TYPE_CHECKING:
    from genrec.baselines._sasrec import FittedSasrec, SasRec
    from genrec.training.trainer import TrainingLog

T = TypeVar("T")
Ratio = Annotated[float, Field(ge=0, lt=1)]
Several = Annotated[tuple[T, ...], Field(min_length=1)]


@baselines.register("sasrec")
class Sasrec(Baseline):
    """A causal Transformer over item ids, trained at all positions by cross-entropy over the whole catalogue.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Differs from the paper: the loss (theirs draws one negative, and loses a third of Recall@10 by it), layers that are
    normalised before instead of after, a feed-forward branch wider than the states.
    """

    is_random: ClassVar[bool] = True

    dim: PositiveInt | Several[PositiveInt] = 128
    """Width of item vectors and states; one or a list to choose from."""
    dropout: Ratio | Several[Ratio] = 0.5
    """Dropout of embeddings and of each layer's two branches; one or a list to choose from."""
    learning_rate: PositiveFloat | Several[PositiveFloat] = 1e-3
    """Peak learning rate of AdamW; one or a list to choose from."""
    num_layers: NonNegativeInt = 2
    """Transformer layers."""
    num_heads: PositiveInt = 2
    """Attention heads; every ``dim`` must be a multiple."""
    feedforward_ratio: PositiveFloat = 4
    """Width of the feed-forward branches as a multiple of ``dim``."""
    max_history: PositiveInt = 20
    """Most recent items that are read."""
    warmup_steps: NonNegativeInt = 500
    """Steps of linear warm-up."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; embeddings, norms and biases are left out."""
    batch_size: PositiveInt = 256
    """Sequences in a batch."""
    max_epochs: PositiveInt = 20
    """Passes over the training histories, in which the learning rate falls to 0 along a cosine."""
    epochs: PositiveInt | None = None
    """Stop after so many of them and do not ask validation; None: the best epoch on the validation users is kept."""

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Sasrec:
        for dim in _listed(self.dim):
            if dim % self.num_heads:
                raise ValueError(f"dim {dim} is not a multiple of num_heads {self.num_heads}")
        return self

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedSasrec:
        """Train for ``epochs``, or all of them, and keep the last; see :meth:`fit_validated`."""
        return self.fit_validated(catalog, train, context=context, validate=None)

    def fit_validated(
        self,
        catalog: Catalog,
        train: Histories,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> FittedSasrec:
        """Train each combination, and keep the best epoch of the best one.

        Raises:
            DataError: no training history has two items.
            TrainingError: a training ran away.
            ValueError: there are several combinations, and nothing to choose by.
        """
        from genrec.baselines._sasrec import FittedSasrec

        if self.epochs is not None:
            validate = None
        combinations = list(product(_listed(self.dim), _listed(self.dropout), _listed(self.learning_rate)))
        if len(combinations) > 1 and validate is None:
            raise ValueError(f"sasrec: {len(combinations)} combinations, and no validation users to choose by")
        best: tuple[float, Sasrec, SasRec] | None = None
        for dim, dropout, rate in combinations:
            name = f"dim {dim}, dropout {dropout}, learning_rate {rate}"
            module = self._module(len(catalog), dim, dropout, context)
            log = self._train(module, train, rate, name, context, validate)
            score = log.epochs[log.best_epoch - 1].validation or 0.0
            if best is None or score > best[0]:
                found = {"dim": dim, "dropout": dropout, "learning_rate": rate, "epochs": log.best_epoch}
                best = score, self.model_copy(update=found), module
                if len(combinations) > 1:
                    console.print(f"sasrec: best so far: {name} (validation {score:.4f})", markup=False)
        assert best is not None
        return FittedSasrec(best[2], best[1])

    def _module(self, num_items: int, dim: int, dropout: float, context: WorkContext) -> SasRec:
        import torch

        from genrec.baselines._sasrec import SasRec

        torch.manual_seed(derive(context.seed, "sasrec", "weights"))
        return SasRec(
            num_items,
            dim=dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            feedforward_dim=max(1, round(self.feedforward_ratio * dim)),
            dropout=dropout,
            max_history=self.max_history,
        ).to(context.device)

    def _train(
        self,
        module: SasRec,
        train: Histories,
        learning_rate: float,
        name: str,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> TrainingLog:
        """Train one combination and leave it with its best weights."""
        from genrec.baselines._sasrec import FittedSasrec
        from genrec.training.batches import HistoryBatches
        from genrec.training.trainer import train as fit

        batches = HistoryBatches(
            train,
            num_items=module.num_items,
            max_history=self.max_history,
            batch_size=self.batch_size,
            each_position=True,
            seed=context.seed,
            device=module.item_table.weight.device,
        )
        settings = TrainingSettings(
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.max_epochs,
            schedule="cosine",
        )
        return fit(
            module,
            batches.epoch,
            module.losses,
            settings,
            validate=None if validate is None else lambda: validate(FittedSasrec(module)),
            seed=context.seed,
            title=f"sasrec, {name}",
            folder=None if context.folder is None else context.folder / name.replace(", ", "_").replace(" ", "-"),
            epochs=self.epochs,
        )


def _listed(values: T | tuple[T, ...]) -> tuple[T, ...]:
    return values if isinstance(values, tuple) else (values,)
