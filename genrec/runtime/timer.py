"""How long the parts of a piece of work took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from genrec.runtime.progress import console


class Timer:
    """Wall clock by part.

    Attributes:
        seconds: of each part, in the order in which they ran; a part that ran twice has the sum.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the block's wall clock to a part; one that took more than a second is reported."""
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began
        if self.seconds[part] > 1:
            console.print(f"{part}: {self.seconds[part]:.1f} s", style="dim", markup=False)
