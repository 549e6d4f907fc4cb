"""The global contrastive task, GCT (EAGER, section 3.4, eq. 3): summary tokens learn the target's item vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from genrec.families import Task, tasks
from genrec.model.contracts import BuildContext, Outputs, TaskModule
from genrec.model.layers import init_weights
from genrec.runtime.limits import Count
from genrec.types import ItemVectors


@tasks.register("global_contrastive")
class GlobalContrastive(Task):
    """Distil each stream's item vectors into its decoder's summary token, summed over streams.

    Only vectors of an item's own content are learned, not those copied under ``absent_items: nearest``.

    Differs from the paper: item vectors are centered and scaled to a mean squared norm of 1, a learned projection leads
    from the model's width to theirs, and the metric is summed over the width and averaged over the batch, so that a
    loss of zero information is about 0.5 (``smooth_l1``) or 1 (``cosine``). The paper prints none of these.
    """

    reads_vectors: ClassVar[bool] = True
    needs_equal_dims: ClassVar[bool] = False

    metric: Literal["smooth_l1", "cosine", "infonce"] = "smooth_l1"
    """The metric F of eq. 3 (EAGER, Table 7)."""
    streams: tuple[str, ...] = ()
    """Streams that learn; none named: all that have vectors."""
    num_negatives: Count = 2048
    """For ``infonce``: number of random negatives; the target is never among them."""
    temperature: PositiveFloat = 0.3
    """For ``infonce``."""

    def streams_used(self) -> tuple[str, ...]:
        """The streams named."""
        return self.streams

    def build(self, context: BuildContext) -> GlobalContrastiveLoss:
        """The module, with one projection a stream."""
        return GlobalContrastiveLoss(self, context)


class GlobalContrastiveLoss(TaskModule):
    """Sum over streams of F(projected summary token, item vector of the target)."""

    def __init__(self, settings: GlobalContrastive, context: BuildContext) -> None:
        super().__init__()
        self.settings = settings
        with_vectors = (name for name, stream in context.streams.items() if stream.vectors.vectors_IE.shape[1])
        self.streams = settings.streams or tuple(with_vectors)
        self.projections = nn.ModuleDict()
        for name in self.streams:
            vectors = context.streams[name].encoded_vectors()
            vectors_IE = scaled_vectors(vectors)
            self.register_buffer(f"vectors_{name}", torch.from_numpy(vectors_IE), persistent=False)
            self.register_buffer(f"present_{name}", torch.from_numpy(vectors.present_I), persistent=False)
            self.projections[_key(name)] = nn.Linear(context.dim_of(name), vectors_IE.shape[1])
        # From zero, so that the loss starts at that of no information; a zero has no direction, and its gradient under
        # the other metrics is 1e8 and more.
        init_weights(self.projections, std=0.0 if settings.metric == "smooth_l1" else 0.02)

    def forward(self, outputs: Mapping[str, Outputs]) -> Tensor:
        losses = []
        for name in self.streams:
            output = outputs[name]
            assert output.summary_ND is not None
            # An item may have codes without a vector of its own: like those of the nearest item, or in the branch of
            # absent items.
            present = output.present_N & getattr(self, f"present_{name}")[output.target_N]
            guess_NE = self.projections[_key(name)](output.summary_ND[present])
            loss_N = self._metric(name, guess_NE, output.target_N[present])
            losses.append(loss_N.sum() / max(len(loss_N), 1))
        return torch.stack(losses).sum()

    def _metric(self, name: str, guess_NE: Tensor, target_N: Tensor) -> Tensor:
        vectors_IE = getattr(self, f"vectors_{name}")
        vector_NE = vectors_IE[target_N]
        if self.settings.metric == "smooth_l1":
            return functional.smooth_l1_loss(guess_NE, vector_NE, reduction="none").sum(1)
        if self.settings.metric == "cosine":
            return 1 - functional.cosine_similarity(guess_NE, vector_NE, dim=1)
        present_P = getattr(self, f"present_{name}").nonzero()[:, 0]
        negative_J = present_P[torch.randint(len(present_P), (self.settings.num_negatives,), device=target_N.device)]
        guess_NE = functional.normalize(guess_NE, dim=1)
        positive_N = (guess_NE * functional.normalize(vector_NE, dim=1)).sum(1)
        similar_NJ = guess_NE @ functional.normalize(vectors_IE[negative_J], dim=1).T
        similar_NJ = similar_NJ.masked_fill(negative_J == target_N[:, None], -torch.inf)
        logits = torch.cat([positive_N[:, None], similar_NJ], 1) / self.settings.temperature
        return -logits.log_softmax(1)[:, 0]


def scaled_vectors(vectors: ItemVectors) -> np.ndarray:
    """Item vectors, centered, of mean squared norm 1; zero where absent. float32 (I, E)."""
    present = vectors.present_I
    centered = np.where(present[:, None], vectors.vectors_IE - vectors.vectors_IE[present].mean(0), 0.0)
    norm = np.sqrt(np.square(centered[present], dtype=np.float64).sum(1).mean())
    return (centered / max(float(norm), 1e-12)).astype(np.float32)


def _key(stream: str) -> str:
    """A stream's name as a module's name: it may be a word that ``nn.ModuleDict`` keeps for itself."""
    return f"stream {stream}"
