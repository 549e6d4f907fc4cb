"""A catalog of a million items: vectors, codes, trie, and a search that finds what scoring every item finds."""

import numpy as np
import pytest
import torch
from walk_decoder import WalkDecoder, best_items, random_users, score_all

from genrec.runtime.environment import WorkContext
from genrec.search.bound import BoundSearch
from genrec.search.method import SearchRules
from genrec.semantic_ids.trie import Trie
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.types import ItemVectors

NUM_ITEMS = 10**6


@pytest.mark.acceptance
def test_a_million_items_are_tokenized_and_searched():
    generator = np.random.default_rng(0)
    vectors = ItemVectors(generator.normal(size=(NUM_ITEMS, 16)).astype(np.float32), np.ones(NUM_ITEMS, dtype=bool))
    keys = tuple(map(str, range(NUM_ITEMS)))
    ids = KMeansTree(branching=100, iterations=3, child_order="random").fit(vectors, keys=keys, context=WorkContext(0))
    assert ids.codes_IL.shape == (NUM_ITEMS, 3)
    assert ids.vocabulary_sizes == (100, 100, 100)
    sizes = np.bincount(ids.codes_IL[:, 0])
    assert sizes.max() - sizes.min() <= 1
    trie = Trie.of(ids)
    assert (trie.num_nodes(1), trie.num_nodes(2), trie.num_nodes(3)) == (100, 10**4, NUM_ITEMS)

    decoder, users = WalkDecoder(trie, 1, 1.5).eval(), random_users(2, 4)
    items_BN, log_probs_BN = best_items(score_all(decoder, users, trie), trie, list_length=20)
    found = BoundSearch().search(decoder, users, trie, SearchRules(20))
    assert torch.allclose(found.log_probs_BN, log_probs_BN, atol=1e-4)
    assert torch.equal(found.items_BN, items_BN)
