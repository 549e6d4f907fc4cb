"""Whom the service answers, and how much it takes: key, host, size and number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from genrec.errors import GenrecError
from genrec.runtime.environment import Environment
from genrec.serving.service import gate
from genrec.serving.service.gate import Gate
from genrec.serving.service.service import Service
from genrec.serving.service.settings import ServiceSettings
from tests.serving.service.conftest import serving

KEY = "correct-horse"


def test_a_wrong_key_is_refused_everywhere_but_for_the_state(small_run: Path) -> None:
    with serving(small_run, api_key=KEY) as client:
        for path in ("/runs", "/items", "/items/item-1", "/similar/item-1", "/tree/text", "/images/item-1", "/metrics"):
            for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}, {"authorization": "\u00e4"}):
                headers = {name: value.encode("latin-1") for name, value in wrong.items()}
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["detail"].startswith("API key: missing or wrong")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.post("/recommend", json={"history": []}).status_code == 401
        assert client.get("/openapi.json").status_code == 401
        for path in ("/health", "/ready"):
            assert client.get(path).status_code == 200
        right = {"authorization": f"Bearer {KEY}"}
        assert client.get("/runs", headers=right).status_code == 200
        assert client.post("/recommend", json={"history": ["item-1"]}, headers=right).status_code == 200
        document = client.get("/openapi.json", headers=right).json()
        assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1", True),
        ("127.0.0.1:1", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("192.168.1.7:8000", True),
        ("shop.example", True),
        ("Shop.example:443", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example:8000", False),
        ("", False),
        ("shop.example@evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_only_known_hosts_are_answered(host: str, is_allowed: bool) -> None:
    assert ServiceSettings(hosts=("shop.example",)).allows_host(host) == is_allowed


def test_a_foreign_host_is_refused(small_run: Path) -> None:
    with serving(small_run) as client:
        answer = client.get("/runs", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert answer.json()["detail"].startswith("Host: found 'evil.example', expected localhost")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_of_other_origins_may_use_it_only_if_they_are_named(small_run: Path) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    with serving(small_run) as client:
        answer = client.options("/recommend", headers={"origin": "https://shop.example", **preflight})
        assert "access-control-allow-origin" not in answer.headers
    with serving(small_run, origins=("https://shop.example",), api_key=KEY) as client:
        answer = client.options("/recommend", headers={"origin": "https://shop.example", **preflight})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        answer = client.options("/recommend", headers={"origin": "https://evil.example", **preflight})
        assert "access-control-allow-origin" not in answer.headers
        answer = client.get("/runs", headers={"origin": "https://shop.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://shop.example", "or the page cannot read it"


def test_a_large_body_is_refused_with_and_without_its_length(small_run: Path) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    json = {"content-type": "application/json"}
    with serving(small_run) as client:
        for content in (b"x" * (2**20 + 1), parts()):
            answer = client.post("/recommend", content=content, headers=json)
            assert answer.status_code == 413
            assert answer.json()["detail"] == "body: larger than 1,048,576 bytes"


def gate_of(small_run: Path, app: Any) -> Gate:
    service = Service([small_run], ServiceSettings(), environment=Environment("cpu"), with_images=False)
    return Gate(app, service, lambda path: False)


def scope(method: str = "POST", path: str = "/recommend") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost")]}


def test_a_body_that_does_not_arrive_is_given_up(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append("first part")
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.sleep(10)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    asyncio.run(gate_of(small_run, app)(scope(), receive, send))
    assert sent[1]["status"] == 408
    assert b"did not arrive" in sent[2]["body"]


def test_too_many_requests_at_once_are_refused(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_REQUESTS", 2)
    statuses: dict[str, int] = {}

    async def main() -> None:
        may_end = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await may_end.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        whole = gate_of(small_run, app)

        async def ask(name: str, path: str) -> None:
            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    statuses[name] = message["status"]

            async def receive() -> Any:
                raise AssertionError

            await whole(scope("GET", path), receive, send)

        waiting = [asyncio.create_task(ask(name, "/items")) for name in ("first", "second")]
        await asyncio.sleep(0)
        await ask("third", "/items")
        state = asyncio.create_task(ask("state", "/health"))
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(*waiting, state)
        await ask("later", "/items")

    asyncio.run(main())
    assert statuses == {"third": 429, "first": 200, "second": 200, "state": 200, "later": 200}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_batch": 0}, "--max-batch: found 0, expected at least 1"),
        ({"queue_size": 63}, "--queue: found 63, expected at least 64"),
        ({"workers": 0}, "--workers: found 0, expected at least 1"),
        ({"max_wait_ms": -1.0}, "--max-wait: found -1, expected 0 to 1000 milliseconds"),
        ({"deadline_s": 0.0}, "--deadline: found 0, expected more than 0"),
        ({"deadline_s": float("nan")}, "--deadline: found nan, expected more than 0"),
        ({"api_key": ""}, "API key: found another text, expected at least 8 ASCII characters"),
        ({"api_key": "\u00e4" * 9}, "API key: found another text, expected at least 8 ASCII characters"),
    ],
)
def test_settings_out_of_range_are_errors(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GenrecError) as caught:
        ServiceSettings(**settings)
    assert str(caught.value).startswith(words)


def test_a_service_that_is_not_ready_says_so(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genrec.serving.service.app import create_app

    service = Service([small_run], ServiceSettings(), environment=Environment("cpu"), with_images=False)
    monkeypatch.setattr(service, "_load", lambda: None)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.get("/health").json() == {"status": "ok"}
        for path in ("/ready", "/runs", "/items"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["detail"].startswith("the models are being loaded")
        assert client.post("/recommend", json={"history": []}).status_code == 503
