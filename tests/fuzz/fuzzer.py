"""Read changed files until the time is up, and keep each input that a reader neither reads nor rejects in its words.

Findings are exceptions other than :class:`GenrecError`, warnings, a rejection of a file that does not say where, a read
that takes more than 20 seconds of CPU time, and more than 1.5 GB of memory.

Inputs that lead to a new outcome, which is the line that raised the error and its text without names and numbers, are
changed further. Atheris 3.0, guided by coverage, installs and was tried with the same mutations: in 40 seconds of one
core it reached 412 outcomes of ``table_csv`` and 260 of ``recipe``, this loop 551 and 413. Most time is spent in polars
and PyYAML, which it does not see, and its mutations stay near what it has. So it is not used, and any platform fuzzes.
"""

from __future__ import annotations

import random
import re
import shlex
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl

from genrec.errors import GenrecError
from genrec.runtime.peak_memory import PeakMemory
from tests.fuzz.mutations import TOKEN, mutate

MAX_SECONDS, MAX_WAIT = 20, 300
"""Of CPU time, and in all: a busy machine is slow."""
MAX_MEMORY = 1_500_000_000
"""Bytes, beyond what the process held before."""
_MAX_POOL = 1000


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Args:
        worlds: each writes a set of valid files into an empty folder.
        ways: each reads the folder of any of these worlds, and returns what tells its results apart.
        seldom: whether a file, by name, is changed seldom, such as one that is copied and never read.
    """

    worlds: Sequence[Callable[[Path], object]]
    ways: Sequence[Callable[[Path], object]]
    seldom: Callable[[str], bool] = lambda name: False


@dataclass(frozen=True)
class Input:
    """Changed files of a world, by name (None: deleted), and the way in which they are read."""

    world: int
    way: int
    changes: Mapping[str, bytes | None]


@dataclass(frozen=True)
class Finding:
    """An input that is no dataset, recipe or run, and that is not rejected in one either."""

    input: Input
    problem: str
    """The traceback, or what took too long or too much."""


@dataclass
class Round:
    """What a round did."""

    inputs: int = 0
    rejected: int = 0
    seconds: float = 0.0
    outcomes: set[str] = field(default_factory=set)
    findings: dict[str, Finding] = field(default_factory=dict)
    """The first of each kind."""
    repeated: Counter[str] = field(default_factory=Counter)


class TooSlowError(BaseException):
    """Raised where a reader is when its time is over; no ``except Exception`` takes it for an error of the file."""


class Fuzzer:
    """Reads changed files of a reader's worlds.

    Args:
        reader: what is fuzzed.
        folder: an empty folder to work in.
    """

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader, self.folder = reader, folder
        self.worlds: list[dict[str, bytes]] = []
        for number, write in enumerate(reader.worlds):
            place = folder / f"world-{number}"
            place.mkdir(parents=True)
            write(place)
            files = {file.relative_to(place).as_posix(): file for file in sorted(place.rglob("*")) if file.is_file()}
            self.worlds.append({name: file.read_bytes() for name, file in files.items()})
        texts = {content for world in self.worlds for content in world.values() if len(content) < 100_000}
        self.tokens = sorted({token for text in texts for token in TOKEN.findall(text)})

    def run(self, *, seed: int, seconds: float | None = None, inputs: int | None = None) -> Iterator[Round]:
        """Read random inputs; yields the state of the round after each of them.

        Args:
            seed: the inputs are the same for the same seed.
            seconds: when to stop.
            inputs: after how many to stop.
        """
        rng, done, began = random.Random(seed), Round(), time.monotonic()
        pairs = ((world, way) for world in range(len(self.worlds)) for way in range(len(self.reader.ways)))
        valid = [Input(world, way, {}) for world, way in pairs]
        waiting, pool = valid[::-1], list(valid)  # the valid files themselves come first
        while (seconds is None or done.seconds < seconds) and (inputs is None or done.inputs < inputs):
            tried = waiting.pop() if waiting else self._changed(rng, rng.choice((valid, pool)))
            self._try(tried, done, pool)
            done.seconds = time.monotonic() - began
            yield done

    def _changed(self, rng: random.Random, pool: list[Input]) -> Input:
        base = rng.choice(pool)
        files = self.worlds[base.world]
        names = [name for name in files if rng.random() < 0.02 or not self.reader.seldom(name)]
        changes = dict(base.changes)
        for name in rng.choices(names or list(files), k=rng.choice((1, 1, 1, 2))):
            content = changes.get(name, files[name])
            deleted = content is None or rng.random() < 0.01
            changes[name] = None if deleted else mutate(rng, name, content, self.tokens)
        return Input(base.world, rng.randrange(len(self.reader.ways)), changes)

    def _try(self, tried: Input, done: Round, pool: list[Input]) -> None:
        outcome, problem = self.read(tried)
        done.inputs += 1
        done.rejected += outcome.startswith("rejected")
        if problem is not None:
            done.repeated[outcome] += 1
            done.findings.setdefault(outcome, Finding(tried, problem))
        elif outcome not in done.outcomes and len(pool) < _MAX_POOL:
            pool.append(tried)
        done.outcomes.add(outcome)

    def read(self, tried: Input) -> tuple[str, str | None]:
        """The outcome of one input, and the problem if it is a finding."""
        place = self.folder / f"world-{tried.world}"
        with PeakMemory() as before:
            pass
        with self._written(place, tried), _limits() as memory:
            outcome, problem = _outcome(self.reader.ways[tried.way], place)
        taken = (memory.bytes or 0) - (before.bytes or 0)  # without what the process held before
        if problem is None and taken > MAX_MEMORY:
            return "memory", f"took {taken:,} bytes of memory, expected at most {MAX_MEMORY:,}"
        return outcome, problem

    @contextmanager
    def _written(self, place: Path, tried: Input) -> Iterator[None]:
        """Change files of a world, and restore them afterwards."""
        for name, content in tried.changes.items():
            _write(place / name, content)
        yield
        for name in tried.changes:
            _write(place / name, self.worlds[tried.world][name])

    def save(self, finding: Finding, folder: Path, command: str) -> None:
        """Write the changed files of a finding, and how to read them again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in finding.input.changes.items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        deleted = [name for name, content in finding.input.changes.items() if content is None]
        again = f"{command} --input {shlex.quote(str(folder))} --world {finding.input.world} --way {finding.input.way}"
        lines = [*(f"deleted: {name}" for name in deleted), again, "", finding.problem]
        (folder / REPORT).write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")

    def saved(self, folder: Path, world: int, way: int) -> Input:
        """The input of a finding that was written by :meth:`save`."""
        text = (folder / REPORT).read_text(encoding="utf-8") if (folder / REPORT).is_file() else ""
        changes: dict[str, bytes | None] = dict.fromkeys(re.findall(r"^deleted: (.+)$", text, re.MULTILINE))
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != REPORT:
                changes[file.relative_to(folder).as_posix()] = file.read_bytes()
        return Input(world, way, changes)


