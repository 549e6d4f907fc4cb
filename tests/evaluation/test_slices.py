"""Groups of users: each user in exactly one, edges from the data, labels with the values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.evaluation.slices import (
    MIN_USERS,
    NEXT_ITEMS,
    NUM_BINS,
    RECENT_ITEMS,
    groups_by_length,
    groups_by_memorization,
    groups_by_popularity,
    target_popularity,
)
from genrec.types import Histories, Split


def split_of(lengths, targets=None):
    histories = Histories.of([[0] * int(length) for length in lengths])
    target_U = np.zeros(len(lengths), np.int64) if targets is None else np.asarray(targets, np.int64)
    return Split(np.arange(len(lengths)), histories, target_U)


def bought(counts):
    """Training histories in which item i occurs ``counts[i]`` times, and one user for each item."""
    items = np.repeat(np.arange(len(counts)), counts)
    return split_of([1] * len(counts), np.arange(len(counts))), Histories.of([items])


def test_lengths_in_quarters():
    lengths = np.repeat([3, 4, 5, 6, 7, 8, 9, 40], 50)
    groups = groups_by_length(split_of(lengths))
    assert [group.label for group in groups] == ["3-4 items", "5-6 items", "7-8 items", "9 items or more"]
    assert [len(group.rows) for group in groups] == [100] * 4
    assert [set(lengths[group.rows]) for group in groups] == [{3, 4}, {5, 6}, {7, 8}, {9, 40}]


def test_one_length_may_be_more_than_a_quarter():
    groups = groups_by_length(split_of([1] * 300 + [2] * 60 + [3] * 40))
    assert [(group.label, len(group.rows)) for group in groups] == [("1 item", 300), ("2 items or more", 100)]


def test_targets_never_bought_stand_apart():
    split, train = bought([0] * 40 + [1] * 35 + [2] * 35 + [3] * 35 + [4] * 20 + [90] * 15)
    groups = groups_by_popularity(split, train)
    assert [(group.label, len(group.rows)) for group in groups] == [
        ("bought 0 times", 40),
        ("bought 1 time", 35),
        ("bought 2 times", 35),
        ("bought 3 times", 35),
        ("bought 4 times or more", 35),
    ]


def test_popularity_counts_every_purchase_in_training_and_nothing_else():
    train = Histories.of([[0, 1, 1], [1, 2]])
    split = split_of([2, 2, 2, 2], [0, 1, 2, 5])
    assert target_popularity(split, train).tolist() == [1, 3, 1, 0]


def test_few_users_are_put_to_their_neighbors():
    split, train = bought([0] * (MIN_USERS - 1) + [1] * 100 + [2] * (MIN_USERS - 1))
    groups = groups_by_popularity(split, train)
    assert [group.label for group in groups] == ["bought 0 times or more"]
    split, train = bought([0] * (MIN_USERS - 1) + [1] * 100 + [2] * MIN_USERS)
    groups = groups_by_popularity(split, train)
    assert [(group.label, len(group.rows)) for group in groups] == [("bought 0-1 times", 129), ("bought 2 times", 30)]


def test_too_few_users_for_any_group_are_marked():
    [group] = groups_by_length(split_of([3, 5, 9]))
    assert group.label == "3 items or more (few users)"
    assert group.rows.tolist() == [0, 1, 2]


def test_what_training_knows_of_a_target():
    train = Histories.of([[0, 1, 2, 3, 4], [5, 6]])
    histories = [[9, 0], [0, 9, 9, 9, 9], [0, 9, 9, 9, 9, 9], [0], [4], [4, 5], [0], [7, 0]]
    targets = [3, 3, 3, 4, 5, 6, 0, 7]
    of_user = {
        0: "memorized",  # 3 stands three places behind 0
        1: "memorized",  # 0 is the fifth item from the end
        2: "generalized",  # and here the sixth
        3: "generalized",  # 4 stands four places behind 0
        4: "generalized",  # 5 begins another history
        5: "memorized",
        6: "repeated",
        7: "repeated",
    }
    split = Split(np.arange(len(targets)), Histories.of(histories), np.array(targets))
    found = {int(row): group.label for group in groups_by_memorization(split, train) for row in group.rows}
    assert found == {user: f"{label} (few users)" for user, label in of_user.items()}


@given(st.data())
def test_known_transitions_are_those_of_a_search_through_training(data):
    item = st.integers(0, 7)
    train = data.draw(st.lists(st.lists(item, min_size=1, max_size=6), min_size=1, max_size=4))
    users = data.draw(st.lists(st.tuples(st.lists(item, min_size=1, max_size=8), item), min_size=1, max_size=5))
    expected = []
    for history, target in users:
        known = any(
            target in walk[place + 1 : place + 1 + NEXT_ITEMS]
            for walk in train
            for place, bought in enumerate(walk)
            if bought in history[-RECENT_ITEMS:]
        )
        expected.append("repeated" if target in history else "memorized" if known else "generalized")
    histories = Histories.of([history for history, _ in users])
    split = Split(np.arange(len(users)), histories, np.array([target for _, target in users]))
    groups = groups_by_memorization(split, Histories.of(train))
    found = {int(row): group.label.removesuffix(" (few users)") for group in groups for row in group.rows}
    assert found == dict(enumerate(expected))
    assert sum(len(group.rows) for group in groups) == len(users)


def test_no_users_make_no_groups():
    assert groups_by_length(split_of([])) == []
    assert groups_by_memorization(split_of([]), Histories.of([[0]])) == []
    assert groups_by_popularity(split_of([]), Histories.of([[0]])) == []


@given(st.lists(st.integers(0, 60), min_size=1, max_size=300), st.integers(1, 40))
def test_every_user_is_in_exactly_one_group_of_each_axis(values, repeats):
    values = values * repeats
    split, train = bought(values)
    by_length = groups_by_length(split_of([value + 1 for value in values]))
    by_popularity = groups_by_popularity(split, train)
    for groups, most in ((by_length, NUM_BINS), (by_popularity, NUM_BINS + 1)):
        assert 1 <= len(groups) <= most
        assert np.array_equal(np.sort(np.concatenate([group.rows for group in groups])), np.arange(len(values)))
        assert len({group.label for group in groups}) == len(groups)
        if len(values) >= MIN_USERS:
            assert all(len(group.rows) >= MIN_USERS for group in groups)
        tops = [max(values[row] for row in group.rows) for group in groups]
        assert tops == sorted(set(tops))
