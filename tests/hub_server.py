"""A stand-in for a model hub: the HTTP API from which ``huggingface_hub`` downloads, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves one repository, ``shop/model``, with the branch ``main`` and the tag ``v1``.

    Args:
        folder: the files of the repository.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.downloaded: list[str] = []
        """The files that were sent, in order."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serve_hub(folder: Path) -> Iterator[HubServer]:
    """A running hub; it is closed at the end of the block."""
    with HubServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""

    def _answer(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"] and parts[2:4] == ["shop", "model"]:
            revision = parts[5] if len(parts) > 5 else "main"
            if revision not in ("main", "v1", COMMIT):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return self._send_json(self._tree() if parts[4] == "tree" else self._info())
        if parts[:3] == ["shop", "model", "resolve"] and len(parts) > 4:
            file = self.server.folder / "/".join(parts[4:])
            if not file.is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            content = file.read_bytes()
            if self.command == "GET":
                self.server.downloaded.append("/".join(parts[4:]))
            return self._send(200, content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT})
        return self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    def _names(self) -> list[str]:
        folder = self.server.folder
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())

    def _info(self) -> object:
        siblings = [{"rfilename": name} for name in self._names()]
        return {"id": "shop/model", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}

    def _tree(self) -> object:
        contents = {name: (self.server.folder / name).read_bytes() for name in self._names()}
        return [
            {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
            for name, content in contents.items()
        ]

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
