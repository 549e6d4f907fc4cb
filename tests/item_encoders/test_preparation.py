"""prepare() reports missing inputs before any work; preparing and loading draw no progress bars."""

import pytest

pytest.importorskip("sentence_transformers", reason="needs the extra genrec[text]")
from sentence_t5_files import write_sentence_t5
from transformers.utils import logging

from genrec.errors import DataError
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.sentence_t5 import SentenceT5
from genrec.item_encoders.tfidf import Tfidf
from genrec.runtime.environment import WorkContext

WORDS = ["red", "green", "lipstick"]


@pytest.fixture
def folder(tmp_path):
    return write_sentence_t5(tmp_path / "small-sentence-t5", WORDS)


def test_text_weights_are_looked_for_and_inspected(folder, catalog_of, monkeypatch):
    catalog = catalog_of(["red lipstick", ""])
    SentenceT5(model=str(folder)).prepare(catalog, context=WorkContext())
    with pytest.raises(DataError, match=r"^sentence_t5: no item of this dataset has a text"):
        SentenceT5(model=str(folder)).prepare(catalog_of(["", ""]), context=WorkContext())

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(DataError, match=r"cannot be fetched from the Hugging Face Hub \(no route to host\)"):
        SentenceT5().prepare(catalog, context=WorkContext())
    (folder / "model.safetensors").unlink()
    for encoder in (SentenceT5(model=str(folder)), Concatenation(encoders=(Tfidf(), SentenceT5(model=str(folder))))):
        with pytest.raises(DataError, match=r"the weights are missing; expected model\.safetensors"):
            encoder.prepare(catalog, context=WorkContext())


def test_loading_a_text_encoder_draws_no_bar(folder, catalog_of, no_histories, capfd):
    logging.enable_progress_bar()
    SentenceT5(model=str(folder)).encode(
        catalog_of(["red lipstick", "green"]), no_histories, context=WorkContext(seed=0)
    )
    assert "Loading weights" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()
