"""Finished stages on disk, found by their keys, so that nothing is computed twice."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from genrec.experiment.keys import Stage
from genrec.runtime.peak_memory import PeakMemory
from genrec.runtime.progress import console
from genrec.runtime.timer import Timer

T = TypeVar("T")


class Cache:
    """A folder of finished stages.

    Args:
        root: the folder; made when the first stage is stored.
        place: called with the file of each stage that is used and the name that it has in the folder of a run.
        quiet: do not report stages that are reused.

    Attributes:
        log: what was asked for, in order: kind, name, key and whether it was reused.
        timer: wall clock of each part of the work; a stage that was found finished took next to nothing.
    """

    def __init__(self, root: Path, *, place: Callable[[Path, str], None] | None = None, quiet: bool = False) -> None:
        self.root, self._place, self._quiet = root, place, quiet
        self.log: list[dict[str, Any]] = []
        self.timer = Timer()

    def path(self, kind: str, key: str) -> Path:
        """The file of a stage, whether it is finished or not."""
        return self.root / f"{kind}-{key}"

    def has(self, stage: Stage) -> bool:
        """Whether a stage is finished."""
        return self.path(stage.kind, stage.key).is_file()

    def get(
        self,
        stage: Stage,
        *,
        work: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
        artifact: str = "",
        like: Sequence[str] = (),
        scratch: Path | None = None,
    ) -> T:
        """The content of a stage: loaded if it is finished, else computed and stored whole or not at all.

        Other processes that want the same stage wait meanwhile. What it took stands beside it in
        ``made-<kind>-<key>.json``: seconds and the most memory.

        Args:
            stage: kind, name and key.
            work: computes the content.
            save: writes it to a file.
            load: reads that file.
            artifact: its name in the folder of a run; "" keeps it in the cache alone.
            like: what its time depends on, so that stages still to be computed can be estimated.
            scratch: folder of unfinished work, removed when the stage is stored.
        """
        with self.lock(stage.kind, stage.key):
            content, path = self._get(stage, work, save, load, like)
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
        if self._place is not None and artifact:
            self._place(path, artifact)
        return content

    def _get(
        self,
        stage: Stage,
        work: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
        like: Sequence[str],
    ) -> tuple[T, Path]:
        kind, name, key = stage
        path = self.path(kind, key)
        reused = path.is_file()
        self.log.append({"kind": kind, "name": name, "key": key, "reused": reused})
        if reused:
            if not self._quiet:
                console.print(f"{kind} of {name}: found in the cache ({path.name})", style="dim", markup=False)
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
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Keep other processes from computing the same stage while the block does; they wait, and find it finished.

        A stage that is finished needs no lock. The lock ends with the process that holds it.
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
            console.print(f"{kind}-{key}: waiting for another process that computes it", markup=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def facts(self, kind: str, key: str) -> dict[str, Any]:
        """What a finished stage took: ``like``, ``seconds`` and ``peak_bytes``; empty where that is not known."""
        return _read_facts(self._facts(kind, key))

    def all_facts(self, kind: str) -> list[dict[str, Any]]:
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
