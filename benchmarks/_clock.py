"""CPU-seconds of pieces of work that take turns in one process, so that both meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def take_turns(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU-seconds of each side: once to warm up, then ``repeats`` rounds of all sides in turn."""
    for side in sides.values():
        side()
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            began = time.process_time()
            side()
            spent[name].append(time.process_time() - began)
    return {name: median(seconds) for name, seconds in spent.items()}
