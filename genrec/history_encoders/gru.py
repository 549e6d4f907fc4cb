"""A recurrent network over the user's items (GRU4Rec, Hidasi et al., 2016)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from genrec.families import EmbeddingHistoryEncoder, history_encoders
from genrec.model.contracts import BuildContext, Encoded
from genrec.model.item_embeddings import EmbeddingHistoryEncoderModule
from genrec.model.layers import Dropout, init_weights
from genrec.runtime.limits import Depth, Width


@history_encoders.register("gru")
class Gru(EmbeddingHistoryEncoder):
    """Learned item embeddings, then gated recurrent units; causal, so all positions of a sequence are trained at once.

    Differs from the paper: as in later implementations, a user's history is one sequence, and a linear map leads from
    the hidden state to the width of the model. Layer norms stand before the recurrence, whose gates would hardly open
    for fresh embeddings (standard deviation 0.02), and after the linear map.
    """

    num_layers: Depth = 1
    """Recurrent layers."""
    hidden_dim: Width = 128
    """Width of the hidden states."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embeddings and between the layers."""

    def build(self, context: BuildContext) -> GruEncoder:
        """The module; ``context.item_table`` is used where given."""
        return GruEncoder(self, context)


class GruEncoder(EmbeddingHistoryEncoderModule):
    """Item ids (B, T), padded at the end -> states (B, T, D)."""

    def __init__(self, settings: Gru, context: BuildContext) -> None:
        super().__init__()
        self.is_causal = True
        widths = [settings.dim, *[settings.hidden_dim] * settings.num_layers]
        self.layers = nn.ModuleList(nn.GRU(width, settings.hidden_dim, batch_first=True) for width in widths[:-1])
        self.output = nn.Linear(settings.hidden_dim, settings.dim)
        self.input_norm, self.norm = nn.LayerNorm(settings.dim), nn.LayerNorm(settings.dim)
        self.dropout = Dropout(settings.dropout)
        init_weights(self.output)
        self.add_item_embeddings(settings, context)

    def forward(self, history_BT: Tensor) -> Encoded:
        """Padding stands at the end, so it comes after every item and needs no packing: no item's state has seen it."""
        x_BTH = self.input_norm(self.embed(history_BT))
        for layer in self.layers:
            x_BTH, _ = layer(self.dropout(x_BTH))
        return Encoded(self.norm(self.output(x_BTH)), self.is_item(history_BT), self.is_causal)
