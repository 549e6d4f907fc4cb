"""A service of the small run, and what tests ask it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from genrec.runtime.environment import Environment
from genrec.serving.recommender import Recommender
from genrec.serving.service.app import create_app
from genrec.serving.service.service import Service
from genrec.serving.service.settings import ServiceSettings


@dataclass(frozen=True)
class ServedProcess:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    line: str
    """What it printed first."""


@contextmanager
def serving(*runs: Path, images: bool = False, **settings: Any) -> Iterator[TestClient]:
    """A client of a service in this process; its models and images are loaded."""
    service = Service(runs, ServiceSettings(**settings), environment=Environment("cpu"), with_images=images)
    with TestClient(create_app(service), base_url="http://localhost", raise_server_exceptions=False) as client:
        until = time.monotonic() + 60
        while not service.is_ready or (images and any(run.images.state == "loading" for run in service.runs.values())):
            assert service.error is None, service.error
            assert time.monotonic() < until
            time.sleep(0.01)
        while images and not all(run.images.state == "available" for run in service.runs.values()):
            assert time.monotonic() < until
            time.sleep(0.01)
        yield client


@pytest.fixture(scope="module")
def client(small_run: Path) -> Iterator[TestClient]:
    with serving(small_run, images=True) as client:
        yield client


@pytest.fixture(scope="module")
def recommender(small_run: Path) -> Recommender:
    return Recommender(small_run, environment=Environment("cpu"))


@contextmanager
def served_process(*runs: Path, options: tuple[str, ...] = (), folder: Path | None = None) -> Iterator[ServedProcess]:
    """``genrec serve`` in a process of its own, ready; it is killed if the test has not ended it."""
    command = [sys.executable, "-m", "genrec.cli", "serve", *map(str, runs), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"serving (.+) at (http://.+:\d+)\n", line)
        assert found is not None, (line, process.stderr and process.stderr.read())
        served = ServedProcess(process, found[2], line)
        until = time.monotonic() + 60
        while httpx.get(f"{served.url}/ready", timeout=30).status_code != 200:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield served
    finally:
        process.kill()
        process.communicate()
