"""TF-IDF vectors: similar texts are close, empty ones absent, and the SVD keeps the cosine of TF-IDF."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from genrec.errors import DataError
from genrec.item_encoders.tfidf import Tfidf
from genrec.runtime.environment import WorkContext

TEXTS = [
    "red lipstick matte finish",
    "matte lipstick in dark red",
    "shampoo for dry hair",
    "dry hair conditioner and shampoo",
    "",
    "   ",
    "zzyzx",
]


def test_like_texts_are_close_and_empty_ones_absent(catalog_of, no_histories):
    vectors = Tfidf().encode(catalog_of(TEXTS), no_histories, context=WorkContext(seed=0))
    assert vectors.present_I.tolist() == [True, True, True, True, False, False, False]
    closeness = vectors.vectors_IE @ vectors.vectors_IE.T
    assert closeness[0, 1] > closeness[0, 2] + 0.3
    assert closeness[2, 3] > closeness[1, 3] + 0.3
    assert np.allclose(np.linalg.norm(vectors.vectors_IE[:4], axis=1), 1)
    assert vectors.notes == ("1 items have a text but no frequent term",)


def test_without_loss_of_rank_cosines_are_those_of_tfidf(catalog_of, no_histories):
    vectors = Tfidf(min_items=1).encode(catalog_of(TEXTS[:4]), no_histories, context=WorkContext(seed=0)).vectors_IE
    exact = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(TEXTS[:4])
    assert np.allclose(vectors @ vectors.T, (exact @ exact.T).toarray(), atol=1e-5)


def test_width_and_repeatability_of_the_sparse_solver(catalog_of, no_histories):
    generator = np.random.default_rng(0)
    words = [f"word{number}" for number in range(60)]
    texts = [" ".join(generator.choice(words, 8)) for _ in range(90)]
    catalog = catalog_of(texts)
    first = Tfidf(dim=16).encode(catalog, no_histories, context=WorkContext(seed=0))
    assert first.vectors_IE.shape == (90, 16)
    assert np.array_equal(
        first.vectors_IE, Tfidf(dim=16).encode(catalog, no_histories, context=WorkContext(seed=1)).vectors_IE
    )
    assert not Tfidf.is_random


def test_nothing_to_read_is_an_error(catalog_of, no_histories):
    with pytest.raises(DataError, match=r"^tfidf: no item of this dataset has a text; choose an item encoder that"):
        Tfidf().encode(catalog_of(["", ""]), no_histories, context=WorkContext(seed=0))
    with pytest.raises(DataError, match=r"no term occurs in at least 2 of the 2 items with a text; lower min_items"):
        Tfidf().encode(catalog_of(["apple", "pear"]), no_histories, context=WorkContext(seed=0))


@pytest.mark.parametrize(
    "texts",
    [
        ["红色口红哑光", "哑光口红深红色", "干性头发洗发水", "洗发水干性头发护发素"],
        ["赤いリップスティック", "マットな赤リップ", "乾いた髪のシャンプー", "髪用シャンプーとリンス"],
        ["ลิปสติกสีแดง", "ลิปสติกสีแดงเข้ม", "แชมพูผมแห้ง", "แชมพูสำหรับผมแห้ง"],
        ["MAC 口红 matte", "Dior 口红 matte", "Dove 洗发水 dry", "Elseve 洗发水 dry"],
    ],
)
def test_scripts_without_blanks_are_compared_by_characters(texts, catalog_of, no_histories):
    vectors = Tfidf().encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    assert vectors.present_I.all()
    closeness = vectors.vectors_IE @ vectors.vectors_IE.T
    assert closeness[0, 1] > closeness[0, 2:].max() + 0.3
    assert closeness[2, 3] > closeness[2, :2].max() + 0.3


def test_terms_are_words_or_characters_of_words():
    def terms(kind, *texts):
        return Tfidf(terms=kind)._analyzer(list(texts))(texts[0])

    assert terms("auto", "Red lipstick") == ["red", "lipstick", "red lipstick"]
    assert terms("auto", "Red 口红 matte", "口") == ["red", "matte", "red matte", "口", "红", "口红"]
    assert terms("auto", "Red lips", "口") == ["red", "lips", "red lips"], "words stay words beside other scripts"
    assert terms("words", "口红 matte") == ["口红", "matte", "口红 matte"]
    assert terms("characters", "Ab c") == ["a", "b", "ab", "c"]


def test_the_error_for_words_of_single_items_names_what_helps(catalog_of, no_histories):
    texts = ["红色口红", "口红哑光"]
    advice = r"no term occurs in at least 2 of the 2 items with a text; lower min_items, or set terms: characters$"
    with pytest.raises(DataError, match=advice):
        Tfidf(terms="words").encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    vectors = Tfidf(terms="characters").encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    assert vectors.present_I.all()
