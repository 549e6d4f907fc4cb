"""A service in a process of its own, its web page in a browser, and what its API answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=10_000)

ROOT = Path(__file__).parents[3]


def wait_until_ready(url: str) -> None:
    """Wait until the models are loaded."""
    for _ in range(240):
        with suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=60):
            return
        time.sleep(0.25)
    pytest.fail("the service is not ready after a minute")


@contextmanager
def served(*runs: Path, **environment: str) -> Iterator[str]:
    """The URL of a service of some runs."""
    command = [sys.executable, "-m", "genrec.cli", "serve", *map(str, runs), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command,
        cwd=runs[0].parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+", line):
                threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop the service
                wait_until_ready(found.group())
                yield found.group()
                break
        else:
            pytest.fail("".join(lines))
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def opened(
    browser: Any, url: str, path: str = "/", *, width: int = 1400, scheme: str = "light", expected: str = "$^"
) -> Iterator[Any]:
    """The page; nothing may be requested of another host, and the console has nothing but ``expected``."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    tab.set_default_timeout(10_000)
    requested: list[str] = []
    messages: list[str] = []
    tab.on("request", lambda request: requested.append(request.url))
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.goto(url + path)
    yield tab
    assert [message for message in messages if not re.search(expected, message)] == []
    assert [other for other in requested if not other.startswith((f"{url}/", f"blob:{url}/"))] == []
    tab.close()


def answer(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the API answers."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/{path}", content, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def recommended(url: str, history: list[str], **settings: Any) -> list[str]:
    """Keys that the API recommends."""
    [found] = answer(url, "recommend", {"history": history, **settings})["results"]
    return [item["key"] for item in found["items"]]


def expect_keys(tab: Any, keys: list[str]) -> None:
    """Wait until the page shows a ranking."""
    expect(tab.locator("#ranked:not([aria-busy]) > li")).to_have_count(len(keys))
    tab.wait_for_function(
        "keys => JSON.stringify([...document.querySelectorAll('#ranked > li')].map(row => row.dataset.key)) === keys",
        arg=json.dumps(keys, separators=(",", ":")),
    )


def history_of(tab: Any) -> list[str]:
    """Keys in the address."""
    return tab.evaluate("new URLSearchParams(location.hash.slice(1)).getAll('h')")
