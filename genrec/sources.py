"""Which source code a piece of work rests on, as a hash: an edited component is another component."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_DECIDE_NOTHING = {"errors.py", "progress.py"}
"""Files of genrec that no number depends on."""


@cache
def source_hash(*files: Path) -> str:
    """Hash of some files and of every module of genrec that they import, however deep.

    Imports are read from the text, those inside functions too. Installed libraries do not count.
    """
    found: dict[Path, bytes] = {}
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = file.read_bytes()
            waiting += _imports(found[file])
    digest = hashlib.blake2b(digest_size=8)
    for content in sorted(found.values()):
        digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()


@cache
def _imports(source: bytes) -> tuple[Path, ...]:
    return tuple(_imported(source))


def _imported(source: bytes) -> Iterator[Path]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            package, *path = name.split(".")
            if package == "genrec" and path:
                file = _PACKAGE.joinpath(*path).with_suffix(".py")
                if file.is_file() and file.name not in _DECIDE_NOTHING:
                    yield file
