"""CPU-seconds of functions that alternate, each in a separate process, so that all run under the same conditions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")

TURN_SECONDS = 1.0
"""A turn lasts so many CPU-seconds, or one call where that takes longer."""
LONG_SECONDS = 10.0
"""A call that takes longer needs no other to warm up."""


def take_turns(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU-seconds of one call of each side, over ``repeats`` rounds of all sides in turn.

    Each turn is a fork of this process, in which the side is called once to warm up: what one side sets for its process
    (allocator, library for products) does not affect the others, as in ordinary use.
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
    context = get_context("fork")  # the work is a closure over models: other start methods would copy it
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, sender))
    process.start()
    sender.close()
    found: Any
    try:
        is_done, found = receiver.recv()
    except EOFError:
        is_done, found = False, "the process was killed; is there memory enough?"
    process.join()
    if not is_done:
        raise RuntimeError(found)
    return found


def _send(work: Callable[[], object], sender: Connection) -> None:
    try:
        sender.send((True, work()))
    except Exception as problem:
        sender.send((False, f"{type(problem).__name__}: {problem}"))


def _turn(side: Callable[[], object]) -> float:
    warm_up = _call(side)
    if warm_up > LONG_SECONDS:
        return warm_up
    spent: list[float] = []
    while sum(spent) < TURN_SECONDS:
        spent.append(_call(side))
    return median(spent)


def _call(side: Callable[[], object]) -> float:
    began = time.process_time()
    side()
    return time.process_time() - began
