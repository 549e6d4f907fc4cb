"""The cache: finished stages on disk, by key."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from genrec.errors import DataError, StorageError
from genrec.experiment.keys import Stage
from genrec.runtime.checksums import checksum, is_intact, seal
from genrec.runtime.files import PARTIAL, is_abandoned, read_json, reason, replacing, write_json
from genrec.runtime.peak_memory import PeakMemory
from genrec.runtime.progress import console, log_detail
from genrec.runtime.timer import Timer

T = TypeVar("T")


class Cache:
    """A folder of finished stages.

    The record of a stage, ``made-<kind>-<key>.json``, has its cost and the checksums of its files. A stage whose files
    do not match them is reported, is not finished, and is computed again.

    Args:
        root: the folder; created when the first stage is stored.
        place: called with the file of each stage that is used and its name in the folder of a run.
        quiet: do not log reused stages.
        machine: device and number of threads (:func:`~genrec.runtime.threads.computed_on`), stored with each stage that
            is computed; "" if the cache computes none.

    Attributes:
        log: the requested stages in order: kind, name, key and whether the stage was reused.
        timer: wall-clock seconds of each part of the work; a reused stage takes only the time to load it.
    """

    def __init__(
        self,
        root: Path,
        *,
        place: Callable[[Path, str], None] | None = None,
        quiet: bool = False,
        machine: str = "",
    ) -> None:
        self.root, self._place, self._quiet, self.machine = root, place, quiet, machine
        self.log: list[dict[str, Any]] = []
        self.timer = Timer()
        self._checked: dict[Path, tuple[object, bool]] = {}
        """By file of a stage: checksums, sizes and times when it was last checked, and whether it was intact."""

    def path(self, kind: str, key: str) -> Path:
        """The file of a stage, whether it is finished or not."""
        return self.root / f"{kind}-{key}"

    def has(self, stage: Stage) -> bool:
        """Whether a stage is finished and its files are intact; damage is reported."""
        return self._is_finished(stage.kind, stage.key)

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
        beside: Sequence[str] = (),
    ) -> T:
        """The content of a stage: loaded if it is finished, else computed and stored atomically.

        Other processes that request the same stage wait. Its seconds and peak memory are stored beside it in
        ``made-<kind>-<key>.json``.

        Args:
            stage: kind, name and key.
            work: computes the content.
            save: writes it to a file.
            load: reads that file.
            artifact: file name in the folder of a run; "": in the cache only.
            like: what its duration depends on, to estimate the duration of similar stages.
            scratch: folder for unfinished work, removed when the stage is stored.
            beside: names of other files that ``save`` writes beside its file.

        Raises:
            StorageError: a file cannot be written.
        """
        with self.lock(stage.kind, stage.key):
            content, path = self._get(stage, work, save, load, like, beside)
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
        beside: Sequence[str],
    ) -> tuple[T, Path]:
        kind, name, key = stage
        path = self.path(kind, key)
        reused = self.has(stage)
        self.log.append({"kind": kind, "name": name, "key": key, "reused": reused})
        if reused:
            if not self._quiet:
                console.print(f"{kind} of {name}: found in the cache ({path.name})", style="dim", markup=False)
            else:
                log_detail(f"{kind} of {name}: reads {path}")
            with suppress(OSError):
                os.utime(self._facts(kind, key))  # the time of its last use
            return load(path), path
        log_detail(f"{kind} of {name}: computes {path}")
        began = time.monotonic()
        with PeakMemory() as peak:
            content = work()
        seconds = time.monotonic() - began
        for file in self.root.glob(f"*-{key}*{PARTIAL}"):
            if is_abandoned(file):
                file.unlink(missing_ok=True)
        with replacing(path) as partial:
            save(content, partial)
            files = {path.name: checksum(partial), **{name: checksum(self.root / name) for name in beside}}
            facts = {"like": list(like), "seconds": seconds, "peak_bytes": peak.bytes, "machine": self.machine}
            write_json(self._facts(kind, key), seal({**facts, "files": files}))
        size = "unknown" if peak.bytes is None else f"{peak.bytes / 1e6:,.0f} MB"
        log_detail(f"{kind} of {name}: took {seconds:.1f} s, peak memory {size}")
        return content, path

    def _is_finished(self, kind: str, key: str) -> bool:
        path = self.path(kind, key)
        if not path.is_file():
            return False
        files = self.facts(kind, key).get("files", {})
        stats = [file.stat() for file in (path, *(self.root / name for name in files)) if file.is_file()]
        state = files, [(stat.st_size, stat.st_mtime_ns, stat.st_ino) for stat in stats]
        if path not in self._checked or self._checked[path][0] != state:
            problem = self._problem(path, files)
            if problem:
                console.print(f"{path}: {problem}; this stage is computed again", markup=False)
            self._checked[path] = state, not problem
        return self._checked[path][1]

    def _problem(self, path: Path, files: dict[str, str]) -> str:
        """What is wrong with the files of a stage; empty if they match their checksums."""
        if path.name not in files:
            return "has no checksum (its record is damaged or from an earlier version)"
        for name, expected in files.items():
            if not (self.root / name).is_file():
                return f"{name} is missing"
            if checksum(self.root / name) != expected:
                return f"damaged, the checksum of {name} is not the recorded one"
        return ""

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Lock a stage while the block computes it; other processes wait and then load the finished stage.

        A finished stage is not locked. The lock is released when its process ends.

        Raises:
            StorageError: the cache cannot be written.
        """
        if self._is_finished(kind, key):
            yield
            return
        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written: {reason(error)}") from error
        lock = FileLock(folder / f"{kind}-{key}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.print(f"{kind}-{key}: waiting for another process that is computing it", markup=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def machine_notes(self, stages: Iterable[Stage]) -> list[str]:
        """Notes for the report on finished stages that were computed on another device or number of threads.

        Args:
            stages: each once or more; those of earlier versions, whose machine is unknown, are left out.
        """
        found: dict[str, dict[Stage, None]] = {}
        for stage in stages:
            found.setdefault(self.facts(stage.kind, stage.key).get("machine", ""), {})[stage] = None
        own = self.machine or max(found, key=lambda machine: len(found[machine]), default="")
        return [
            f"cache: {', '.join(f'{stage.kind} of {stage.name}' for stage in others)} computed on {machine}, the rest "
            f"on {own}; results may differ from those of one machine"
            for machine, others in found.items()
            if machine not in ("", own)
        ]

    def facts(self, kind: str, key: str) -> dict[str, Any]:
        """Cost of a finished stage: ``like``, ``seconds``, ``peak_bytes`` and ``machine``; empty if unknown."""
        return _read_facts(self._facts(kind, key))

    def all_facts(self, kind: str) -> list[dict[str, Any]]:
        """Cost of every finished stage of a kind."""
        return [facts for file in sorted(self.root.glob(f"made-{kind}-*.json")) if (facts := _read_facts(file))]

    def _facts(self, kind: str, key: str) -> Path:
        return self.root / f"made-{kind}-{key}.json"


def _read_facts(file: Path) -> dict[str, Any]:
    try:
        facts = read_json(file)
    except DataError:
        return {}
    is_record = is_intact(facts) and "seconds" in facts and isinstance(facts.get("files", {}), dict)
    return facts if is_record else {}
