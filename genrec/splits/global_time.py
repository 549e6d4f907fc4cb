"""Global time split: one moment for all users; what happened before it is trained on, what came later is held out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from genrec.errors import DataError
from genrec.families import SplitRule, splits
from genrec.splits._parts import (
    TARGET_TEXTS,
    Targets,
    cold_targets,
    drawn_users,
    evaluated,
    is_in_training,
    require_users,
    training,
)
from genrec.types import Dataset, Split, Splits


def _is_date(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"found {text!r}, expected a share such as 0.9 or a date such as 2014-03-01 or 2014-03-01T12:00:00"
        ) from None
    return text


Share = Annotated[float, Field(gt=0, lt=1)]
Cut = Share | Annotated[str, AfterValidator(_is_date)]
"""A share of the interactions in order of time, or a date in ISO 8601 (UTC without a zone)."""


@splits.register("global_time")
class GlobalTime(SplitRule):
    """Train on what happened before a moment, evaluate on what came later, as a system in use does.

    Test users are those with interactions before and after the cut. Nothing that happened at the cut or later is
    trained on, whoever did it. Ji et al. (TOIS 2023) measure what other splits leak, Gusak et al. (RecSys 2025) compare
    targets and validations. Needs a dataset with times.
    """

    cut: Cut = 0.9
    """The test begins here. A share: of all interactions in order of time, so that at most this share is before the
    cut (interactions at one time stay together). A date, UTC without a zone: that moment."""
    valid_cut: Cut | None = None
    """With ``validation: by_time``: validation begins here; a share is one of the interactions before ``cut``. null: as
    large a share of these as ``cut`` leaves of all interactions."""
    targets: Targets = "next"
    """Targets of a user among the items after the cut. ``next``: the first one. ``last``: the last one; those before it
    belong to the history, though the model was not trained on them. ``all``: each of them once, after the history
    before the cut; metrics of several targets are for this, checkpoints are selected by the first target."""
    validation: Literal["by_time", "by_user"] = "by_time"
    """``by_time``: validation users have a target between ``valid_cut`` and ``cut``, and training ends at
    ``valid_cut``. ``by_user``: some users are not trained on; their last item before ``cut`` is the target, and
    training ends at ``cut``."""
    valid_users: Share = 0.1
    """With ``validation: by_user``: share of the users with two items or more before the cut."""
    seed: NonNegativeInt = 0
    """With ``validation: by_user``: of the choice of users; the recipe's seed does not change it."""
    unseen_items: Literal["drop", "keep"] = "drop"
    """Items that do not occur in training. ``drop``: they leave the catalog, and their interactions leave histories
    and targets of validation and test, so that nothing that is fitted knows of them. ``keep``: they are ranked and may
    be targets, which streams that encode texts or images can find. Their number is reported either way."""

    @model_validator(mode="after")
    def _validation_by_time(self) -> GlobalTime:
        if self.validation == "by_user" and self.valid_cut is not None:
            raise ValueError("found valid_cut with validation: by_user, expected validation: by_time, or no valid_cut")
        return self

    def split(self, dataset: Dataset) -> Splits:
        """Divide by time; see :meth:`SplitRule.split`."""
        times = _times(dataset)
        cut = _moment(dataset, times, self.cut, "cut")
        histories, is_past_N = dataset.histories, times < cut
        if self.validation == "by_time":
            share_before = float(is_past_N.mean())
            valid_cut = _moment(dataset, times[is_past_N], self.valid_cut or share_before, "valid_cut")
            is_trained_N = times < valid_cut
            known_until, known_until_U = valid_cut, np.full(len(histories), valid_cut)
            when = f"validation from {_text(dataset, valid_cut)} on"
        else:
            enough = np.flatnonzero(histories.where(is_past_N).lengths >= 2)
            chosen = drawn_users(enough, self.valid_users, self.seed)
            is_trained_N = is_past_N & ~np.isin(histories.users, chosen)
            known_until, known_until_U = cut, np.full(len(histories), cut)
            known_until_U[chosen] = np.iinfo(np.int64).min
            when = f"validation on {len(chosen):,} users who are not trained on"
        is_trained_I = is_in_training(dataset, is_trained_N)
        is_known_N = is_trained_I[histories.items] if self.unseen_items == "drop" else np.ones(len(times), dtype=bool)
        is_valid_N, is_test_N = is_past_N & ~is_trained_N & is_known_N, ~is_past_N & is_known_N
        if self.validation == "by_time":
            valid, valid_new = evaluated(histories, is_trained_N, is_valid_N, self.targets)
        else:
            nothing_N = np.zeros(len(times), dtype=bool)
            valid, valid_new = evaluated(histories, nothing_N, is_valid_N, "last")
        test, test_new = evaluated(histories, is_trained_N | is_valid_N, is_test_N, self.targets)
        advice = "move evaluation.split.cut and valid_cut, or set unseen_items: keep"
        require_users(dataset, self.type_name, advice=advice, validation=valid, test=test)
        counts = is_trained_N.sum(), (is_past_N & ~is_trained_N).sum(), (~is_past_N).sum()
        return Splits(
            train=training(histories, is_trained_N),
            train_and_valid=training(histories, is_trained_N | is_valid_N),
            valid=valid,
            test=test,
            text=f"global time split, test from {_text(dataset, cut)} on, {when}",
            valid_target=TARGET_TEXTS[self.targets if self.validation == "by_time" else "last"],
            test_target=TARGET_TEXTS[self.targets],
            kept_I=is_trained_I if self.unseen_items == "drop" else None,
            known_until_U=known_until_U,
            known_until=known_until,
            notes=(
                "split: {:,} interactions are trained on, {:,} held out for validation and {:,} for the test".format(
                    *counts
                ),
                self._unseen(dataset, is_trained_I, is_past_N & ~is_trained_N, ~is_past_N, valid, test),
                f"split: {valid_new:,} validation and {test_new:,} test users have no history before their targets and "
                "are left out",
            ),
        )

    def _unseen(
        self,
        dataset: Dataset,
        is_trained_I: np.ndarray,
        is_valid_N: np.ndarray,
        is_test_N: np.ndarray,
        valid: Split,
        test: Split,
    ) -> str:
        """The items that training lacks, as a note."""
        count, total = int((~is_trained_I).sum()), len(is_trained_I)
        items = f"split: {count:,} of {total:,} items do not occur in training"
        if self.unseen_items == "keep":
            texts = cold_targets("validation", valid, is_trained_I), cold_targets("test", test, is_trained_I)
            return f"{items} and stay in the catalog; {' and '.join(texts)}"
        is_unseen_N = ~is_trained_I[dataset.histories.items]
        of_valid, of_test = int((is_unseen_N & is_valid_N).sum()), int((is_unseen_N & is_test_N).sum())
        return (
            f"{items} and are dropped, with {of_valid:,} of {int(is_valid_N.sum()):,} interactions of validation and "
            f"{of_test:,} of {int(is_test_N.sum()):,} of the test"
        )


