"""Progress and log lines of long work, on stderr: a bar on a terminal or in a notebook, a line now and then elsewhere.

How much is shown is a setting of the process (``--quiet``, ``--verbose``); it changes no result.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TypeVar, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genrec.errors import GenrecError

T = TypeVar("T")

Verbosity = Literal["quiet", "normal", "verbose"]
"""``quiet``: neither progress nor log lines; ``verbose``: details of each stage too."""


class _LogConsole(Console):
    """A console that also knows whether details are shown; ``quiet`` is a setting of every console."""

    verbose: bool = False


console = _LogConsole(stderr=True, highlight=False, soft_wrap=True)
"""Progress and log lines go to stderr; results go to stdout."""

_SECONDS_BETWEEN_LINES = 30.0
_BAR = threading.Lock()
"""Held by the bar on the terminal, which has room for one; work in other threads prints lines."""
_THREAD = threading.local()


def set_verbosity(verbosity: Verbosity) -> None:
    """Set how much this process shows of its work.

    Args:
        verbosity: ``quiet``, ``normal`` or ``verbose``.

    Raises:
        GenrecError: it is something else.
    """
    if verbosity not in get_args(Verbosity):
        raise GenrecError(f"verbosity: found {verbosity!r}, expected {' or '.join(map(repr, get_args(Verbosity)))}")
    console.quiet, console.verbose = verbosity == "quiet", verbosity == "verbose"


def verbosity() -> Verbosity:
    """How much this process shows of its work."""
    return "quiet" if console.quiet else "verbose" if console.verbose else "normal"


def _shows_bars() -> bool:
    """Terminals show bars, and notebooks with ipywidgets; others show a line now and then."""
    return not console.quiet and (
        console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)
    )


@contextmanager
def without_bars() -> Iterator[None]:
    """Bars of this thread that begin in the block show nothing, because a bar around the block shows all of it."""
    before = getattr(_THREAD, "is_silent", False)
    _THREAD.is_silent = True
    try:
        yield
    finally:
        _THREAD.is_silent = before


def log_detail(text: str) -> None:
    """Print a log line that only ``--verbose`` shows."""
    if console.verbose:
        console.print(text, style="dim", markup=False)


class Bar:
    """One piece of long work; a context manager.

    Args:
        title: what is being done.
        total: steps in all, None where unknown.
    """

    def __init__(self, title: str, total: int | None = None) -> None:
        self._title, self._total, self._done, self._note = title, total, 0, ""
        self._progress: Progress | None = None
        self._spoke = time.monotonic()
        self._is_silent = getattr(_THREAD, "is_silent", False)

    def __enter__(self) -> Bar:
        if not self._is_silent and _shows_bars() and _BAR.acquire(blocking=False):
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task(self._title, total=self._total, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
            _BAR.release()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done; ``note`` stands behind the bar (loss, samples/s)."""
        self._done += steps
        self._note = note or self._note
        if self._progress is not None:
            self._progress.update(self._task, advance=steps, note=self._note)
        elif not self._is_silent and time.monotonic() - self._spoke > _SECONDS_BETWEEN_LINES:
            self._spoke = time.monotonic()
            console.print(f"{self._title}: {self._done}/{self._total or '?'} {self._note}", markup=False)


def track(work: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar."""
    if total is None and hasattr(work, "__len__"):
        total = len(work)  # type: ignore[arg-type]
    with Bar(title, total) as bar:
        for part in work:
            yield part
            bar.advance()
