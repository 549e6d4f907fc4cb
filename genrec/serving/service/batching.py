"""Histories of many requests, computed together by a few threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

G = TypeVar("G", bound=Hashable)
T = TypeVar("T")


class QueueFullError(Exception):
    """Too many histories are waiting."""


class StoppedError(Exception):
    """The service is being stopped."""


@dataclass(eq=False)
class _Job(Generic[G]):
    group: G
    histories: Sequence[Sequence[str]]
    deadline: float
    """On the clock of ``time.monotonic``."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()


class Batcher(Generic[G, T]):
    """Collects the histories of concurrent requests and computes them in batches.

    A free worker takes the oldest job and those of the same group behind it. While requests arrive one at a time it
    does so at once. Under load it waits for as many histories as there were at the end of the last batch, computed and
    waiting: their clients may ask again. It stops waiting when none arrives for ``max_wait_s``, and at the latest after
    the time that the last batch took. On a slow machine batches are smaller, so that one takes at most ``max_work_s``.

    Args:
        work: computes the results of some histories of one group, in their order.
        max_batch: most histories of a batch; a job with more is a batch of its own.
        max_wait_s: longest pause between jobs for which a batch waits, in seconds.
        max_work_s: longest time of a batch, in seconds, as far as the last batches tell.
        queue_size: most histories that wait.
        workers: number of threads.
        on_batch: called with the number of histories of each batch.
    """

    def __init__(
        self,
        work: Callable[[G, list[Sequence[str]]], Sequence[T]],
        *,
        max_batch: int,
        max_wait_s: float,
        max_work_s: float,
        queue_size: int,
        workers: int = 1,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._work, self._on_batch = work, on_batch
        self._max_batch, self._max_wait_s, self._queue_size = max_batch, max_wait_s, queue_size
        self._max_work_s, self._seconds_each = max_work_s, 0.0
        self._jobs: deque[_Job[G]] = deque()
        self._num_waiting = 0
        self._expected, self._last_seconds = 1, 0.0
        """Histories at the end of the last batch, computed and waiting, and the time that it took."""
        self._changed = threading.Condition()
        self._is_stopping = False
        self._threads = [threading.Thread(target=self._run, name=f"batch-{n}", daemon=True) for n in range(workers)]

    @property
    def num_waiting(self) -> int:
        """Number of histories that wait."""
        return self._num_waiting

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Finish the jobs that wait, and end the threads.

        Args:
            timeout: most seconds to wait for them.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0))

    async def compute(self, group: G, histories: Sequence[Sequence[str]], seconds: float) -> Sequence[T]:
        """The results of some histories.

        Args:
            group: jobs of equal groups are computed together.
            histories: of one request.
            seconds: time in which the result must be there.

        Raises:
            QueueFullError: too many histories wait.
            StoppedError: the service is being stopped.
            TimeoutError: the time is over; the work is not begun if it waited for all of that time.
            GenrecError: what ``work`` raised.
        """
        job = _Job(group, histories, time.monotonic() + seconds, asyncio.get_running_loop())
        with self._changed:
            if self._is_stopping:
                raise StoppedError
            if self._num_waiting + len(histories) > self._queue_size:
                raise QueueFullError
            self._jobs.append(job)
            self._num_waiting += len(histories)
            self._changed.notify()
        return await asyncio.wait_for(job.future, seconds)

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._answer(batch)
            except Exception as error:  # a thread that ends would leave all later requests without an answer
                for job in batch:
                    _finish([(job, None, error)])

    def _next(self) -> list[_Job[G]]:
        """The jobs of the next batch; none if the service stops."""
        with self._changed:
            while True:
                while not self._jobs and not self._is_stopping:
                    self._changed.wait()
                if not self._jobs:
                    return []
                self._wait_for_more()
                if batch := self._take():
                    return batch

    def _wait_for_more(self) -> None:
        target, until = min(self._room(), self._expected), time.monotonic() + self._last_seconds
        while self._num_waiting < target and not self._is_stopping:
            before, left = self._num_waiting, until - time.monotonic()
            if left <= 0 or not self._changed.wait(min(left, self._max_wait_s)) or self._num_waiting <= before:
                break

    def _room(self) -> int:
        """Most histories of the next batch."""
        return max(1, min(self._max_batch, int(self._max_work_s / max(self._seconds_each, 1e-9))))

    def _take(self) -> list[_Job[G]]:
        """The oldest job and those of its group that fit into a batch; jobs that are too late are dropped."""
        now, size, room = time.monotonic(), 0, self._room()
        batch: list[_Job[G]] = []
        others: deque[_Job[G]] = deque()
        while self._jobs and size < room:
            job = self._jobs.popleft()
            if job.future.cancelled() or job.deadline < now:
                self._num_waiting -= len(job.histories)
            elif not batch or (job.group == batch[0].group and size + len(job.histories) <= room):
                batch.append(job)
                size += len(job.histories)
            else:
                others.append(job)
        self._num_waiting -= size
        self._jobs.extendleft(reversed(others))
        if self._jobs:
            self._changed.notify()
        return batch

    def _answer(self, batch: list[_Job[G]]) -> None:
        size, began = sum(len(job.histories) for job in batch), time.monotonic()
        self._on_batch(size)
        try:
            results = self._work(batch[0].group, [history for job in batch for history in job.histories])
        except Exception as error:
            if len(batch) == 1:
                _finish([(batch[0], None, error)])
            else:  # the error is that of one of them
                for job in batch:
                    self._answer([job])
            return
        self._last_seconds, self._expected = time.monotonic() - began, size + self._num_waiting
        self._seconds_each = 0.5 * (self._seconds_each + self._last_seconds / size)
        done, start = [], 0
        for job in batch:
            done.append((job, results[start : start + len(job.histories)], None))
            start += len(job.histories)
        _finish(done)


def _finish(done: list[tuple[_Job[Any], Any, Exception | None]]) -> None:
    """Give jobs their results, in the thread of their event loop."""

    def put() -> None:
        for job, result, error in done:
            if job.future.done():
                continue
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)

    with suppress(RuntimeError):  # the event loop is closed
        done[0][0].loop.call_soon_threadsafe(put)
