"""Findings on the order of histories: is it that of time, how are ties broken, does training know the future."""

from __future__ import annotations

import numpy as np

from genrec.audit.finding import Finding, percent, share
from genrec.types import Dataset, Histories

RISING = 0.9
"""Share of steps to a higher item number (or of steps to a lower one) from which an order is that of the items."""
LEANING = 0.65
"""The same share from which it must be said: part of the histories may be in the order of the items."""
AGREEING = 0.97
"""How often two users must have two items in the same order for all users to follow one order of the items."""
ENOUGH = 200
"""Steps, or pairs of users, below which neither is judged."""
FALLING = 0.001
"""Share of steps back in time from which an order is not that of time."""
TIED = 0.05
"""Share of test targets of the same time as the item before from which it must be said."""

_NEAR = 20
"""Most recent items of a user that are compared with each other."""
_MOST_USERS = 20_000
"""Users who are compared: enough to judge, and seconds where there are millions."""
_BY_TIME = "sort each history by time (order: time), and never by the place in the file"


def order_finding(dataset: Dataset) -> Finding:
    """Whether histories are in the order of time, as far as can be seen."""
    histories, times = dataset.histories, dataset.times
    if times is not None and np.diff(times)[_within(histories, 1)].any():
        return _against_times(histories, times)
    return _without_times(histories)  # or with times that are all the same within a history, which order nothing


def _against_times(histories: Histories, times: np.ndarray) -> Finding:
    within = _within(histories, 1)
    steps = int(within.sum())
    back = int((np.diff(times) < 0)[within].sum())
    if not back:
        return Finding("order", "ok", f"every history is in the order of its times ({steps:,} steps)")
    told = f"{back:,} of {steps:,} steps in the histories ({percent(share(back, steps))}) go back in time"
    if share(back, steps) < FALLING:
        return Finding("order", "warning", told, _BY_TIME)
    return Finding(
        "order", "error", f"{told}: the order is not that of time, and the last item is not what came next", _BY_TIME
    )


def _without_times(histories: Histories) -> Finding:
    rises, steps = rising_steps(histories)
    agreement, pairs = order_agreement(histories)
    told = []
    if steps >= ENOUGH and max(rises, 1 - rises) >= RISING:
        direction = "higher" if rises >= RISING else "lower"
        told.append(
            f"{percent(max(rises, 1 - rises))} of {steps:,} steps between known items go to a {direction} item number"
        )
    if pairs >= ENOUGH and agreement >= AGREEING:
        told.append(f"users who have the same two items have them in the same order in {percent(agreement)} of cases")
    if told:
        return Finding(
            "order",
            "error",
            f"{' and '.join(told)} (by chance: half): this is the order of the items, as in a file grouped by item, "
            "and not of time, so the last item is not what came next",
            f"{_BY_TIME}; unless items can only be used in one order (episodes, lessons)",
        )
    if steps >= ENOUGH and max(rises, 1 - rises) >= LEANING:
        text = f"{percent(rises)} of {steps:,} steps between known items go to a higher item number (by chance: half)"
        advice = f"see whether part of the histories is in the order of the items; {_BY_TIME}"
        return Finding("order", "warning", text, advice)
    if steps < ENOUGH and pairs < ENOUGH:
        return Finding(
            "order", "warning", "no times, and too few histories to see whether they are in the order of items"
        )
    seen = [f"{percent(rises)} of {steps:,} steps between known items go to a higher item number"] * (steps >= ENOUGH)
    if pairs >= ENOUGH:
        seen.append(f"users who have the same two items have them in the same order in {percent(agreement)} of cases")
    return Finding("order", "ok", f"no times to check against, and no order of the items: {', '.join(seen)}")


def rising_steps(histories: Histories) -> tuple[float, int]:
    """Share of steps to a higher item number, and how many steps there are.

    Only steps between two items that earlier users had count. Sources that number items when they first appear (S3-Rec)
    give new items rising numbers whatever the order of a history is; between known items chance is one half.
    """
    items = histories.items
    if len(items) < 2:
        return 0.0, 0
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    first = np.full(int(items.max()) + 1, len(histories), dtype=np.int64)
    np.minimum.at(first, items, user)
    known = first[items] < user
    steps = np.diff(items.astype(np.int64))[_within(histories, 1) & known[1:] & known[:-1]]
    steps = steps[steps != 0]
    return float((steps > 0).mean()) if len(steps) else 0.0, len(steps)


