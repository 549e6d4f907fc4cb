"""JSON: NaN is null, repeated keys are reported, every problem is one error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.formats.json_text import JsonError, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_it_is_what_json_gives(value):
    found: list[str] = []
    assert parse_json(json.dumps(value), found.append) == value
    assert found == []


def test_nan_and_infinities_are_missing():
    assert parse_json('{"a": NaN, "b": [Infinity, -Infinity, 1]}') == {"a": None, "b": [None, None, 1]}


def test_keys_that_occur_again_are_reported():
    found: list[str] = []
    assert parse_json('{"a": 1, "a": {"b": 1, "b": 2, "b": 3}, "c": "a"}', found.append) == {"a": {"b": 3}, "c": "a"}
    assert found == ["b", "b", "a"]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "Expecting value", 1),
        ('{"a":\n1,2}', "Expecting property name enclosed in double quotes", 2),
        ("[" * 200_000, "nested too deeply", 1),
        ("9" * 5000, "an integer has thousands of digits", 1),
    ],
)
def test_a_text_that_is_not_json_has_one_error(text, message, line):
    with pytest.raises(JsonError) as caught:
        parse_json(text)
    assert (str(caught.value).removesuffix(" at"), caught.value.line) == (message, line)


@given(st.text())
def test_any_text_is_json_or_has_that_error(text):
    try:
        known = json.loads(text, parse_constant=lambda _: None)
    except ValueError:
        with pytest.raises(JsonError):
            parse_json(text)
    else:
        assert parse_json(text) == known
