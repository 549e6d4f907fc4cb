"""An empty working folder, a recipe of core components, and a registry left clean."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = """\
title: Two views of a showroom
dataset: showroom
history_encoder: {type: item_ids, dim: 32, max_history: 10}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text: {item_encoder: tfidf, tokenizer: {type: kmeans_tree, branching: 8}, decoder: transformer}
tasks:
  - {type: semantic_transfer, source: text, target: behavior}
training: {learning_rate: 1e-3, max_epochs: 1}
evaluation: {cutoffs: [5, 10]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> Path:
    """The working folder, with ``recipe.yaml``."""
    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path
