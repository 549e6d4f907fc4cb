"""Sentence-T5 (Ni et al. 2022), the text encoder of EAGER: a T5 encoder, mean pooled, projected, of length 1."""

from __future__ import annotations

from genrec.families import item_encoders
from genrec.item_encoders.text import Text


@item_encoders.register("sentence_t5")
class SentenceT5(Text):
    """Vectors of the items' texts from Sentence-T5, as in EAGER."""

    model: str = "sentence-transformers/sentence-t5-base"
    """A folder in the sentence-transformers layout, or a name on the Hugging Face Hub; EAGER uses width 768."""
