"""Item-kNN: similarities and rankings against loops, and what it finds."""

import numpy as np
import pytest
from baselines.worlds import groups, hits

from genrec.baselines.item_knn import ItemKnn, neighbors_of
from genrec.baselines.popularity import Popularity
from genrec.runtime.environment import WorkContext
from genrec.testing import check, tiny_catalog, tiny_histories
from genrec.types import ABSENT, Catalog, Histories


def similarities(sequences, num_items, shrinkage):
    """From the definition, user by user."""
    similarity = np.zeros((num_items, num_items))
    sets = [set(map(int, sequence)) for sequence in sequences]
    for i in range(num_items):
        for j in range(num_items):
            both = sum(i in items and j in items for items in sets)
            a, b = sum(i in items for items in sets), sum(j in items for items in sets)
            if i != j and both:
                similarity[i, j] = both / (np.sqrt(a * b) + shrinkage)
    return similarity


@pytest.mark.parametrize("changes", [{}, {"num_neighbors": 2, "shrinkage": 0.0, "recent_items": 3}])
def test_it_keeps_the_contract_of_baselines(changes):
    check(ItemKnn(**changes))


@pytest.mark.parametrize("num_neighbors", [1, 3, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 2.5])
def test_neighbors_are_those_of_the_definition(num_neighbors, shrinkage):
    train = tiny_histories()
    found = neighbors_of(train, 24, num_neighbors, shrinkage)
    expected = similarities([train[user] for user in range(len(train))], 24, shrinkage)
    for item in range(24):
        own = slice(*found.offsets[item : item + 2])
        best = sorted(np.flatnonzero(expected[item]), key=lambda other: (-round(expected[item, other], 12), other))
        assert found.items[own].tolist() == best[:num_neighbors]
        np.testing.assert_allclose(found.weights[own], expected[item, best[:num_neighbors]])


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_ranking_is_by_summed_similarity_and_then_by_popularity(exclude_seen):
    train, users = tiny_histories(), tiny_histories(num_users=9, seed=3)
    ranking = ItemKnn(num_neighbors=24, shrinkage=1.0, recent_items=4).fit(
        tiny_catalog(), train, context=WorkContext(1)
    )
    similarity = similarities([train[user] for user in range(len(train))], 24, 1.0)
    popularity = np.bincount(train.items, minlength=24)
    found = ranking.rank(users, top_n=24, exclude_seen=exclude_seen)
    for user in range(len(users)):
        score_I = similarity[users[user][-4:]].sum(0)
        listed = found.items_BN[user][found.items_BN[user] != ABSENT]
        assert sorted(listed) == [i for i in range(24) if not (exclude_seen and i in users[user])]
        np.testing.assert_allclose(found.scores_BN[user, : len(listed)], score_I[listed], rtol=1e-6)
        assert (np.diff(score_I[listed]) <= 1e-9).all()
        rest = [item for item in listed if score_I[item] == 0]
        assert rest == sorted(rest, key=lambda item: (-popularity[item], item))


def test_a_second_purchase_is_no_second_user():
    catalog = Catalog(("a", "b", "c"), ("",) * 3, ("",) * 3, ((),) * 3)
    once, twice = Histories.of([[0, 1], [0, 2]]), Histories.of([[0, 1, 0, 1], [0, 2]])
    one, other = (ItemKnn().fit(catalog, train, context=WorkContext(1)).weights for train in (once, twice))
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_it_finds_groups_that_popularity_does_not():
    data, context = groups(), WorkContext(1)
    fitted = ItemKnn().fit(data.catalog, data.train, context=context)
    assert hits(fitted, data, 3, exclude_seen=True) == 1, "three items of the group of ten are left"
    assert hits(Popularity().fit(data.catalog, data.train, context=context), data, 3, exclude_seen=True) < 0.3
