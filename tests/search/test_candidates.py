import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.search.candidates import load_candidates, save_candidates, stack, unite
from genrec.types import StreamCandidates

NINF = -np.inf


def random_list(rng, num_users, num_items, length):
    items_BN = np.full((num_users, length), -1, dtype=np.int64)
    log_probs_BN = np.full((num_users, length), NINF, dtype=np.float32)
    for row in range(num_users):
        size = int(rng.integers(0, min(length, num_items) + 1))
        items_BN[row, :size] = rng.choice(num_items, size=size, replace=False)
        log_probs_BN[row, :size] = -np.sort(rng.exponential(size=size)).astype(np.float32)
    return StreamCandidates(items_BN, log_probs_BN)


def two_streams():
    behavior = StreamCandidates(
        np.array([[7, 3, 5], [1, -1, -1]]), np.array([[-1, -2, -3], [-0.5, NINF, NINF]], dtype=np.float32)
    )
    text = StreamCandidates(np.array([[5, 7], [-1, -1]]), np.array([[-0.1, -0.2], [NINF, NINF]], dtype=np.float32))
    return {"behavior": behavior, "text": text}


def test_union_by_hand():
    found = unite(two_streams(), {"text": 3, "behavior": 2})
    nan = np.nan
    assert found.streams == ("behavior", "text")
    assert found.items_BC.tolist() == [[7, 5, 3], [1, -1, -1]]
    assert found.ranks_BCS.tolist() == [[[0, 1], [2, 0], [1, -1]], [[0, -1], [-1, -1], [-1, -1]]]
    expected = [[[-1, -0.2], [-3, -0.1], [-2, nan]], [[-0.5, nan], [nan, nan], [nan, nan]]]
    np.testing.assert_array_equal(found.log_probs_BCS, np.array(expected, dtype=np.float32))
    assert found.code_lengths_S.tolist() == [2, 3]
    shares = np.exp([-1.0, -2.0, -3.0])
    shares /= shares.sum()
    assert found.entropy_BS[0, 0] == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-6)
    assert found.entropy_BS[1].tolist() == [0, 0]


def test_scores_are_asked_only_for_what_a_stream_did_not_propose():
    asked = {}

    def scores(name, items_BC):
        asked[name] = items_BC.tolist()
        return np.where(items_BC < 0, np.nan, -100.0 - items_BC)

    found = unite(two_streams(), {"behavior": 2, "text": 2}, scores=scores)
    assert asked == {"behavior": [[-1, -1, -1], [-1, -1, -1]], "text": [[-1, -1, 3], [1, -1, -1]]}
    np.testing.assert_allclose(found.log_probs_BCS[0], [[-1, -0.2], [-3, -0.1], [-2, -103]], rtol=1e-6)
    np.testing.assert_allclose(found.log_probs_BCS[1, 0], [-0.5, -101], rtol=1e-6)
    assert np.isnan(found.log_probs_BCS[1, 1:]).all()
    assert found.ranks_BCS[0, 2].tolist() == [1, -1]


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 6), st.integers(1, 12))
def test_union_against_dictionaries(seed, num_streams, num_users, num_items):
    rng = np.random.default_rng(seed)
    streams = {f"s{s}": random_list(rng, num_users, num_items, int(rng.integers(0, 9))) for s in range(num_streams)}
    found = unite(streams, dict.fromkeys(streams, 2))
    for row in range(num_users):
        first, said = {}, {}
        for s, part in enumerate(streams.values()):
            for place, item in enumerate(part.items_BN[row].tolist()):
                if item >= 0:
                    first[item] = min(first.get(item, (place, s)), (place, s))
                    said[item, s] = (place, part.log_probs_BN[row, place])
        order = sorted(first, key=lambda item: first[item])
        width = found.items_BC.shape[1]
        assert found.items_BC[row].tolist() == order + [-1] * (width - len(order))
        for c in range(width):
            for s in range(num_streams):
                item = order[c] if c < len(order) else None
                place, log_prob = said.get((item, s), (-1, np.nan))
                assert found.ranks_BCS[row, c, s] == place
                np.testing.assert_equal(found.log_probs_BCS[row, c, s], np.float32(log_prob))
    if num_users:
        assert found.items_BC.shape[1] == (found.items_BC >= 0).sum(1).max()


