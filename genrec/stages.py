"""Finished stages on disk, addressed by what decided their content, so that nothing is computed twice.

An address is the hash of everything that a stage's content depends on; equal addresses hold equal content.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from genrec import __version__
from genrec.families import Component, plain
from genrec.files import fingerprint
from genrec.peak_memory import PeakMemory
from genrec.progress import console
from genrec.runtime.environment import Environment
from genrec.sources import source_hash
from genrec.types import ItemVectors, SemanticIds

T = TypeVar("T")


def address(**parts: Any) -> str:
    """The address of a stage: a hash of plain data, of genrec's version among it."""
    text = json.dumps({"genrec": __version__, **parts}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def component_identity(component: Component, environment: Environment) -> dict[str, Any]:
    """What decides the work of a component, for the address of a finished stage.

    Its block without what changes speed alone, the source that implements it, and the content of the files that it
    reads; of the components inside it as well.

    Raises:
        DataError: a file that it reads is missing; the text says where it was looked for.
    """
    parts = [component, *_components_in(component)]
    return {
        "block": _deciding(component),
        "source": source_hash(*dict.fromkeys(Path(inspect.getfile(type(part))) for part in parts)),
        "files": [[fingerprint(file) for file in part.input_files(environment)] for part in parts],
    }


def _components_in(value: Any) -> Iterator[Component]:
    """All components below a value, itself left out."""
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            if isinstance(part, Component):
                yield part
            yield from _components_in(part)


def _deciding(value: Any) -> Any:
    """As :func:`~genrec.families.plain`, without the fields that change speed alone."""
    if isinstance(value, Component):
        names = [name for name in type(value).model_fields if name not in value.speed_only]
        return {"type": value.type_name, **{name: _deciding(getattr(value, name)) for name in names}}
    if isinstance(value, BaseModel):
        return {name: _deciding(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list | tuple):
        return [_deciding(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _deciding(part) for key, part in value.items()}
    return plain(value)


class Stages:
    """A folder of finished stages.

    Args:
        root: where they lie; made when the first one is stored.
        quiet: say nothing of stages that are reused.
    """

    def __init__(self, root: Path, *, quiet: bool = False) -> None:
        self.root, self._quiet = root, quiet
        self.log: list[dict[str, Any]] = []
        """What was asked for, in order: kind, name, address and whether it was reused."""

    def path(self, kind: str, key: str) -> Path:
        """Where a stage of a kind lies or will lie."""
        return self.root / f"{kind}-{key}"

    def get(
        self,
        kind: str,
        key: str,
        *,
        name: str,
        work: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
        like: Sequence[str] = (),
    ) -> tuple[T, Path]:
        """The content of a stage: loaded if it was finished before, else worked out and stored whole or not at all.

        What it took stands beside it in ``made-<kind>-<key>.json``: seconds and the most memory.

        Args:
            kind: what it is, e.g. ``vectors``.
            key: its :func:`address`.
            name: for the log, e.g. ``text``.
            work: makes the content.
            save: writes it to a file.
            load: reads that file.
            like: what its time depends on, so that stages still to be made can be estimated.

        Returns:
            The content and the file that holds it.
        """
        path = self.path(kind, key)
        reused = path.is_file()
        self.log.append({"kind": kind, "name": name, "address": key, "reused": reused})
        if reused:
            if not self._quiet:
                console.print(f"{kind} of {name}: finished before, reused ({path.name})", style="dim", markup=False)
            return load(path), path
        began = time.monotonic()
        with PeakMemory() as peak:
            content = work()
        self.root.mkdir(parents=True, exist_ok=True)
        facts = {"like": list(like), "seconds": time.monotonic() - began, "peak_bytes": peak.bytes}
        self._facts(kind, key).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # another run may be at the same stage
        save(content, partial)
        partial.replace(path)
        return content, path

    @contextmanager
    def alone(self, kind: str, key: str) -> Iterator[None]:
        """Keep other processes from the same stage while the block works on it; they wait, and find it finished.

        A stage that is finished needs no such care. The lock ends with the process that holds it.
        """
        if self.path(kind, key).is_file():
            yield
            return
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{kind}-{key}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.print(f"{kind}-{key}: another process is at it; waiting", markup=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def made(self, kind: str, key: str) -> dict[str, Any]:
        """What a finished stage took: ``like``, ``seconds`` and ``peak_bytes``; empty where nobody has kept it."""
        return _read_facts(self._facts(kind, key))

    def all_made(self, kind: str) -> list[dict[str, Any]]:
        """What every finished stage of a kind took."""
        return [facts for file in sorted(self.root.glob(f"made-{kind}-*.json")) if (facts := _read_facts(file))]

    def _facts(self, kind: str, key: str) -> Path:
        return self.root / f"made-{kind}-{key}.json"


def _read_facts(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and "seconds" in facts else {}


def save_vectors(vectors: ItemVectors, path: Path) -> None:
    """Item vectors as safetensors; their notes in its metadata."""
    tensors = {"vectors_IE": np.ascontiguousarray(vectors.vectors_IE), "present_I": vectors.present_I}
    save_file(tensors, path, metadata={"notes": json.dumps(vectors.notes)})


def load_vectors(path: Path) -> ItemVectors:
    """The inverse of :func:`save_vectors`."""
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        notes = tuple(json.loads(file.metadata()["notes"]))
    return ItemVectors(tensors["vectors_IE"], tensors["present_I"], notes)


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
