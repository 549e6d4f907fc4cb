"""An empty working folder, a recipe of core components, and a registry left clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec import registry
from genrec.families import FAMILIES

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with ``recipe.yaml``."""
    monkeypatch.setattr(registry, "_plugin_folders", [])
    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    for family in FAMILIES:
        for name, cls in list(family._classes.items()):
            if cls.__module__.startswith("genrec_plugin_"):
                del family._classes[name]
    for module in [name for name in sys.modules if name.startswith("genrec_plugin_")]:
        del sys.modules[module]
