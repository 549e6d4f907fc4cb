"""What a second core brings: two processes, or two threads of one, against one thread; decoding, users over wall clock.

``python benchmarks/scaling.py [--output FILE]``. It means something on idle cores alone: the load average is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import torch
from _models import Sizes, build_retriever, random_histories, search
from _results import Cell, Result, Table, give, read_conditions, say_load

from genrec.model.retriever import Retriever
from genrec.semantic_ids.trie import Trie


@dataclass(frozen=True)
class Work:
    """What each process does."""

    sizes: Sizes
    batch: int
    beam_width: int
    seconds: float
    """How long it searches."""


@dataclass(frozen=True)
class Crew:
    """Who does it."""

    processes: int
    threads: int
    """Of each process."""


CREWS = (Crew(1, 1), Crew(2, 1), Crew(1, 2))


def search_for(work: Work, retriever: Retriever, tries: dict[str, Trie]) -> float:
    """Users a second of this process over the wall clock, batch after batch until the time is over."""
    users, began = 0, time.perf_counter()
    while time.perf_counter() - began < work.seconds:
        search(retriever, tries, random_histories(work.sizes, work.batch, seed=users), beam_width=work.beam_width)
        users += work.batch
    return users / (time.perf_counter() - began)


def search_in_process(work: Work, threads: int, start: Barrier, speeds: Queue[float]) -> None:
    """Build, warm up, wait for the others, search, and return the speed."""
    torch.set_num_threads(threads)
    retriever, tries = build_retriever(work.sizes)
    search(retriever, tries, random_histories(work.sizes, work.batch), beam_width=work.beam_width)
    start.wait()
    speeds.put(search_for(work, retriever, tries))


def total_speed(work: Work, crew: Crew) -> float:
    """Users a second of all processes together; they are new ones, and begin when all have warmed up.

    Raises:
        RuntimeError: a process failed.
    """
    context = multiprocessing.get_context("spawn")
    start, speeds = context.Barrier(crew.processes, timeout=600), context.Queue()
    members = [
        context.Process(target=search_in_process, args=(work, crew.threads, start, speeds))
        for _ in range(crew.processes)
    ]
    for member in members:
        member.start()
    alive = {member.sentinel: member for member in members}
    while alive:
        for sentinel in wait(list(alive)):
            member = alive.pop(sentinel)  # type: ignore[arg-type]
            member.join()
            if member.exitcode:
                start.abort()  # or the others would wait for it
    if any(member.exitcode for member in members):
        raise RuntimeError(f"{crew}: a process failed; see its output above")
    return sum(speeds.get() for _ in members)


def compare(work: Work, crews: Sequence[Crew], repeats: int) -> list[list[Cell]]:
    """A row for each crew; crews alternate, and the first is the reference."""
    speeds: dict[Crew, list[float]] = {crew: [] for crew in crews}
    for _ in range(repeats):
        for crew in crews:
            speeds[crew].append(total_speed(work, crew))
    alone = median(speeds[crews[0]])
    return [
        [crew.processes, crew.threads, median(found), f"{median(found) / alone:.2f}x"] for crew, found in speeds.items()
    ]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="users searched together")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--beam-width", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each process searches")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians count")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    arguments = parser.parse_args()
    say_load()
    conditions = read_conditions()
    conditions["threads"] = "as in the table"
    work = Work(Sizes(num_streams=arguments.streams), arguments.batch, arguments.beam_width, arguments.seconds)
    rows = compare(work, CREWS, arguments.repeats)
    title = f"Users a second over wall clock, {arguments.streams} streams, batches of {arguments.batch}"
    note = "The ratio is to the first row. With two cores, it is meaningful only if the load average was near 0."
    columns = ["processes", "threads of each", "users/s", "ratio"]
    give(Result("scaling", [Table(title, columns, rows, note)], conditions), arguments.output)


if __name__ == "__main__":
    main()
