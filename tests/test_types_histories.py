"""Evaluation users with one target or several."""

import numpy as np
import pytest

from genrec.histories import Histories, Split


def users(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


def test_a_split_with_one_target_has_lists_of_one() -> None:
    split = Split(users(2), Histories.of([[1], [2, 3]]), np.array([4, 5]))
    assert [split.target_lists[user].tolist() for user in range(2)] == [[4], [5]]
    assert split.target_lists.items.dtype == np.int32


def test_some_users_keep_all_their_targets() -> None:
    several = Histories.of([[4, 6], [5], [7, 1, 2]])
    split = Split(users(3), Histories.of([[1], [2, 3], [4]]), np.array([4, 5, 7]), several)
    some = split.take(np.array([2, 0]))
    assert some.targets.tolist() == [7, 4]
    assert [some.target_lists[user].tolist() for user in range(2)] == [[7, 1, 2], [4, 6]]


def test_the_next_item_is_the_first_target() -> None:
    histories = Histories.of([[1], [2]])
    with pytest.raises(ValueError, match="not the next item"):
        Split(users(2), histories, np.array([4, 5]), Histories.of([[6, 4], [5]]))
    with pytest.raises(ValueError, match="without a target"):
        Split(users(2), histories, np.array([4, 5]), Histories.of([[4], []]))
    with pytest.raises(ValueError, match=r"differ in length: \[1, 2\]"):
        Split(users(2), histories, np.array([4]))
