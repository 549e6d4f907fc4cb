"""What every request passes before any route: host, key, number and size of requests, and the headers of answers."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from genrec.serving.service.service import Service
from genrec.serving.service.settings import BODY_SECONDS, MAX_BODY_BYTES, MAX_REQUESTS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OPEN = {"/health", "/ready"}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Gate:
    """Middleware that refuses requests before they cost anything.

    Args:
        app: the application behind it.
        service: its settings and metrics; while it is being stopped, answers ask clients to close their connections.
        is_page: whether a path belongs to the web page, which is served without a key because it asks for it.
    """

    def __init__(self, app: App, service: Service, is_page: Callable[[str], bool]) -> None:
        self._app, self._service, self._is_page = app, service, is_page
        self._settings, self._metrics = service.settings, service.metrics
        self._num_requests = 0
        service.metrics.in_progress.set_function(lambda: self._num_requests)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        is_counted = False

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if self._service.is_stopping else []
                message["headers"] = [*message.get("headers", ()), *_HEADERS, *closing]
            await send(message)

        headers = dict(scope["headers"])
        try:
            if refusal := self._refusal(scope, headers):
                await _refuse(send_and_note, *refusal)
                return
            self._num_requests += 1
            is_counted = True
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                body = await _body(receive)
                if body is None:
                    return
                if isinstance(body, int):
                    await _refuse(send_and_note, body, _PROBLEMS[body])
                    return
                receive = _replay(body, receive)
            await self._app(scope, receive, send_and_note)
        finally:
            if is_counted:
                self._num_requests -= 1
            route = getattr(scope.get("route"), "path", None) or "other"
            self._metrics.observe(route, status, time.perf_counter() - began)

    def _refusal(self, scope: Message, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and text for a request that is refused by its headers alone."""
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._settings.allows_host(host):
            return 421, f"Host: found {host[:80]!r}, expected localhost, an IP address or a name given by --allow-host"
        path = scope["path"]
        if self._settings.api_key is not None and path not in _OPEN and not self._is_page(path):
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self._settings.api_key.encode()):
                return 401, "API key: missing or wrong, expected a header 'Authorization: Bearer KEY'"
        if path not in _OPEN and self._num_requests >= MAX_REQUESTS:
            return 429, f"{MAX_REQUESTS} requests are in progress; try again later"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > MAX_BODY_BYTES:
            return 413, _PROBLEMS[413]
        return None


_PROBLEMS = {
    408: f"body: did not arrive within {BODY_SECONDS:g} seconds",
    413: f"body: larger than {MAX_BODY_BYTES:,} bytes",
}


async def _body(receive: Receive) -> bytes | int | None:
    """The body of a request; the status of the answer if it is too large or late; None if the client has gone."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    return 413
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        return 408


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body that has been read, then what follows it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _refuse(send: Send, status: int, text: str) -> None:
    content = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
