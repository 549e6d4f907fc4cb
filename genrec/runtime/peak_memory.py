"""How much memory a piece of work took at its most: of the GPU where one is used, else of this process."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Measures while its ``with`` block runs; ``bytes`` is the answer afterwards, None where the system keeps none.

    Without a GPU it is the resident size of the process, what it held before included.
    """

    bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        with suppress(OSError):  # elsewhere than on Linux the peak since the process began is the best there is
            (_PROCESS / "clear_refs").write_text("5")
        if _uses_gpu():
            sys.modules["torch"].cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = sys.modules["torch"].cuda.max_memory_allocated() if _uses_gpu() else _resident_peak()


def _uses_gpu() -> bool:
    return "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized()


def _resident_peak() -> int | None:
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
        return int(found[1]) * 1024 if found else None
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
