"""``--set``: one-off changes by dotted path, and blame where it belongs."""

# ruff: noqa: E501 - messages are compared whole, one a line

from __future__ import annotations

from typing import Any

import pytest

from genrec.recipe import InvalidRecipeError, Recipe, load_recipe


def at(recipe: Recipe, path: str) -> Any:
    value: Any = recipe.block()
    for step in path.split("."):
        value = value[int(step) if isinstance(value, list) else step]
    return value


def problems(*overrides: str) -> list[str]:
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe("recipe.yaml", overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=7", 7),
        ("title=another one", "another one"),
        ("title=a=b", "a=b"),
        ("training.learning_rate=1e-4", 1e-4),
        ("training.optimizer=adam", "adam"),
        ("training.max_minutes=2", 2.0),
        ("search.beam_width=5", 5),
        ("tasks.0.weight=2", 2.0),
        ("tasks=[]", []),
        ("evaluation.cutoffs=[1, 3]", [1, 3]),
        ("evaluation.cutoffs.1=7", 7),
        ("merge.depth=9", 9),
        ("streams.left.tokenizer.branching=16", 16),
        ("streams.right.decoder={type: writer, num_layers: 5}", {"type": "writer", "num_layers": 5}),
        ("streams.left.item_encoder.training.batch_size=8", 8),
        ("baselines.0.type=popularity", "popularity"),
        ("streams.third={item_encoder: hashing, decoder: codeless}", None),
    ],
)
def test_value_is_changed(override: str, expected: Any) -> None:
    path = override.partition("=")[0]
    changed = load_recipe("recipe.yaml", [override])
    before, after = load_recipe("recipe.yaml").block(), changed.block()
    if expected is not None:
        assert at(changed, path) == expected
    assert before != after
    top = path.partition(".")[0]
    assert {key: before[key] for key in before if key != top} == {key: after[key] for key in after if key != top}


def test_override_keeps_what_the_block_says_beside_it() -> None:
    right = load_recipe("recipe.yaml", ["streams.right.tokenizer.shuffled=true"]).streams["right"]
    assert right.tokenizer is not None
    assert right.tokenizer.block() == {"type": "grid", "branching": 8, "shuffled": True}


def test_later_override_wins() -> None:
    assert load_recipe("recipe.yaml", ["seed=3", "seed=4"]).seed == 4


def test_star_means_every_key_and_entry() -> None:
    recipe = load_recipe(
        "recipe.yaml", ["streams.*.tokenizer.branching=64", "tasks.*.weight=0", "evaluation.cutoffs.*=3"]
    )
    assert [stream.tokenizer.branching for stream in recipe.streams.values()] == [64, 64]  # type: ignore[union-attr]
    assert [task.weight for task in recipe.tasks] == [0.0]
    assert recipe.evaluation.cutoffs == (3, 3)


def test_star_passes_over_streams_that_lack_the_part() -> None:
    recipe = load_recipe(
        "recipe.yaml", ["streams.left={item_encoder: hashing, decoder: codeless}", "streams.*.tokenizer.branching=64"]
    )
    assert recipe.streams["left"].tokenizer is None
    assert recipe.streams["right"].tokenizer.branching == 64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "--set seed: expected KEY=VALUE, such as training.batch_size=64"),
        ("a..b=1", "--set a..b=1: expected KEY=VALUE, such as training.batch_size=64"),
        ("=1", "--set =1: expected KEY=VALUE, such as training.batch_size=64"),
        ("seed=-2", "--set seed=-2: seed: found -2, expected at least 0"),
        ("tasks.1.weight=2", "--set tasks.1.weight=2: tasks.1: no such entry, expected 0 to 0"),
        ("tasks.first.weight=2", "--set tasks.first.weight=2: tasks.first: no such entry, expected 0 to 0"),
        (f"tasks.{'9' * 70}=2", f"--set tasks.{'9' * 70}=2: tasks.{'9' * 70}: no such entry, expected 0 to 0"),
        (".".join("a" * 41) + "=1", f"--set {'.'.join('a' * 41)}=1: nested too deep, found 41 keys, expected at most 40 levels"),
        ("streams.*.nothing.there=1", "--set streams.*.nothing.there=1: streams.*.nothing.there matches nothing in this recipe"),
        ("seed.*=1", "--set seed.*=1: seed: found nothing, expected a mapping or a list to put * in place of its entries"),
        ("training.batch_size.*=1", "--set training.batch_size.*=1: training.batch_size: found 32, expected a mapping or a list to put * in place of its entries"),
        ("seed={a", "--set seed={a: seed: not valid YAML at column 3: expected ',' or '}', but got '<stream end>'"),
        ("merge={type: first, depth: 1, depth: 2}", "--set merge={type: first, depth: 1, depth: 2}: merge.depth: duplicate key, expected it once (first in line 1)"),
        ("merge=frist", "--set merge=frist: merge: unknown merge 'frist', expected a merge that exists (see: genrec list merges); did you mean 'first'?"),
        ("merge={type: first, depth: x}", "--set merge={type: first, depth: x}: merge.depth: found 'x', expected a whole number"),
        ("streams.*.tokenizer.branchin=2", "--set streams.*.tokenizer.branchin=2: streams.left.tokenizer.branchin: unknown key of 'grid', expected one of branching, shuffled; did you mean 'branching'?"),
        ("training.batch_sise=2", None),
        ("streams.left.decoder=codeless", "recipe.yaml:5: streams.left.tokenizer: found a tokenizer, expected none: the decoder 'codeless' writes no codes"),
        ("tasks.0.source=lefty", "--set tasks.0.source=lefty: tasks.0.source: unknown stream 'lefty', expected one of left, right; did you mean 'left'?"),
        ("search.list_length=9", "--set search.list_length=9: search.list_length: found 9, expected at least 10, the largest of evaluation.cutoffs"),
        ("evaluation.cutoffs.0.x=1", "--set evaluation.cutoffs.0.x=1: evaluation.cutoffs.0: found 5, expected a mapping with the key x"),
    ],
)  # fmt: skip
def test_mistake_is_blamed_on_the_option(override: str, line: str | None) -> None:
    found = problems(override)
    if line is None:
        assert found[0].startswith(f"--set {override}: training.batch_sise: unknown key of training, expected one of ")
        assert found[0].endswith("did you mean 'batch_size'?")
    else:
        assert found[0] == line
    assert len(found) == (2 if "*.tokenizer" in override else 1)


def test_problems_of_the_file_come_before_those_of_options() -> None:
    with open("recipe.yaml", "a", encoding="utf-8") as file:
        file.write("extra: 1\n")
    found = problems("zzz=1", "seed=no")
    assert [line.partition(":")[0] for line in found] == ["recipe.yaml", "--set zzz=1", "--set seed=no"]
