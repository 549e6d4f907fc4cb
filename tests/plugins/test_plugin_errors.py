"""``plugin_errors``: what passed through a plugin is the plugin's; everything else passes unchanged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genrec.errors import DataError, PluginError
from genrec.registry import load_plugin, loaded_plugins, plugin_errors

CODE = """\
def fail(error):
    raise error


def call(other, *arguments):
    return other(*arguments)


def wrap():
    try:
        fail(KeyError("x"))
    except KeyError as error:
        inner = error
    return inner
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None):
    """The module of a plugin file in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    load_plugin(tmp_path / "mine.py")
    [module] = [module for name, module in sys.modules.items() if name.startswith("genrec_plugin_mine_")]
    return module


def text_of(function, *arguments) -> str:
    with pytest.raises(PluginError) as caught, plugin_errors():
        function(*arguments)
    assert caught.value.__cause__ is not None
    return str(caught.value)


def test_exception_of_a_plugin_has_its_line(plugin) -> None:
    assert text_of(plugin.fail, ValueError("two\nlines")) == "mine.py:2: the plugin raised ValueError: two lines"
    assert text_of(plugin.fail, AssertionError()) == "mine.py:2: the plugin raised AssertionError"
    assert text_of(plugin.fail, SystemExit(3)) == "mine.py:2: the plugin raised SystemExit: 3"
    assert text_of(plugin.fail, StopIteration()) == "mine.py:2: the plugin raised StopIteration"


def test_exception_of_a_library_is_that_of_the_line_that_called_it(plugin) -> None:
    assert text_of(plugin.call, int, "x").startswith("mine.py:6: the plugin raised ValueError: invalid literal")
    assert text_of(plugin.call, plugin.fail, KeyError("a")) == "mine.py:2: the plugin raised KeyError: 'a'"


def test_exception_that_another_one_replaced(plugin) -> None:
    def replaced() -> None:
        raise RuntimeError("no result") from plugin.wrap()

    assert text_of(replaced) == "mine.py:2: the plugin raised RuntimeError: no result"


@pytest.mark.parametrize("error", [DataError("no file"), KeyboardInterrupt()])
def test_errors_of_the_user_and_interruptions_pass(plugin, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, plugin_errors():
        plugin.fail(error)
    assert caught.value is error


def test_exception_outside_plugins_passes(plugin) -> None:
    error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug") as caught, plugin_errors():
        raise error
    assert caught.value is error


def test_is_a_decorator_too(plugin) -> None:
    @plugin_errors()
    def work() -> None:
        plugin.fail(ValueError("x"))

    for _ in range(2):
        with pytest.raises(PluginError, match=r"^mine\.py:2: the plugin raised ValueError: x$"):
            work()


def test_loaded_plugins_are_named(plugin) -> None:
    assert "mine.py" in loaded_plugins()
