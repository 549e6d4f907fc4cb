"""The semantic-guided transfer task, STT (EAGER, section 3.5, eq. 4 and 5): one stream guides another's codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from genrec.families import Task, tasks

if TYPE_CHECKING:
    from genrec.model.contracts import BuildContext
    from genrec.tasks._semantic_transfer import SemanticTransferLoss


@tasks.register("semantic_transfer")
class SemanticTransfer(Task):
    """An auxiliary bidirectional Transformer reads the source's summary token and the target's codes.

    Reconstruction (eq. 4): predict masked codes among sampled ones. Recognition (eq. 5): tell the true codes from
    codes of which some were replaced. The codes' vectors are those of the target's decoder, so that it is the decoder
    that learns.

    Differs from the paper: eq. 5 is minimised as ``-log s+ - log(1 - s-)`` (printed with a plus, it would be
    maximised by the negatives); at least one code of every sample is masked or replaced; negatives never contain the
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
        from genrec.tasks._semantic_transfer import SemanticTransferLoss

        return SemanticTransferLoss(self, context)
