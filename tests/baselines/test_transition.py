"""The transition heuristic against a dictionary version of itself, and against the numbers measured on real data."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.baselines.popularity import Popularity
from genrec.baselines.transition import Followers, Transition
from genrec.evaluation.metrics import ndcg, recall, target_ranks
from genrec.runtime.environment import WorkContext
from genrec.types import ABSENT, Catalog, Dataset, Histories

DATA = Path(__file__).parents[2] / "../shared/data"
NUM_ITEMS = 9
histories_of_items = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=10), max_size=8)


def catalog(num_items: int) -> Catalog:
    keys = tuple(f"item {i}" for i in range(num_items))
    return Catalog(keys, keys, keys, ((),) * num_items)


def ranked_by_hand(train, history, top_n, exclude_seen, next_items, recent_items):
    """(items, scores) with insertion-ordered dictionaries and a stable sort."""
    followers = defaultdict(dict)
    for sequence in train:
        for place, item in enumerate(sequence):
            for gap, after in enumerate(sequence[place + 1 : place + 1 + next_items], start=1):
                followers[item][after] = followers[item].get(after, 0.0) + 1.0 / gap
    scores: dict[int, float] = {}
    for recency, item in enumerate(reversed(history[-recent_items:]), start=1):
        for after, weight in followers[item].items():
            scores[after] = scores.get(after, 0.0) + weight / recency
    counts = Counter(item for sequence in train for item in sequence)
    popular = sorted(range(NUM_ITEMS), key=lambda item: (-counts[item], item))
    order = sorted(scores, key=lambda item: -scores[item]) + [item for item in popular if item not in scores]
    order = [item for item in order if not (exclude_seen and item in history)][:top_n]
    return order, [np.float32(scores.get(item, 0.0)) for item in order]


@given(histories_of_items, histories_of_items, st.integers(1, 12), st.booleans(), st.integers(1, 4), st.integers(1, 6))
def test_it_does_what_the_dictionary_version_does(train, asked, top_n, exclude_seen, next_items, recent_items):
    baseline = Transition(next_items=next_items, recent_items=recent_items)
    fitted = baseline.fit(catalog(NUM_ITEMS), Histories.of(train), context=WorkContext(seed=0))
    ranking = fitted.rank(Histories.of(asked), top_n=top_n, exclude_seen=exclude_seen)
    assert ranking.items_BN.shape == (len(asked), top_n)
    for user, history in enumerate(asked):
        items, scores = ranked_by_hand(train, history, top_n, exclude_seen, next_items, recent_items)
        padding = top_n - len(items)
        assert ranking.items_BN[user].tolist() == items + [ABSENT] * padding
        assert ranking.scores_BN[user].tolist() == scores + [-np.inf] * padding


def test_followers_are_weighted_by_distance():
    followers = Followers.of(Histories.of([[0, 1, 2, 3, 0], [0, 2]]), 4, next_items=3)
    of_0 = slice(followers.offsets[0], followers.offsets[1])
    assert followers.items[of_0].tolist() == [1, 2, 3]
    assert followers.weights[of_0].tolist() == pytest.approx([1, 1 / 2 + 1, 1 / 3])
    assert followers.offsets.tolist() == [0, 3, 6, 8, 9]


def test_a_certain_next_item_is_found():
    """In a world where i is always followed by i + 1 the heuristic is never wrong, and popularity nearly always."""
    rng = np.random.default_rng(0)
    sequences = [[(start + step) % 50 for step in range(8)] for start in rng.integers(0, 50, 400)]
    data = Dataset("clock", catalog(50), tuple(map(str, range(400))), Histories.of(sequences), "clock")
    fitted = Transition().fit(data.catalog, data.train, context=WorkContext(seed=0))
    ranks = target_ranks(fitted.rank(data.test.histories, top_n=5, exclude_seen=False), data.test.targets)
    assert recall(ranks, 1).mean() == 1.0
    popular = Popularity().fit(data.catalog, data.train, context=WorkContext(seed=0))
    ranks = target_ranks(popular.rank(data.test.histories, top_n=5, exclude_seen=False), data.test.targets)
    assert recall(ranks, 1).mean() < 0.1


@pytest.fixture(scope="module")
def real_data():
    known: dict[str, Dataset] = {}

    def read(folder: str) -> Dataset:
        file = DATA / folder / "sequences.txt"
        if not file.is_file():
            pytest.skip(f"{folder}/sequences.txt is not on this machine")
        if folder not in known:
            lines = file.read_text(encoding="utf-8").splitlines()
            sequences = [np.array(line.split()[1:], dtype=np.int64) - 1 for line in lines]
            num_items = int(max(sequence.max() for sequence in sequences)) + 1
            users = tuple(str(user) for user in range(len(sequences)))
            known[folder] = Dataset(folder, catalog(num_items), users, Histories.of(sequences), folder)
        return known[folder]

    return read


def means(baseline, data: Dataset, exclude_seen: bool) -> dict[str, float]:
    fitted = baseline.fit(data.catalog, data.train, context=WorkContext(seed=0))
    ranking = fitted.rank(data.test.histories, top_n=20, exclude_seen=exclude_seen)
    ranks = target_ranks(ranking, data.test.targets)
    return {
        **{f"R{cutoff}": float(recall(ranks, cutoff).mean()) for cutoff in (5, 10, 20)},
        **{f"N{cutoff}": float(ndcg(ranks, cutoff).mean()) for cutoff in (5, 10, 20)},
    }


# Measured before, by other code, on the same sequences; four digits.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "exclude_seen", "expected"),
    [
        ("amazon-beauty", False, {"R5": 0.0533, "R10": 0.0748}),
        (
            "amazon-beauty",
            True,
            {"R5": 0.0579, "R10": 0.0794, "R20": 0.1068, "N5": 0.0427, "N10": 0.0497, "N20": 0.0566},
        ),
        (
            "amazon-sports",
            True,
            {"R5": 0.0367, "R10": 0.0494, "R20": 0.0648, "N5": 0.0263, "N10": 0.0304, "N20": 0.0342},
        ),
        ("yelp-2019", True, {"R5": 0.0172, "R10": 0.0267, "R20": 0.0426, "N5": 0.0111, "N10": 0.0142, "N20": 0.0182}),
    ],
)
def test_transition_reproduces_measured_numbers(real_data, folder, exclude_seen, expected):
    found = means(Transition(), real_data(folder), exclude_seen)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.00006)


@pytest.mark.parametrize(
    ("folder", "recall_at_10"), [("amazon-beauty", 0.0114), ("amazon-sports", 0.0090), ("yelp-2019", 0.0100)]
)
def test_popularity_reproduces_measured_numbers(real_data, folder, recall_at_10):
    assert means(Popularity(), real_data(folder), False)["R10"] == pytest.approx(recall_at_10, abs=0.00006)
