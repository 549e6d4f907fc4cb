"""The HTTP server: a socket, signals and a graceful end."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from types import FrameType

import uvicorn

from genrec.errors import GenrecError
from genrec.runtime.files import reason
from genrec.runtime.progress import console
from genrec.serving.service.app import create_app
from genrec.serving.service.service import Service
from genrec.serving.service.settings import SHUTDOWN_SECONDS

_BACKLOG = 2048
"""Connections that wait to be accepted."""
_DRAIN_SECONDS = 0.3
"""Time in which connections that are kept open still get answers, with the header to close them."""


def serve(service: Service, host: str, port: int, *, log_requests: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests.

    Prints one line with the URL to standard output when the socket is open.

    Args:
        service: what is served.
        host: name or address to listen on.
        port: 0 for any that is free.
        log_requests: whether a line for each request goes to standard error.

    Raises:
        GenrecError: the address cannot be used, or a run cannot be loaded.
    """
    listener = _listen(host, port)
    shown_host = f"[{host}]" if ":" in host else host
    began = time.monotonic()

    def on_loaded() -> None:
        if service.error is None:
            console.print(f"ready after {time.monotonic() - began:.1f} s", markup=False)
        else:
            server.should_exit = True

    config = uvicorn.Config(
        create_app(service, on_loaded),
        log_level="info" if log_requests else "error",
        access_log=log_requests,
        server_header=False,
        timeout_graceful_shutdown=round(SHUTDOWN_SECONDS),
        ws="none",
    )
    server = _Server(config, service)
    previous = signal.signal(signal.SIGTERM, _exit)
    print(f"serving {', '.join(service.names)} at http://{shown_host}:{listener.getsockname()[1]}", flush=True)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # Ctrl-C is how a service in a terminal is stopped
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)
        listener.close()
    if service.error is not None:
        raise service.error


class _Server(uvicorn.Server):
    """Lets connections that are kept open finish what they send before they are closed."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.is_stopping = True
        for server in self.servers:
            server.close()
        await asyncio.sleep(_DRAIN_SECONDS)
        await super().shutdown(sockets)


def _exit(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the process with status 0: before the server runs, and after it has finished."""
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise GenrecError(
            f"--host {host} --port {port}: cannot listen there ({reason(error)}); pass another port (0: a free one)"
        ) from error
