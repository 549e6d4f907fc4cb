"""The layout of the package: few modules at its root, few import cycles, one file for one component."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "genrec"
MAX_CYCLES = 2
MAX_ROOT_MODULES = 9


def modules() -> dict[str, Path]:
    """Name -> file of every module, packages included."""
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for name, file in names.items()}


def imported(code: str, known: Mapping[str, object]) -> Iterator[str]:
    """Known modules that a module imports anywhere: at its top, in a function, or for type checkers alone."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in names if {name, node.module} & {*known})


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module: each can be reached from every other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reach = {name: reached(name) for name in graph}
    found = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]}
    return sorted(sorted(component) for component in found)


def test_few_import_cycles() -> None:
    known = modules()
    graph = {name: {*imported(file.read_text(encoding="utf-8"), known)} - {name} for name, file in known.items()}
    assert graph["genrec.pipeline"] >= {"genrec.version", "genrec.experiment.vectors"}
    found = cycles(graph)
    assert len(found) <= MAX_CYCLES, found


def test_few_modules_at_the_root() -> None:
    files = sorted(file.name for file in PACKAGE.glob("*.py"))
    assert "pipeline.py" in files
    assert len(files) <= MAX_ROOT_MODULES, files


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c", "d"}}, [["a", "b"], ["c", "d", "e"]]),
    ],
)
def test_cycles_are_found(graph: dict[str, set[str]], found: list[list[str]]) -> None:
    assert cycles(graph) == found


def test_imports_in_functions_and_for_type_checkers_count() -> None:
    code = """
from typing import TYPE_CHECKING
from genrec import types
if TYPE_CHECKING:
    from genrec.model import layers
def work():
    import genrec.dataset_audit
    from genrec.errors import DataError
"""
    known = dict.fromkeys(["genrec", "genrec.types", "genrec.model.layers", "genrec.dataset_audit", "genrec.errors"])
    assert {*imported(code, known)} == {"genrec.types", "genrec.model.layers", "genrec.dataset_audit", "genrec.errors"}
