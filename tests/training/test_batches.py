"""Batches: every target exactly once an epoch, with the history that belongs to it."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.training.batches import HistoryBatches
from genrec.types import ABSENT, Histories

PADDING = 1000


def batches(sequences, *, max_history=4, batch_size=3, all_positions=False, seed=1):
    return HistoryBatches(
        Histories.of(sequences),
        num_items=PADDING,
        max_history=max_history,
        batch_size=batch_size,
        all_positions=all_positions,
        seed=seed,
        device=torch.device("cpu"),
    )


def distinct(lengths):
    """Sequences in which no item occurs twice, so that an item names its place."""
    starts = np.cumsum([0, *lengths])
    return [list(range(starts[user], starts[user + 1])) for user in range(len(lengths))]


LENGTHS = st.lists(st.integers(0, 13), min_size=1, max_size=12).filter(lambda lengths: max(lengths) > 1)


@given(lengths=LENGTHS, max_history=st.integers(1, 6), batch_size=st.integers(1, 5), all_positions=st.booleans())
def test_every_target_once_with_its_own_history(lengths, max_history, batch_size, all_positions):
    sequences = distinct(lengths)
    before = {item: sequence[:place] for sequence in sequences for place, item in enumerate(sequence) if place}
    source = batches(sequences, max_history=max_history, batch_size=batch_size, all_positions=all_positions)
    met = []
    epoch = source.epoch(1)
    assert len(list(epoch)) == len(epoch) == len(source)
    for batch in epoch:
        assert batch.all_positions == all_positions
        assert batch.history_BT.dtype == batch.target_BQ.dtype == torch.int64
        assert 1 <= len(batch.history_BT) <= batch_size
        assert batch.history_BT.shape[1] <= max_history
        for history_T, target_Q in zip(batch.history_BT.tolist(), batch.target_BQ.tolist(), strict=True):
            length = sum(item != PADDING for item in history_T)
            assert history_T[length:] == [PADDING] * (len(history_T) - length), "padding stands at the end"
            history_T = history_T[:length]
            if not all_positions:
                assert len(target_Q) == 1
                assert history_T == before[target_Q[0]][-max_history:]
                met += target_Q
                continue
            assert len(target_Q) == batch.history_BT.shape[1]
            assert target_Q[length:] == [ABSENT] * (len(target_Q) - length)
            for query, target in enumerate(target_Q[:length]):
                seen = history_T[: query + 1]
                assert seen == before[target][-len(seen) :]
                met.append(target)
    assert Counter(met) == Counter(before.keys())


def test_windows_of_a_long_history_end_at_the_last_target():
    source = batches([list(range(11))], max_history=4, all_positions=True, batch_size=9)
    assert source.num_samples == 3
    [batch] = source.epoch(1)
    rows = sorted(zip(batch.history_BT.tolist(), batch.target_BQ.tolist(), strict=True))
    assert rows == [
        ([0, 1, PADDING, PADDING], [1, 2, ABSENT, ABSENT]),
        ([2, 3, 4, 5], [3, 4, 5, 6]),
        ([6, 7, 8, 9], [7, 8, 9, 10]),
    ]


@pytest.mark.parametrize("all_positions", [False, True])
def test_equal_epochs_are_equal_and_different_ones_differ(all_positions):
    sequences = distinct([9] * 30)

    def epoch(number, seed=1):
        source = batches(sequences, all_positions=all_positions, seed=seed)
        return [batch.history_BT.tolist() for batch in source.epoch(number)]

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)
    assert epoch(1) != epoch(1, seed=2)
    source = batches(sequences, all_positions=all_positions)
    once = source.epoch(3)
    assert [b.target_BQ.tolist() for b in once] == [b.target_BQ.tolist() for b in once], "iterable more than once"


def test_repeated_items_are_samples_of_their_own():
    met = [int(target) for batch in batches([[5, 5, 5], [5, 5]]).epoch(1) for target in batch.target_BQ[:, 0]]
    assert met == [5, 5, 5]


def test_users_with_one_item_or_none_give_no_sample():
    source = batches([[], [1], [2, 3], [], [4]])
    assert source.num_samples == 1
    [batch] = source.epoch(1)
    assert (batch.history_BT.tolist(), batch.target_BQ.tolist()) == ([[2]], [[3]])


def test_batches_hold_histories_of_like_length():
    source = batches(distinct([40] * 50), max_history=20, batch_size=16)
    padded = [float((batch.history_BT == PADDING).double().mean()) for batch in source.epoch(1)]
    assert np.mean(padded) < 0.05
    lengths = [batch.history_BT.shape[1] for batch in source.epoch(1)]
    assert lengths != sorted(lengths), "yet batches come in random order"


def test_nothing_to_learn_from_is_said():
    with pytest.raises(DataError) as caught:
        batches([[1], [2], []])
    assert str(caught.value) == (
        "training: none of the 3 training histories has two items, expected at least one that has (a user with n >= 3 "
        "items trains on n - 2); give a larger dataset"
    )
