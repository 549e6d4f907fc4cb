"""SASRec (Kang and McAuley 2018) with the loss that makes it strong: softmax cross-entropy over the whole catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from genrec.families import Baseline, FittedBaseline, baselines
from genrec.model.layers import Dropout, EncoderLayer, init_weights
from genrec.runtime.environment import WorkContext
from genrec.runtime.progress import console
from genrec.runtime.seeds import derive
from genrec.search.top import top
from genrec.training import trainer
from genrec.training.batches import HistoryBatch, HistoryBatches
from genrec.training.settings import TrainingSettings
from genrec.types import ABSENT, Catalog, Histories, Ranking

T = TypeVar("T")
Ratio = Annotated[float, Field(ge=0, lt=1)]
Several = Annotated[tuple[T, ...], Field(min_length=1)]

_LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
"""(state, item) pairs that are in memory at a time."""


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
        if self.epochs is not None:
            validate = None
        combinations = list(product(_listed(self.dim), _listed(self.dropout), _listed(self.learning_rate)))
        if len(combinations) > 1 and validate is None:
            raise ValueError(f"sasrec: {len(combinations)} combinations, and no validation users to choose by")
        best: tuple[float, Sasrec, SasrecNetwork] | None = None
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

    def _module(self, num_items: int, dim: int, dropout: float, context: WorkContext) -> SasrecNetwork:
        torch.manual_seed(derive(context.seed, "sasrec", "weights"))
        return SasrecNetwork(
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
        module: SasrecNetwork,
        train: Histories,
        learning_rate: float,
        name: str,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> trainer.TrainingLog:
        """Train one combination and leave it with its best weights."""
        batches = HistoryBatches(
            train,
            num_items=module.num_items,
            max_history=self.max_history,
            batch_size=self.batch_size,
            all_positions=True,
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
        return trainer.train(
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


class SasrecNetwork(nn.Module):
    """A causal Transformer whose item vectors are its input and its output.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D.
        num_layers: of the Transformer.
        num_heads: of its attention; they divide ``dim``.
        feedforward_dim: width inside its feed-forward branches.
        dropout: of the embeddings and of each layer's branches.
        max_history: T at most.
    """

    def __init__(
        self,
        num_items: int,
        *,
        dim: int,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        max_history: int,
    ) -> None:
        super().__init__()
        self.num_items, self.max_history = num_items, max_history
        self.item_table = nn.Embedding(num_items + 1, dim, padding_idx=num_items)
        self.positions = nn.Embedding(max_history, dim)
        self.layers = nn.ModuleList(EncoderLayer(dim, num_heads, feedforward_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        init_weights(self)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()

    @property
    def item_vectors_ID(self) -> Tensor:
        """The table without the row of the padding."""
        return self.item_table.weight[:-1]

    def forward(self, history_BT: Tensor) -> Tensor:
        """States (B, T, D): what follows each item of histories that are padded at the end."""
        positions_TD = self.positions.weight[: history_BT.shape[1]]
        # Scaled as in the paper's code: vectors as small as a table's would be drowned by what the layers add to them.
        x_BTD = self.dropout(self.item_table(history_BT) * math.sqrt(positions_TD.shape[1]) + positions_TD)
        for layer in self.layers:
            x_BTD = layer(x_BTD, is_causal=True)
        return self.norm(x_BTD)

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """Cross-entropy of the item that follows each position, over the whole catalogue."""
        is_asked_BT = batch.target_BQ != ABSENT
        states_ND, target_N = self(batch.history_BT)[is_asked_BT], batch.target_BQ[is_asked_BT]
        return {"cross_entropy": catalog_cross_entropy(states_ND, self.item_vectors_ID, target_N)}


def catalog_cross_entropy(states_ND: Tensor, items_ID: Tensor, target_N: Tensor) -> Tensor:
    """Mean of -log softmax(states items')[target], a scalar; the (N, I) logits are never in memory at once."""
    return _CatalogCrossEntropy.apply(states_ND, items_ID, target_N)  # type: ignore[return-value]


class _CatalogCrossEntropy(torch.autograd.Function):
    """The gradient is made beside the loss, some states at a time, while their probabilities are there."""

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


class FittedSasrec(FittedBaseline):
    """The whole catalogue by the product of a user's state with each item's vector.

    Args:
        module: trained, or at some epoch of its training.
        chosen: see :attr:`FittedBaseline.chosen`.
    """

    def __init__(self, module: SasrecNetwork, chosen: Baseline | None = None) -> None:
        self.module, self.chosen = module, chosen

    @torch.no_grad()
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """The highest logits; equal ones go by item number."""
        module = self.module.eval()
        device, num_items = module.item_table.weight.device, module.num_items
        size = max(1, _LOGITS_AT_ONCE.get(device.type, 2**21) // num_items)
        items_UN = np.full((len(histories), min(top_n, num_items)), ABSENT, dtype=np.int64)
        scores_UN = np.full(items_UN.shape, -np.inf, dtype=np.float32)
        for start in range(0, len(histories), size):
            rows = np.arange(start, min(start + size, len(histories)))
            asked = histories.take(rows)
            history_BT, length_B = asked.last(module.max_history, padding=num_items)
            history_BT = torch.from_numpy(history_BT[:, : max(int(length_B.max()), 1)]).to(device)
            last_B = torch.from_numpy(np.maximum(length_B - 1, 0)).to(device)  # nobody's history: a padding's state
            states_BD = module(history_BT)[torch.arange(len(rows), device=device), last_B]
            scores_BI = (states_BD @ module.item_vectors_ID.T).float()
            if exclude_seen:
                user_P = torch.from_numpy(np.repeat(np.arange(len(rows)), asked.lengths)).to(device)
                scores_BI[user_P, torch.from_numpy(asked.items.astype(np.int64)).to(device)] = -torch.inf
            items_BI = torch.arange(num_items, device=device).expand_as(scores_BI)
            best_BN = top(scores_BI, items_BI, items_UN.shape[1])
            items_UN[rows] = best_BN.cpu().numpy()
            scores_UN[rows] = scores_BI.gather(1, best_BN).cpu().numpy()
        return Ranking.top(items_UN, scores_UN, top_n)


def _listed(values: T | tuple[T, ...]) -> tuple[T, ...]:
    return values if isinstance(values, tuple) else (values,)
