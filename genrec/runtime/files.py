"""Fingerprints of what is in files and folders."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from genrec.runtime.progress import log_detail


def fingerprint(path: Path) -> str:
    """Hash of the content of a file, or of the names and contents of all files below a folder."""
    log_detail(f"reads {path}")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if "__pycache__" not in file.parts:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            stat = file.stat()
            digest.update(f"{name}\0{_content_hash(file, stat.st_size, stat.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


@cache
def _content_hash(file: Path, size: int, changed: int) -> str:
    """Hash of a file's content; size and time of change make a changed file a new question."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
