"""The semantic-guided transfer task, STT (EAGER, section 3.5, eq. 4 and 5): one stream guides another's codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from genrec.families import Task, tasks
from genrec.model.contracts import BuildContext, Outputs, TaskModule
from genrec.model.layers import DecoderLayer, init_weights
from genrec.model.vocabularies import Vocabulary


@tasks.register("semantic_transfer")
class SemanticTransfer(Task):
    """An auxiliary bidirectional Transformer reads the source's summary token and the target's codes.

    Reconstruction (eq. 4): predict masked codes among sampled ones. Recognition (eq. 5): distinguish the true
    codes from codes of which some were replaced. The codes' vectors are those of the target's decoder, so that the
    decoder learns.

    Differs from the paper: eq. 5 is minimized as ``-log s+ - log(1 - s-)`` (printed with a plus, it would be
    maximized by the negatives); at least one code of every sample is masked or replaced; negatives never contain the
    positive. Under the ``path`` vocabulary negatives and replacements are siblings.
    """

    source: str
    """Stream whose summary token guides."""
    target: str
    """Stream whose codes are masked and replaced."""
    objectives: Annotated[tuple[Literal["reconstruction", "recognition"], ...], Field(min_length=1)] = (
        "reconstruction",
        "recognition",
    )
    """Which of the two losses."""
    mask_ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of the codes that is masked, and that is replaced."""
    num_negatives: PositiveInt = 64
    """Sampled codes for each masked one (J of eq. 4)."""
    num_layers: PositiveInt = 1
    """Layers of the auxiliary Transformer."""
    num_heads: PositiveInt = 4
    """Attention heads; the model's ``dim`` must be a multiple."""
    feedforward_dim: PositiveInt = 512
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the auxiliary Transformer."""
    detach_guide: bool = False
    """Whether no gradient flows into the source (the released code)."""

    @model_validator(mode="after")
    def _two_streams(self) -> SemanticTransfer:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source!r}; a stream is guided by another one")
        return self

    def streams_used(self) -> tuple[str, ...]:
        """Source and target."""
        return self.source, self.target

    def build(self, context: BuildContext) -> SemanticTransferLoss:
        """The module; ``context.decoders`` holds the target's vocabulary."""
        return SemanticTransferLoss(self, context)


