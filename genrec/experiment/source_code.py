"""A hash of the source code that determines the content of a stage.

It covers the syntax trees of a file and of all modules that it imports directly or indirectly, from genrec and, for a
plugin in an installed package, from that package. It leaves out comments, docstrings, imports for type checkers and the
modules in :data:`PLUMBING`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_COLLECTION = "genrec.plugin"
"""The module that collects names of other modules."""

PLUMBING: dict[str, str] = {
    "errors": "texts of errors",
    "formats.finding": "what checks of a dataset found, for reports",
    "plugin": "collects names for plugins; a key includes the modules that define them",
    "contracts": "checks results and changes none",
    "registry": "finds a class by name",
    "families": "declares interfaces; defaults that compute are in other modules",
    "recipe": "checks and holds the blocks; their values are in the keys",
    "runtime.checksums": "compares files with their checksums",
    "runtime.environment": "holds device, threads and folders; the content of files is in the keys",
    "runtime.files": "writes, reads and fingerprints files; an equal hash means equal content",
    "runtime.float32_products": "selects a library for matrix products after checking that the results are equal",
    "runtime.limits": "bounds of settings; their values are in the keys",
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
    """Files and all modules that they import, directly or indirectly, inside functions too.

    Modules are those of genrec and, for a plugin in a package, those of the package; other libraries do not count.
    """
    left_out = {_file(module) for module in without}
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found and file not in left_out:
            found.add(file)
            waiting += _imports(_read(file), file.parent)
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
def _imports(source: bytes, folder: Path) -> tuple[Path, ...]:
    """The modules that a file in a folder imports: those of genrec, and those of its own package."""
    found = (file for imported in _imported(ast.parse(source)) for file in _modules(*imported, folder))
    return tuple(dict.fromkeys(found))


def _imported(node: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """The names of each import and its number of leading dots, without imports for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).removeprefix("typing.") == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _imported(other)
        elif isinstance(child, ast.Import):
            yield 0, [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            module = child.module or ""
            names = [f"{module}.{alias.name}".removeprefix(".") for alias in child.names]
            yield child.level, names if module == _COLLECTION else [module, *names]
        else:
            yield from _imported(child)


def _modules(level: int, names: list[str], folder: Path) -> Iterator[Path]:
    """The files of imported names.

    Args:
        level: number of leading dots.
        names: modules, or names in them.
        folder: folder of the file that imports them.
    """
    package = _package(folder)
    for name in names if level else _defining(names):
        first, _, module = name.partition(".")
        if level:
            place = (folder, *folder.parents)[level - 1] / name.replace(".", "/")
        elif first == "genrec" and module and not is_plumbing(module):
            place = _PACKAGE / module.replace(".", "/")
        elif package is not None and first == package.name:
            place = package.parent / name.replace(".", "/")
        else:
            continue
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _package(folder: Path) -> Path | None:
    """The outermost package around a folder outside genrec; None if it is not in a package."""
    found = None
    while (folder / "__init__.py").is_file() and folder != _PACKAGE:
        found, folder = folder, folder.parent
    return found


def _defining(names: list[str]) -> Iterator[str]:
    """Names, where those from ``genrec.plugin`` are replaced by the modules that define them.

    ``genrec.plugin`` loads some of these modules on first use, so that its own imports do not include them.
    """
    for name in names:
        if name in (_COLLECTION, f"{_COLLECTION}.*"):
            yield from _collected(_read(_file("plugin"))).values()
        elif name.startswith(f"{_COLLECTION}."):
            yield _collected(_read(_file("plugin"))).get(name.removeprefix(f"{_COLLECTION}."), "")
        else:
            yield name


@cache
def _collected(source: bytes) -> dict[str, str]:
    """Each name that ``genrec.plugin`` collects and the module that defines it."""
    defined: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)):
                defined |= {alias.asname or alias.name: module for alias in node.names}
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=known)):
                defined[name] = defined.get(known, "")
    return defined