def order_agreement(histories: Histories) -> tuple[float, int]:
    """How often two users who both have two items have them in the same order, and of how many cases that is the mean.

    It needs no numbering: a file that is grouped by item gives all users one order, whatever the items are called.
    """
    if len(histories) > _MOST_USERS:
        histories = histories.take(np.linspace(0, len(histories) - 1, _MOST_USERS).astype(np.int64))
    histories = _recent(histories)
    items = histories.items.astype(np.int64)
    size = int(items.max(initial=0)) + 1
    keys, forward = [], []
    for lag in range(1, min(_NEAR, len(items))):
        within = _within(histories, lag)
        one, two = items[:-lag][within], items[lag:][within]
        differs = one != two
        one, two = one[differs], two[differs]
        keys.append(np.minimum(one, two) * size + np.maximum(one, two))
        forward.append(one < two)
    if not keys:
        return 0.0, 0
    _, pair = np.unique(np.concatenate(keys), return_inverse=True)
    all_of = np.bincount(pair)
    up = np.bincount(pair, weights=np.concatenate(forward))
    down = all_of - up
    cases = float((all_of * (all_of - 1)).sum()) / 2
    same = float((up * (up - 1) + down * (down - 1)).sum()) / 2
    return (same / cases if cases else 0.0), int(cases)


def tie_finding(dataset: Dataset) -> Finding | None:
    """How many neighbors, and how many test targets, have one time; None where there are no times."""
    if dataset.times is None:
        return None
    histories, times = dataset.histories, dataset.times
    within = _within(histories, 1)
    tied = int((np.diff(times) == 0)[within].sum())
    last = histories.offsets[1:][histories.lengths >= 3] - 1
    targets = int((times[last] == times[last - 1]).sum())
    steps = int(within.sum())
    told = (
        f"{tied:,} of {steps:,} neighbors in the histories ({percent(share(tied, steps))}) and "
        f"{targets:,} of {len(last):,} test targets with the item before them ({percent(share(targets, len(last)))}) "
        "share a time"
    )
    if share(targets, len(last)) < TIED:
        return Finding("ties", "ok", told)
    return Finding(
        "ties",
        "warning",
        f"{told}: there the target is arbitrary, the order is {dataset.order}",
        "compare only with numbers of the same order, and give the order with them",
    )


def future_finding(dataset: Dataset) -> Finding | None:
    """How much of the training is younger than what is asked; None where there are no times."""
    if dataset.times is None or not len(dataset.test):
        return None
    lengths, offsets = dataset.histories.lengths, dataset.histories.offsets
    is_train = np.ones(len(dataset.times), dtype=bool)
    asked = lengths >= 3
    is_train[offsets[1:][asked] - 1] = False
    is_train[offsets[1:][asked] - 2] = False
    train, test = np.sort(dataset.times[is_train]), dataset.times[offsets[1:][asked] - 1]
    younger = len(train) - np.searchsorted(train, test, side="right")
    return Finding(
        "future",
        "warning" if younger.any() else "ok",
        f"{int(younger.max(initial=0)):,} of {len(train):,} training interactions are younger than the earliest test "
        f"target, {percent(float(younger.mean()) / max(len(train), 1))} younger than the average one: leaving one out "
        "is no split in time",
        "read the numbers as a comparison of methods, not as what a shop would see" if younger.any() else "",
    )


def _within(histories: Histories, lag: int) -> np.ndarray:
    """Whether item k and item k + lag are of one user, bool (total - lag,)."""
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    return user[lag:] == user[:-lag]


def _recent(histories: Histories) -> Histories:
    lengths = np.minimum(histories.lengths, _NEAR)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Histories(histories.items[np.repeat(histories.offsets[1:] - lengths, lengths) + within], offsets)
