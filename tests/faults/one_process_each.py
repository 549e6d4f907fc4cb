"""Commands in processes of their own, which cost no import: a server that has imported everything forks for each.

The server reads a line of JSON (folder, words) and answers with a line: exit status, CPU seconds and peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_SERVER = """
import json, os, signal, sys
import genrec.cli, genrec.pipeline, genrec.serving.recommender, genrec.api.tokenizing, genrec.api.auditing
import sklearn.cluster, sklearn.feature_extraction.text, polars, torch, yaml

for line in sys.stdin:
    folder, words, limit = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.alarm(limit)
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        status = 70
        try:
            status = genrec.cli.main(words)
            sys.stdout.flush()
        finally:
            os._exit(status)
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]), flush=True)
"""


class Done(NamedTuple):
    """What a command did."""

    status: int
    """Exit status; negative: the signal that ended it."""
    stdout: str
    stderr: str
    cpu_seconds: float
    peak_mb: float


class Commands:
    """Runs commands of genrec."""

    def __init__(self) -> None:
        same = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | same,
        )

    def run(self, folder: Path, words: list[str], *, limit: int = 120) -> Done:
        """Run a command in a folder.

        Args:
            folder: the working folder; what the command prints is written beside it.
            words: of the command line, without ``genrec``.
            limit: seconds after which it is killed.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([str(folder), words, limit]) + "\n")
        self._server.stdin.flush()
        status, cpu_seconds, peak_kb = json.loads(self._server.stdout.readline())
        texts = [(folder.parent / name).read_bytes().decode() for name in ("stdout", "stderr")]
        return Done(status, *texts, cpu_seconds, peak_kb / 1024)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=30)
