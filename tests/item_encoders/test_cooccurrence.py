"""PPMI vectors: the counts and the PMI by hand, companions close, both solvers alike, unseen items the mean."""

from math import log

import numpy as np
import pytest
from companion_world import companion_world, companions_found

from genrec.errors import DataError
from genrec.item_encoders.cooccurrence import Cooccurrence, cooccurrence_counts, positive_pmi
from genrec.runtime.environment import WorkContext
from genrec.types import Histories


def test_counts_weigh_by_distance_and_stay_within_a_user():
    counts = cooccurrence_counts(Histories.of([[0, 1, 2, 2], [3, 0]]), 4, window=2).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1] = 1
    expected[1, 2] = 1 + 1 / 2
    expected[0, 2] = 1 / 2
    expected[3, 0] = 1
    assert np.allclose(counts, expected)


def test_pmi_by_the_formula():
    counts = cooccurrence_counts(Histories.of([[0, 1], [0, 1], [2, 3], [0, 3]]), 4, window=1)
    ppmi = positive_pmi(counts).toarray()
    assert ppmi[0, 1] == pytest.approx(log((2 / 4) / ((3 / 4) * (2 / 4))))
    assert ppmi[2, 3] == pytest.approx(log((1 / 4) / ((1 / 4) * (2 / 4))))
    assert ppmi[0, 3] == 0
    shifted = positive_pmi(counts, 1.5).toarray()
    assert shifted[2, 3] == pytest.approx(ppmi[2, 3] - log(1.5))


@pytest.mark.parametrize("num_groups", [5, 60], ids=["dense solver", "sparse solver"])
def test_companions_are_nearest(num_groups):
    catalog, histories = companion_world(num_groups, size=8, num_users=num_groups * 6, unseen=2)
    vectors = Cooccurrence(dim=num_groups).encode(catalog, histories, context=WorkContext(seed=0))
    assert companions_found(vectors.vectors_IE, num_groups, 8) > 0.99
    again = Cooccurrence(dim=num_groups).encode(catalog, histories, context=WorkContext(seed=5))
    assert np.array_equal(vectors.vectors_IE, again.vectors_IE)


def test_both_solvers_agree(monkeypatch):
    catalog, histories = companion_world(10, size=6, num_users=30)
    dense = Cooccurrence(dim=12).encode(catalog, histories, context=WorkContext(seed=0)).vectors_IE
    monkeypatch.setattr("genrec.item_encoders.cooccurrence._DENSE_BELOW", 0)
    sparse = Cooccurrence(dim=12).encode(catalog, histories, context=WorkContext(seed=0)).vectors_IE
    assert np.allclose(dense @ dense.T, sparse @ sparse.T, atol=1e-4)


def test_unseen_items_are_present_with_the_mean():
    catalog, histories = companion_world(5, size=4, num_users=20, unseen=3)
    vectors = Cooccurrence().encode(catalog, histories, context=WorkContext(seed=0))
    assert vectors.present_I.all()
    assert np.allclose(vectors.vectors_IE[20:], vectors.vectors_IE[:20].mean(axis=0), atol=1e-6)
    assert vectors.notes == ("3 of 23 items have no training interactions and get the mean vector",)


def test_order_matters_where_it_is_asked_for():
    catalog, _ = companion_world(1, size=4, num_users=1)
    histories = Histories.of([[0, 1], [2, 1], [3, 0], [1, 3]])
    vectors = Cooccurrence(symmetric=False, window=1).encode(catalog, histories, context=WorkContext(seed=0)).vectors_IE
    assert vectors[0] @ vectors[2] == pytest.approx(1, abs=1e-5)
    assert abs(vectors[0] @ vectors[1]) < 1e-5


def test_nothing_to_learn_from_is_an_error():
    catalog, _ = companion_world(1, size=4, num_users=1)
    with pytest.raises(DataError, match=r"^cooccurrence: no two items are within 5 steps in the training histories"):
        Cooccurrence().encode(catalog, Histories.of([[0], [1], [2, 2]]), context=WorkContext(seed=0))
