"""Processes of this package, which import what this one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import IO


def start_module(
    module: str,
    environment: Mapping[str, str],
    *,
    stdin: int | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a module as ``python -m module``, with the module search path of this process.

    ``python -m`` alone would also import from the working folder, which may be that of a run from someone else.

    Args:
        module: its full name.
        environment: variables that differ from those of this process.
        stdin: as of :class:`subprocess.Popen`.
        stdout: as of ``Popen``.
        stderr: as of ``Popen``.
        start_new_session: as of ``Popen``.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=start_new_session,
    )
