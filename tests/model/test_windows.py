"""Histories longer than a history encoder reads, against plain lists and against batches made that short."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from genrec.model.windows import most_recent, prefixes, windows
from genrec.training.batches import HistoryBatches
from genrec.types import ABSENT, Histories

PADDING = 1000
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)
SIZES = st.integers(1, 10)


def padded(rows, fill):
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def unpadded(table, fill):
    return [[value for value in row if value != fill] for row in table.tolist()]


def distinct(lengths):
    """Histories of so many items, no item twice."""
    ends = np.cumsum(lengths)
    return [list(range(end - length, end)) for length, end in zip(lengths, ends, strict=True)]


@given(lengths=LENGTHS, size=SIZES)
def test_most_recent_items(lengths, size):
    rows = distinct(lengths)
    found = most_recent(padded(rows, PADDING), size, padding=PADDING)
    assert unpadded(found, PADDING) == [row[-size:] for row in rows]
    assert found.shape[1] == min(size, max(lengths))
    is_item = found != PADDING
    assert bool((is_item.int().diff(dim=1) <= 0).all()), "padding stands at the end"


@given(lengths=LENGTHS, size=SIZES)
def test_windows_are_counted_back_from_the_last_item(lengths, size):
    rows = distinct(lengths)
    targets = [[item + 1 for item in row] for row in rows]
    history_RW, target_RW = windows(padded(rows, PADDING), padded(targets, ABSENT), size, padding=PADDING)
    expected = []
    for row in rows:
        first = len(row) % size or size
        expected += [row[:first], *(row[start : start + size] for start in range(first, len(row), size))]
    assert unpadded(history_RW, PADDING) == expected
    assert unpadded(target_RW, ABSENT) == [[item + 1 for item in row] for row in expected]
    assert history_RW.shape == target_RW.shape


@given(lengths=st.lists(st.integers(2, 19), min_size=1, max_size=6), size=st.integers(1, 4))
def test_windows_of_windows_are_what_short_batches_have(lengths, size):
    histories = Histories.of(distinct(lengths))

    def samples(max_history):
        source = HistoryBatches(
            histories,
            num_items=PADDING,
            max_history=max_history,
            batch_size=4,
            all_positions=True,
            seed=1,
            device=torch.device("cpu"),
        )
        for batch in source.epoch(1):
            history_RW, target_RW = windows(batch.history_BT, batch.target_BQ, size, padding=PADDING)
            asked = batch.target_BQ
            assert torch.equal(target_RW[target_RW != ABSENT], asked[asked != ABSENT]), "in the same order"
            yield from zip(unpadded(history_RW, PADDING), unpadded(target_RW, ABSENT), strict=True)

    assert sorted(samples(3 * size)) == sorted(samples(size))


@given(lengths=LENGTHS, size=SIZES)
def test_every_target_has_its_prefix(lengths, size):
    rows = distinct(lengths)
    targets = [[item + 1 if item % 3 else ABSENT for item in row] for row in rows]
    history_NW, target_N1 = prefixes(padded(rows, PADDING), padded(targets, ABSENT), size, padding=PADDING)
    expected = [(row[: place + 1][-size:], item + 1) for row in rows for place, item in enumerate(row) if item % 3]
    assert unpadded(history_NW, PADDING) == [row for row, _ in expected]
    assert target_N1[:, 0].tolist() == [target for _, target in expected]
