"""TF-IDF of the items' texts, reduced by a truncated SVD (latent semantic analysis); needs no weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from genrec.errors import DataError
from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import demand_equal
from genrec.item_encoders._rows import column_signs, place, unit_rows
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Depth, Width
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+"
)
"""Runs of scripts that are written without blanks between words."""


@item_encoders.register("tfidf")
class Tfidf(ItemEncoder):
    """Words and word pairs of the text, or characters, weighted by TF-IDF and reduced by SVD; no weights."""

    reads_histories = False

    dim: Width = 128
    """Width of the vectors; smaller where the texts do not span that many directions."""
    terms: Literal["auto", "words", "characters"] = "auto"
    """Words, or the characters inside words; auto: words, but characters in scripts without blanks between words
    (Chinese, Japanese, Thai, Lao, Burmese, Khmer)."""
    max_ngram: Depth = 2
    """Longest n-gram of words or characters."""
    min_items: PositiveInt = 2
    """Terms of fewer items are ignored."""

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        return self._fit(catalog)[0]

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Weigh the terms of the new items as those of the known ones, to which all is fitted again."""
        catalog = known.read_catalog()
        vectors, transform = self._fit(catalog)
        demand_equal(known.vectors, vectors.vectors_IE, catalog.keys, self.type_name)
        return transform(new.texts)

    def _fit(self, catalog: Catalog) -> tuple[ItemVectors, Callable[[Sequence[str]], ItemVectors]]:
        """The vectors of a catalog, and what gives those of other texts in the same space."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        with_text = np.flatnonzero([bool(text.strip()) for text in catalog.texts])
        if len(with_text) == 0:
            raise DataError(
                "tfidf: no item of this dataset has a text; choose an item encoder that reads something else"
            )
        texts = [catalog.texts[item] for item in with_text]
        terms_of = self._analyzer(texts)
        vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, min_df=self.min_items)  # type: ignore[arg-type]
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise DataError(
                f"tfidf: no term occurs in at least {self.min_items} of the {len(with_text)} items with a text; "
                "lower min_items, or set terms: characters"
            ) from error
        known = np.diff(weights.indptr) > 0
        scores_NE, directions_TE = _reduced(weights[known], self.dim)
        vectors_NE = unit_rows(scores_NE)
        present_I = np.zeros(len(catalog), dtype=bool)
        present_I[with_text[known]] = True
        num_without_terms = int((~known).sum())
        notes = (f"{num_without_terms} items have a text but no frequent term",) if num_without_terms else ()

        def transform(texts: Sequence[str]) -> ItemVectors:
            others: csr_matrix = vectorizer.transform(texts)  # type: ignore[assignment]
            present_J = np.diff(others.indptr) > 0
            vectors_JE = unit_rows(others @ directions_TE) * present_J[:, None]
            return ItemVectors(vectors_JE.astype(np.float32), present_J)

        return place(vectors_NE, present_I, notes), transform

    def _analyzer(self, texts: list[str]) -> Callable[[str], list[str]]:
        """The terms of a text."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        lengths = (1, self.max_ngram)
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=lengths).build_analyzer()
        if self.terms == "characters":
            return lambda text: _without_blanks(characters(text))
        words = TfidfVectorizer(ngram_range=lengths).build_analyzer()
        if self.terms == "words" or not any(_UNSPACED.search(text) for text in texts):
            return words

        def mixed(text: str) -> list[str]:
            runs = " ".join(_UNSPACED.findall(text))
            return [*words(_UNSPACED.sub(" ", text)), *_without_blanks(characters(runs))]

        return mixed


def _without_blanks(terms: list[str]) -> list[str]:
    """Without the n-grams at the ends of words, which hold a blank."""
    return [term for term in terms if " " not in term]


def _reduced(weights: object, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The scores (N, E) of the ``dim`` largest singular directions of a sparse matrix (N, T), and these (T, E)."""
    from sklearn.decomposition import TruncatedSVD

    num_rows, num_terms = weights.shape  # type: ignore[attr-defined]
    if dim < min(num_rows, num_terms):
        svd = TruncatedSVD(dim, algorithm="arpack", random_state=0)
        scores_NE = svd.fit_transform(weights)
        directions_ET = np.asarray(svd.components_)
    else:
        left, values, directions_ET = np.linalg.svd(weights.toarray(), full_matrices=False)  # type: ignore[attr-defined]
        scores_NE = left * values
    signs_E = column_signs(scores_NE)
    return scores_NE * signs_E, directions_ET.T * signs_E
