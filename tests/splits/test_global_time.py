"""The global time split against one that shares no code, on files with known times."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from splits import worlds

from genrec.errors import DataError
from genrec.splits.global_time import GlobalTime
from genrec.testing import tiny_dataset
from genrec.types import Dataset, Histories, Split, Splits


@pytest.fixture(scope="module", params=["movielens", "amazon"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[worlds.Row], Dataset]:
    """Interactions with known times, and the dataset read from their files."""
    found = worlds.rows()
    return found, getattr(worlds, request.param)(tmp_path_factory.mktemp("data"), found)


def users_of(dataset: Dataset, split: Split) -> dict[str, tuple[list[str], list[str]]]:
    """History and targets as item keys, by user key."""
    lists = zip(worlds.keys(dataset, split.histories), worlds.keys(dataset, split.target_lists), strict=True)
    return dict(zip([dataset.user_keys[user] for user in split.users], lists, strict=True))


def check(dataset: Dataset, parts: Splits, wanted: worlds.Independent) -> None:
    assert worlds.keys(dataset, parts.train) == [wanted.train[user] for user in sorted(wanted.train, key=int)]
    assert users_of(dataset, parts.valid) == wanted.valid
    assert users_of(dataset, parts.test) == wanted.test
    assert [(*map(int, re.findall(r"\d+", note)),) for note in parts.notes if "no history" in note] == [wanted.new]


@pytest.mark.parametrize("targets", ["next", "last", "all"])
@pytest.mark.parametrize("unseen_items", ["drop", "keep"])
def test_sets_equal_those_of_an_independent_split(made, targets, unseen_items):
    found, dataset = made
    times = sorted(row.time for row in found)
    cut = times[int(0.8 * len(times))]
    before = [time for time in times if time < cut]
    valid_cut = before[int(0.75 * len(before))]
    rule = GlobalTime(cut=0.8, valid_cut=0.75, targets=targets, unseen_items=unseen_items)
    parts = rule.split(dataset)
    wanted = worlds.independent_split(found, cut, valid_cut, targets, drop=unseen_items == "drop")
    assert len(wanted.valid) > 5
    assert len(wanted.test) > 5
    check(dataset, parts, wanted)
    # The same moments as dates: whole seconds, UTC.
    as_text = [datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S") for time in (cut, valid_cut)]
    check(dataset, rule.model_copy(update={"cut": as_text[0], "valid_cut": as_text[1]}).split(dataset), wanted)


def test_validation_is_cut_in_the_same_proportion(made):
    found, dataset = made
    times = sorted(row.time for row in found)
    cut = times[int(0.8 * len(times))]
    before = [time for time in times if time < cut]
    valid_cut = before[int(len(before) / len(times) * len(before))]
    check(
        dataset, GlobalTime(cut=0.8).split(dataset), worlds.independent_split(found, cut, valid_cut, "next", drop=True)
    )


def test_validation_by_user_trains_up_to_the_cut(made):
    found, dataset = made
    cut = sorted(row.time for row in found)[int(0.8 * len(found))]
    parts = GlobalTime(cut=0.8, validation="by_user", valid_users=0.3, unseen_items="keep").split(dataset)
    past: dict[str, list[str]] = {}
    for row in found:
        if row.time < cut:
            past.setdefault(row.user, []).append(row.item)
    chosen = users_of(dataset, parts.valid)
    assert len(chosen) == round(0.3 * sum(len(items) > 1 for items in past.values()))
    assert chosen == {user: (past[user][:-1], past[user][-1:]) for user in chosen}
    trained = [past[user] for user in sorted(past, key=int) if user not in chosen]
    assert worlds.keys(dataset, parts.train) == trained
    assert worlds.keys(dataset, parts.train_and_valid) == [past[user] for user in sorted(past, key=int)]
    assert users_of(dataset, parts.test) == worlds.independent_split(found, cut, cut, "next", drop=False).test


def test_final_fit_trains_on_all_that_is_before_the_test(made):
    _, dataset = made
    parts = GlobalTime(cut=0.8, unseen_items="keep").split(dataset)
    assert len(parts.train_and_valid.items) == int((dataset.times < _cut(dataset.times, 0.8)).sum())


def _cut(times: np.ndarray, share: float) -> int:
    return int(np.sort(times)[int(share * len(times))])


def test_interactions_at_one_moment_stay_together(made):
    _, dataset = made
    day = np.asarray(dataset.times) // worlds.DAY // 50
    parts = GlobalTime(cut=0.8, unseen_items="keep").split(replace(dataset, times=day))
    cut = np.sort(day)[int(0.8 * len(day))]
    assert len(parts.train_and_valid.items) == (day < cut).sum() < 0.8 * len(day)


@pytest.mark.parametrize("unseen_items", ["drop", "keep"])
def test_planted_leaks_change_nothing_that_is_trained_on(made, unseen_items):
    """Every item from the validation cut on is replaced at random."""
    _, dataset = made
    rule = GlobalTime(cut=0.8, valid_cut=0.7, unseen_items=unseen_items)
    parts = rule.split(dataset)
    past = dataset.times[dataset.times < _cut(dataset.times, 0.8)]
    future = dataset.times >= _cut(past, 0.7)
    items = dataset.histories.items.copy()
    assert len(parts.train.items) + future.sum() == len(items)
    items[future] = np.random.default_rng(0).integers(0, dataset.num_items, future.sum())
    leaky = rule.split(replace(dataset, histories=Histories(items, dataset.histories.offsets)))
    assert parts.train.items.tobytes() == leaky.train.items.tobytes()
    assert parts.train.offsets.tobytes() == leaky.train.offsets.tobytes()
    assert (parts.kept_I is None and leaky.kept_I is None) or (parts.kept_I == leaky.kept_I).all()
    assert users_of(dataset, parts.test) != users_of(dataset, leaky.test)


def test_a_dataset_without_times_gets_one_error():
    dataset = replace(tiny_dataset(), times=None)
    message = (
        "tiny: evaluation.split global_time needs the time of each interaction, and this dataset has none; expected a "
        "dataset with times (amazon_reviews, movielens, yelp, recbole with time_field, table with time), or split: "
        "by_user or leave_one_out"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        GlobalTime().split(dataset)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cut": "2031-01-01"}, "nothing happened at or after evaluation.split.cut 2031-01-01 (2031-01-01)"),
        ({"cut": "2001-08-01"}, "nothing happened before evaluation.split.cut 2001-08-01 (2001-08-01)"),
        ({"cut": "2014-08-01", "valid_cut": "2014-09-01"}, "evaluation.split.valid_cut 2014-09-01 (2014-09-01)"),
    ],
)
def test_cuts_outside_the_data(fields, message):
    with pytest.raises(DataError, match=re.escape(message)):
        GlobalTime(**fields).split(tiny_dataset())


def test_a_date_needs_dates():
    counters = replace(tiny_dataset(), times_are_dates=False)
    with pytest.raises(DataError, match="is the date 2014-08-01, but the times are counters"):
        GlobalTime(cut="2014-08-01").split(counters)
    assert "test from 1," in GlobalTime(cut=0.8, unseen_items="keep").split(counters).text


@pytest.mark.parametrize("cut", ["yesterday", 1.0, 0, "2014-13-01"])
def test_what_is_no_cut(cut):
    with pytest.raises(ValueError, match=r"expected a share|less than 1|greater than 0"):
        GlobalTime(cut=cut)
