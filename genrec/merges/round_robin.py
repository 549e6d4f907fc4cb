"""Round robin: the streams alternate, each with its best item that is not in the list yet."""

from typing import Literal

import numpy as np

from genrec.families import Merge, merges
from genrec.merges._entropy import relative_entropy
from genrec.types import ABSENT, Candidates, Ranking


@merges.register("round_robin")
class RoundRobin(Merge):
    """Let the streams draft items in turn, as in interleaved evaluation (Radlinski et al., CIKM 2008).

    No item comes twice: a stream whose best item is taken gives its next, and one with nothing left misses its turn.
    Neither probabilities nor agreement count. The score is 1 / place.
    """

    first: Literal["recipe", "surest"] = "recipe"
    """Who begins, and the order of turns: the streams as the recipe has them, or for each user the one whose list has
    the lowest entropy (over the logarithm of its length) first."""

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        num_users, num_streams = candidates.entropy_BS.shape
        order_BC = np.argsort(candidates.items_BC, axis=1, kind="stable")
        items_BC = np.take_along_axis(candidates.items_BC, order_BC, axis=1)
        never = np.iinfo(np.int32).max
        ranks_BSC = np.take_along_axis(candidates.ranks_BCS, order_BC[:, :, None], axis=1).transpose(0, 2, 1)
        ranks_BSC = np.where(ranks_BSC == ABSENT, never, ranks_BSC)
        turns_BS = np.broadcast_to(np.arange(num_streams), (num_users, num_streams))
        if self.first == "surest":
            turns_BS = np.argsort(relative_entropy(candidates), axis=1, kind="stable")
        taken_BN = np.full((num_users, top_n), ABSENT, dtype=np.int64)
        count_B = np.zeros(num_users, dtype=np.int64)
        width = items_BC.shape[1]
        for turn in range(min(top_n, width) * num_streams):
            users = np.flatnonzero(count_B < top_n)
            stream_U = turns_BS[users, turn % num_streams]
            ranks_UC = ranks_BSC[users, stream_U]
            best_U = ranks_UC.argmin(axis=1)
            gives_U = ranks_UC[np.arange(len(users)), best_U] != never
            users, best_U = users[gives_U], best_U[gives_U]
            taken_BN[users, count_B[users]] = items_BC[users, best_U]
            count_B[users] += 1
            ranks_BSC[users, :, best_U] = never
        scores_BN = np.where(taken_BN == ABSENT, -np.inf, 1.0 / np.arange(1, top_n + 1))
        return Ranking(taken_BN, scores_BN.astype(np.float32))
