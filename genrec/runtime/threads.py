"""The number of threads of torch and the other numeric libraries, and the number that suits a recipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from threadpoolctl import threadpool_limits

_SMALL = 2**17
"""Numbers in the states of a batch, up to which handing work to a second thread costs more than it saves."""
_MOST = 8
"""More threads than this wait for each other in the short operations of training."""

Threads = int | Literal["auto"] | None
"""The value of ``--threads``; None: not given."""


def cores() -> int:
    """Cores that this process may use, busy or not."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def auto_threads(block: Mapping[str, Any], num_cores: int) -> int:
    """The number of threads that suits a recipe: one for a small model, all cores up to eight for a large one.

    Small is a model whose states of a batch, batch size x history length x width, hold at most 2^17 numbers: its
    operations take microseconds, as long as it takes to wake another thread. The answer depends on recipe and cores
    alone and never on the load, because the number of threads changes the last digits of results.

    Args:
        block: of the recipe, every default written out.
        num_cores: available cores.
    """
    encoder, batch_size = block["history_encoder"], block["training"]["batch_size"]
    numbers = batch_size * encoder["max_history"] * encoder["dim"]
    return 1 if numbers <= _SMALL else max(1, min(num_cores, _MOST))


def threads_for(requested: Threads, block: Mapping[str, Any], num_cores: int | None = None) -> int | None:
    """The number of threads for a recipe.

    Args:
        requested: the value of ``--threads``; None: ``OMP_NUM_THREADS`` if it is set, else auto.
        block: of the recipe, every default written out.
        num_cores: for auto; by default those that this process may use.

    Returns:
        None: torch and the others follow ``OMP_NUM_THREADS``.
    """
    if requested is None and os.environ.get("OMP_NUM_THREADS"):
        return None
    if isinstance(requested, int):
        return requested
    return auto_threads(block, num_cores or cores())


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute on so many threads in the block: torch, and the libraries behind NumPy, SciPy and scikit-learn.

    Args:
        count: None leaves everything as it is.
    """
    if count is None:
        yield
        return
    import sklearn  # noqa: F401  its libraries are limited only once they are loaded
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def computed_on(device: object) -> str:
    """Device and number of threads, on which the last digits of results depend: "cpu with 1 thread"."""
    import torch

    count = torch.get_num_threads()
    return f"{device} with {count} thread{'s' * (count > 1)}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the processor, so that the number of threads does not change the last digits."""
    with threads(1):
        yield
