"""A batch: users with histories -> a file of recommendations, in parts, on all cores; a killed one resumes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import polars as pl
import torch

from genrec.errors import DataError
from genrec.runtime.files import fingerprint
from genrec.runtime.progress import Bar, console, without_bars
from genrec.runtime.threads import cores, one_thread
from genrec.serving.batch.histories import FileFormat, Histories, UserHistory, format_of
from genrec.serving.batch.parts import Parts
from genrec.serving.batch.scoring import Counts, Settings, header, recommend_part
from genrec.serving.batch.worker import Worker
from genrec.serving.recommender import Recommender
from genrec.version import __version__

_MOST_USERS, _FEWEST_USERS, _MOST_ROWS = 4096, 256, 100_000
"""Of a part. It is in memory, and is what a kill loses at most for each process."""
_MODEL_FILES = ("recipe.yaml", "merge.json", "items.json", "model.safetensors", "streams")

Part = tuple[bytes, Counts]


def recommend_batch(
    recommender: Recommender,
    histories: Histories,
    output: Path | IO[bytes],
    settings: Settings,
    *,
    file_format: FileFormat | None = None,
    workers: int | None = None,
    force: bool = False,
) -> Counts:
    """Recommend for many users, and write a row for each recommendation in the order of the users.

    Users are taken in parts of a few thousand: memory does not grow with their number, except for eight bytes each.
    Finished parts are kept in ``<output>.parts`` until the output is written whole; the same call resumes from them and
    gives the same bytes, whatever the number of workers.

    Args:
        recommender: of the run. On a GPU it does all the work itself.
        histories: the users.
        output: a file ``.parquet``, ``.csv`` or ``.jsonl``; or a stream, which cannot be resumed.
        settings: what to recommend.
        file_format: ``parquet``, ``csv`` or ``jsonl``; None: by the ending of the file, JSON lines for a stream.
        workers: processes of one thread each, each with a model in memory; None: one for each core.
        force: replace a file that exists.

    Returns:
        Counts of users, rows and unknown items.

    Raises:
        DataError: histories that cannot be read, or an output that exists or has another ending.
        StorageError: the output cannot be written.
    """
    if not isinstance(output, Path):
        return _write_stream(recommender, histories, output, settings, file_format or "jsonl", workers)
    file_format = file_format or format_of(output)
    if output.is_dir():
        raise DataError(f"{output}: is a folder, expected a file")
    inspected, size = histories.inspect(), _part_size(settings)
    num_parts = -(-inspected.users // size)
    inputs = _inputs(recommender, histories, settings, file_format, size)
    parts = Parts(output, file_format, inputs)
    with parts.locked():
        if (total := parts.finished()) is not None:
            parts.clear()
            return total
        if output.exists() and not force:
            raise DataError(f"{output}: exists; pass --force to replace it, or another --output")
        total = Counts(skipped_rows=inspected.skipped_rows, missing_items=inspected.missing_items)
        finished = {number: counts for number in range(num_parts) if (counts := parts.get(number)) is not None}
        for counts in finished.values():
            total.add(counts)
        if finished:
            console.print(f"{output}: resuming, {len(finished):,} of {num_parts:,} parts are finished", markup=False)
        numbers = [number for number in range(num_parts) if number not in finished]
        wanted = (users for number, users in enumerate(_batched(histories, size)) if number not in finished)
        model = _Model(recommender, settings, file_format, histories.user_type(), _count(recommender, workers, numbers))
        try:
            with Bar("recommending", inspected.users) as bar, model:
                bar.advance(total.users)
                for number, (content, counts) in zip(numbers, _shown(model.recommend(wanted), bar), strict=False):
                    parts.put(number, content, counts)
                    total.add(counts)
        except KeyboardInterrupt:
            if total.users:
                done = f"{total.users:,} of {inspected.users:,} users are finished"
                console.print(f"{output}: {done}; the same command resumes", markup=False)
            raise
        if total.users != inspected.users or histories.fingerprint() != inputs["histories"]:
            raise DataError(f"{output}: not written, because the histories changed while they were read; run it again")
        parts.write_output(num_parts, total, header=model.header())
    return total


def _write_stream(
    recommender: Recommender,
    histories: Histories,
    output: IO[bytes],
    settings: Settings,
    file_format: FileFormat,
    workers: int | None,
) -> Counts:
    if file_format == "parquet":
        raise DataError("--output -: Parquet needs a file; pass --format jsonl or csv, or a file")
    inspected, size = histories.inspect(), _part_size(settings)
    total = Counts(skipped_rows=inspected.skipped_rows, missing_items=inspected.missing_items)
    num_workers = _count(recommender, workers, range(-(-inspected.users // size)))
    model = _Model(recommender, settings, file_format, histories.user_type(), num_workers)
    with Bar("recommending", inspected.users) as bar, model:
        output.write(model.header())
        for content, counts in _shown(model.recommend(_batched(histories, size)), bar):
            output.write(content)
            output.flush()
            total.add(counts)
    return total


class _Model:
    """Recommends part by part, in this process or in several; a context manager.

    Args:
        recommender: of the run.
        settings: what to recommend.
        file_format: of the parts.
        user_type: of the users' keys.
        workers: number of processes; 1: this one.
    """

    def __init__(
        self,
        recommender: Recommender,
        settings: Settings,
        file_format: FileFormat,
        user_type: type[pl.DataType],
        workers: int,
    ) -> None:
        self._recommender, self._settings, self._type = recommender, settings, user_type
        self._format: FileFormat = file_format
        self._num_workers = workers
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> _Model:
        if self._num_workers > 1:
            self._pool = self._stack.enter_context(ThreadPoolExecutor(self._num_workers))
            self._stack.callback(self._pool.shutdown, wait=False, cancel_futures=True)
            for _ in range(self._num_workers):
                worker = Worker(self._recommender.path, self._settings, self._format, self._type)
                self._stack.callback(worker.close)
                self._idle.put(worker)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def recommend(self, parts: Iterable[Sequence[UserHistory]]) -> Iterator[Part]:
        """The content and counts of each part, in their order; a few parts are in memory at a time."""
        if self._num_workers <= 1:
            for users in parts:
                with one_thread(), without_bars():
                    part = recommend_part(self._recommender, users, self._settings, self._format, self._type)
                yield part
            return
        waiting: deque[Future[Part]] = deque()
        for users in parts:
            waiting.append(self._pool.submit(self._by_worker, users))
            if len(waiting) > 2 * self._num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def header(self) -> bytes:
        """What precedes the parts: the names of the columns in CSV, else nothing."""
        return header(self._recommender, self._settings) if self._format == "csv" else b""

    def _by_worker(self, users: Sequence[UserHistory]) -> Part:
        worker = self._idle.get()
        try:
            return worker.recommend(users)
        finally:
            self._idle.put(worker)


def _shown(parts: Iterable[Part], bar: Bar) -> Iterator[Part]:
    """The parts, with users per second in a bar."""
    began, num_users = time.monotonic(), 0
    for content, counts in parts:
        num_users += counts.users
        bar.advance(counts.users, f"{num_users / (time.monotonic() - began):,.0f} users/s")
        yield content, counts


def _batched(histories: Histories, size: int) -> Iterator[list[UserHistory]]:
    users = iter(histories)
    while part := list(islice(users, size)):
        yield part


def _part_size(settings: Settings) -> int:
    """Number of users of a part."""
    return min(_MOST_USERS, max(_FEWEST_USERS, _MOST_ROWS // settings.k))


def _count(recommender: Recommender, workers: int | None, parts: Sequence[int]) -> int:
    """Number of processes for some parts; one for a GPU."""
    return max(1, min(workers or cores(), len(parts))) if _device(recommender) == "cpu" else 1


def _device(recommender: Recommender) -> str:
    return next(iter(recommender.model.parameters())).device.type


def _inputs(
    recommender: Recommender, histories: Histories, settings: Settings, file_format: FileFormat, size: int
) -> dict[str, Any]:
    """What decides every byte of the output, as far as this machine is concerned; the keys are for messages."""
    return {
        "histories": histories.fingerprint(),
        "run": [fingerprint(recommender.path / name) for name in _MODEL_FILES],
        "k": settings.k,
        "seen": settings.seen,
        "exclude": sha256("\n".join(settings.exclude).encode("utf-8", "surrogatepass")).hexdigest(),
        "merge": settings.merge,
        "explain": settings.explain,
        "format": file_format,
        "part size": size,
        "device": _device(recommender),
        "version": [__version__, torch.__version__, pl.__version__],
    }
