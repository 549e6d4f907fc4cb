"""The contract of baselines: sound ones pass, and each way to break it is found."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from genrec.errors import ContractError
from genrec.families import Baseline, FittedBaseline
from genrec.runtime.environment import WorkContext
from genrec.testing import check
from genrec.types import Catalog, Histories, Ranking


def broken(component: Any, sentence: str) -> None:
    with pytest.raises(ContractError) as caught:
        check(component)
    assert sentence in str(caught.value)


class Fixed(Baseline):
    """Items in their order."""

    type_name: ClassVar[str] = "fixed"

    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedBaseline:
        return FixedOrder(len(catalog))


class FixedOrder(FittedBaseline):
    def __init__(self, num_items: int) -> None:
        self.num_items = num_items

    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        items_BI = np.tile(np.arange(self.num_items), (len(histories), 1))
        scores_BI = -items_BI.astype(np.float32)
        if exclude_seen:
            scores_BI[np.repeat(np.arange(len(histories)), histories.lengths), histories.items] = -np.inf
        return Ranking.top(items_BI, scores_BI, top_n)


def test_a_sound_baseline_passes():
    check(Fixed())


def test_baseline_that_recommends_seen_items():
    class Forgetful(FixedOrder):
        def rank(self, histories, *, top_n, exclude_seen):
            return super().rank(histories, top_n=top_n, exclude_seen=False)

    class Repeating(Fixed):
        """Ignores exclude_seen."""

        def fit(self, catalog, train, *, context):
            return Forgetful(len(catalog))

    broken(Repeating(), "exclude_seen leaves the items of the history out")


class Noisy(FixedOrder):
    """Scores depend on the number of users that are ranked together."""

    def __init__(self, num_items: int, noise: float) -> None:
        super().__init__(num_items)
        self.noise = noise

    def rank(self, histories, *, top_n, exclude_seen):
        ranking = super().rank(histories, top_n=top_n, exclude_seen=exclude_seen)
        scores_BN = ranking.scores_BN + np.float32(self.noise * len(histories))
        items_BN = ranking.items_BN.copy()
        if len(histories) == 2 and top_n > 3:  # the items of two nearly equal scores change places
            scores_BN[:, 3] = scores_BN[:, 2]
            items_BN[:, [2, 3]] = items_BN[:, [3, 2]]
        elif top_n > 3:
            scores_BN[:, 3] = scores_BN[:, 2] - np.float32(self.noise)
        return Ranking(items_BN, scores_BN)


@pytest.mark.parametrize(("noise", "is_sound"), [(1e-6, True), (1e-2, False)])
def test_scores_of_a_trained_baseline_may_differ_by_rounding(noise, is_sound):
    class Untrained(Fixed):
        """Ranks by counts."""

        def fit(self, catalog, train, *, context):
            return Noisy(len(catalog), noise)

    class Trained(Untrained):
        """Ranks by a network."""

        def fit_validated(self, catalog, train, *, context, validate):
            return self.fit(catalog, train, context=context)

    broken(Untrained(), "users are ranked independently")
    if is_sound:
        check(Trained())
    else:
        broken(Trained(), "users are ranked independently, up to the rounding of scores")
