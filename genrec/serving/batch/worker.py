"""The processes of a batch: each has a model on one thread, and recommends for some users at a time.

``python -m genrec.serving.batch.worker`` reads a line of JSON, a :class:`Request`, then one line for each part: a list
of users with their items. It answers each with a line of JSON and as many bytes as that says, and stops when its
standard input is closed, because the batch has ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Literal

import polars as pl
from pydantic import BaseModel

from genrec.errors import GenrecError
from genrec.registry import add_plugin_folder, plugin_errors, plugin_folders
from genrec.runtime.processes import start_module
from genrec.runtime.progress import set_verbosity
from genrec.serving.batch.histories import FileFormat, UserHistory
from genrec.serving.batch.scoring import Counts, Settings, recommend_part

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


class Request(BaseModel):
    """What a worker needs to know for all parts."""

    run: Path
    settings: Settings
    file_format: FileFormat
    user_type: str
    """Name of the type in polars."""
    plugin_folders: list[Path] = []


class _Answer(BaseModel):
    """The line before the content of a part."""

    num_bytes: int = 0
    counts: dict[str, int] = {}
    error: str = ""
    """The message or traceback of what went wrong."""
    kind: Literal["user", "bug"] = "user"


class Worker:
    """A process that recommends; one thread at a time may use it.

    Args:
        run: folder of the run.
        settings: what to recommend.
        file_format: of the parts.
        user_type: type of the users' keys.
    """

    def __init__(self, run: Path, settings: Settings, file_format: FileFormat, user_type: type[pl.DataType]) -> None:
        self._popen = start_module(
            "genrec.serving.batch.worker", _ONE_THREAD, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        request = Request(
            run=run.absolute(),
            settings=settings,
            file_format=file_format,
            user_type=user_type.__name__,
            plugin_folders=plugin_folders(),
        )
        with suppress(BrokenPipeError):  # the process has ended; the first part says so
            self._input.write(request.model_dump_json().encode() + b"\n")
            self._input.flush()

    def recommend(self, users: Sequence[UserHistory]) -> tuple[bytes, Counts]:
        """The content of a part, and its counts.

        Raises:
            GenrecError: an error of the user, or the process was killed.
            RuntimeError: a bug.
        """
        output = self._popen.stdout
        assert output is not None
        line = b""
        with suppress(BrokenPipeError):
            self._input.write(json.dumps(users).encode() + b"\n")
            self._input.flush()
            line = output.readline()
        if not line.endswith(b"\n"):
            status = self._popen.wait()
            ended = f"was killed by signal {-status}, possibly out of memory" if status < 0 else f"ended ({status})"
            raise GenrecError(f"a process of the batch {ended}; the same command resumes, fewer --threads need less")
        answer = _Answer.model_validate_json(line)
        if answer.error:
            raise GenrecError(answer.error) if answer.kind == "user" else RuntimeError(answer.error)
        content = output.read(answer.num_bytes)
        if len(content) < answer.num_bytes:
            raise GenrecError("a process of the batch was killed; the same command resumes")
        return content, Counts(**answer.counts)

    def close(self) -> None:
        """Stop the process, also in the middle of a part."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    @property
    def _input(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer a request for each part until the input ends."""
    from genrec.serving.recommender import Recommender

    def answer(head: _Answer, content: bytes = b"") -> None:
        answers.write(head.model_dump_json().encode() + b"\n" + content)
        answers.flush()

    try:
        with plugin_errors():
            request = Request.model_validate_json(requests.readline())
            for folder in request.plugin_folders:
                add_plugin_folder(folder, trusted=True)
            recommender = Recommender.load(request.run, device="cpu")
            user_type = getattr(pl, request.user_type)
            for line in requests:
                users = [UserHistory(*user) for user in json.loads(line)]
                content, counts = recommend_part(recommender, users, request.settings, request.file_format, user_type)
                answer(_Answer(num_bytes=len(content), counts=asdict(counts)), content)
    except GenrecError as error:
        answer(_Answer(error=str(error)))
    except Exception:
        answer(_Answer(error=traceback.format_exc(), kind="bug"))


def main() -> None:
    """Serve the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C interrupts the batch, which stops its processes
    set_verbosity("quiet")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what plugins print is no answer
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
