"""YAML that remembers its lines, without PyYAML's traps."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.recipe.problems import InvalidRecipeError
from genrec.recipe.source import UNREADABLE, Source, read, write


def value(text: str) -> Any:
    source = read(f"key: {text}\n", "r.yaml")
    assert source.problems == []
    return source.data["key"]


def complaints(source: Source) -> list[str]:
    return [str(problem) for problem in source.problems]


def fatal(text: str, **options: bool) -> str:
    with pytest.raises(InvalidRecipeError) as caught:
        read(text, "r.yaml", **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("2019-01-01", "2019-01-01"),
        ("12:30:45", "12:30:45"),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("1_000", "1_000"),
        ("=", "="),
    ],
)
def test_scalar_is_read_as_yaml_1_2(text: str, expected: Any) -> None:
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


def test_nan_is_read() -> None:
    assert math.isnan(value(".nan"))


def test_places_are_those_of_keys_and_entries() -> None:
    source = read("a: 1\nb:\n  c: {d: 2,\n      e: 3}\n  f:\n    - x\n    - g: 4\n", "r.yaml")
    assert source.data == {"a": 1, "b": {"c": {"d": 2, "e": 3}, "f": ["x", {"g": 4}]}}
    at = {path: (place.line, place.column) for path, place in source.places.items()}
    assert at == {
        (): (1, 1),
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", "c"): (3, 3),
        ("b", "c", "d"): (3, 7),
        ("b", "c", "e"): (4, 7),
        ("b", "f"): (5, 3),
        ("b", "f", 0): (6, 7),
        ("b", "f", 1): (7, 7),
        ("b", "f", 1, "g"): (7, 7),
    }
    assert str(source.place(("b", "c", "e", "missing", 3))) == "r.yaml:4"


def test_key_is_text_whatever_it_looks_like() -> None:
    assert read("1: a\ntrue: b\nno: c\n", "r.yaml").data == {"1": "a", "true": "b", "no": "c"}


def test_duplicate_key_is_a_problem_and_the_first_stays() -> None:
    source = read("a: 1\nb: {c: 1, c: {d: 2}}\na: 3\n", "r.yaml")
    assert source.data == {"a": 1, "b": {"c": 1}}
    assert complaints(source) == [
        "r.yaml:2: b.c: duplicate key, expected it once (first in line 2)",
        "r.yaml:3: a: duplicate key, expected it once (first in line 1)",
    ]
    assert ("b", "c", "d") not in source.places


def test_tag_at_the_top_is_refused_by_name() -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        read("!!python/object:os.system {a: 1}\n", "r.yaml")
    tag = "tag:yaml.org,2002:python/object:os.system"
    assert str(refused.value) == f"r.yaml:1: found the tag {tag}, expected the value alone"


def test_anchor_alias_merge_key_and_tag_are_refused() -> None:
    source = read("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: !!python/object:os.system ls\ng: !!str 3\n", "r.yaml")
    assert source.data == {"a": UNREADABLE, "c": UNREADABLE, "d": {"e": 2}, "f": UNREADABLE, "g": UNREADABLE}
    assert complaints(source) == [
        "r.yaml:1: a: found the anchor &x, expected the value alone",
        "r.yaml:2: c: found the alias *x, expected the value itself",
        "r.yaml:3: d.<<: merge keys are not allowed, expected the block itself",
        "r.yaml:4: f: found the tag tag:yaml.org,2002:python/object:os.system, expected the value alone",
        "r.yaml:5: g: found the tag tag:yaml.org,2002:str, expected the value alone",
    ]


def test_key_that_is_no_name_is_a_problem() -> None:
    source = read("a:\n  [1, 2]: 3\n  '': 4\n  b: 5\n", "r.yaml")
    assert source.data == {"a": {"b": 5}}
    assert complaints(source) == [f"r.yaml:{n}: a: found a key that is not text, expected plain text" for n in (2, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml:1: found an empty file, expected a recipe: keys such as title, dataset, streams"),
        ("# nothing\n", "r.yaml:1: found an empty file, expected a recipe: keys such as title, dataset, streams"),
        ("- a\n", "r.yaml:1: found a list, expected a recipe: keys such as title, dataset, streams"),
        ("hello", "r.yaml:1: found only 'hello', expected a recipe: keys such as title, dataset, streams"),
        ("a: 1\n--- \nb: 2\n", "r.yaml:2: found a second document, expected one recipe per file"),
        ("a: b: c\n", "r.yaml:1: not valid YAML at column 5: mapping values are not allowed here"),
        ("a: 1\n\tb: 2\n", "r.yaml:2: not valid YAML at column 1: found character '\\t' that cannot start any token"),
        ("a: [1, 2\n", "r.yaml:2: not valid YAML at column 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: \x00\n", "r.yaml:2: not valid YAML: the character '\\x00' is not allowed"),
    ],
)
def test_broken_text_gives_one_clear_line(text: str, message: str) -> None:
    assert fatal(text) == message


def test_deep_and_huge_text_are_refused() -> None:
    assert fatal("a: " + "[" * 5000) == "r.yaml:1: nested too deep, expected at most 40 levels"
    for keys_of_keys in ("{" * 5000, "? " * 5000 + "a"):
        assert fatal(keys_of_keys) == "r.yaml:1: nested too deep, expected at most 40 levels"
    assert fatal("a: 1\n" * 200_000) == "r.yaml: found 1000000 characters, expected a recipe of at most 500000"


def test_number_with_a_thousand_digits_stays_text() -> None:
    assert value("9" * 5000) == "9" * 5000


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(min_size=1), children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key != "<<"), plain_data, min_size=1, max_size=4))
def test_written_data_read_back_equal(data: dict[str, Any]) -> None:
    def has_merge_key(part: Any) -> bool:
        if isinstance(part, dict):
            return "<<" in part or any(map(has_merge_key, part.values()))
        return isinstance(part, list) and any(map(has_merge_key, part))

    if has_merge_key(data):
        return
    source = read(write(data), "r.yaml")
    assert source.problems == []
    assert repr(source.data) == repr(data)


@pytest.mark.parametrize(
    "text", ["no", "1e-3", "010", "0o7", "null", "", "~", ".5", "1_0", "=", "<<", "2019-01-01", "a: b"]
)
def test_text_that_looks_like_something_else_survives(text: str) -> None:
    assert read(write({"key": text}), "r.yaml").data == {"key": text}
