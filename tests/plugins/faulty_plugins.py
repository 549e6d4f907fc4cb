"""A working folder with a small recipe, in which a test writes a faulty plugin and runs a command."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from genrec.cli import main

RECIPE = """\
title: A shop with a faulty plugin
dataset: {type: showroom, items: 60, users: 120}
history_encoder: {type: item_ids, dim: 16, num_heads: 2, feedforward_dim: 32, max_history: 10, attention: causal}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text: {item_encoder: tfidf, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
training: {learning_rate: 1e-2, warmup_steps: 1, batch_size: 32, max_epochs: 1, validation_users: 50}
search: {beam_width: 20, list_length: 20}
merge: confidence
evaluation: {cutoffs: [5, 10], bootstrap_samples: 20}
baselines: [popularity]
"""

HEAD = """\
import numpy as np
from genrec.plugin import *
"""

CONTRACT = "breaks its contract:"


DECODER = """
from genrec.decoders.mlp import Mlp

@decoders.register("faulty")  # class
class Faulty(Mlp):
    "A decoder."

    def build(self, context):
        module = Mlp().build(context)
        forward, expand = module.forward, module.expand
        {body}  # body
        return module
"""


def write(folder: Path, code: str) -> dict[str, int]:
    """Write ``plugins/faulty.py``; returns the number of each line that ends in a comment ``# <name>``, by name."""
    text = HEAD + textwrap.dedent(code)
    (folder / "plugins" / "faulty.py").write_text(text, encoding="utf-8")
    lines = [(line.rpartition("# ")[2], number) for number, line in enumerate(text.splitlines(), 1) if "  # " in line]
    return dict(lines)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line on stderr of a command that fails with exit status 2, and no traceback above it."""
    assert main([*words]) == 2
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    assert "bug" not in captured
    return captured.strip().splitlines()[-1]


def run(capsys: pytest.CaptureFixture[str], *changes: str) -> str:
    options = [word for change in changes for word in ("--set", change)]
    return error_of(capsys, "run", "recipe.yaml", "--output", "run", "--device", "cpu", *options)
