"""A service of the small run, and what tests ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from genrec.runtime.environment import Environment
from genrec.serving.recommender import Recommender
from genrec.serving.service.app import create_app
from genrec.serving.service.service import Service
from genrec.serving.service.settings import ServiceSettings

Serve = Callable[..., Any]


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
