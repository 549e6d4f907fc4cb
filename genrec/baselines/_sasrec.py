"""The module behind ``sasrec``: item ids -> states, its loss over the whole catalogue, and the ranking it gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrec.families import Baseline, FittedBaseline
from genrec.model.layers import Dropout, EncoderLayer, init_weights
from genrec.search.top import top
from genrec.training.batches import HistoryBatch
from genrec.types import ABSENT, Histories, Ranking

_LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
"""(state, item) pairs that are in memory at a time."""


class SasRec(nn.Module):
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

    def __init__(self, module: SasRec, chosen: Baseline | None = None) -> None:
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
