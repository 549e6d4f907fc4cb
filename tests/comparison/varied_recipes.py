"""Two recipes, and checks of their variants."""

# ruff: noqa: E501 - a stream is a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genrec.comparison.axes import Variant, variants
from genrec.errors import GenrecError
from genrec.recipe import InvalidRecipeError, load_recipe

TWO = """\
title: Two streams
dataset: {type: showroom, items: 60, users: 120}
history_encoder: {type: item_ids, dim: 16, start_from: [behavior]}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: 32}, decoder: {type: mlp, vocabulary: path}}
  text: {item_encoder: {type: tfidf, dim: 8}, tokenizer: kmeans_tree, decoder: mlp}
tasks:
  - {type: global_contrastive, weight: 2}
  - {type: semantic_transfer, source: text, target: behavior}
merge: confidence
"""

THREE = """\
title: Three streams
dataset: {type: showroom, items: 60, users: 120}
history_encoder: {type: item_ids, dim: 16, start_from: [text, behavior]}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: 32}, decoder: mlp}
  text: {item_encoder: tfidf, tokenizer: {type: residual_kmeans, codes: 16}, decoder: mlp}
  visual: {item_encoder: pixels, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp, absent_items: nearest, nearest_in: text}
tasks:
  - {type: global_contrastive, streams: [text, visual]}
  - {type: semantic_transfer, source: text, target: behavior, weight: 3}
  - {type: semantic_transfer, source: visual, target: behavior, weight: 3}
merge: log_prob_sum
"""


def write_recipes() -> None:
    """``two.yaml`` and ``three.yaml`` in the working folder."""
    Path("two.yaml").write_text(TWO, encoding="utf-8")
    Path("three.yaml").write_text(THREE, encoding="utf-8")


def of(file: str, *vary: str, overrides: tuple[str, ...] = (), controls: bool = False) -> list[Variant]:
    """The variants of one recipe, each checked to be what its ``--set``s make of the file."""
    found = variants([Path(file)], vary, overrides=overrides, controls=controls)
    for variant in found:
        assert load_recipe(variant.source, variant.overrides) == variant.recipe
    assert len({variant.name for variant in found}) == len(found)
    return found


def names(found: list[Variant]) -> list[str]:
    return [variant.name for variant in found]


def by_name(found: list[Variant]) -> dict[str, Variant]:
    return {variant.name: variant for variant in found}


def problems(act: Callable[[], Any], kind: type[GenrecError] = InvalidRecipeError) -> list[str]:
    with pytest.raises(kind) as caught:
        act()
    return str(caught.value).splitlines()
