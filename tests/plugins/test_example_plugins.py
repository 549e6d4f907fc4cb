from pathlib import Path

import numpy as np
import pytest

from genrec import families, registry
from genrec.registry import load_plugin
from genrec.runtime.environment import WorkContext
from genrec.testing import check, tiny_candidates, tiny_catalog, tiny_histories
from genrec.types import Candidates, Catalog, Histories

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def borda():
    load_plugin(PLUGINS / "borda.py")
    return families.merges.get("borda")


@pytest.fixture
def attribute_onehot():
    load_plugin(PLUGINS / "attribute_onehot.py")
    return families.item_encoders.get("attribute_onehot")


@pytest.fixture
def pure_svd():
    load_plugin(PLUGINS / "pure_svd.py")
    return families.item_encoders.get("pure_svd")


def test_plugins_are_found_without_being_imported(monkeypatch):
    monkeypatch.setattr(registry, "_plugin_folders", [])
    registry.add_plugin_folder(PLUGINS)
    found = {entry.name: entry for entry in families.merges.entries() + families.item_encoders.entries()}
    assert found["borda"].summary == "Fuse the streams by rank alone, ignoring how sure each one is."
    assert Path(found["attribute_onehot"].file or "").name == "attribute_onehot.py"


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_borda_keeps_the_contract(borda, depth):
    check(borda(depth=depth))


def test_attribute_onehot_keeps_the_contract(attribute_onehot):
    check(attribute_onehot())
    check(attribute_onehot(dim=3))


def test_borda_by_hand(borda):
    ranks_BCS = np.array([[[0, 1], [1, -1], [-1, 0]]], dtype=np.int32)
    candidates = Candidates(
        ("a", "b"),
        np.array([[5, 6, 7]]),
        np.zeros((1, 3, 2), np.float32),
        ranks_BCS,
        np.zeros((1, 2), np.float32),
        np.array([2, 2], np.int32),
    )
    ranking = borda(depth=3).merge(candidates, top_n=3)
    assert ranking.items_BN.tolist() == [[5, 7, 6]]
    assert ranking.scores_BN.tolist() == [[5, 3, 2]]


def test_borda_ignores_log_probs(borda):
    candidates = tiny_candidates()
    flat = Candidates(
        candidates.streams,
        candidates.items_BC,
        np.zeros_like(candidates.log_probs_BCS),
        candidates.ranks_BCS,
        candidates.entropy_BS,
        candidates.code_lengths_S,
    )
    first, second = (borda().merge(each, top_n=8) for each in (candidates, flat))
    assert np.array_equal(first.items_BN, second.items_BN)


def test_attribute_onehot_by_hand(attribute_onehot):
    attributes = (("red", "oak"), ("red",), (), ("red", "steel", "steel"))
    catalog = Catalog(("a", "b", "c", "d"), ("",) * 4, ("",) * 4, attributes)
    vectors = attribute_onehot().encode(catalog, tiny_histories(4), context=WorkContext(seed=1))
    assert vectors.present_I.tolist() == [True, True, False, True]
    red, rare = np.log1p(4 / 3), np.log1p(4)
    expected = np.array([[red, rare, 0], [red, 0, 0], [0, 0, 0], [red, 0, rare]])
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(vectors.vectors_IE, expected, rtol=1e-5)


def test_items_of_one_kind_are_neighbors(attribute_onehot):
    catalog = tiny_catalog()
    vectors = attribute_onehot().encode(catalog, tiny_histories(), context=WorkContext(seed=1)).vectors_IE
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    present = [item for item in range(len(catalog)) if catalog.attributes[item]]
    assert all(set(catalog.attributes[i]) & set(catalog.attributes[similarity[i].argmax()]) for i in present)


def test_pure_svd_keeps_the_contract(pure_svd):
    check(pure_svd())
    check(pure_svd(dim=2))


def test_pure_svd_puts_items_of_the_same_users_together(pure_svd):
    histories = Histories.of([[0, 1, 0], [1, 0], [0, 1], [2, 3], [3, 2], [2, 3]])
    catalog = Catalog(tuple("abcde"), ("",) * 5, ("",) * 5, ((),) * 5)
    vectors = pure_svd(dim=2).encode(catalog, histories, context=WorkContext(seed=0))
    similar = vectors.vectors_IE @ vectors.vectors_IE.T
    assert vectors.present_I.tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(similar[:4, :4], np.kron(np.eye(2), np.ones((2, 2))), atol=1e-5)