def _times(dataset: Dataset) -> np.ndarray:
    if dataset.times is None:
        raise DataError(
            f"{dataset.name}: evaluation.split global_time needs the time of each interaction, and this dataset has "
            "none; expected a dataset with times (amazon_reviews, movielens, yelp, recbole with time_field, table with "
            "time), or split: by_user or leave_one_out"
        )
    return dataset.times


def _moment(dataset: Dataset, times: np.ndarray, cut: Cut, name: str) -> int:
    """The time of a cut: a date, or the time of the interaction that a share of all others come before.

    Raises:
        DataError: a date for times that are no dates, or nothing is before or after it.
    """
    if isinstance(cut, str):
        if not dataset.times_are_dates:
            raise DataError(
                f"{dataset.name}: evaluation.split.{name} is the date {cut}, but the times are counters; expected a "
                "share such as 0.9"
            )
        date = datetime.fromisoformat(cut)
        # Whole seconds, as times are: what happened within the second of the cut is before it.
        moment = -int(-(date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() // 1)
    else:
        ordered = np.sort(times)
        moment = int(ordered[min(int(round(cut * len(ordered), 6)), len(ordered) - 1)]) if len(ordered) else 0
    is_before_any = (times < moment).any()
    if not is_before_any or not (times >= moment).any():
        side = "at or after" if is_before_any else "before"
        first, last = (_text(dataset, int(end)) for end in (times.min(initial=moment), times.max(initial=moment)))
        raise DataError(
            f"{dataset.name}: nothing happened {side} evaluation.split.{name} {cut} ({_text(dataset, moment)}), "
            f"expected a moment between {first} and {last}"
        )
    return moment


def _text(dataset: Dataset, moment: int) -> str:
    """A time as a date in UTC, with the hour if it is not midnight; a counter as a number."""
    if not dataset.times_are_dates:
        return f"{moment:,}"
    return str(np.datetime64(moment, "s")).removesuffix("T00:00:00").replace("T", " ")
