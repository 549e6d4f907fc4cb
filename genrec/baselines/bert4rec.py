"""BERT4Rec (Sun et al. 2019): a Transformer that reads in both directions and is trained to fill in masked items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from genrec.baselines._losses import next_item_loss
from genrec.baselines._masked import MaskedNetwork, draw_masks, whole_sequences
from genrec.baselines._sequence import Ratio
from genrec.baselines._trained import Several
from genrec.baselines.sasrec import Sasrec
from genrec.families import baselines
from genrec.model.layers import init_weights
from genrec.runtime.limits import Count
from genrec.training.batches import HistoryBatch


@baselines.register("bert4rec")
class Bert4Rec(Sasrec):
    """A bidirectional Transformer that fills in masked items; to rank, a mask is put at the end of the history.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Differs from the paper: positions count from the most recent item, no bias of an item, AdamW without weight decay,
    masks are drawn anew in every epoch in place of ten fixed times, and a masked item is never replaced by another one
    or left as it is.
    """

    dropout: Ratio | Several[Ratio] = 0.2
    """Dropout of embeddings and of each layer; one or a list to choose from."""
    samples: Literal["all_positions"] = "all_positions"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Whole sequences, in windows of ``max_history`` + 1 items."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Probability that an item is masked in training; at least one of a sequence is."""
    last_item_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the sequences in which the last item alone is masked, as it is in a ranking."""
    norm: Literal["post"] = "post"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Layer norms after each branch was added to its input."""
    max_epochs: Count = 60
    """Passes over the training histories at most."""

    def network(self, num_items: int, *, dim: int, dropout: float) -> Bert4RecNetwork:
        return Bert4RecNetwork(
            num_items,
            mask_ratio=self.mask_ratio,
            last_item_ratio=self.last_item_ratio,
            **self.network_settings(dim, dropout),
        )


class Bert4RecNetwork(MaskedNetwork):
    """Scores of masked items: products of item vectors with a linear map of the states, GELU and layer norm.

    Args:
        num_items: size of the catalog; stands for padding.
        layers: of the Transformer.
        dim: D.
        mask_ratio, last_item_ratio: see :class:`Bert4Rec`.
        settings: the others of :class:`MaskedNetwork`.
    """

    def __init__(
        self,
        num_items: int,
        layers: Iterable[nn.Module],
        *,
        dim: int,
        mask_ratio: float,
        last_item_ratio: float,
        **settings: Any,
    ) -> None:
        super().__init__(num_items, layers, dim=dim, **settings)
        self.mask_ratio, self.last_item_ratio = mask_ratio, last_item_ratio
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        init_weights(self.head)

    def last_states(self, history_BT: Tensor) -> Tensor:
        """States (B, D) of a mask behind each history."""
        padded_BT = functional.pad(history_BT, (0, 1), value=self.num_items)
        length_B1 = (history_BT != self.num_items).sum(1, keepdim=True)
        masked_BT = padded_BT.scatter(1, length_B1, self.mask)
        return self.head(self.states_at_end(self.read_both_ways(masked_BT), masked_BT))

    def losses(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The loss of the masked items of whole sequences."""
        items_BT = whole_sequences(batch.history_BT, batch.target_BQ, self.num_items)
        is_item_BT = items_BT != self.num_items
        is_last_BT = is_item_BT & ~functional.pad(is_item_BT[:, 1:], (0, 1))
        only_last_B1 = torch.rand(len(items_BT), 1, device=items_BT.device) < self.last_item_ratio
        is_masked_BT = torch.where(only_last_B1, is_last_BT, draw_masks(is_item_BT, self.mask_ratio))
        states_BTD = self.read_both_ways(items_BT.masked_fill(is_masked_BT, self.mask))
        row_N = is_masked_BT.nonzero()[:, 0]
        states_ND, target_N = self.head(states_BTD[is_masked_BT]), items_BT[is_masked_BT]
        return {self.loss: next_item_loss(self.loss, states_ND, self.item_vectors_ID, target_N, items_BT[row_N])}
