"""A decoder that counts: what followed the user's latest items in training, as a stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from genrec.families import Decoder, decoders
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, Outputs
from genrec.model.repeats import Repeats, UserState
from genrec.runtime.limits import Length
from genrec.types import Histories

if TYPE_CHECKING:
    from genrec.model.growth import Growth

_RARELY = 0.5
"""Added to each item's count of popularity, so that no item has probability 0."""
_FIT_POSITIONS, _FIT_STEPS = 10_000, 30
"""Positions of training that starting weights are fitted to, and steps of L-BFGS."""


@decoders.register("transition")
class Transition(Decoder):
    """A smoothed Markov chain over several steps (as in Fossil, He and McAuley 2016, without its factors).

    p(item) = (sum over places k and gaps g of a(k) b(g) count(item of place k, g, item) + s popularity(item)) / Z. The
    weights a of places, b of gaps and s of popularity are learned from counts that leave out the predicted pair, which
    they would otherwise contain. Counts remember rare pairs that attention forgets, so a merge gains more from them
    than from one more stream that generalizes.
    """

    writes_codes: ClassVar[bool] = False
    reads_states: ClassVar[bool] = False

    recent_items: Length = 5
    """Latest items of a history that contribute; their weights start at 1, 1/2, 1/3 ..."""
    next_items: Length = 3
    """Items after an item that count as its followers, by gap; their weights start at 1, 1/2, 1/3 ..."""
    smoothing: PositiveFloat = 100.0
    """How many followers popularity counts as, to start from."""
    repeats: Annotated[int, Field(ge=0, le=1024)] = 0
    """Most recent items whose probability of coming again is learned, by place and number of occurrences; 0: none."""

    start: Literal["fixed", "fitted"] = "fixed"
    """Weights to start training from: those above, or the most likely ones on a sample of training (some seconds of
    L-BFGS). They are logarithms, which a training of a few epochs moves by less than their distance from these."""

    def build(self, context: BuildContext) -> TransitionDecoder:
        """The module for ``context.stream``."""
        return TransitionDecoder(self, context)