class SemanticTransferLoss(TaskModule):
    """Reconstruction plus recognition of the target stream's codes, guided by the source's summary token."""

    vocabulary: Vocabulary

    def __init__(self, settings: SemanticTransfer, context: BuildContext) -> None:
        super().__init__()
        assert context.decoders is not None
        dim = context.dim
        self.settings = settings
        self.vocabulary = context.decoders[settings.target].vocabulary
        self.class_token = nn.Parameter(torch.empty(dim))
        self.mask_token = nn.Parameter(torch.empty(dim))
        self.positions = nn.Embedding(self.vocabulary.num_levels + 1, dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, settings.num_heads, settings.feedforward_dim, settings.dropout)
            for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, 1)
        for parameter in (self.class_token, self.mask_token):
            nn.init.normal_(parameter, std=0.02)
        for part in (self.positions, self.layers, self.classifier):
            init_weights(part)

    def forward(self, outputs: Mapping[str, Outputs]) -> Tensor:
        source, target = outputs[self.settings.source], outputs[self.settings.target]
        assert source.summary_ND is not None
        both = source.present_N & target.present_N
        nodes_NL, _ = self.vocabulary.nodes_of(target.target_N[both])
        guide_ND = source.summary_ND[both]
        if not len(nodes_NL):
            return guide_ND.sum()  # 0, with a gradient
        if self.settings.detach_guide:
            guide_ND = guide_ND.detach()
        losses = []
        if "reconstruction" in self.settings.objectives:
            losses.append(self.reconstruction(nodes_NL, guide_ND, self._chosen(nodes_NL)))
        if "recognition" in self.settings.objectives:
            losses.append(self.recognition(nodes_NL, guide_ND, self._chosen(nodes_NL)))
        return torch.stack(losses).sum()

    def _chosen(self, nodes_NL: Tensor) -> Tensor:
        """Codes to mask or replace, bool (N, L): each with ``mask_ratio``, and at least one a row.

        Only codes that have an alternative are chosen; a row without any such code stays False.
        """
        levels = range(nodes_NL.shape[1])
        open_NL = torch.stack([self.vocabulary.has_others(level, nodes_NL) for level in levels], 1)
        chosen_NL = open_NL & (torch.rand(nodes_NL.shape, device=nodes_NL.device) < self.settings.mask_ratio)
        one_N = torch.rand(nodes_NL.shape, device=nodes_NL.device).masked_fill(~open_NL, -1.0).argmax(1)
        one_NL = open_NL & functional.one_hot(one_N, len(levels)).bool()
        return chosen_NL | (one_NL & ~chosen_NL.any(1, keepdim=True))

    def _embed(self, nodes_NL: Tensor) -> Tensor:
        levels = range(self.vocabulary.num_levels)
        entries = [self.vocabulary.entries(level, nodes_NL[:, level]) for level in levels]
        return torch.stack([self.vocabulary.embed(level, entries[level]) for level in levels], 1)

    def _read(self, codes_NLD: Tensor, guide_ND: Tensor) -> Tensor:
        """States of the class token and of the codes, (N, 1 + L, D)."""
        count = len(codes_NLD)
        x_NSD = torch.cat([self.class_token.expand(count, 1, -1), codes_NLD], 1) + self.positions.weight
        for layer in self.layers:
            memory = layer.cross_attention.keys_values(guide_ND[:, None])  # type: ignore[operator,union-attr]
            x_NSD = layer(x_NSD, memory, None, rows=count, is_causal=False)
        return self.norm(x_NSD)

    def reconstruction(self, nodes_NL: Tensor, guide_ND: Tensor, masked_NL: Tensor) -> Tensor:
        """Eq. 4: each masked code against ``num_negatives`` sampled ones, mean over the masked codes.

        A masked code must have an alternative (:meth:`Vocabulary.has_others`).
        """
        codes_NLD = torch.where(masked_NL[..., None], self.mask_token, self._embed(nodes_NL))
        read_NLD = self._read(codes_NLD, guide_ND)[:, 1:]
        losses = []
        for level in range(self.vocabulary.num_levels):
            rows = masked_NL[:, level]
            others_NJ = self.vocabulary.sample_others(level, nodes_NL[rows], self.settings.num_negatives)
            entry_N = self.vocabulary.entries(level, nodes_NL[rows, level])
            choices = self.vocabulary.embed(level, torch.cat([entry_N[:, None], others_NJ], 1))
            logits = torch.einsum("nd,njd->nj", read_NLD[rows, level], choices)
            losses.append(-logits.log_softmax(1)[:, 0])
        joined = torch.cat(losses)
        return joined.sum() / max(len(joined), 1)

    def recognition(self, nodes_NL: Tensor, guide_ND: Tensor, replaced_NL: Tensor) -> Tensor:
        """Eq. 5: the true codes against the same codes with some replaced, mean over the batch.

        A replaced code must have an alternative; rows in which none is replaced are left out.
        """
        true_NLD = self._embed(nodes_NL)
        false = []
        for level in range(self.vocabulary.num_levels):
            other_N = self.vocabulary.sample_others(level, nodes_NL, 1)[:, 0]
            other_ND = self.vocabulary.embed(level, other_N)
            false.append(torch.where(replaced_NL[:, level, None], other_ND, true_NLD[:, level]))
        read = self._read(torch.cat([true_NLD, torch.stack(false, 1)]), torch.cat([guide_ND, guide_ND]))[:, 0]
        true_score_N, false_score_N = self.classifier(read)[:, 0].chunk(2)
        loss_N = -functional.logsigmoid(true_score_N) - functional.logsigmoid(-false_score_N)
        counts_N = replaced_NL.any(1)
        return (loss_N * counts_N).sum() / counts_N.sum().clamp_min(1)
