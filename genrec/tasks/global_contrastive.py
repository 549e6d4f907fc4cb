"""The global contrastive task, GCT (EAGER, section 3.4, eq. 3): summary tokens learn the target's item vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from genrec.families import Task, tasks

if TYPE_CHECKING:
    from genrec.model.contracts import BuildContext
    from genrec.tasks._global_contrastive import GlobalContrastiveLoss


@tasks.register("global_contrastive")
class GlobalContrastive(Task):
    """Distil each stream's item vectors into its decoder's summary token, summed over streams.

    Differs from the paper: item vectors are centred and scaled to a mean squared norm of 1, a learned projection leads
    from the model's width to theirs, and the metric is summed over the width and averaged over the batch, so that a
    loss of zero information is about 0.5 (``smooth_l1``) or 1 (``cosine``). The paper prints none of these.
    """

    reads_vectors: ClassVar[bool] = True

    metric: Literal["smooth_l1", "cosine", "infonce"] = "smooth_l1"
    """The metric F of eq. 3 (EAGER, Table 7)."""
    streams: tuple[str, ...] = ()
    """Streams that learn; none named: all that have vectors."""
    num_negatives: PositiveInt = 2048
    """For ``infonce``: random items to tell the target from; the target is never among them."""
    temperature: PositiveFloat = 0.3
    """For ``infonce``."""

    def streams_used(self) -> tuple[str, ...]:
        """The streams named."""
        return self.streams

    def build(self, context: BuildContext) -> GlobalContrastiveLoss:
        """The module, with one projection a stream."""
        from genrec.tasks._global_contrastive import GlobalContrastiveLoss

        return GlobalContrastiveLoss(self, context)
