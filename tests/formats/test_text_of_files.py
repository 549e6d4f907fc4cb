"""Text of files: lines however they end, bytes that are not UTF-8, and values in messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import DataError
from genrec.formats.text import check_writable, decode, listed, numbered_lines, shown

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1))


@given(lines=LINES.filter(lambda lines: any(line.strip() for line in lines)), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_have_their_numbers_whatever_ends_them(lines, end):
    found = list(numbered_lines(Path("a"), end.join(lines).encode()))
    assert found == [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


@pytest.mark.parametrize(
    ("content", "line"), [(b"\xff", 1), (b"a\nb\xe9", 2), (b"a\r\nb\r\n\xe9", 3), (b"a\rb\r\xe9", 3)]
)
def test_a_byte_that_is_not_utf8_has_a_line(content, line):
    with pytest.raises(DataError, match=rf"^a:{line}: not UTF-8: byte 0x(ff|e9); save the file as UTF-8"):
        decode(Path("a"), content)


def test_values_in_messages_are_short_and_can_be_printed():
    assert shown("x") == "'x'"
    assert len(shown("x" * 1000)) == 60
    assert listed([]) == "none"
    assert listed(["a", "b\ud800"]) == "a, b?"
    assert listed(range(1000)).endswith("48, 49, ...")


def test_half_of_a_character_is_refused():
    check_writable("catalog: the title", ["a", "b"], ["A", "\U0001f600"])
    with pytest.raises(DataError) as caught:
        check_writable("catalog: the title", ["a", "b"], ["A", "B\ud800"])
    assert str(caught.value) == (
        "catalog: the title of item 'b' has half of a character (a lone surrogate); expected Unicode text: correct it "
        "in the source"
    )
