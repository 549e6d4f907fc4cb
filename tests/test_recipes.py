"""Every recipe is valid, complete in itself, and differs from its control in what the control is about alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genrec.recipe import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
FILES = sorted(RECIPES.glob("*.yaml"))


def block(name: str) -> dict[str, Any]:
    return load_recipe(RECIPES / f"{name}.yaml").block()


def differences(left: Any, right: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Key path -> the two values, wherever two blocks differ."""
    if isinstance(left, dict) and isinstance(right, dict) and left.get("type") == right.get("type"):
        found: dict[str, tuple[Any, Any]] = {}
        for key in [*left, *(key for key in right if key not in left)]:
            found |= differences(left.get(key), right.get(key), f"{path}.{key}".lstrip("."))
        return found
    return {} if left == right else {path: (left, right)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipe_is_valid(file: Path) -> None:
    recipe = load_recipe(file)
    assert recipe.title
    assert {"popularity", "transition"} <= {baseline.type_name for baseline in recipe.baselines}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipe_survives_being_written_out(file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(file)
    written = tmp_path / file.name
    written.write_text(yaml.safe_dump(recipe.block(), sort_keys=False), encoding="utf-8")
    assert load_recipe(written) == recipe


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipe_says_what_it_is_first(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = next(number for number, line in enumerate(lines) if not line.startswith("# "))
    assert 2 <= comment <= 8
    assert lines[comment].startswith("title: ")
    assert len(lines) <= 40


def test_minilm_recipe_differs_from_the_papers_in_the_text_encoder_alone() -> None:
    found = differences(block("eager_beauty"), block("eager_beauty_minilm"))
    assert set(found) == {"title", "streams.text.item_encoder"}


def test_concatenated_control_has_the_same_vectors_and_as_many_layers() -> None:
    recipe, control = block("eager_beauty_minilm"), block("eager_beauty_minilm_concatenated")
    [stream] = control["streams"].values()
    parts = [part["item_encoder"] for part in recipe["streams"].values()]
    assert stream["item_encoder"]["encoders"] == parts
    assert stream["decoder"]["num_layers"] == sum(part["decoder"]["num_layers"] for part in recipe["streams"].values())
    assert set(differences(recipe, control)) - {"history_encoder.start_from"} == {
        "title",
        "tasks",
        "streams.behavior",
        "streams.text",
        *(f"streams.{name}" for name in control["streams"]),
    }
