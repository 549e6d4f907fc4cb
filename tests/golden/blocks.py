"""Parts of the tiny recipes: streams, and a recipe on the showroom around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Block = dict[str, Any]


@dataclass(frozen=True)
class Golden:
    """A recipe whose ranks are recorded."""

    block: Block
    """The recipe as plain data."""
    write_data: Callable[[Path], None] | None = None
    """Writes the files that it reads into a data folder; None where it reads none."""
    modules: tuple[str, ...] = ()
    """Packages that it needs beyond those that genrec always needs."""


TREE: Block = {"type": "kmeans_tree", "branching": 8}
BEHAVIOR: Block = {"item_encoder": "cooccurrence", "tokenizer": TREE, "decoder": "mlp"}
TEXT: Block = {"item_encoder": "tfidf", "tokenizer": TREE, "decoder": "mlp"}
VISUAL: Block = {"item_encoder": "pixels", "tokenizer": TREE, "decoder": "mlp"}
TWO: Block = {"behavior": BEHAVIOR, "text": TEXT}
THREE: Block = {**TWO, "visual": VISUAL}
TRANSFORMER: Block = {"type": "transformer", "num_layers": 1, "num_heads": 2, "feedforward_dim": 32}


def recipe(
    streams: Block,
    *,
    history: Block | None = None,
    training: Block | None = None,
    search: Block | None = None,
    evaluation: Block | None = None,
    list_length: int = 40,
    **others: Any,
) -> Block:
    """A recipe on the showroom; long lists, so that the place of nearly every target is recorded."""
    return {
        "title": "Golden ranks",
        "dataset": {"type": "showroom", "items": 60, "users": 120},
        "history_encoder": {
            "type": "item_ids",
            "dim": 16,
            "num_heads": 2,
            "feedforward_dim": 32,
            "max_history": 10,
            "attention": "causal",
            **(history or {}),
        },
        "streams": streams,
        "training": {
            "learning_rate": 0.01,
            "warmup_steps": 1,
            "batch_size": 32,
            "max_epochs": 2,
            "validation_users": 50,
            **(training or {}),
        },
        "search": {"beam_width": list_length, "list_length": list_length, **(search or {})},
        "evaluation": {"cutoffs": [10, list_length], "bootstrap_samples": 20, **(evaluation or {})},
        "baselines": [],
        **others,
    }


def mlp(**fields: Any) -> Block:
    return {**BEHAVIOR, "decoder": {"type": "mlp", **fields}}


def transformer(**fields: Any) -> Block:
    return {**BEHAVIOR, "decoder": {**TRANSFORMER, **fields}}


def encoded(item_encoder: str | Block, **others: Any) -> Block:
    return {"item_encoder": item_encoder, "tokenizer": TREE, "decoder": "mlp", **others}


def coded(tokenizer: str | Block, vocabulary: str = "path") -> Block:
    return {"item_encoder": "tfidf", "tokenizer": tokenizer, "decoder": {"type": "mlp", "vocabulary": vocabulary}}


def on_files(
    write_data: Callable[[Path], None], dataset: Block, streams: Block, modules: tuple[str, ...] = ()
) -> Golden:
    return Golden(recipe(streams, dataset=dataset), write_data, modules)
