"""The device that this process computes on: chosen once, used by models and encoders alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from genrec.errors import GenrecError

if TYPE_CHECKING:
    import torch

_chosen = "auto"


def choose_device(name: str) -> None:
    """Say where to compute: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        GenrecError: torch knows no such device, or this machine has none.
    """
    global _chosen
    if name != "auto":
        import torch

        try:
            torch.zeros(1, device=name)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise GenrecError(
                f"--device {name}: cannot be used ({reason}); "
                "expected auto, cpu, or a device that `genrec doctor` shows"
            ) from error
    _chosen = name


def chosen_device() -> torch.device:
    """The device that was chosen last."""
    import torch

    if _chosen == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(_chosen)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the processor, so that the number of threads does not change the last digits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
