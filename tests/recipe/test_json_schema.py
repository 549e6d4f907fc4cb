"""The JSON Schema agrees with what recipes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genrec.families import FAMILIES
from genrec.recipe import load_recipe
from genrec.recipe.json_schema import recipe_schema
from genrec.recipe.source import read
from genrec.registry import add_plugin_folder

ROOT = Path(__file__).parents[2]

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")


@pytest.fixture
def schema(folder: Path) -> dict[str, Any]:
    add_plugin_folder(folder / "plugins")
    found, problems = recipe_schema()
    assert problems == []
    return found


def complaints(schema: dict[str, Any], data: Any) -> list[str]:
    return [".".join(map(str, error.path)) for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def test_schema_is_a_schema_and_takes_recipes_as_they_are_written(schema: dict[str, Any], recipe_text: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert complaints(schema, read(recipe_text, "r.yaml").data) == []
    assert complaints(schema, load_recipe("recipe.yaml").block()) == []


def test_nested_components_are_followed(schema: dict[str, Any], recipe_text: str) -> None:
    data = read(recipe_text, "r.yaml").data
    data["streams"]["left"]["item_encoder"] = {"type": "stack", "encoders": ["hashing", {"type": "hashing", "dim": 2}]}
    assert complaints(schema, data) == []
    data["streams"]["left"]["item_encoder"]["encoders"][1]["dim"] = "x"
    assert complaints(schema, data) == ["streams.left.item_encoder"]


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("merge", {"type": "first", "dpeth": 3}, "merge"),
        ("merge", {"depth": 3}, "merge"),
        ("merge", "unknown", "merge"),
        ("seed", -1, "seed"),
        ("extra", 1, ""),
        ("evaluation", {"metrics": ["recall", "ndgc"]}, "evaluation.metrics.1"),
        ("baselines", ["nothing", "something"], "baselines.1"),
    ],
)
def test_mistakes_are_seen(schema: dict[str, Any], recipe_text: str, key: str, value: Any, where: str) -> None:
    assert complaints(schema, {**read(recipe_text, "r.yaml").data, key: value}) == [where]


def test_every_component_is_in_it_with_its_help(schema: dict[str, Any]) -> None:
    types = {
        definition["properties"]["type"]["const"]
        for definition in schema["$defs"].values()
        if "const" in definition.get("properties", {}).get("type", {})
    }
    assert types >= {name for family in FAMILIES for name in family.names() if name != "verbless"}
    assert schema["properties"]["merge"]["description"] == "Merges the candidates of all streams into one ranking."


def test_plugin_that_fails_is_left_out_and_named(folder: Path) -> None:
    (folder / "plugins" / "bad.py").write_text(
        "from genrec.families import merges\n@merges.register('bad')\nclass Bad: x = 1 / 0\n", encoding="utf-8"
    )
    (folder / "plugins" / "worse.py").write_text("def (", encoding="utf-8")
    add_plugin_folder(folder / "plugins")
    schema, problems = recipe_schema()
    assert "ZeroDivisionError" in " ".join(problems)
    assert "worse.py:1: not valid Python" in " ".join(problems)
    assert len(problems) == 2
    assert "bad" not in str(schema["$defs"]["Merge"])


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_recipes_of_the_project_agree_with_it(clean_registry: None, file: Path) -> None:
    add_plugin_folder(ROOT / "plugins")
    schema, _ = recipe_schema()
    assert complaints(schema, read(file.read_text(encoding="utf-8"), file.name).data) == []
