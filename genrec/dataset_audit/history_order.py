"""Checks of the order of histories: chronological order, ties, and training interactions later than targets."""

from __future__ import annotations

import numpy as np

from genrec.dataset_audit.finding import Finding, percent, share
from genrec.types import Dataset, Histories

RISING = 0.9
"""Share of steps to a higher item number (or to a lower one) from which histories follow the item order."""
LEANING = 0.65
"""The same share from which the audit warns: part of the histories may follow the item order."""
AGREEING = 0.97
"""Share of user pairs with the same order of two items from which all users follow one item order."""
ENOUGH = 200
"""Minimum number of steps, or of pairs of users, for a verdict."""
FALLING = 0.001
"""Share of steps back in time from which an order is not chronological."""
TIED = 0.05
"""Share of test targets with the timestamp of the previous item from which the audit warns."""

_NEAR = 20
"""Most recent items of a user that are compared with each other."""
_MOST_USERS = 20_000
"""Maximum number of users compared, which takes seconds."""
_BY_TIME = "sort each history by time (order: time), not by position in the file"


def order_finding(dataset: Dataset) -> Finding:
    """Whether histories are in chronological order, as far as can be seen."""
    histories, times = dataset.histories, dataset.times
    if times is not None and np.diff(times)[_within(histories, 1)].any():
        return _against_times(histories, times)
    return _without_times(histories)  # or with constant times in each history, which give no order


def _against_times(histories: Histories, times: np.ndarray) -> Finding:
    within = _within(histories, 1)
    steps = int(within.sum())
    back = int((np.diff(times) < 0)[within].sum())
    if not back:
        return Finding("order", "ok", f"every history is in chronological order ({steps:,} steps)")
    found = f"{back:,} of {steps:,} steps in the histories ({percent(share(back, steps))}) go back in time"
    if share(back, steps) < FALLING:
        return Finding("order", "warning", found, _BY_TIME)
    return Finding(
        "order", "error", f"{found}: the order is not chronological, so the last item is not the next item", _BY_TIME
    )


def _without_times(histories: Histories) -> Finding:
    rises, steps = rising_steps(histories)
    agreement, pairs = order_agreement(histories)
    found = []
    if steps >= ENOUGH and max(rises, 1 - rises) >= RISING:
        direction = "higher" if rises >= RISING else "lower"
        found.append(
            f"{percent(max(rises, 1 - rises))} of {steps:,} steps between known items go to a {direction} item number"
        )
    if pairs >= ENOUGH and agreement >= AGREEING:
        found.append(f"users who have the same two items have them in the same order in {percent(agreement)} of cases")
    if found:
        return Finding(
            "order",
            "error",
            f"{' and '.join(found)} (by chance: half): this is the order of the items, as in a file grouped by item, "
            "not chronological order, so the last item is not the next item",
            f"{_BY_TIME}; not a problem if items can only be used in one order (episodes, lessons)",
        )
    if steps >= ENOUGH and max(rises, 1 - rises) >= LEANING:
        text = f"{percent(rises)} of {steps:,} steps between known items go to a higher item number (by chance: half)"
        advice = f"check whether part of the histories follows the item order; {_BY_TIME}"
        return Finding("order", "warning", text, advice)
    if steps < ENOUGH and pairs < ENOUGH:
        return Finding(
            "order", "warning", "no times, and too few histories to see whether they are in the order of items"
        )
    seen = [f"{percent(rises)} of {steps:,} steps between known items go to a higher item number"] * (steps >= ENOUGH)
    if pairs >= ENOUGH:
        seen.append(f"users who have the same two items have them in the same order in {percent(agreement)} of cases")
    return Finding("order", "ok", f"no times to check against, and no sign of the item order: {', '.join(seen)}")


def rising_steps(histories: Histories) -> tuple[float, int]:
    """Share of steps to a higher item number, and the number of steps.

    Only steps between two items of earlier users count. Sources that number items by first appearance (S3-Rec) give new
    items rising numbers for any order of a history; between known items chance is one half.
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
    """Share of user pairs with the same order of two common items, and the number of such cases.

    Needs no item numbers: a file grouped by item gives all users the same order.
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
    """Ties between consecutive items, and between test targets and the item before; None without times.

    Only leave-one-out depends on the order of ties; for other splits there is nothing to find.
    """
    if dataset.times is None or dataset.splits is not None:
        return None
    histories, times = dataset.histories, dataset.times
    within = _within(histories, 1)
    tied = int((np.diff(times) == 0)[within].sum())
    last = histories.offsets[1:][histories.lengths >= 3] - 1
    targets = int((times[last] == times[last - 1]).sum())
    steps = int(within.sum())
    found = (
        f"{tied:,} of {steps:,} consecutive items in the histories ({percent(share(tied, steps))}) and "
        f"{targets:,} of {len(last):,} test targets with the item before them ({percent(share(targets, len(last)))}) "
        "share a timestamp"
    )
    if share(targets, len(last)) < TIED:
        return Finding("ties", "ok", found)
    return Finding(
        "ties",
        "warning",
        f"{found}: there the target is arbitrary; the order is {dataset.order}",
        "compare only with results of the same order, and report the order",
    )


def future_finding(dataset: Dataset) -> Finding | None:
    """Share of training interactions later than the test targets; None without times or under another split."""
    if dataset.times is None or dataset.splits is not None or not len(dataset.test):
        return None
    lengths, offsets = dataset.histories.lengths, dataset.histories.offsets
    is_train = np.ones(len(dataset.times), dtype=bool)
    is_evaluated = lengths >= 3
    is_train[offsets[1:][is_evaluated] - 1] = False
    is_train[offsets[1:][is_evaluated] - 2] = False
    train, test = np.sort(dataset.times[is_train]), dataset.times[offsets[1:][is_evaluated] - 1]
    later = len(train) - np.searchsorted(train, test, side="right")
    return Finding(
        "future",
        "warning" if later.any() else "ok",
        f"{int(later.max(initial=0)):,} of {len(train):,} training interactions are later than the earliest test "
        f"target, {percent(float(later.mean()) / max(len(train), 1))} later than the average one: leave-one-out is "
        "not a split by time",
        "read results as a comparison of methods, or use evaluation.split global_time" if later.any() else "",
    )


def _within(histories: Histories, lag: int) -> np.ndarray:
    """Whether items k and k + lag belong to one user, bool (total - lag,)."""
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    return user[lag:] == user[:-lag]


def _recent(histories: Histories) -> Histories:
    lengths = np.minimum(histories.lengths, _NEAR)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Histories(histories.items[np.repeat(histories.offsets[1:] - lengths, lengths) + within], offsets)
