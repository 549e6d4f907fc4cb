"""Ranks of tiny recipes, one for each component, are those that were recorded before (``golden/record.py``)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from golden.recipes import TINY
from golden.running import (
    ENVIRONMENT,
    LARGE,
    RANKS,
    ROOT,
    Ranks,
    differences,
    is_recorded_environment,
    read_recorded,
    run_tiny,
    whole,
)

from genrec.cli import main


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_ranks_are_those_that_were_recorded(name: str, clean_registry: None, tmp_path: Path) -> None:
    golden = TINY[name]
    for module in golden.modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the Python package {module} is not installed")
    found = run_tiny(golden, tmp_path)
    assert differences(read_recorded(name), found, exactly=is_recorded_environment()) == []


def test_every_component_has_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    families = json.loads(capsys.readouterr().out)["families"]
    trained = [family for family in families if family not in ("loggers", "metrics")]  # these change no rank
    core = [(family, entry["name"]) for family in trained for entry in families[family] if entry["from"] == "core"]
    wanted = {f"{family.removesuffix('s')}_{name}": name for family, name in core}
    wanted |= {f"plugin_{file.stem}": file.stem for file in (ROOT / "plugins").glob("*.py")}
    assert len(wanted) > 35
    for recipe, component in wanted.items():
        blocks = [golden.block for name, golden in TINY.items() if name.startswith(recipe)]
        assert any(component in _texts(block) for block in blocks), recipe


def test_every_recipe_is_recorded_and_nothing_else() -> None:
    assert {file.stem for file in RANKS.glob("*.json")} <= {*TINY, *LARGE}
    assert {*TINY, "quickstart"} <= {file.stem for file in RANKS.glob("*.json")}
    assert json.loads(ENVIRONMENT.read_text(encoding="utf-8"))["threads"] == 1


def test_recorded_ranks_are_worth_comparing() -> None:
    """Every method finds somebody's item, and not everybody's at one place."""
    for name in TINY:
        for method, ranks in read_recorded(name)["methods"].items():
            found = np.array(ranks) >= 0
            assert found.mean() > 0, f"{name}: {method} finds nothing"
            assert len(set(ranks)) > 5, f"{name}: {method}"


@pytest.fixture
def small() -> Ranks:
    methods = {"stream: a": np.array([0, 3, -1], np.int32), "merge: b": np.array([1, -1, 25], np.int32)}
    return Ranks(np.arange(3), np.array([5, 6, 7]), methods)


def test_one_other_rank_is_told(small: Ranks) -> None:
    recorded = whole(small)
    assert differences(recorded, small, exactly=True) == []
    small.methods["merge: b"][2] = 24
    told = "merge: b: 1 of 3 users have another rank, the first at row 2: 25 -> 24"
    assert differences(recorded, small, exactly=True) == [told]
    assert differences(recorded, small, exactly=False) == []


def test_elsewhere_metrics_that_are_far_apart_are_told(small: Ranks) -> None:
    recorded = whole(small)
    small.methods["stream: a"][1] = -1
    told = differences(recorded, small, exactly=False)
    assert told[0] == "stream: a: Recall@10 0.6667 -> 0.3333, further apart than 0.1"
    assert len(told) == 2


def test_a_method_may_get_another_name_but_not_vanish(small: Ranks) -> None:
    recorded = whole(small)
    renamed = Ranks(
        small.users, small.targets, {"merge: c": small.methods["merge: b"], "stream: a": small.methods["stream: a"]}
    )
    assert differences(recorded, renamed, exactly=True) == []
    fewer = Ranks(small.users, small.targets, {"stream: a": small.methods["stream: a"]})
    assert differences(recorded, fewer, exactly=True) == ["methods: stream: a, merge: b -> stream: a"]


def test_other_targets_are_told(small: Ranks) -> None:
    recorded = whole(small)
    asked = Ranks(small.users, small.targets + 1, small.methods)
    assert differences(recorded, asked, exactly=False) == ["other targets are asked"]


def _texts(block: object) -> set[str]:
    """All texts in a recipe that can be the name of a component."""
    if isinstance(block, dict):
        return set().union(*map(_texts, block.values()))
    if isinstance(block, list):
        return set().union(*map(_texts, block))
    return {block} if isinstance(block, str) else set()
