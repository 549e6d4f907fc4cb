"""A decoder that counts: what followed the user's latest items in training, as a stream of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveFloat, PositiveInt

from genrec.families import Decoder, decoders

if TYPE_CHECKING:
    from genrec.decoders._transition import TransitionDecoder
    from genrec.model.contracts import BuildContext


@decoders.register("transition")
class Transition(Decoder):
    """A smoothed Markov chain over several steps (as in Fossil, He and McAuley 2016, without its factors).

    p(item) = (sum over places k and gaps g of a(k) b(g) count(item of place k, g, item) + s popularity(item)) / Z. The
    weights a of places, b of gaps and s of popularity are learned, from counts less the pair that is being told: every
    count would have seen what it is to foretell. It remembers rare pairs that attention does not keep, so a merge gains
    more from it than from one more stream that generalises.
    """

    writes_codes: ClassVar[bool] = False
    reads_states: ClassVar[bool] = False

    recent_items: PositiveInt = 5
    """Latest items of a history that have a say; their weights start at 1, 1/2, 1/3 ..."""
    next_items: PositiveInt = 3
    """Items after an item that count as its followers, by gap; their weights start at 1, 1/2, 1/3 ..."""
    smoothing: PositiveFloat = 100.0
    """How many followers popularity counts as, to start from."""

    def build(self, context: BuildContext) -> TransitionDecoder:
        """The module for ``context.stream``."""
        from genrec.decoders._transition import TransitionDecoder

        return TransitionDecoder(self, context)