class TransitionDecoder(DecoderModule):
    """Counts of training as buffers, and the weights by which they are added up.

    Pairs are numbers ``item * num_items + follower``, ascending; those of an item begin at its ``start_I``. A finished
    run is built without training histories, and its counts come with its weights.
    """

    start_I: Tensor
    pairs_P: Tensor
    counts_PG: Tensor
    total_IG: Tensor
    popularity_I: Tensor
    nodes_I: Tensor
    items_M: Tensor

    def __init__(self, settings: Transition, context: BuildContext) -> None:
        super().__init__()
        self.num_items, self.dim = context.num_items, context.dim
        self.place_weights_K = nn.Parameter(-torch.arange(1, settings.recent_items + 1).log())
        self.gap_weights_G = nn.Parameter(-torch.arange(1, settings.next_items + 1).log())
        self.smoothing = nn.Parameter(torch.tensor(math.log(settings.smoothing)))
        self.repeats = Repeats(context.num_items, settings.repeats) if settings.repeats else None
        train = context.train or Histories(np.empty(0, np.int64), np.zeros(1, np.int64))
        for name, counted in _count(train, context.num_items, settings.next_items).items():
            self.register_buffer(name, torch.from_numpy(counted))
        trie = context.own.trie
        self.register_buffer("nodes_I", torch.from_numpy(trie.nodes_IL[:, 0]), persistent=False)
        self.register_buffer("items_M", torch.from_numpy(trie.item_of_leaf), persistent=False)
        if settings.start == "fitted" and context.train is not None:
            self._fit(context.train, context.max_history)

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        """Counts of the grown catalog: a new item follows no item, and is as popular as the rarest known item.

        Known items keep their probabilities, so that all together sum to slightly more than 1.
        """
        num_known, num_new = self.num_items, growth.num_new
        none_1G = self.total_IG.new_zeros(1, self.total_IG.shape[1])

        def grown(rows: Tensor, added: Tensor) -> Tensor:
            return torch.cat([rows[:num_known], added, rows[num_known:]])

        item_P, follower_P = self.pairs_P // num_known, self.pairs_P % num_known
        return {
            "start_I": grown(self.start_I, self.start_I[-1].expand(num_new)),
            "total_IG": grown(self.total_IG, none_1G.expand(num_new, -1)),
            "popularity_I": grown(self.popularity_I, self.popularity_I.min().expand(num_new)),
            "pairs_P": item_P * (num_known + num_new) + follower_P,
        }

    def forward(
        self, encoded: Encoded, target_BQ: Tensor, *, all_positions: bool = False, with_summary: bool = False
    ) -> Outputs:
        row_N, query_N = torch.nonzero(target_BQ >= 0, as_tuple=True)
        target_N = target_BQ[row_N, query_N]
        last_N = query_N if all_positions else encoded.mask_BT.sum(1)[row_N] - 1
        latest_NK = self._latest(encoded, row_N, last_N, len(self.place_weights_K))
        predicted_NKG = None
        if self.training:
            # The pairs that are being predicted: the item at place g has this target at gap g.
            near_NG = self._latest(encoded, row_N, last_N, len(self.gap_weights_G))
            is_near_NKG = latest_NK[:, :, None] == near_NG[:, None, :]
            predicted_NKG = (is_near_NKG & (self._counts(latest_NK, target_N) > 0)).float()
        present_N = self.nodes_I[target_N] >= 0
        log_probs_N = self._log_probs(latest_NK, target_N[:, None], target_N, predicted_NKG)[:, 0]
        if self.repeats is not None:
            had = self.repeats.had(encoded, row_N, last_N)
            had = had._replace(log_factor_NK=had.log_factor_NK.masked_fill(self.nodes_I[had.items_NK] < 0, 0.0))
            had_log_probs_NK = self._log_probs(latest_NK, had.items_NK, target_N, predicted_NKG)
            log_probs_N = self.repeats.of_items(log_probs_N, target_N, had, had_log_probs_NK)
        log_probs_N1 = log_probs_N.masked_fill(~present_N, 0.0)[:, None]
        nothing_ND = log_probs_N1.new_zeros(len(target_N), self.dim)
        summary_ND = nothing_ND if with_summary else None
        return Outputs(log_probs_N1, nothing_ND[:, None], summary_ND, present_N, target_N)

    def _log_probs(self, latest_NK: Tensor, items_NJ: Tensor, target_N: Tensor, predicted_NKG: Tensor | None) -> Tensor:
        """Log-probabilities (N, J) of J items a query, without what is learned of repeats.

        Args:
            latest_NK: the latest items of each query.
            items_NJ: the items.
            target_N: what follows each query.
            predicted_NKG: in training, how often the pair that is being predicted is among the counts.
        """
        N, J = items_NJ.shape
        latest_MK = latest_NK.repeat_interleave(J, 0)
        counts_NJKG = self._counts(latest_MK, items_NJ.flatten()).view(N, J, *self._weights_KG().shape)
        totals_NKG = self.total_IG[latest_NK]
        if predicted_NKG is not None:
            is_target_NJ = (items_NJ == target_N[:, None]).float()
            counts_NJKG = counts_NJKG - is_target_NJ[:, :, None, None] * predicted_NKG[:, None]
            totals_NKG = totals_NKG - predicted_NKG
        weights_KG, smoothing = self._weights_KG(), self.smoothing.exp()
        followed_NJ = (counts_NJKG * weights_KG).sum((2, 3)) + smoothing * self.popularity_I[items_NJ]
        all_N = (totals_NKG * weights_KG).sum((1, 2)) + smoothing
        return (followed_NJ / all_N[:, None]).log()

    def _fit(self, train: Histories, max_history: int) -> None:
        """Set the weights to the most likely ones on users at equal distances, the predicted pairs left out."""
        users = np.flatnonzero(train.lengths > 1)
        mean = float(np.minimum(train.lengths[users], max_history + 1).mean() - 1) if len(users) else 1.0
        wanted = max(1, int(_FIT_POSITIONS / mean))
        users = users[np.linspace(0, len(users) - 1, min(wanted, len(users))).astype(np.int64)]
        if not len(users):
            return
        rows = [torch.from_numpy(train[int(user)][-max_history - 1 :].astype(np.int64)) for user in users]
        row_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.num_items)
        history_BT, target_BT = row_BT[:, :-1], row_BT[:, 1:]
        target_BT = target_BT.masked_fill(target_BT == self.num_items, -1)
        mask_BT = history_BT < self.num_items
        encoded = Encoded(torch.zeros(*history_BT.shape, 0), mask_BT, is_causal=True, history_BT=history_BT)
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=_FIT_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            outputs = self(encoded, target_BT, all_positions=True)
            found = -outputs.log_probs_NL[outputs.present_N].mean()
            found.backward()
            return found

        optimizer.step(loss)
        optimizer.zero_grad()

    def _weights_KG(self) -> Tensor:
        return (self.place_weights_K[:, None] + self.gap_weights_G).exp()

    def _latest(self, encoded: Encoded, row_N: Tensor, last_N: Tensor, num_places: int) -> Tensor:
        """The items of some users from place ``last_N`` back, (N, places); ``num_items`` where there is none."""
        history_BT = encoded.history_BT
        assert history_BT is not None
        place_NK = last_N[:, None] - torch.arange(num_places, device=history_BT.device)
        items_NK = history_BT[row_N[:, None], place_NK.clamp_min(0)]
        return items_NK.masked_fill(place_NK < 0, self.num_items)

    def _counts(self, items_NK: Tensor, follower_N: Tensor) -> Tensor:
        """How often each follower stood at each gap behind each item, (N, K, G)."""
        asked_NK = items_NK * self.num_items + follower_N[:, None]
        place_NK = torch.searchsorted(self.pairs_P, asked_NK).clamp_max(len(self.pairs_P) - 1)
        return self.counts_PG[place_NK] * (self.pairs_P[place_NK] == asked_NK)[..., None]

    def begin(self, encoded: Encoded) -> UserState:
        rows_B = torch.arange(len(encoded.mask_BT), device=encoded.mask_BT.device)
        last_B = encoded.mask_BT.sum(1) - 1
        had = None if self.repeats is None else self.repeats.had(encoded, rows_B, last_B)
        return UserState(self._latest(encoded, rows_B, last_B, len(self.place_weights_K)), had)

    def expand(self, state: UserState, depth: int, nodes_BK: Tensor, origin_BK: Tensor) -> Tensor:
        latest_BK = state.tensor_BE
        B, K = latest_BK.shape
        first_N, end_N = self.start_I[latest_BK].flatten(), self.start_I[latest_BK + 1].flatten()
        size_N = end_N - first_N
        asked_P = torch.repeat_interleave(size_N)  # which of the B * K items each pair belongs to
        pair_P = torch.arange(len(asked_P), device=asked_P.device) - (size_N.cumsum(0) - size_N - first_N)[asked_P]
        weight_P = (self.counts_PG[pair_P] * self._weights_KG()[asked_P % K]).sum(1)
        user_P, node_P = asked_P // K, self.nodes_I[self.pairs_P[pair_P] % self.num_items]
        popularity_M = self.smoothing.exp() * self.popularity_I[self.items_M]
        followed_BM = popularity_M.repeat(B, 1)
        # Followers without a leaf add nothing, to any.
        place_P = user_P * len(popularity_M) + node_P.clamp_min(0)
        followed_BM.view(-1).index_add_(0, place_P, weight_P.masked_fill(node_P < 0, 0.0))
        all_B = (self.total_IG[latest_BK] * self._weights_KG()).sum((1, 2)) + self.smoothing.exp()
        log_probs_BM = followed_BM.div_(all_B[:, None]).log_()
        if self.repeats is not None and state.had is not None:
            log_probs_BM = self.repeats.of_all(log_probs_BM, self.nodes_I, state.had)
        return log_probs_BM[:, None]