def test_stack_pads_to_the_widest():
    wide = unite(two_streams(), {"behavior": 2, "text": 3})
    narrow = unite(
        {name: StreamCandidates(part.items_BN[1:], part.log_probs_BN[1:]) for name, part in two_streams().items()},
        {"behavior": 2, "text": 3},
    )
    found = stack([narrow, wide])
    assert narrow.items_BC.shape == (1, 1)
    for name in ("items_BC", "log_probs_BCS", "ranks_BCS", "entropy_BS"):
        np.testing.assert_array_equal(getattr(found, name)[1:], getattr(wide, name))
        np.testing.assert_array_equal(getattr(found, name)[0], getattr(wide, name)[1])


def test_file_round_trip(tmp_path):
    written = unite(two_streams(), {"behavior": 2, "text": 3})
    save_candidates(written, tmp_path / "candidates.safetensors")
    read = load_candidates(tmp_path / "candidates.safetensors")
    assert read.streams == written.streams
    for name in ("items_BC", "log_probs_BCS", "ranks_BCS", "entropy_BS", "code_lengths_S"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype


def test_views_are_saved_as_they_look(tmp_path):
    written = unite(two_streams(), {"behavior": 2, "text": 3}).take(np.array([1, 0])).take(slice(None, None, -1))
    save_candidates(written, tmp_path / "c.safetensors")
    read = load_candidates(tmp_path / "c.safetensors")
    assert read.items_BC.tolist() == [[7, 5, 3], [1, -1, -1]]


def test_missing_file(tmp_path):
    path = tmp_path / "candidates.safetensors"
    with pytest.raises(DataError, match=re.escape(f"{path}: no such file; candidates are written by a finished run")):
        load_candidates(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", "foreign"])
def test_file_of_something_else(tmp_path, content):
    from safetensors.numpy import save_file

    path = tmp_path / "candidates.safetensors"
    if content == "foreign":
        save_file({"weight": np.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: not a file of candidates (")):
        load_candidates(path)


@given(seed=st.integers(0, 10**6))
def test_some_of_the_streams_are_united_as_if_there_had_been_no_others(seed):
    rng = np.random.default_rng(seed)
    lists = {name: random_list(rng, 4, 9, 5) for name in ("a", "b", "c")}
    lengths = {"a": 2, "b": 3, "c": 1}

    def scores(name, items_BC):
        return np.where(items_BC < 0, np.nan, -100.0 - items_BC - len(name)).astype(np.float32)

    for asked in (None, scores):
        whole = unite(lists, lengths, scores=asked)
        for names in (("a", "c"), ("b", "c"), ("c",)):
            part = whole.of_streams(names)
            alone = unite({name: lists[name] for name in names}, lengths, scores=asked)
            assert part.streams == alone.streams
            assert part.code_lengths_S.tolist() == alone.code_lengths_S.tolist()
            np.testing.assert_array_equal(part.entropy_BS, alone.entropy_BS)
            assert part.items_BC.shape == alone.items_BC.shape
            for user in range(4):  # the same candidates; their order may be another
                assert found(part, user) == found(alone, user)


def found(candidates, user):
    """Item -> ranks and scores, as text, so that NaN equals NaN."""
    rows = zip(
        candidates.items_BC[user].tolist(),
        candidates.ranks_BCS[user].tolist(),
        candidates.log_probs_BCS[user].tolist(),
        strict=True,
    )
    return {item: repr((ranks, scores)) for item, ranks, scores in rows}
