import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.merges.round_robin import RoundRobin
from genrec.search.candidates import unite
from genrec.testing import tiny_candidates
from genrec.types import StreamCandidates


def candidates_of(lists, entropy_BS=None):
    """One user a row: ``lists[user][stream]`` are items, best first."""
    depth = max((len(part) for row in lists for part in row), default=0)
    by_stream = {}
    for stream in range(len(lists[0])):
        items_BN = np.full((len(lists), depth), -1, dtype=np.int64)
        for user, row in enumerate(lists):
            items_BN[user, : len(row[stream])] = row[stream]
        log_probs_BN = np.where(items_BN < 0, -np.inf, -np.arange(depth)).astype(np.float32)
        by_stream[f"s{stream}"] = StreamCandidates(items_BN, log_probs_BN)
    found = unite(by_stream, dict.fromkeys(by_stream, 1))
    if entropy_BS is not None:
        found.entropy_BS[:] = entropy_BS
    return found


def drafted(row, top_n, order):
    """The plain way."""
    waiting, taken = [list(part) for part in row], []
    while any(waiting):
        for stream in order:
            while waiting[stream] and waiting[stream][0] in taken:
                waiting[stream].pop(0)
            if waiting[stream]:
                taken.append(waiting[stream].pop(0))
    return (taken + [-1] * top_n)[:top_n]


def test_streams_take_turns_and_none_gives_what_is_taken():
    # The second stream's best is taken, so it gives its next; then both go on.
    found = candidates_of([[[7, 5, 3], [7, 8, 9]]])
    ranking = RoundRobin().merge(found, top_n=7)
    assert ranking.items_BN.tolist() == [[7, 8, 5, 9, 3, -1, -1]]
    np.testing.assert_allclose(ranking.scores_BN[0], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, -np.inf, -np.inf])


def test_a_stream_with_nothing_left_misses_its_turn():
    found = candidates_of([[[1], [2, 3, 4], []], [[], [], [9, 8]]])
    assert RoundRobin().merge(found, top_n=4).items_BN.tolist() == [[1, 2, 3, 4], [9, 8, -1, -1]]


def test_the_surest_stream_begins():
    lists = [[[1, 2], [3, 4]]] * 3
    found = candidates_of(lists, [[0.6, 0.1], [0.1, 0.6], [0.3, 0.3]])
    assert RoundRobin(first="surest").merge(found, top_n=4).items_BN.tolist() == [
        [3, 1, 4, 2],
        [1, 3, 2, 4],
        [1, 3, 2, 4],
    ]
    assert RoundRobin().merge(found, top_n=2).items_BN.tolist() == [[1, 3]] * 3


def test_a_short_list_is_not_taken_for_a_sure_one():
    found = candidates_of([[[1], [3, 4]]], [[0.0, 0.5]])
    assert RoundRobin(first="surest").merge(found, top_n=3).items_BN.tolist() == [[3, 1, 4]]


def test_neither_scores_nor_their_size_count():
    with_scores, without = tiny_candidates(with_scores=True), tiny_candidates()
    np.testing.assert_array_equal(
        RoundRobin().merge(with_scores, top_n=9).items_BN, RoundRobin().merge(without, top_n=9).items_BN
    )
    assert not RoundRobin.needs_scores


ROW = st.lists(st.lists(st.integers(0, 12), max_size=6, unique=True), min_size=3, max_size=3)


@given(st.lists(ROW, min_size=1, max_size=4), st.integers(1, 12), st.booleans(), st.integers(0, 9))
def test_as_a_draft_written_out(lists, top_n, surest, seed):
    found = candidates_of(lists, np.random.default_rng(seed).random((len(lists), 3)).astype(np.float32))
    ranking = RoundRobin(first="surest" if surest else "recipe").merge(found, top_n=top_n)
    for user, row in enumerate(lists):
        unsure = [
            1.0 if len(part) < 2 else min(float(entropy) / np.log(len(part)), 1.0)
            for part, entropy in zip(row, found.entropy_BS[user], strict=True)
        ]
        order = sorted(range(3), key=unsure.__getitem__) if surest else range(3)
        assert ranking.items_BN[user].tolist() == drafted(row, top_n, order)
