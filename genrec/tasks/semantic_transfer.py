"""The semantic-guided transfer task, STT (EAGER, section 3.5, eq. 4 and 5): one stream guides another's codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from genrec.families import Task, tasks
from genrec.model.contracts import BuildContext, Outputs, TaskModule
from genrec.model.layers import DecoderLayer, init_weights
from genrec.model.vocabularies import Vocabulary
from genrec.runtime.limits import Count, Depth, Width


@tasks.register("semantic_transfer")
class SemanticTransfer(Task):
    """An auxiliary bidirectional Transformer reads the source's summary token and the target's codes.

    Reconstruction (eq. 4): predict masked codes among sampled ones. Recognition (eq. 5): distinguish the true
    codes from codes of which some were replaced. The codes' vectors are those of the target's decoder, so that the
    decoder learns.

    Differs from the paper: eq. 5 is minimized as ``-log s+ - log(1 - s-)`` (printed with a plus, it would be
    maximized by the negatives); at least one code of every sample is masked or replaced.

    Under the ``level`` vocabulary negatives and replacements are random codes of the level, as in the paper, and never
    the true one. Most codes with such replacements belong to no item, so recognition is partly solvable without the
    source. Under the ``path`` vocabulary they are complete paths, those of other targets of the batch that agree above
    the first masked code, and all codes below a masked one are masked too, because a node reveals its ancestors. Every
    path is a negative as often as a positive: without the source, recognition has a loss of log 4 = 1.39 at best, and
    reconstruction that of a guess, log(1 + J) where no negative is the true code. (Negatives that are the true code
    count as positives.)
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
    """Share of the codes that is masked, and that is replaced; under ``path`` those below a chosen one are added."""
    num_negatives: Count = 64
    """Sampled codes for each masked one (J of eq. 4)."""
    num_layers: Depth = 1
    """Layers of the auxiliary Transformer."""
    num_heads: Width = 4
    """Attention heads; the model's ``dim`` must be a multiple."""
    feedforward_dim: Width = 512
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
        """Codes to predict or replace, bool (N, L): each with ``mask_ratio``, and at least one a row.

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

    def reconstruction(self, nodes_NL: Tensor, guide_ND: Tensor, chosen_NL: Tensor) -> Tensor:
        """Eq. 4: each masked code against ``num_negatives`` sampled ones, mean over the masked codes.

        A chosen code must have an alternative (:meth:`Vocabulary.has_others`).
        """
        others = self.vocabulary.alternatives(nodes_NL, chosen_NL, self.settings.num_negatives)
        masked_NL = others.changed_NL
        codes_NLD = torch.where(masked_NL[..., None], self.mask_token, self._embed(nodes_NL))
        read_NLD = self._read(codes_NLD, guide_ND)[:, 1:]
        losses = []
        for level in range(self.vocabulary.num_levels):
            rows = masked_NL[:, level]
            others_NJ = others.entries(level, rows)
            entry_N1 = self.vocabulary.entries(level, nodes_NL[rows, level])[:, None]
            choices_NJ = torch.cat([entry_N1, others_NJ], 1)
            logits_NJ = torch.einsum("nd,njd->nj", read_NLD[rows, level], self.vocabulary.embed(level, choices_NJ))
            log_probs_NJ = logits_NJ.log_softmax(1).masked_fill(choices_NJ != entry_N1, -torch.inf)
            losses.append(-log_probs_NJ.logsumexp(1))
        joined = torch.cat(losses)
        return joined.sum() / max(len(joined), 1)

    def recognition(self, nodes_NL: Tensor, guide_ND: Tensor, chosen_NL: Tensor) -> Tensor:
        """Eq. 5: the true codes against the same codes with some replaced, mean over the batch.

        A chosen code must have an alternative; rows in which no code differs are left out.
        """
        others = self.vocabulary.alternatives(nodes_NL, chosen_NL, 1)
        true_NLD = self._embed(nodes_NL)
        false, differs = [], []
        for level in range(self.vocabulary.num_levels):
            other_N, replaced_N = others.entries(level, slice(None))[:, 0], others.changed_NL[:, level]
            differs.append(replaced_N & (other_N != self.vocabulary.entries(level, nodes_NL[:, level])))
            other_ND = self.vocabulary.embed(level, other_N)
            false.append(torch.where(replaced_N[:, None], other_ND, true_NLD[:, level]))
        read = self._read(torch.cat([true_NLD, torch.stack(false, 1)]), torch.cat([guide_ND, guide_ND]))[:, 0]
        true_score_N, false_score_N = self.classifier(read)[:, 0].chunk(2)
        loss_N = -functional.logsigmoid(true_score_N) - functional.logsigmoid(-false_score_N)
        counts_N = torch.stack(differs, 1).any(1)
        return (loss_N * counts_N).sum() / counts_N.sum().clamp_min(1)
