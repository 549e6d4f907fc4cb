"""A hash of the source code that determines the content of a stage.

It covers the syntax trees of a file and of all modules of genrec that it imports directly or indirectly. It leaves out
comments, docstrings, imports for type checkers and the modules in :data:`PLUMBING`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

PLUMBING: dict[str, str] = {
    "errors": "texts of errors",
    "registry": "finds a class by name",
    "families": "declares interfaces; defaults that compute are in other modules",
    "recipe": "checks and holds the blocks; their values are in the keys",
    "runtime.environment": "holds device, threads and folders; the content of files is in the keys",
    "runtime.files": "fingerprints files; an equal hash means equal content",
    "runtime.float32_products": "selects a library for matrix products after checking that the results are equal",
    "runtime.malloc": "speed of the allocator",
    "runtime.peak_memory": "measures the memory of a stage",
    "runtime.progress": "progress bars and log lines",
    "runtime.threads": "sets the number of threads; results are equal up to rounding",
    "runtime.timer": "measures the time of a stage",
    "experiment.cache": "stores and loads stages",
    "experiment.fit": "holds recipe, dataset and keys of a fit",
    "experiment.keys": "computes the keys",
    "experiment.source_code": "computes this hash",
    "experiment.storage": "file formats; their version, FORMAT in experiment.keys, is in the keys",
    "search.settings": "settings; their values are in the keys",
    "training.settings": "settings; their values are in the keys",
    "training.loggers": "log a training; change no result",
}
"""Modules and packages that no key includes because no stored number depends on them, each with the reason."""


def source_hash(*files: Path, without: tuple[str, ...] = ()) -> str:
    """Hash of files and their imports.

    Args:
        files: Python files, of genrec or of a plugin.
        without: modules of genrec that are left out, with the imports that only they have.
    """
    digest = hashlib.blake2b(digest_size=8)
    for syntax in sorted(_syntax(_read(file)) for file in source_files(*files, without=without)):
        digest.update(syntax)
    return digest.hexdigest()


def source_files(*files: Path, without: tuple[str, ...] = ()) -> set[Path]:
    """Files and all modules of genrec that they import, directly or indirectly, inside functions too."""
    left_out = {_file(module) for module in without}
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found and file not in left_out:
            found.add(file)
            waiting += _imports(_read(file))
    return found


def is_plumbing(module: str) -> bool:
    """Whether no key includes a module of genrec, named as in :data:`PLUMBING`."""
    return any(module == name or module.startswith(f"{name}.") for name in PLUMBING)


@cache
def _read(file: Path) -> bytes:
    return file.read_bytes()


def _file(module: str) -> Path:
    return _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@cache
def _syntax(source: bytes) -> bytes:
    """Hash of the syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, name, None), list):
                setattr(node, name, [part for part in body if not _is_text(part)])
    return hashlib.blake2b(ast.dump(tree).encode()).digest()


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring: of a module, class or function, or below a field."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@cache
def _imports(source: bytes) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(_imported(ast.parse(source))))


def _imported(node: ast.AST) -> Iterator[Path]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).removeprefix("typing.") == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _imported(other)
            continue
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            names = [child.module, *(f"{child.module}.{alias.name}" for alias in child.names)]
        else:
            yield from _imported(child)
            continue
        for name in names:
            package, _, module = name.partition(".")
            is_own = package == "genrec" and module and not is_plumbing(module)
            if is_own and (file := _file(module)).is_file():
                yield file
