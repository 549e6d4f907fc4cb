"""Concatenation: parts weigh the same, an item is present if it is in any part, randomness is that of the parts."""

import numpy as np
import pytest
from companion_world import companion_world
from pydantic import ValidationError

from genrec.experiment.keys import component_key
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.cooccurrence import Cooccurrence
from genrec.item_encoders.din import Din
from genrec.item_encoders.tfidf import Tfidf
from genrec.runtime.environment import Environment, WorkContext
from genrec.types import Catalog, Histories


def test_parts_are_standardized_and_side_by_side():
    texts = ("", "red apple pie", "red apple tart", "green pear tart", "green pear pie", "red pear")
    catalog = Catalog(tuple("abcdef"), texts, texts, ((),) * 6)
    histories = Histories.of([[0, 1, 2], [3, 4, 5], [2, 0, 1], [5, 4]])
    both = Concatenation(encoders=(Tfidf(), Cooccurrence(normalize=False))).encode(
        catalog, histories, context=WorkContext(seed=0)
    )
    text = Tfidf().encode(catalog, histories, context=WorkContext(seed=0))
    width = text.vectors_IE.shape[1]
    assert both.present_I.all()
    assert not both.vectors_IE[0, :width].any()
    for part, known in ((both.vectors_IE[:, :width], text.present_I), (both.vectors_IE[:, width:], both.present_I)):
        assert np.linalg.norm(part[known], axis=1).mean() == pytest.approx(1, abs=1e-5)
        assert np.allclose(part[known].mean(axis=0), 0, atol=1e-6)


def test_an_item_that_no_part_knows_is_absent(catalog_of, no_histories):
    catalog = catalog_of(["red apple", "", "green apple", "red pear"])
    vectors = Concatenation(encoders=(Tfidf(), Tfidf(max_ngram=1))).encode(
        catalog, no_histories, context=WorkContext(seed=0)
    )
    assert vectors.present_I.tolist() == [True, False, True, True]
    assert not vectors.vectors_IE[1].any()


def test_its_block_holds_the_blocks_of_its_parts():
    encoder = Concatenation(encoders=(Tfidf(), Cooccurrence(dim=7)))
    blocks = [Tfidf().block(), Cooccurrence(dim=7).block()]
    assert encoder.block() == {"type": "concatenation", "encoders": blocks}
    with pytest.raises(ValidationError, match="at least 1 item"):
        Concatenation(encoders=())


def test_randomness_and_identity_are_those_of_the_parts():
    assert not Concatenation(encoders=(Tfidf(), Cooccurrence())).is_random
    assert Concatenation(encoders=(Tfidf(), Din())).is_random
    assert component_key(Concatenation(encoders=(Tfidf(),)), Environment()) != component_key(
        Concatenation(encoders=(Tfidf(dim=3),)), Environment()
    )


def test_notes_name_their_part():
    catalog, histories = companion_world(3, size=4, num_users=9, unseen=1)
    vectors = Concatenation(encoders=(Cooccurrence(),)).encode(catalog, histories, context=WorkContext(seed=0))
    assert vectors.notes == ("cooccurrence: 1 of 13 items have no training interactions and get the mean vector",)
