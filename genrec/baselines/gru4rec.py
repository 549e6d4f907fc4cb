"""GRU4Rec (Hidasi et al. 2016), trained like :mod:`genrec.baselines.sasrec` so that only the networks differ."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genrec.baselines._sequence import SequenceBaseline, SequenceNetwork
from genrec.families import baselines
from genrec.model.layers import Dropout, init_weights
from genrec.runtime.limits import Depth


@baselines.register("gru4rec")
class Gru4Rec(SequenceBaseline):
    """Gated recurrent units over item IDs, trained at all positions by cross-entropy over the whole catalog.

    ``dim``, ``dropout`` and ``learning_rate`` take one value or a list: every combination is trained, and the best on
    the validation users is kept.

    Differs from the paper: the loss (the paper's ranks the target against the other targets of the batch), item
    embeddings in place of one-hot input, AdamW in place of Adagrad, no bias of an item, and a layer norm before the
    recurrence, whose gates would hardly open for fresh embeddings (standard deviation 0.02).
    """

    num_layers: Depth = 1
    """Recurrent layers, each as wide as ``dim``."""
    tied_output: bool = True
    """Score items by their input embeddings, as in the authors' later code; off: by separate output vectors."""

    def network(self, num_items: int, *, dim: int, dropout: float) -> Gru4RecNetwork:
        return Gru4RecNetwork(
            num_items,
            dim=dim,
            num_layers=self.num_layers,
            dropout=dropout,
            max_history=self.max_history,
            tied_output=self.tied_output,
        )


class Gru4RecNetwork(SequenceNetwork):
    """A recurrent network whose hidden states are multiplied with item vectors.

    Args:
        num_items: size of the catalog; stands for padding.
        dim: D, of embeddings and hidden states.
        num_layers: recurrent layers.
        dropout: of the input of each layer.
        max_history: T at most.
        tied_output: whether items have one vector for input and output.
    """

    def __init__(
        self, num_items: int, *, dim: int, num_layers: int, dropout: float, max_history: int, tied_output: bool
    ) -> None:
        super().__init__(num_items, dim, max_history)
        self.output_table = None if tied_output else nn.Embedding(num_items, dim)
        self.input_norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(nn.GRU(dim, dim, batch_first=True) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        init_weights(self)
        with torch.no_grad():
            self.item_table.weight[num_items].zero_()

    @property
    def item_vectors_ID(self) -> Tensor:
        """The output vectors: those of the input without the padding row, or a separate table."""
        return super().item_vectors_ID if self.output_table is None else self.output_table.weight

    def forward(self, history_BT: Tensor) -> Tensor:
        # Padding stands at the end, so no item's state has seen it and no packing is needed.
        x_BTD = self.input_norm(self.item_table(history_BT))
        for layer in self.layers:
            x_BTD, _ = layer(self.dropout(x_BTD))
        return self.norm(x_BTD)
