"""Held-out users: some users are not trained on at all."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from genrec.families import SplitRule, splits
from genrec.splits._parts import cold_targets, drawn_users, evaluated, is_in_training, require_users, training
from genrec.types import Dataset, Splits


@splits.register("by_user")
class ByUser(SplitRule):
    """Hold out users: how well does a model recommend to users whom it was not trained on?

    Strong generalization (Marlin, 2004; Liang et al., WWW 2018). The last item of a held-out user is the target, the
    items before it are the history. Liang et al. hide a random fifth of a user's items instead, because their models
    read sets. A final fit trains on whole histories of the validation users.
    """

    test_users: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the users with two items or more who are test users."""
    valid_users: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of these users who are validation users."""
    seed: NonNegativeInt = 0
    """Of the choice of users; the recipe's seed does not change it."""

    @model_validator(mode="after")
    def _someone_is_left(self) -> ByUser:
        if self.test_users + self.valid_users >= 1:
            raise ValueError(
                f"found test_users {self.test_users:g} and valid_users {self.valid_users:g}, expected a sum below 1: "
                "the other users are trained on"
            )
        return self

    def split(self, dataset: Dataset) -> Splits:
        """Divide by users; see :meth:`SplitRule.split`."""
        histories = dataset.histories
        enough = np.flatnonzero(histories.lengths >= 2)
        test_users = drawn_users(enough, self.test_users, self.seed)
        valid_share = min(1.0, self.valid_users * len(enough) / max(len(enough) - len(test_users), 1))
        valid_users = drawn_users(np.setdiff1d(enough, test_users), valid_share, self.seed)
        is_test_N, is_valid_N = (np.isin(histories.users, users) for users in (test_users, valid_users))
        is_trained_N = ~is_test_N & ~is_valid_N
        nothing_N = np.zeros(len(is_trained_N), dtype=bool)
        valid, _ = evaluated(histories, nothing_N, is_valid_N, "last")
        test, _ = evaluated(histories, nothing_N, is_test_N, "last")
        advice = "use a larger dataset, or set other shares"
        require_users(dataset, self.type_name, advice=advice, validation=valid, test=test)
        is_trained_I = is_in_training(dataset, is_trained_N)
        train = training(histories, is_trained_N)
        known_until_U = np.full(len(histories), np.iinfo(np.int64).max)
        known_until_U[np.union1d(test_users, valid_users)] = np.iinfo(np.int64).min
        return Splits(
            train=train,
            train_and_valid=training(histories, ~is_test_N),
            valid=valid,
            test=test,
            known_until_U=known_until_U,
            text="split by users, none of whom is trained on",
            notes=(
                f"split: {len(train):,} users are trained on, {len(valid):,} are validation and {len(test):,} test "
                "users",
                f"split: {cold_targets('validation', valid, is_trained_I)} and "
                f"{cold_targets('test', test, is_trained_I)}",
            ),
        )
