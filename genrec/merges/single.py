"""Single stream: the list of one stream, unchanged; the others are ignored."""

from difflib import get_close_matches

from genrec.errors import RecipeError
from genrec.families import Merge, merges
from genrec.merges._ranking import own_log_probs, rank
from genrec.types import Candidates, Ranking


@merges.register("single")
class Single(Merge):
    """Rank by one stream alone. Equal scores: lower item number first."""

    stream: str
    """Name of the stream, as the recipe has it."""

    def streams_used(self) -> tuple[str, ...]:
        """The stream."""
        return (self.stream,)

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``.

        Raises:
            RecipeError: there is no such stream.
        """
        if self.stream not in candidates.streams:
            close = get_close_matches(self.stream, candidates.streams, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise RecipeError(
                f"merge.stream: there is no stream {self.stream!r}; expected one of "
                f"{', '.join(candidates.streams)}{hint}"
            )
        own_BC = own_log_probs(candidates)[:, :, candidates.streams.index(self.stream)]
        return rank(candidates.items_BC, own_BC, top_n)
