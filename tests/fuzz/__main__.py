"""Fuzz the readers of files for some minutes each: ``python -m tests.fuzz --minutes 10``, or ``make fuzz-readers``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from genrec.runtime.progress import set_verbosity
from tests.fuzz.fuzzer import Fuzzer, Round
from tests.fuzz.readers import READERS

FINDINGS = Path("build/fuzz")
"""Where the inputs of findings are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; returns 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"one of {', '.join(READERS)}; default: all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each reader (default: 10)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--input", type=Path, help="folder of a finding: read it again, once")
    parser.add_argument("--world", type=int, default=0, help="of the input")
    parser.add_argument("--way", type=int, default=0, help="of the input")
    options = parser.parse_args(arguments)
    if unknown := set(options.readers) - READERS.keys():
        parser.error(f"unknown reader {min(unknown)!r}, expected one of {', '.join(READERS)}")
    names = options.readers or list(READERS)
    if options.input and len(names) > 1:
        parser.error("--input needs the name of one reader")
    if len(names) == 1:
        set_verbosity("quiet")
        return _fuzz(names[0], options)
    limit = 60 * options.minutes + 300
    common = [sys.executable, "-m", "tests.fuzz", "--minutes", str(options.minutes), "--seed", str(options.seed)]
    statuses = []
    for name in names:  # each in a process of its own: a library may crash it, hang or fill its memory
        try:
            statuses.append(subprocess.run([*common, name], timeout=limit).returncode)
        except subprocess.TimeoutExpired:
            statuses.append(-1)
        if statuses[-1] not in (0, 1):
            print(f"{name}: FOUND the end of the process ({statuses[-1]}); the last input is in {FINDINGS / name}/work")
    return int(any(statuses))


def _fuzz(name: str, options: argparse.Namespace) -> int:
    folder = FINDINGS / name
    shutil.rmtree(folder / "work", ignore_errors=True)
    fuzzer = Fuzzer(READERS[name], folder / "work")
    command = f"python -m tests.fuzz {name}"
    if options.input:
        outcome, problem = fuzzer.read(fuzzer.saved(options.input, options.world, options.way))
        print(problem or outcome)
        return int(problem is not None)
    done, known = Round(), set[str]()
    with _native_errors(folder / "stderr.txt"):
        for done in fuzzer.run(seed=options.seed, seconds=60 * options.minutes):
            for kind in done.findings.keys() - known:
                known.add(kind)
                place = folder / f"{options.seed}-{len(known)}"
                fuzzer.save(done.findings[kind], place, command)
                print(f"{name}: FOUND {kind}: {place}", flush=True)
    shutil.rmtree(folder / "work", ignore_errors=True)
    print(
        f"{name}: {done.seconds:.0f} s, {done.inputs:,} inputs, {done.rejected:,} rejected, {len(done.outcomes):,} "
        f"outcomes, {len(done.findings)} findings, seed {options.seed}",
        flush=True,
    )
    return int(bool(done.findings))


@contextmanager
def _native_errors(file: Path) -> Iterator[None]:
    """Write what libraries print to standard error into a file: polars prints the traceback of each of its panics."""
    stderr = os.dup(2)
    with file.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


if __name__ == "__main__":
    sys.exit(main())
