"""CPU-seconds of pieces of work that take turns, each in a process of its own, so that all meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import TypeVar

T = TypeVar("T")

TURN_SECONDS = 1.0
"""A turn lasts so many CPU-seconds, or one call where that takes longer."""


def take_turns(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU-seconds of one call of each side, over ``repeats`` rounds of all sides in turn.

    Each turn is a fork of this process, in which the side is called once to warm up: what one side sets for its process
    (how memory is kept, which library multiplies) helps no other, and a side's user has it to himself as well.
    """
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            spent[name].append(in_own_process(partial(_turn, side)))
    return {name: median(seconds) for name, seconds in spent.items()}


def in_own_process(work: Callable[[], T]) -> T:
    """What ``work`` gives in a fork of this process.

    Raises:
        RuntimeError: ``work`` raised, or its process was killed.
    """
    context = get_context("fork")  # the work is a closure over models: no other way starts without copying it
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, sender))
    process.start()
    sender.close()
    try:
        found, error = receiver.recv()
    except EOFError:
        found, error = None, "killed; is there memory enough?"
    process.join()
    if error is not None:
        raise RuntimeError(error)
    return found


def _send(work: Callable[[], object], sender: Connection) -> None:
    try:
        sender.send((work(), None))
    except Exception as problem:
        sender.send((None, f"{type(problem).__name__}: {problem}"))


def _turn(side: Callable[[], object]) -> float:
    side()
    spent: list[float] = []
    while sum(spent) < TURN_SECONDS:
        began = time.process_time()
        side()
        spent.append(time.process_time() - began)
    return median(spent)
