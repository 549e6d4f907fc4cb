"""What is in a cache: finished stages, unfinished work and leftovers of killed processes, with size, age and use."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock, Timeout

from genrec.errors import DataError, GenrecError
from genrec.experiment.keys import Kind
from genrec.experiment.run_folder import DRAFT, RunFolder
from genrec.runtime.checksums import MARK, read_mark
from genrec.runtime.files import PARTIAL, is_abandoned, read_json
from genrec.runtime.folder_lock import FolderLock

_STAGES: tuple[str, ...] = get_args(Kind)
_UNFINISHED = {"training": "model", "unfinished": "vectors", "fitted": "fitted", "logs": "model"}
"""Kinds of folders: checkpoints of a training, parts of vectors, trained baselines, logs of a training; each with the
kind of the stage whose lock its writer holds."""


@dataclass(frozen=True)
class CacheEntry:
    """A finished stage, unfinished work, or a leftover."""

    kind: str
    """Of a stage (``vectors``, ``ids``, ``model``, ``candidates``, ``baseline``, ``summary``); ``training``,
    ``unfinished``, ``fitted`` and ``logs``: folders of work that may be resumed; ``leftover``: of a killed process."""
    key: str
    """The cache key; of a leftover, its name."""
    inputs: str
    """What the stage was computed from: dataset and components; empty if unknown."""
    files: tuple[Path, ...]
    """Its files and folders; the first one decides whether it is finished."""
    size: int
    """Bytes."""
    last_used: float
    """``time.time()`` when it was last written or read."""
    runs: tuple[str, ...]
    """Names of the run folders that used it."""

    @property
    def is_stage(self) -> bool:
        """Whether it is a finished stage."""
        return self.kind in _STAGES


def cache_entries(root: Path) -> list[CacheEntry]:
    """The content of a cache: stages by kind, then unfinished work, then leftovers; the most recently used first.

    Args:
        root: the folder of the cache.
    """
    users = _users(root)
    found = [*_entries(root, users), *_abandoned_runs(root)]
    order = (*_STAGES, *_UNFINISHED, "leftover")
    return sorted(found, key=lambda entry: (order.index(entry.kind), -entry.last_used, entry.key))


def clean_cache(
    root: Path, *, unused: bool = False, older_than: float = 0.0, dry_run: bool = False
) -> list[CacheEntry]:
    """Remove leftovers of killed processes and old unfinished work; what a process is working on stays.

    Args:
        root: the folder of the cache.
        unused: also remove stages that no run uses.
        older_than: seconds since the last use of stages and unfinished work that are removed.
        dry_run: remove nothing.

    Returns:
        What was removed, or would be.

    Raises:
        OSError: a file cannot be removed.
    """
    now, removed = time.time(), []
    for entry in cache_entries(root):
        if entry.is_stage and (entry.runs or not unused):
            continue
        if entry.kind != "leftover" and now - entry.last_used < older_than:
            continue
        with _unlocked(root, entry) as is_free:
            if not is_free:
                continue
            removed.append(entry)
            if not dry_run:
                _remove(entry, root)
    return removed


def _entries(root: Path, users: dict[str, set[str]]) -> Iterator[CacheEntry]:
    files = sorted(root.iterdir()) if root.is_dir() else []
    for file in files:
        kind, _, key = file.name.partition("-")
        if file.name.endswith(PARTIAL):
            if is_abandoned(file):
                yield _entry("leftover", file.name, "", [file], users)
        elif kind in _STAGES and file.is_file():
            record = root / f"made-{file.name}.json"
            beside = [record, *([root / f"log-{key}.json"] if kind == "model" else [])]
            yield _entry(kind, key, _inputs(record), [file, *(part for part in beside if part.is_file())], users)
        elif kind in _UNFINISHED and file.is_dir():
            yield _entry(kind, key, "", [file], users)
        elif kind in ("made", "log"):
            stage = key.removesuffix(".json") if kind == "made" else f"model-{key.removesuffix('.json')}"
            if not (root / stage).is_file():
                yield _entry("leftover", file.name, "", [file], users)


def _abandoned_runs(root: Path) -> Iterator[CacheEntry]:
    """What killed runs left in their folders."""
    for folder in _run_folders(root):
        if (draft := folder / DRAFT).is_dir() and _is_free(folder):
            yield _entry("leftover", f"{folder.resolve().name}/{DRAFT}", "", [draft], {})


def _is_free(folder: Path) -> bool:
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except GenrecError:
        return False
    lock.release()
    return True


def _entry(kind: str, key: str, inputs: str, files: list[Path], users: dict[str, set[str]]) -> CacheEntry:
    stats = [part.stat() for file in files for part in (file, *(file.rglob("*") if file.is_dir() else ()))]
    size, used = sum(stat.st_size for stat in stats), max(stat.st_mtime for stat in stats)
    return CacheEntry(kind, key, inputs, tuple(files), size, used, tuple(sorted(users.get(key, ()))))


def _inputs(record: Path) -> str:
    with suppress(DataError, KeyError, TypeError):
        return ", ".join(read_json(record)["like"])
    return ""


def _run_folders(root: Path) -> list[Path]:
    """The folders of runs that share a cache: the one around it, and those beside it."""
    around = root.parent
    places = [around, *sorted(around.iterdir())] if around.is_dir() else []
    return [place for place in places if (place / MARK).is_file()]


def _users(root: Path) -> dict[str, set[str]]:
    """By cache key: the names of the run folders that used it."""
    found: dict[str, set[str]] = {}
    for folder in _run_folders(root):
        with suppress(DataError):
            for key in _keys(read_mark(folder)):
                found.setdefault(key, set()).add(folder.resolve().name)
    return found


def _keys(mark: dict[str, Any]) -> Iterator[str]:
    stages = mark.get("stages", [])
    yield from (stage["key"] for stage in stages if isinstance(stage, dict) and isinstance(stage.get("key"), str))
    yield from (key for name in ("model", "train_only/model") if isinstance(key := mark.get(name), str))
    yield from (key for key in mark.get("keys", []) if isinstance(key, str))


@contextmanager
def _unlocked(root: Path, entry: CacheEntry) -> Iterator[bool]:
    """Whether no process is working on an entry; none starts to within the block."""
    kind = _UNFINISHED.get(entry.kind, entry.kind)
    file = root / "locks" / f"{kind}-{entry.key}"
    if entry.kind == "leftover" or not file.is_file():
        yield True
        return
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _remove(entry: CacheEntry, root: Path) -> None:
    for file in entry.files:
        if file.name == DRAFT:
            with suppress(DataError), RunFolder(file.parent, root):  # DataError: by now, a process writes to it
                pass
        elif file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
