"""Every component of the core keeps the contract of its family, and a component that breaks it is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.families import FAMILIES, item_encoders, tokenizers
from genrec.testing import check, tiny_catalog, tiny_vectors

CORE = [
    (family, entry.name)
    for family in FAMILIES
    for entry in family.entries()
    if entry.origin == "core" and entry.problem is None
]


def codes_file(folder: Path) -> dict[str, Any]:
    """Codes of the present items of ``tiny_vectors``, two of them alike."""
    present = np.flatnonzero(tiny_vectors().present_I)
    codes = {tiny_catalog().keys[i]: [int(i) % 4, int(i) // 4] for i in present}
    codes["item-01"] = codes["item-00"]
    (folder / "codes.json").write_text(json.dumps(codes))
    return {"file": folder / "codes.json"}


def vectors_file(folder: Path) -> dict[str, Any]:
    """Vectors of the tiny catalog with their keys beside them."""
    np.save(folder / "vectors.npy", tiny_vectors().vectors_IE)
    (folder / "keys.json").write_text(json.dumps(tiny_catalog().keys))
    return {"file": str(folder / "vectors.npy"), "keys": str(folder / "keys.json")}


ARGUMENTS: dict[tuple[str, str], Callable[[Path], dict[str, Any]]] = {
    ("item_encoders", "concatenation"): lambda _: {
        "encoders": (item_encoders.get("tfidf")(), item_encoders.get("cooccurrence")())
    },
    ("item_encoders", "precomputed"): vectors_file,
    ("tokenizers", "joined_codes"): lambda _: {
        "tokenizers": (tokenizers.get("random_codes")(), tokenizers.get("kmeans_tree")()),
        "widths": (1,),
    },
    ("tokenizers", "precomputed"): codes_file,
    ("tokenizers", "rqvae"): lambda _: {"epochs": 3},
    ("baselines", "bert4rec"): lambda _: {"max_epochs": 3},
    ("baselines", "hgn"): lambda _: {"max_epochs": 3},
    ("baselines", "s3rec"): lambda _: {"max_epochs": 3, "pretrain_epochs": 2},
    ("merges", "single"): lambda _: {"stream": "text"},
    ("tasks", "semantic_transfer"): lambda _: {"source": "text", "target": "behavior"},
}

ELSEWHERE = {
    ("datasets", "amazon_reviews"): "reads files; see tests/datasets",
    ("datasets", "movielens"): "reads files; see tests/datasets",
    ("datasets", "recbole"): "reads files; see tests/datasets",
    ("datasets", "sequences"): "reads files; see tests/datasets",
    ("datasets", "table"): "reads files; see tests/datasets",
    ("datasets", "yelp"): "reads files; see tests/datasets",
    ("item_encoders", "image"): "needs weights; see tests/item_encoders",
    ("item_encoders", "sentence_t5"): "needs weights; see tests/item_encoders",
    ("item_encoders", "text"): "needs weights; see tests/item_encoders",
    ("item_encoders", "vit"): "needs weights; see tests/item_encoders",
}


@pytest.mark.parametrize(("family", "name"), CORE, ids=lambda value: getattr(value, "family", value))
def test_component_of_the_core(family, name, tmp_path):
    if reason := ELSEWHERE.get((family.family, name)):
        pytest.skip(reason)
    arguments = ARGUMENTS.get((family.family, name), lambda _: {})(tmp_path)
    check(family.get(name)(**arguments))


OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("item_encoders", "columns", {"columns": ("price", "since"), "log": ("price",), "dim": 2}),
    ("tokenizers", "kmeans_tree", {"branching": 3}),
    ("tokenizers", "kmeans_tree", {"branching": 2, "child_order": "principal"}),
    ("tokenizers", "kmeans_tree", {"branching": 5, "child_order": "random", "normalize": True}),
    ("tokenizers", "kmeans_tree", {"branching": 3, "balanced": False}),
    ("tokenizers", "product_quantizer", {"codes": 4, "levels": 3, "rotate": True, "normalize": True}),
    ("tokenizers", "product_quantizer", {"codes": 32, "levels": 2, "collisions": "nearest_free"}),
    ("tokenizers", "random_codes", {"branching": 3}),
    ("tokenizers", "residual_kmeans", {"codes": 4, "levels": 2}),
    ("tokenizers", "residual_kmeans", {"codes": 32, "levels": 1, "collisions": "nearest_free"}),
    ("tokenizers", "residual_kmeans", {"codes": 4, "levels": 2, "balanced": True, "normalize": True}),
    ("tokenizers", "rqvae", {"codes": 32, "levels": 1, "collisions": "nearest_free", "hidden": (), "epochs": 2}),
    ("history_encoders", "item_ids", {"attention": "causal", "num_layers": 2, "dropout": 0.5}),
    ("history_encoders", "item_ids", {"dim": 8, "num_heads": 2, "start_from": ("text", "behavior")}),
    ("decoders", "mlp", {"vocabulary": "level"}),
    ("decoders", "mlp", {"vocabulary": "path", "leaves": "tied"}),
    ("decoders", "transformer", {"vocabulary": "path", "summary": "head", "num_layers": 2}),
    ("decoders", "transformer", {"vocabulary": "path", "leaves": "tied", "summary": "mean", "num_layers": 1}),
    ("decoders", "transformer", {"vocabulary": "path", "carry_state": True, "start_from": ("behavior",)}),
    ("decoders", "mlp", {"start_from": ("behavior",)}),
    ("merges", "entropy_weighted", {"pool": "linear"}),
    ("merges", "round_robin", {"first": "surest"}),
    ("merges", "learned", {"features": ("log_prob", "certainty")}),
    ("tasks", "global_contrastive", {"metric": "cosine"}),
    ("tasks", "global_contrastive", {"metric": "infonce", "streams": ("visual",)}),
    ("tasks", "semantic_transfer", {"source": "visual", "target": "text"}),
    ("merges", "confidence", {"length_normalized": True}),
]


@pytest.mark.parametrize(("family", "name", "arguments"), OPTIONS)
def test_option_of_the_core(family, name, arguments):
    [registry] = [registry for registry in FAMILIES if registry.family == family]
    check(registry.get(name)(**arguments))
