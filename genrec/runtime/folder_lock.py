"""A lock on a folder: one process at a time writes to it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from genrec.errors import DataError, GenrecError
from genrec.runtime.files import read_json, write_json

LOCK, OWNER = ".lock", ".lock.json"


class FolderLock:
    """A lock on a folder. The operating system releases it when the process ends, even if it is killed.

    Process, host and start time are in ``.lock.json`` of the folder while the lock is held, for the messages of others;
    what a killed process leaves there is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._owner = folder / LOCK, folder / OWNER
        self._lock = FileLock(self._file)

    def acquire(self, *, timeout: float = 0.0) -> None:
        """Take the lock.

        Args:
            timeout: seconds to wait for another process.

        Raises:
            DataError: another process has it.
        """
        try:
            self._lock.acquire(timeout=timeout)
        except Timeout:
            raise DataError(
                f"{self._file.parent}: in use by another process{self._described()}; wait until it has finished or "
                "pass another folder to --output"
            ) from None
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now().isoformat(timespec="seconds"),
        }
        try:
            write_json(self._owner, owner)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock and remove its files; nothing happens if it is not held."""
        if self._lock.is_locked:
            for file in (self._owner, self._file):
                with suppress(OSError):
                    file.unlink(missing_ok=True)
            self._lock.release()

    def _described(self) -> str:
        try:
            owner = read_json(self._owner)
            return f" (process {owner['pid']} on {owner['host']}, started {owner['started']})"
        except (GenrecError, KeyError, TypeError):
            return ""
