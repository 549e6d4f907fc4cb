"""Execute a plan: vectors and semantic IDs in turn, then every model in a separate process.

Trained baselines also run in separate processes. A failure is recorded with its trials and does not stop the others;
finished stages are in the cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from genrec.comparison.plan import BaselineJob, ModelJob, Plan
from genrec.comparison.worker import Request
from genrec.errors import GenrecError
from genrec.experiment.ids import tokenize_items
from genrec.experiment.vectors import encode_items
from genrec.registry import plugin_errors, plugin_folders
from genrec.runtime.environment import Environment
from genrec.runtime.processes import start_module
from genrec.runtime.progress import Bar, console, verbosity
from genrec.runtime.threads import Threads, cores, threads, threads_for

Job = ModelJob | BaselineJob

_POLL_SECONDS = 0.2
_GRACE = 30.0
"""Seconds that a process has to exit after it is told to stop."""


def default_jobs(environment: Environment) -> int:
    """Number of models trained in parallel: one per processor, at most four (each holds the data); one on a GPU."""
    return min(os.cpu_count() or 1, 4) if environment.torch_device.type == "cpu" else 1


@dataclass(frozen=True)
class Runner:
    """Runs the jobs of a plan.

    Args:
        logs: folder for the output of the processes.
        at_once: number of parallel processes, which share the processors.
        threads: threads of each model (``--threads``); auto uses a model's share of the cores.
        deadline: ``time.monotonic()`` at which running processes are stopped and no new ones start; None: never.
    """

    logs: Path
    at_once: int
    threads: Threads = None
    deadline: float | None = None

    def run(self, plan: Plan) -> None:
        """Compute all unfinished stages of a plan; failed trials get a reason."""
        self._make_codes(plan)
        self._make_models(plan)

    @property
    def is_late(self) -> bool:
        """Whether the budget is spent."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _make_codes(self, plan: Plan) -> None:
        """Vectors and semantic IDs of all jobs, each once; failed stages are not tried again for other jobs."""
        failed: dict[tuple[str, ...], str] = {}
        for job in plan.jobs:
            if job.trials[0].run is not None or job.is_finished(plan.cache):
                continue
            missing = tuple(
                stage.key for stage in job.stages() if stage.kind in ("vectors", "ids") and not plan.cache.has(stage)
            )
            if not missing:
                continue
            if self.is_late:
                job.fail(_SPENT)
                continue
            if missing in failed:
                job.fail(failed[missing])
                continue
            try:
                with plugin_errors(), threads(threads_for(self.threads, job.recipe.block())):
                    for fit in job.needed:
                        vectors = encode_items(fit, plan.cache)
                        tokenize_items(fit, vectors, plan.cache)
            except Exception as error:
                failed[missing] = self._log_failure(job, error)
                job.fail(failed[missing])

    def _log_failure(self, job: ModelJob, error: Exception) -> str:
        """Log a failure and return it in one line; the traceback of a bug is written to a file."""
        if isinstance(error, GenrecError):
            why = _one_line(str(error))
        else:
            log = self._log_file(job)
            log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            why = f"{type(error).__name__}: {_one_line(str(error))} (a bug; see {log})"
        console.print(f"{job.name}: {why}", markup=False)
        return why

    def _make_models(self, plan: Plan) -> None:
        trained = [job for job in plan.baselines if job.baseline.is_trained]
        waiting = [job for job in (*plan.jobs, *trained) if not job.failure and not job.is_finished(plan.cache)]
        running: list[_Process] = []
        total, done = len(waiting), 0
        with Bar("models", total) as bar, _stopped(running):
            while waiting or running:
                if self.is_late:
                    for job in [*waiting, *(process.job for process in running)]:
                        job.fail(_SPENT)
                    return
                while len(running) < self.at_once and (job := _next(waiting, running)):
                    waiting.remove(job)
                    running.append(_Process(job, self._request(job, plan), self._log_file(job)))
                time.sleep(_POLL_SECONDS)
                for process in [process for process in running if process.popen.poll() is not None]:
                    running.remove(process)
                    process.close()
                    done += 1
                    if why := process.failure():
                        process.job.fail(why)
                    took = f"{time.monotonic() - process.began:.0f} s"
                    console.print(f"[{done}/{total}] {process.job.name}: {why or f'finished in {took}'}", markup=False)
                    bar.advance()
                bar.advance(0, note=running[-1].last_line()[:100] if running else "")

    def _request(self, job: Job, plan: Plan) -> Request:
        trial, block = job.trials[0], job.trials[0].recipe.block()
        count = threads_for(self.threads, block, max(1, cores() // self.at_once))
        request = Request(
            recipe=block,
            run=trial.run,
            cache=plan.cache.root,
            environment=replace(trial.fits.valid.environment, threads=count),
            plugin_folders=plugin_folders(),
            verbosity=verbosity(),
        )
        if isinstance(job, BaselineJob):
            baseline = (job.baseline.type_name, job.top_n)
            return request.model_copy(update={"wanted": [(job.split, False)], "baseline": baseline})
        return request.model_copy(update={"wanted": job.wanted, "summary_key": job.summary_key})

    def _log_file(self, job: Job) -> Path:
        self.logs.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", job.name)[:80].strip("_.")
        key = job.stage.key if isinstance(job, BaselineJob) else job.summary_key
        return self.logs / f"{name}-{key[:6]}.log"


def _next(waiting: Sequence[Job], running: Sequence[_Process]) -> Job | None:
    """The first job whose model is not in training; jobs that differ only in their search share a model."""
    in_training = {process.job.training_key for process in running}
    return next((job for job in waiting if job.training_key not in in_training), None)


_SPENT = "not finished within the budget; the same command resumes from here"


class _Process:
    """A worker and its log. It ends by itself when its standard input is closed."""

    def __init__(self, job: Job, request: Request, log: Path) -> None:
        self.job, self._log, self.began = job, log, time.monotonic()
        self._file: IO[bytes] = log.open("wb")
        self.popen = start_module(
            "genrec.comparison.worker",
            {"OMP_NUM_THREADS": str(count)} if (count := request.environment.threads) else {},
            stdin=subprocess.PIPE,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,  # Ctrl-C interrupts the comparison, which stops its processes
        )
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(request.model_dump_json().encode() + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            pass  # the process has exited; its log says why

    def close(self) -> None:
        """Close its standard input, which tells it to stop."""
        if self.popen.stdin is not None:
            with suppress(BrokenPipeError):
                self.popen.stdin.close()
        self._file.close()

    def last_line(self) -> str:
        """The last line of its log."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 4000))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        return next((_one_line(line) for line in reversed(lines) if line.strip()), "")

    def failure(self) -> str:
        """Why it failed, in one line; empty if it did not fail."""
        match self.popen.returncode:
            case 0:
                return ""
            case 2:
                return self.last_line()
            case status if status < 0:
                return f"the process was killed by signal {-status}, possibly out of memory (see {self._log})"
            case _:
                return f"{self.last_line()} (a bug; see {self._log})"


@contextmanager
def _stopped(running: Sequence[_Process]) -> Iterator[None]:
    """Stop running processes when the block ends for any reason; trainings resume from their last epoch."""
    try:
        yield
    finally:
        for process in running:
            process.close()
        until = time.monotonic() + _GRACE
        for process in running:
            try:
                process.popen.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()


def _one_line(text: str) -> str:
    return " ".join(text.split())
