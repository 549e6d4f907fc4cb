"""Jobs of concurrent requests are computed together, in order, and none is lost or begun too late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from genrec.errors import DataError
from genrec.serving.service.batching import Batcher, QueueFullError, StoppedError

Work = Callable[[str, list[Sequence[str]]], list[str]]


class Blocked:
    """Work that begins and waits until it may go on, and that notes its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Sequence[str]]]] = []
        self.may_go_on, self.has_begun = threading.Event(), threading.Event()

    def __call__(self, group: str, histories: list[Sequence[str]]) -> list[str]:
        self.batches.append((group, histories))
        self.has_begun.set()
        assert self.may_go_on.wait(10)
        return [f"{group}:{','.join(history)}" for history in histories]


def batcher(work: Any, **changes: Any) -> Batcher[str, str]:
    settings = {"max_batch": 8, "max_wait_s": 0.0, "max_work_s": 100.0, "queue_size": 100} | changes
    return Batcher(work, **settings)


async def begun(work: Blocked) -> None:
    while not work.has_begun.is_set():
        await asyncio.sleep(0.001)


def test_jobs_that_wait_are_computed_together_in_their_order() -> None:
    work = Blocked()
    together = batcher(work)

    async def main() -> list[Sequence[str]]:
        together.start()
        first = asyncio.create_task(together.compute("a", [["1"]], 10))
        await begun(work)
        groups = [("a", [["2"]]), ("b", [["3"]]), ("a", [["4"], ["5"]])]
        others = [asyncio.create_task(together.compute(group, histories, 10)) for group, histories in groups]
        await asyncio.sleep(0.01)
        assert together.num_waiting == 4
        work.may_go_on.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(main()) == [["a:1"], ["a:2"], ["b:3"], ["a:4", "a:5"]]
    assert work.batches == [("a", [["1"]]), ("a", [["2"], ["4"], ["5"]]), ("b", [["3"]])]
    assert together.num_waiting == 0
    together.stop(10)


@pytest.mark.parametrize(("max_batch", "sizes"), [(1, [1, 1, 1, 3, 1]), (2, [1, 2, 3, 1]), (3, [1, 3, 3]), (6, [1, 6])])
def test_no_batch_is_larger_than_allowed_except_for_one_large_job(max_batch: int, sizes: list[int]) -> None:
    work = Blocked()
    together = batcher(work, max_batch=max_batch)

    async def main() -> None:
        together.start()
        tasks = [asyncio.create_task(together.compute("a", [["0"]], 10))]
        await begun(work)
        jobs = [[["1"]], [["2"]], [["3"], ["4"], ["5"]], [["6"]]]
        tasks += [asyncio.create_task(together.compute("a", job, 10)) for job in jobs]
        await asyncio.sleep(0.01)
        work.may_go_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    found = [len(histories) for _, histories in work.batches]
    assert sum(found) == 7
    assert found == sizes
    together.stop(10)


def test_a_job_whose_time_is_over_is_not_begun() -> None:
    work = Blocked()
    together = batcher(work)

    async def main() -> None:
        together.start()
        first = asyncio.create_task(together.compute("a", [["1"]], 10))
        await begun(work)
        with pytest.raises(TimeoutError):
            await together.compute("a", [["late"]], 0.05)
        work.may_go_on.set()
        assert await first == ["a:1"]
        assert await together.compute("a", [["2"]], 10) == ["a:2"]

    asyncio.run(main())
    assert work.batches == [("a", [["1"]]), ("a", [["2"]])]
    together.stop(10)


def test_work_that_takes_too_long_is_given_up() -> None:
    work = Blocked()
    together = batcher(work)

    async def main() -> float:
        together.start()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await together.compute("a", [["1"]], 0.05)
        return time.monotonic() - began

    assert asyncio.run(main()) < 5
    work.may_go_on.set()
    together.stop(10)


