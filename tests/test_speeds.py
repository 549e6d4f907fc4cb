"""The three speeds of the tests: ``make test-fast``, ``make test`` and ``make acceptance``."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from oldest_versions import FAST, lower_bounds

ROOT = Path(__file__).parents[1]
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
BUILT_IN = {"filterwarnings", "parametrize", "skipif"}


def attributes(file: Path) -> Iterator[tuple[str, str]]:
    """(``b``, ``c``) of every ``a.b.c`` and (``a``, ``b``) of every ``a.b`` in a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield getattr(node.value, "attr", getattr(node.value, "id", "")), node.attr


def test_every_marker_is_registered() -> None:
    registered = {line.partition(":")[0] for line in OPTIONS["markers"]}
    files = (ROOT / "tests").rglob("*.py")
    used = {name for file in files for value, name in attributes(file) if value == "mark"}
    assert used - BUILT_IN == registered
    assert "--strict-markers" in OPTIONS["addopts"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "selected"),
    [
        ([], ["plain", "slow"]),
        (["-m", FAST], ["plain"]),
        (["-m", "acceptance"], ["acceptance", "slow_acceptance"]),
        (["-m", ""], ["plain", "slow", "acceptance", "slow_acceptance"]),
    ],
)
def test_acceptance_is_deselected_by_default(tmp_path: Path, words: list[str], selected: list[str]) -> None:
    lines = ["import pytest"]
    for name in ("plain", "slow", "acceptance", "slow_acceptance"):
        lines += [f"@pytest.mark.{marker}" for marker in name.split("_") if marker != "plain"]
        lines.append(f"def test_{name}(): pass")
    file = tmp_path / "test_markers.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--collect-only", *words, file]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120).stdout
    assert [line.rpartition("::test_")[2] for line in listed.splitlines() if "::" in line] == selected


def test_makefile_has_the_three_speeds() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"pytest -n $(WORKERS) -m '{FAST}'\n" in makefile
    assert "pytest -n $(WORKERS)\n" in makefile
    assert "pytest -n $(WORKERS) -m acceptance\n" in makefile
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_acceptance_draws_many_more_examples() -> None:
    default, acceptance = settings.get_profile("default"), settings.get_profile("acceptance")
    assert acceptance.max_examples >= 20 * default.max_examples
    assert default.deadline is None
    assert acceptance.deadline is None


def test_no_test_has_its_own_number_of_examples() -> None:
    """The profile has it, so that ``make fuzz`` draws more."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        words = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
        assert "max_examples" not in words, file


def test_lower_bounds_are_those_of_the_package_and_its_extras() -> None:
    project = {
        "dependencies": ["torch>=2.6", "scikit-learn>=1.4"],
        "optional-dependencies": {
            "text": ["sentence-transformers>=3.0", "genrec[vision]", "unbounded"],
            "vision": ["open_clip_torch[all]>=3.0", "torch>=2.6"],
            "dev": ["pytest>=8.0"],
        },
    }
    bounds = ["torch==2.6", "scikit-learn==1.4", "sentence-transformers==3.0", "open_clip_torch==3.0"]
    assert lower_bounds(project) == bounds
