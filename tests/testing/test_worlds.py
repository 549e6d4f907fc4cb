import numpy as np
import pytest

from genrec.testing import clockwork, tiny_candidates, tiny_catalog, tiny_histories, tiny_vectors
from genrec.types import ABSENT


@pytest.mark.parametrize("rounds", [1, 3])
def test_next_item_of_the_clockwork_is_certain_and_popularity_says_nothing(rounds):
    world = clockwork(30, 7, rounds=rounds, seed=2)
    dataset = world.dataset
    assert len(dataset.test) == 30 * rounds
    for user in range(len(dataset.histories)):
        history = dataset.histories[user]
        assert (world.successor_I[history[:-1]] == history[1:]).all()
        assert len(set(history.tolist())) == 7
    counts = np.bincount(dataset.train.items, minlength=30)
    assert counts.min() == counts.max() == 5 * rounds
    assert (np.bincount(dataset.test.targets, minlength=30) == rounds).all()


def test_every_step_of_the_clockwork_is_seen_in_training():
    world = clockwork(25, 5, seed=1)
    train = world.dataset.train
    steps = {(int(a), int(b)) for user in range(len(train)) for a, b in zip(train[user], train[user][1:], strict=False)}
    assert steps == set(enumerate(world.successor_I.tolist()))


def test_behavior_vectors_of_the_clockwork_know_the_order_and_text_vectors_do_not():
    world = clockwork(40)
    near = {}
    for name, vectors in world.vectors.items():
        v = vectors.vectors_IE
        squares = ((v[:, None] - v[None]) ** 2).sum(-1)
        np.fill_diagonal(squares, np.inf)
        two = np.argsort(squares, axis=1)[:, :2]
        near[name] = (two == world.successor_I[:, None]).any(1).mean()
    assert near["behavior"] == 1
    assert near["text"] < 0.3


def test_successors_form_one_circle():
    successor_I = clockwork(17, 6, seed=3).successor_I
    item, seen = 0, set()
    while item not in seen:
        seen.add(item)
        item = int(successor_I[item])
    assert len(seen) == 17


def test_clockwork_refuses_users_that_meet_an_item_twice():
    with pytest.raises(ValueError, match=r"history_length is 9, expected 4 to 8 \(the number of items\)"):
        clockwork(8, 9)


def test_worlds_are_the_same_every_time():
    assert clockwork(seed=4).dataset.histories.items.tolist() == clockwork(seed=4).dataset.histories.items.tolist()
    assert tiny_histories().items.tolist() == tiny_histories().items.tolist()
    assert np.array_equal(tiny_vectors().vectors_IE, tiny_vectors().vectors_IE)
    first, second = tiny_candidates(), tiny_candidates()
    assert np.array_equal(first.log_probs_BCS, second.log_probs_BCS, equal_nan=True)


def test_tiny_catalog_has_an_item_without_anything():
    catalog = tiny_catalog()
    assert catalog.images is not None
    assert (catalog.titles[-1], catalog.texts[-1], catalog.attributes[-1]) == ("", "", ())
    assert catalog.images.counts_I.tolist() == [2] + [1] * (len(catalog) - 2) + [0]
    assert catalog.images.open(0).size == catalog.images.open(0, 1).size == (32, 32)
    assert catalog.images.open(0).tobytes() != catalog.images.open(0, 1).tobytes()
    assert len(set(catalog.titles)) == len(catalog)


def test_tiny_candidates_hold_the_awkward_cases():
    candidates = tiny_candidates()
    present = candidates.items_BC != ABSENT
    found = (candidates.ranks_BCS != ABSENT).sum(1)
    assert (found[1] == 2).all()
    assert found[2].tolist() == [0, 0, 6]
    assert not present[3].any()
    assert found[4].min() >= 5
    assert present[4].sum() <= 7
    assert np.isnan(candidates.log_probs_BCS[present]).any()


def test_scored_candidates_have_every_number():
    candidates = tiny_candidates(with_scores=True)
    scores = candidates.log_probs_BCS[candidates.items_BC != ABSENT]
    assert not np.isnan(scores).any()
    assert (np.isneginf(scores).sum(0)[:2] == 0).all()
    assert (scores <= 0).all()