REPORT = "finding.txt"
"""The file that says what the input in its folder does."""


def _outcome(read: Callable[[Path], object], place: Path) -> tuple[str, str | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("error", pl.exceptions.PolarsWarning)
            return f"read: {_shape(repr(read(place)))}", None
    except GenrecError as error:
        text = str(error)
        if str(place) not in text and "--set" not in text:
            return f"nowhere: {_line(error)}", f"the error does not say where: {text}"
        return f"rejected: {_line(error)} {_shape(text.replace(str(place), ''))}", None
    except KeyboardInterrupt:
        raise
    except TooSlowError as error:
        return (
            f"slow: {_line(error)}",
            f"took more than {MAX_SECONDS} seconds of CPU time or {MAX_WAIT} in all\n{traceback.format_exc()}",
        )
    except BaseException as error:  # polars raises panics, which are no Exceptions
        return f"{type(error).__name__}: {_line(error)}", traceback.format_exc()


def _line(error: BaseException) -> str:
    """The line of genrec that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "genrec" in Path(frame.filename).parts]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"


def _shape(text: str) -> str:
    """A text without names and numbers."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+|\W+", " ", text)[:120]


@contextmanager
def _limits() -> Iterator[PeakMemory]:
    """Interrupt what takes too long, where the system can; measure the memory."""

    def stop(number: int, frame: FrameType | None) -> Any:
        raise TooSlowError

    if not hasattr(signal, "SIGPROF"):
        with PeakMemory() as memory:
            yield memory
        return
    timers = {signal.ITIMER_PROF: (signal.SIGPROF, MAX_SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, MAX_WAIT)}
    former = {number: signal.signal(number, stop) for number, _ in timers.values()}
    for timer, (_, seconds) in timers.items():
        signal.setitimer(timer, seconds)
    try:
        with PeakMemory() as memory:
            yield memory
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in former.items():
            signal.signal(number, handler)


def _write(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