def _count(train: Histories, num_items: int, next_items: int) -> dict[str, np.ndarray]:
    """Followers of each item by gap, their totals, and popularity, under the names of the buffers.

    The item ``num_items``, that of padding, has none.
    """
    items = train.items.astype(np.int64)
    user = np.repeat(np.arange(len(train)), train.lengths)
    cells, gaps = [], []
    for gap in range(1, next_items + 1):
        is_pair = user[:-gap] == user[gap:]
        cells.append(items[:-gap][is_pair] * num_items + items[gap:][is_pair])
        gaps.append(np.full(len(cells[-1]), gap - 1))
    pairs, pair_of = np.unique(np.concatenate(cells), return_inverse=True)
    counts_PG = np.zeros((len(pairs), next_items), np.float32)
    np.add.at(counts_PG, (pair_of, np.concatenate(gaps)), 1.0)
    before = pairs // num_items
    total_IG = np.zeros((num_items + 1, next_items), np.float32)
    np.add.at(total_IG, before, counts_PG)
    popularity_I = np.bincount(items, minlength=num_items) + _RARELY
    return {
        "start_I": np.searchsorted(before, np.arange(num_items + 2)).astype(np.int64),
        "pairs_P": pairs,
        "counts_PG": counts_PG,
        "total_IG": total_IG,
        "popularity_I": (popularity_I / popularity_I.sum()).astype(np.float32),
    }
