"""Text of the command line <-> values: lists, labels, blocks on one line, seeds, budgets."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from varied_recipes import problems

from genrec.comparison._values import in_a_name, label, one_line, split_values
from genrec.comparison.axes import parse_budget, parse_seeds
from genrec.errors import RecipeError
from genrec.recipe.source import read


def test_values_are_split_outside_brackets_braces_and_quotes() -> None:
    text = """kmeans_tree, {type: rqvae, levels: 4},[5, 10] ,[10],"a, b",'it''s, so',it's,1e-3,{a: [1, {b: "}, "}]}"""
    assert split_values(text) == [
        "kmeans_tree",
        "{type: rqvae, levels: 4}",
        "[5, 10]",
        "[10]",
        '"a, b"',
        "'it''s, so'",
        "it's",
        "1e-3",
        '{a: [1, {b: "}, "}]}',
    ]
    assert split_values("a,,b,") == ["a", "", "b", ""]


@pytest.mark.parametrize(
    ("axis", "shown", "name"),
    [
        ("history_encoder.dim", "64", "dim=64"),
        ("training.learning_rate", "1e-3", "learning_rate=1e-3"),
        ("streams.*.tokenizer.balanced", "true", "balanced=true"),
        ("evaluation.cutoffs", "[5, 10]", "cutoffs=[5, 10]"),
        ("merge", "confidence", "confidence"),
        ("streams", "text+text", "text+text"),
        ("recipe", "2024-run", "2024-run"),
    ],
)
def test_a_value_that_does_not_say_what_it_is_of_is_named_with_its_key(axis: str, shown: str, name: str) -> None:
    assert in_a_name(axis, shown) == name


plain_text = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufeff", categories=["L", "N", "P", "S", "Z", "Cc"])
)
numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False)
awkward = ["null", "1e-3", "a, b", "it's", '"', "x: y", "- a", "#", "package:gt", "two\nlines\n", "~", "{", "]"]
scalars = st.none() | st.booleans() | numbers | plain_text | st.sampled_from(awkward)
keys = st.text("abcdefghij_", min_size=1, max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@given(st.lists(trees, min_size=1, max_size=4))
def test_what_is_written_on_one_line_is_split_and_read_back(values: list[Any]) -> None:
    text = one_line(values)
    assert "\n" not in text
    assert read(text, "option", mapping=False).data == values
    inside = text.removeprefix("[").removesuffix("]")
    assert [read(part, "option", mapping=False).data for part in split_values(inside)] == values


def test_labels_name_what_a_block_says() -> None:
    assert label({"type": "rqvae", "levels": 4, "balanced": True}, "") == "rqvae(levels=4, balanced=true)"
    assert label({"type": "rqvae"}, "") == "rqvae"
    assert label({"max_epochs": 3, "schedule": None}, "") == "max_epochs=3, schedule=null"
    nested = {"type": "concatenation", "encoders": ["din", {"type": "text", "dim": 8}]}
    assert label(nested, "") == "concatenation(encoders=[din, text(dim=8)])"
    assert label(1e-3, "1e-3") == "1e-3"
    assert label([5, 10], "[5,  10]") == "[5, 10]"
    assert len(label("x" * 100, "x" * 100)) == 60


def test_seeds() -> None:
    assert parse_seeds("1,2,3") == (1, 2, 3)
    assert parse_seeds(" 7 , 1-3 ") == (1, 2, 3, 7)
    assert parse_seeds("0") == (0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found '', expected whole numbers such as 1,2,3 or 1-5"),
        ("1,x", "found 'x', expected whole numbers such as 1,2,3 or 1-5"),
        ("-1", "found '-1', expected whole numbers such as 1,2,3 or 1-5"),
        ("1.5", "found '1.5', expected whole numbers such as 1,2,3 or 1-5"),
        ("5-1", "found 5-1, expected the smaller seed first: 1-5"),
        ("1,2,1-3", "1, 2 more than once, expected each seed once"),
        ("1-9999999", "expected at most 1,000 seeds"),
    ],
)
def test_seeds_that_are_none(text: str, message: str) -> None:
    assert problems(lambda: parse_seeds(text), RecipeError) == [f"--seeds {text}: {message}"]


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=20))
def test_seeds_come_back_ascending(seeds: set[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(sorted(seeds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h 0m 5s", 3605), ("1.5H", 5400), ("0h1s", 1)],
)
def test_budget(text: str, seconds: float) -> None:
    assert math.isclose(parse_budget(text), seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "expected a time such as 90s, 30m, 2h or 1h30m; did you mean 30m or 30s?"),
        ("", "expected a time such as 90s, 30m, 2h or 1h30m"),
        ("30m1h", "expected a time such as 90s, 30m, 2h or 1h30m"),
        ("-5m", "expected a time such as 90s, 30m, 2h or 1h30m"),
        ("soon", "expected a time such as 90s, 30m, 2h or 1h30m"),
        ("0m", "expected more than zero"),
    ],
)
def test_budget_that_is_none(text: str, message: str) -> None:
    assert problems(lambda: parse_budget(text), RecipeError) == [f"--budget {text}: {message}"]
