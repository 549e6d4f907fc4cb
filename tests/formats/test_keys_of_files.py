"""Keys: one text for each, lists of keys from files, and keys that are the same number."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.formats.keys import examples, key_text, match_keys, read_keys, sorted_keys

KEYS = st.one_of(st.integers(0, 30).map(str), st.floats(0, 9).map(repr), st.text("ab01. ", max_size=3))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (7.0, "7"),
        (1.5, "1.5"),
        (" i1 ", "i1"),
        ("007", "007"),
        (10**30, "1" + "0" * 30),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ("nan", None),
        ("  ", None),
        (True, None),
        ([1], None),
    ],
)
def test_a_key_has_one_text(value, text):
    assert key_text(value) == text


@pytest.mark.parametrize(
    ("wanted", "found", "matches"),
    [
        (["1", "2"], ["2", "3"], {"2": "2"}),
        (["1.0", "2.0"], ["1", "2", "3"], {"1": "1.0", "2": "2.0"}),
        (["1", "x"], ["1.0", "x"], {"x": "x", "1.0": "1"}),
        (["7"], ["007"], {"007": "7"}),
        (["1", "1.0"], ["1."], {}),  # which one?
        (["1"], ["1.0", "01"], {}),
        (["1"], ["1", "1.0"], {"1": "1"}),
        (["1.5"], ["1"], {}),
        (["-1"], ["1"], {}),
        ([], ["1"], {}),
    ],
)
def test_keys_that_are_the_same_number_match_unless_two_are(wanted, found, matches):
    assert match_keys(wanted, found) == matches


@given(wanted=st.lists(KEYS), found=st.lists(KEYS))
def test_a_match_is_one_to_one_and_equal_texts_always_match(wanted, found):
    matches = match_keys(wanted, found)
    assert set(matches) <= set(found)
    assert set(matches.values()) <= set(wanted)
    assert len(set(matches.values())) == len(matches)
    assert all(matches[key] == key for key in set(wanted) & set(found))


@given(st.lists(st.integers(0, 10**6).map(str), unique=True))
def test_numbers_are_in_the_order_of_numbers(keys):
    assert [int(key) for key in sorted_keys(keys)] == sorted(map(int, keys))
    assert sorted_keys([*keys, "x"]) == sorted([*keys, "x"])


def test_a_key_of_thousands_of_digits_is_a_text():
    long = "9" * 6000
    assert sorted_keys([long, "10", "2"]) == ["10", "2", long]
    assert len(examples([long, "2"])) < 70
    assert match_keys([long], [long]) == {long: long}


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb c\n7\n",
        b"\xef\xbb\xbfa\r\nb c\r\n7\r\n",
        b" a\rb c \r\r7",
        b'["a", "b c", 7]',
        b'\xef\xbb\xbf [" a ", "b c", 7.0]',
    ],
)
def test_keys_of_a_file_have_no_marks_and_no_blanks_around_them(tmp_path, content):
    file = tmp_path / "keys"
    file.write_bytes(content)
    assert read_keys(file) == ["a", "b c", "7"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: the file is empty"),
        (b"a\ncaf\xe9\n", ":2: not UTF-8: byte 0xe9; save the file as UTF-8 and run again"),
        (b'["a", ', ": not a JSON list of keys (line 1: Expecting value)"),
        (b'["a", NaN]', ": key 2 is None, expected texts or whole numbers"),
        (b'["a", [1]]', ": key 2 is [1], expected texts or whole numbers"),
        (b'["a", ""]', ": key 2 is '', expected texts or whole numbers"),
        (b"[" + b"9" * 5000 + b"]", ": not a JSON list of keys (line 1: an integer has thousands of digits)"),
        (b"[" * 100_000, ": not a JSON list of keys (line 1: nested too deeply)"),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_list_of_keys_is_named(tmp_path, content, message):
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_keys(file)
    assert str(caught.value) == f"{file}{message}"


@given(st.lists(st.text(min_size=1).filter(lambda text: key_text(text) == text), min_size=1))
def test_a_json_list_gives_its_keys(tmp_path_factory, keys):
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(json.dumps(keys), encoding="utf-8")
    assert read_keys(file) == keys
