"""A run does its work where ``pipeline.py`` names it: no stage starts in a property or in an argument list."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from genrec import pipeline
from genrec.cli import main

PACKAGE = Path(pipeline.__file__).parent

STAGES = {
    ("item_encoders/", "encode"): "encode_items",
    ("tokenizers/", "fit"): "tokenize_items",
    ("training/trainer.py", "train"): "train_model",
    ("search/streams.py", "search_streams"): "search_users",
    ("merges/", "merge"): "merge_streams",
    ("reporting/report.py", "evaluate"): "evaluate",
}
"""File or folder and function that does the work -> the call of ``pipeline.run`` that it belongs to, in order."""

WORK = {"encode_items", "tokenize_items", "train_model", "search_users", "train", "search_streams"}
"""Functions that train, search or encode."""


class Entry(NamedTuple):
    """One entry into a function that does a stage's work."""

    work: tuple[str, str]
    """Its key in ``STAGES``."""
    above: list[str]
    """Functions between ``pipeline.run`` and this one, outermost first."""
    getters: list[str]
    """Those of all frames above that are the getter of a property."""


def is_getter(frame: FrameType) -> bool:
    """Whether a frame computes a property or a cached property of its first argument."""
    code = frame.f_code
    owner = type(frame.f_locals.get(code.co_varnames[0])) if code.co_argcount else object
    for cls in owner.__mro__:
        found = vars(cls).get(code.co_name)
        getters = (getattr(found, "fget", None), getattr(found, "func", None))
        if isinstance(found, property | cached_property) and code in (
            getattr(one, "__code__", None) for one in getters
        ):
            return True
    return False


def entries_of(words: list[str]) -> list[Entry]:
    """What a command enters of the functions in ``STAGES``."""
    found: list[Entry] = []

    def on_event(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        file = Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix()
        for work in STAGES:
            if frame.f_code.co_name == work[1] and file.startswith(work[0]):
                found.append(_entry(work, frame))

    sys.setprofile(on_event)
    try:
        assert main(words) == 0
    finally:
        sys.setprofile(None)
    return found


def _entry(work: tuple[str, str], frame: FrameType) -> Entry:
    above: list[FrameType] = []
    caller = frame.f_back
    while caller is not None and caller.f_code is not pipeline.run.__code__:
        above.append(caller)
        caller = caller.f_back
    assert caller is not None, f"{work[1]} is entered outside pipeline.run"
    getters = [one.f_code.co_qualname for one in [frame, *above] if is_getter(one)]
    return Entry(work, [one.f_code.co_name for one in reversed(above)] or [frame.f_code.co_name], getters)


@pytest.fixture(scope="module")
def entries(small_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("traced")
    recipe = folder / "small.yaml"
    recipe.write_text(small_recipe, encoding="utf-8")
    return entries_of(["run", str(recipe), "--output", str(folder / "run"), "--device", "cpu"])


@pytest.mark.slow
def test_stages_are_entered_in_the_order_of_the_pipeline(entries: list[Entry]) -> None:
    calls = [entry.above[0] for entry in entries]
    assert [call for call, _ in groupby(calls)] == list(STAGES.values())


@pytest.mark.slow
def test_each_stage_is_entered_below_its_call_in_the_pipeline(entries: list[Entry]) -> None:
    entered = {(entry.work, entry.above[0]) for entry in entries}
    validation = (("search/streams.py", "search_streams"), "train_model")  # checkpoints are selected by a search
    assert entered == {*STAGES.items(), validation}
    for entry in entries:
        others = set(entry.above[1:]) & {*STAGES.values()}
        assert not others, f"{entry.work[1]} is entered through {others}"


@pytest.mark.slow
def test_no_stage_is_entered_below_a_property(entries: list[Entry]) -> None:
    assert [entry for entry in entries if entry.getters] == []


def test_getters_are_recognized() -> None:
    class Lazy:
        @property
        def plain(self) -> FrameType:
            return sys._getframe()

        @cached_property
        def cached(self) -> FrameType:
            return sys._getframe()

        def method(self) -> FrameType:
            return sys._getframe()

    assert is_getter(Lazy().plain)
    assert is_getter(Lazy().cached)
    assert not is_getter(Lazy().method())


def test_the_pipeline_is_one_page() -> None:
    assert len(Path(pipeline.__file__).read_text(encoding="utf-8").splitlines()) <= 120


def hidden_work(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, function) of each call of ``WORK`` that stands in a property's getter or in another call's arguments."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in WORK):
            continue
        node: ast.AST = call
        in_expression = True
        while node in parents:
            child, node = node, parents[node]
            if isinstance(node, ast.Call) and child is not node.func and in_expression:
                yield call.lineno, call.func.id
                break
            if isinstance(node, ast.stmt | ast.Lambda):  # what is defined here starts when it is called
                in_expression = False
            if isinstance(node, ast.FunctionDef) and any(map(_makes_property, node.decorator_list)):
                yield call.lineno, call.func.id
                break


def _makes_property(decorator: ast.expr) -> bool:
    name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
    return name in {"property", "cached_property", "cache", "lru_cache"}


def test_no_module_starts_work_in_a_property_or_an_argument_list() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {name}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for line, name in hidden_work(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("save(train_model(fit))", [1]),
        ("save(part=[train_model(fit).log])", [1]),
        ("class A:\n    @property\n    def model(self):\n        return train_model(self.fit)", [4]),
        ("class A:\n    @functools.cached_property\n    def model(self):\n        if fit:\n            train(1)", [5]),
        ("trained = train_model(fit)\nsave(trained)", []),
        ("train_model(fit).log.save(path)", []),
        ("model.train(False)", []),
        ("def work():\n    return train(model)\ncache.get(stage, work=work)", []),
        ("cache.get(stage, work=lambda: train(model))", []),
    ],
)  # fmt: skip
def test_hidden_work_is_found(code: str, lines: list[int]) -> None:
    assert [line for line, _ in hidden_work(ast.parse(code))] == lines
