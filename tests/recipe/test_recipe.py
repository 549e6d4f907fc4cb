"""Recipes become objects, whole, and go back to YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from genrec.errors import RecipeError
from genrec.families import item_encoders, merges, tokenizers
from genrec.recipe import InvalidRecipeError, Recipe, Stream, load_recipe, parse_recipe, recipe_of


def test_every_block_becomes_its_component() -> None:
    recipe = load_recipe("recipe.yaml")
    assert recipe.title == "A recipe"
    assert recipe.seed == 1
    assert list(recipe.streams) == ["left", "right"]
    left, right = recipe.streams.values()
    assert isinstance(left, Stream)
    assert type(left.item_encoder) is item_encoders.get("hashing")
    assert type(right.tokenizer) is tokenizers.get("grid")
    assert (left.tokenizer.branching, right.tokenizer.branching) == (4, 8)  # type: ignore[union-attr]
    assert type(recipe.merge) is merges.get("first")
    assert recipe.training.learning_rate == 1e-3
    assert recipe.evaluation.cutoffs == (5, 10)
    assert recipe.tasks[0].streams_used() == ("left", "right")
    assert [baseline.type_name for baseline in recipe.baselines] == ["nothing"]


def test_defaults_of_a_recipe_are_the_papers(recipe_text: str) -> None:
    short = "".join(line for line in recipe_text.splitlines(True) if not re.match("merge|baselines|evaluation", line))
    recipe = parse_recipe(
        short.replace("tasks:\n", "").replace("  - {type: guide, source: left, target: right, weight: 0.5}\n", "")
    )
    assert recipe.tasks == ()
    assert recipe.merge.type_name == "confidence"
    assert [baseline.type_name for baseline in recipe.baselines] == ["popularity", "transition"]
    assert recipe.search.beam_width == 100
    assert recipe.evaluation.cutoffs == (5, 10, 20)


def test_block_is_complete_plain_and_reads_back_equal() -> None:
    recipe = load_recipe("recipe.yaml")
    block = recipe.block()
    assert block["streams"]["left"] == {
        "item_encoder": {
            "type": "hashing",
            "dim": 8,
            "scale": "auto",
            "training": recipe.streams["left"].item_encoder.training.model_dump(),  # type: ignore[attr-defined]
        },
        "tokenizer": {"type": "grid", "branching": 4, "shuffled": False},
        "history_encoder": None,
        "decoder": {"type": "writer", "num_layers": 1},
        "absent_items": "own_branch",
        "nearest_in": None,
    }
    assert block["dataset"] == {"type": "shelf", "folder": "some-shelf", "file": "a/b.csv"}
    assert block["baselines"] == [{"type": "nothing"}]

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]

    assert {type(leaf) for leaf in leaves(block)} <= {str, int, float, bool, type(None)}
    assert recipe_of(block) == recipe
    assert parse_recipe(recipe.to_yaml()) == recipe
    assert parse_recipe(recipe.to_yaml()).block() == block


def test_components_nest_in_lists_mappings_and_options(recipe_text: str) -> None:
    inner = "{type: stack, encoders: [{type: hashing, dim: 2}]}"
    nested = f"{{type: stack, encoders: [hashing, {inner}], by_name: {{a: hashing}}, reducer: grid}}"
    recipe = parse_recipe(recipe_text.replace("item_encoder: hashing", f"item_encoder: {nested}"))
    encoder: Any = recipe.streams["left"].item_encoder
    assert encoder.encoders[1].encoders[0].dim == 2
    assert encoder.by_name["a"].type_name == "hashing"
    assert encoder.reducer.branching == 4
    assert parse_recipe(recipe.to_yaml()) == recipe


def test_settings_inside_a_component_keep_the_components_own_defaults(recipe_text: str) -> None:
    changed = recipe_text.replace("item_encoder: hashing", "item_encoder: {type: hashing, training: {max_epochs: 7}}")
    training: Any = parse_recipe(changed).streams["left"].item_encoder.training  # type: ignore[attr-defined]
    assert (training.max_epochs, training.learning_rate, training.batch_size) == (7, 0.5, 256)


def test_recipe_of_takes_tuples_and_components(recipe_text: str) -> None:
    recipe = parse_recipe(recipe_text)
    block = {**recipe.block(), "merge": recipe.merge, "tasks": tuple(recipe.block()["tasks"])}
    assert recipe_of(block) == recipe


def test_the_default_title_names_the_dataset_and_the_streams(recipe_text: str) -> None:
    untitled = recipe_text.replace("title: A recipe\n", "")
    recipe = parse_recipe(untitled)
    assert recipe.title == "some-shelf: left + right"
    assert parse_recipe(untitled, overrides=["title=Mine"]).title == "Mine"
    assert parse_recipe(recipe.to_yaml()) == recipe, "the folder of a run has the title"
    block = {name: getattr(recipe, name) for name in type(recipe).model_fields}
    assert Recipe(**{**block, "title": ""}).title == recipe.title
    named = parse_recipe(untitled, overrides=["dataset={type: table, folder: my-shop}"])
    assert named.title == "my-shop: left + right"


def test_recipe_is_frozen_and_of_objects_too() -> None:
    recipe = load_recipe("recipe.yaml")
    again = Recipe(
        title=recipe.title,
        dataset=recipe.dataset,
        history_encoder=recipe.history_encoder,
        streams=recipe.streams,
        tasks=recipe.tasks,
        training=recipe.training,
        merge=recipe.merge,
        evaluation=recipe.evaluation,
        baselines=recipe.baselines,
    )
    assert again == recipe
    with pytest.raises(ValidationError, match="frozen"):
        recipe.title = "other"  # type: ignore[misc]


def test_a_stream_may_have_a_history_encoder_of_its_own(recipe_text: str) -> None:
    own = "history_encoder: {type: bag, dim: 8, max_history: 50}, decoder: writer"
    recipe = parse_recipe(
        recipe_text.replace("tokenizer: grid, decoder: writer", f"tokenizer: grid, {own}")
        .replace("  - {type: guide, source: left, target: right, weight: 0.5}\n", "")
        .replace("tasks:\n", "")
    )
    assert recipe.streams["right"].history_encoder is None
    assert list(recipe.own_history_encoders) == ["left"]
    assert (recipe.own_history_encoders["left"].dim, recipe.history_encoder.dim) == (8, 16)
    assert recipe.max_history == 50
    assert parse_recipe(recipe_text).max_history == 20
    assert parse_recipe(recipe.to_yaml()) == recipe
    change = "streams.left.history_encoder.max_history=10"
    assert parse_recipe(recipe.to_yaml(), overrides=[change]).max_history == 20


def test_stream_whose_decoder_writes_no_codes_has_no_tokenizer(recipe_text: str) -> None:
    short = recipe_text.replace("tokenizer: grid, decoder: writer", "decoder: codeless")
    assert parse_recipe(short).streams["left"].tokenizer is None
    assert parse_recipe(short.replace("decoder: codeless", "tokenizer: null, decoder: codeless")) == parse_recipe(short)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_number_of_streams(recipe_text: str, count: int) -> None:
    block = parse_recipe(recipe_text).block()
    block["tasks"] = []
    block["streams"] = {f"s{i}": block["streams"]["right"] for i in range(count)}
    assert list(recipe_of(block).streams) == [f"s{i}" for i in range(count)]


def test_plugins_beside_the_recipe_are_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_recipe("../recipe.yaml").merge.type_name == "first"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("recipes.yaml", "recipes.yaml: no such file, expected a recipe; did you mean 'recipe.yaml'?"),
        ("nowhere/x.yaml", "nowhere/x.yaml: no such file, expected a recipe"),
        ("plugins", "plugins: found a folder, expected a recipe: a YAML file"),
        ("latin.yaml", "latin.yaml: not UTF-8 text (byte 9), expected a recipe in YAML"),
    ],
)
def test_file_that_cannot_be_read(folder: Path, path: str, message: str) -> None:
    (folder / "latin.yaml").write_bytes("title: caf\xe9".encode("latin-1").replace(b"f", b""))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value) == message


def test_byte_order_mark_is_no_mistake(folder: Path, recipe_text: str) -> None:
    (folder / "bom.yaml").write_text(recipe_text, encoding="utf-8-sig")
    assert load_recipe("bom.yaml") == load_recipe("recipe.yaml")


def test_problems_are_in_an_attribute() -> None:
    with pytest.raises(InvalidRecipeError) as caught:
        parse_recipe("titel: x\nseed: -1\n")
    assert [(p.place.line, p.key) for p in caught.value.problems] == [
        (1, "titel"),
        (1, "dataset"),
        (1, "history_encoder"),
        (1, "streams"),
        (2, "seed"),
    ]
