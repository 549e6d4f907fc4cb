"""Which source code a stage's content depends on, as a hash: a component that is edited is another component.

A hash covers the syntax trees of a file and of every module of genrec that it imports, however deep, but not comments,
docstrings and imports for type checkers, and not the modules of :data:`PLUMBING`.
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
    "registry": "finds the class behind a name",
    "families": "declares what components do; what a default computes stands elsewhere",
    "recipe": "checks and holds the blocks, whose values are in the keys",
    "runtime.environment": "hands on device, threads and folders; files are in the keys by their content",
    "runtime.files": "fingerprints files; an equal hash means equal content",
    "runtime.float32_products": "chooses a library for products after checking that it gives the same numbers",
    "runtime.malloc": "speed of the allocator",
    "runtime.peak_memory": "measures the memory of a stage",
    "runtime.progress": "progress bars and log lines",
    "runtime.threads": "number of threads: the same numbers up to rounding",
    "runtime.timer": "measures the time of a stage",
    "experiment.cache": "stores and finds what stages made",
    "experiment.fit": "holds recipe, dataset and keys of a fit",
    "experiment.keys": "computes the keys",
    "experiment.source_code": "computes this hash",
    "experiment.storage": "file formats; FORMAT in experiment.keys stands for them",
    "search.settings": "settings, whose values are in the keys",
    "training.settings": "settings, whose values are in the keys",
    "training.loggers": "report a training; compute nothing",
}
"""Modules and packages that are in no key, each with the reason: no stored number depends on them."""


def source_hash(*files: Path, without: tuple[str, ...] = ()) -> str:
    """Hash of some files and of what they import.

    Args:
        files: Python files, of genrec or of a plugin.
        without: modules of genrec that are left out, with all that they alone import.
    """
    digest = hashlib.blake2b(digest_size=8)
    for syntax in sorted(_syntax(_read(file)) for file in source_files(*files, without=without)):
        digest.update(syntax)
    return digest.hexdigest()


def source_files(*files: Path, without: tuple[str, ...] = ()) -> set[Path]:
    """Some files and every module of genrec that they import, however deep, imports inside functions included."""
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
    """Whether a module of genrec, named as in :data:`PLUMBING`, is in no key."""
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