def test_a_full_queue_refuses_jobs_and_takes_them_again() -> None:
    work = Blocked()
    together = batcher(work, queue_size=3)

    async def main() -> None:
        together.start()
        tasks = [asyncio.create_task(together.compute("a", [["1"]], 10))]
        await begun(work)
        tasks.append(asyncio.create_task(together.compute("a", [["2"], ["3"]], 10)))
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError):
            await together.compute("a", [["4"], ["5"]], 10)
        tasks.append(asyncio.create_task(together.compute("a", [["6"]], 10)))
        await asyncio.sleep(0.01)
        work.may_go_on.set()
        await asyncio.gather(*tasks)
        assert await together.compute("a", [["4"], ["5"]], 10) == ["a:4", "a:5"]

    asyncio.run(main())
    together.stop(10)


def test_an_error_is_that_of_its_own_job() -> None:
    started = threading.Event()

    def work(group: str, histories: list[Sequence[str]]) -> list[str]:
        assert started.wait(10)
        if ["bad"] in histories:
            raise DataError("a bad history")
        if ["bug"] in histories:
            raise ZeroDivisionError
        return [history[0] for history in histories]

    together = batcher(work)

    async def main() -> list[Any]:
        together.start()
        names = ["1", "2", "bad", "3", "bug", "4"]
        tasks = [asyncio.create_task(together.compute("a", [[name]], 10)) for name in names]
        await asyncio.sleep(0.01)
        started.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(main())
    assert [found[place] for place in (0, 1, 3, 5)] == [["1"], ["2"], ["3"], ["4"]]
    assert isinstance(found[2], DataError)
    assert isinstance(found[4], ZeroDivisionError)
    together.stop(10)


def test_stopping_finishes_what_waits_and_refuses_what_comes_later() -> None:
    work = Blocked()
    together = batcher(work, max_batch=1)

    async def main() -> list[Sequence[str]]:
        together.start()
        tasks = [asyncio.create_task(together.compute("a", [[str(n)]], 10)) for n in range(4)]
        await begun(work)
        stopping = asyncio.create_task(asyncio.to_thread(together.stop, 10))
        await asyncio.sleep(0.05)
        with pytest.raises(StoppedError):
            await together.compute("a", [["late"]], 10)
        work.may_go_on.set()
        await stopping
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [["a:0"], ["a:1"], ["a:2"], ["a:3"]]


def test_an_idle_batcher_does_not_wait_and_a_busy_one_waits_for_more() -> None:
    sizes: list[int] = []

    def work(group: str, histories: list[Sequence[str]]) -> list[str]:
        sizes.append(len(histories))
        time.sleep(0.02)
        return [history[0] for history in histories]

    together = batcher(work, max_wait_s=5.0)

    async def client(count: int) -> None:
        for n in range(count):
            await together.compute("a", [[str(n)]], 60)

    async def main() -> float:
        together.start()
        began = time.monotonic()
        await client(3)
        took = time.monotonic() - began
        await asyncio.gather(*(client(5) for _ in range(8)))
        return took

    assert asyncio.run(main()) < 5
    assert sizes[:3] == [1, 1, 1]
    assert max(sizes) == 8
    assert sum(sizes) == 43
    together.stop(10)


def test_several_workers_compute_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def work(group: str, histories: list[Sequence[str]]) -> list[str]:
        both.wait(10)
        return ["done"] * len(histories)

    together = batcher(work, workers=2)

    async def main() -> list[Sequence[str]]:
        together.start()
        return await asyncio.gather(together.compute("a", [["1"]], 10), together.compute("b", [["2"]], 10))

    assert asyncio.run(main()) == [["done"], ["done"]]
    together.stop(10)


def test_slow_work_gets_smaller_batches() -> None:
    sizes: list[int] = []

    def work(group: str, histories: list[Sequence[str]]) -> list[str]:
        sizes.append(len(histories))
        time.sleep(0.02 * len(histories))
        return ["done"] * len(histories)

    together = batcher(work, max_work_s=0.05)

    async def main() -> None:
        together.start()
        await together.compute("a", [["1"]], 60)
        await asyncio.gather(*(together.compute("a", [["2"]], 60) for _ in range(12)))

    asyncio.run(main())
    assert sum(sizes) == 13
    assert max(sizes[2:]) <= 4, "8 would take 0.16 s"
    together.stop(10)
