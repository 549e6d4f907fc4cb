"""Item vectors, semantic IDs and rankings as safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from genrec.types import ItemVectors, Ranking, SemanticIds


def save_vectors(vectors: ItemVectors, path: Path) -> None:
    """Item vectors as safetensors; their notes, and the number of added items if there are any, in its metadata."""
    tensors = {"vectors_IE": np.ascontiguousarray(vectors.vectors_IE), "present_I": vectors.present_I}
    added = {"num_added": str(vectors.num_added)} if vectors.num_added else {}
    save_file(tensors, path, metadata={"notes": json.dumps(vectors.notes), **added})


def load_vectors(path: Path) -> ItemVectors:
    """The inverse of :func:`save_vectors`."""
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    notes = tuple(json.loads(metadata["notes"]))
    return ItemVectors(tensors["vectors_IE"], tensors["present_I"], notes, int(metadata.get("num_added", 0)))


def save_ids(ids: SemanticIds, path: Path) -> None:
    """Semantic IDs and their codebook as safetensors."""
    tensors = {"codes_IL": np.ascontiguousarray(ids.codes_IL)}
    tensors |= {f"codebook/{name}": np.ascontiguousarray(part) for name, part in ids.codebook.items()}
    sizes = [int(size) for size in ids.vocabulary_sizes]
    plain = {"vocabulary_sizes": sizes, "collisions": int(ids.collisions), "notes": ids.notes}
    save_file(tensors, path, metadata={"ids": json.dumps(plain)})


def load_ids(path: Path) -> SemanticIds:
    """The inverse of :func:`save_ids`."""
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        plain = json.loads(file.metadata()["ids"])
    codebook = {name[9:]: part for name, part in tensors.items() if name.startswith("codebook/")}
    sizes, notes = tuple(plain["vocabulary_sizes"]), tuple(plain.get("notes", ()))
    return SemanticIds(tensors["codes_IL"], sizes, codebook, plain["collisions"], notes)


def save_ranking(ranking: Ranking, path: Path) -> None:
    """A ranking as safetensors."""
    tensors = {"items_BN": ranking.items_BN, "scores_BN": ranking.scores_BN}
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)


def load_ranking(path: Path) -> Ranking:
    """The inverse of :func:`save_ranking`."""
    return Ranking(**load_file(path))
