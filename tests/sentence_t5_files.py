"""A small Sentence-T5 checkpoint with random weights, in the very layout of the real one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

SPECIAL = ("<pad>", "</s>", "<unk>")


def word_tokenizer(words: Sequence[str], max_length: int = 12) -> PreTrainedTokenizerFast:
    """One token a word, the special ones first; of longer texts the first ``max_length`` tokens are read."""
    vocabulary = {word: row for row, word in enumerate([*SPECIAL, *words])}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokens, model_max_length=max_length, **special)


def write_sentence_t5(folder: Path, words: Sequence[str], max_length: int = 12) -> Path:
    """T5 encoder, mean pooling, projection to 10 without bias, normalization; its config says: random weights."""
    torch.manual_seed(0)
    size = len(SPECIAL) + len(words)
    config = T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder, safe_serialization=True)
    word_tokenizer(words, max_length).save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "genrec_random_weights": True}))
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")]
    modules = [
        {"idx": row, "name": str(row), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for row, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    linear = {"activation_function": "torch.nn.modules.linear.Identity"}
    dense = {"in_features": 16, "out_features": 10, "bias": False, **linear}
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    save_file({"linear.weight": torch.randn(10, 16)}, folder / "2_Dense" / "model.safetensors")
    return folder
