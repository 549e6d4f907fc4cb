"""JSON Lines: tables and objects from plain and gzip files, chunks of any size, and errors of broken lines."""

import datetime
import gzip
import json
import tracemalloc

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from genrec.datasets.readers import json_lines as _json_lines
from genrec.datasets.readers.json_lines import json_objects, raw_lines, read_json_lines
from genrec.errors import DataError

COLUMNS = {"user": pl.Categorical, "note": pl.String, "count": pl.Int64, "stars": pl.Float64, "date": pl.Datetime}
GOOD = {"user": "u1", "note": "é", "count": 7, "stars": 4.5, "date": "2019-03-31 20:15:00", "text": "long\n{"}
HINT = "; fix or remove the line, or set broken_lines: skip"


def line(**changes):
    return json.dumps({**GOOD, **changes}, ensure_ascii=False).encode()


def without(key):
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


def write(folder, *lines, name="data.json", end=b"\n"):
    content = b"\n".join(lines) + end
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def read(path, **options):
    return read_json_lines(path, COLUMNS, title="test", **options)


def test_a_key_that_occurs_twice_is_an_error_beside_a_nan_too(tmp_path):
    broken = line().replace(b"{", b'{"helpful": NaN, "user": "u0", ', 1)
    path = write(tmp_path, line(), broken)
    with pytest.raises(DataError, match=r":2: the key 'user' occurs twice in the object"):
        read(path)
    assert read(path, broken_lines="skip")[1] == 1


@pytest.mark.parametrize("name", ["data.json", "data.jsonl.gz", "unpacked.txt"])
@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n \n\n"])
def test_some_keys_become_a_table(tmp_path, name, end):
    path = write(tmp_path, line(), b"", line(user="u2", stars=3, date="2019-04-01", count=-1), name=name, end=end)
    table, skipped = read(path)
    assert skipped == 0
    assert dict(table.schema) == {
        "user": pl.Categorical(),
        "note": pl.String(),
        "count": pl.Int64(),
        "stars": pl.Float64(),
        "date": pl.Datetime("us"),
    }
    assert table.rows() == [
        ("u1", "é", 7, 4.5, datetime.datetime(2019, 3, 31, 20, 15)),
        ("u2", "é", -1, 3.0, datetime.datetime(2019, 4, 1)),
    ]


def test_gzip_is_seen_by_the_content(tmp_path):
    path = write(tmp_path, line())
    packed = tmp_path / "packed.json"
    packed.write_bytes(gzip.compress(path.read_bytes()) + gzip.compress(path.read_bytes()))  # two members, one file
    assert read(packed)[0].rows() == read(path)[0].rows() * 2


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbf" + line())
    assert len(read(path)[0]) == 1
    assert [number for number, _ in json_objects(path, title="test")] == [1]


@given(
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=30),
    chunk=st.integers(130, 400),
    ends=st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
)
def test_chunks_of_any_size_give_what_json_gives(tmp_path_factory, texts, chunk, ends):
    path = tmp_path_factory.mktemp("chunks") / "data.json"
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    path.write_bytes(b"".join(json.dumps({"note": text}, ensure_ascii=False).encode() + ends for text in texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_lines, "CHUNK_BYTES", chunk)
        table, skipped = read_json_lines(path, {"note": pl.String}, title="test")
        numbers = [number for number, _ in json_objects(path, title="test")]
    assert (table["note"].to_list(), skipped) == (texts, 0)
    assert numbers == list(range(1, (len(ends.strip(b"\r")) * len(texts)) + 1, len(ends.strip(b"\r"))))


BROKEN = [
    (line()[:-9], "not valid JSON (Unterminated string starting at character 94); expected one object a line"),
    (b'{"user": "u1",}', "not valid JSON (Expecting property name enclosed in double quotes at character 15); "
     "expected one object a line"),
    (b"{'user': 'u1'}", "not valid JSON (Expecting property name enclosed in double quotes at character 2); "
     "expected one object a line"),
    (line() + line(), "not valid JSON (Extra data at character 104); expected one object a line"),
    (b"[" * 50_000 + b"]" * 50_000, "not valid JSON (nested too deeply); expected one object a line"),
    (b"[1, 2]", "found [1, 2], expected one object a line"),
    (b"null", "found null, expected one object a line"),
    (line().replace("é".encode(), b"caf\xe9"), "not UTF-8: byte 0xe9; expected UTF-8"),
    (without("date"), "no key date; found user, note, count, stars, text"),
    (b"{}", "no key user, note, count, stars, date; found none"),
    (line(user=None), "user is null, expected text"),
    (line(user={"id": 1}), 'user is {"id": 1}, expected text'),
    (line(note=["x"]), 'note is ["x"], expected text'),
    (line(count="7"), 'count is "7", expected a whole number'),
    (line(count=7.5), "count is 7.5, expected a whole number"),
    (line(count=True), "count is true, expected a whole number"),
    (line(stars="good" * 30), f'stars is "{"good" * 14}..., expected a number'),
    (line(date="2019-02-30 10:00:00"), 'date is "2019-02-30 10:00:00", expected a time such as 2019-03-31 20:15:00'),
    (line(date="yesterday"), 'date is "yesterday", expected a time such as 2019-03-31 20:15:00'),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "message"), BROKEN, ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_a_broken_line_is_reported_or_skipped(tmp_path, monkeypatch, bad, message):
    lines = [line(count=count) for count in range(40)]
    path = write(tmp_path, *lines[:25], b"", bad, *lines[25:])
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:27: {message}{HINT}"
    table, skipped = read(path, broken_lines="skip")
    assert (table["count"].to_list(), skipped) == (list(range(40)), 1)
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 120_000 if len(bad) > 1000 else 500)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:27: {message}{HINT}"


def test_many_broken_lines_are_all_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 2_000)
    path = write(tmp_path, *(b"{" if number % 3 == 1 else line(count=number) for number in range(300)))
    table, skipped = read(path, broken_lines="skip")
    assert skipped == 100
    assert table["count"].to_list() == [number for number in range(300) if number % 3 != 1]


def test_broken_lines_do_not_keep_their_chunk_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 200_000)
    rows = [b"{" if number % 40 == 1 else line(count=number, text="x" * 5000) for number in range(800)]
    path = write(tmp_path, *rows)
    tracemalloc.start()
    try:
        _, skipped = read(path, broken_lines="skip", keep=lambda table: table.head(1))
        table_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        told = []
        assert sum(1 for _ in json_objects(path, title="test", broken=told.append)) == 780
        objects_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert skipped == len(told) == 20
    assert path.stat().st_size > 3_900_000
    assert max(table_peak, objects_peak) < 2_000_000


def test_a_text_may_start_with_a_bracket(tmp_path):
    path = write(tmp_path, line(note="[new] {"), line(user="{u", stars=1))
    assert read(path)[0].select("user", "note", "stars").rows() == [("u1", "[new] {", 4.5), ("{u", "é", 1.0)]


@pytest.mark.parametrize("broken_lines", ["error", "skip"])
def test_a_key_that_no_line_has_is_a_mistake_of_the_file(tmp_path, broken_lines):
    path = write(tmp_path, *[without("date")] * 3)
    with pytest.raises(DataError) as caught:
        read(path, broken_lines=broken_lines)
    assert str(caught.value) == (
        f"{path}: no line has a value for date; line 1 has user, note, count, stars, text; is it a different file?"
    )


def test_a_file_of_another_kind_is_not_skipped_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 100)
    path = write(tmp_path, *[b"user,note,count"] * 100)
    with pytest.raises(DataError) as caught:
        read(path, broken_lines="skip")
    assert str(caught.value) == (
        f"{path}: not one of the first 6 lines can be read; {path}:1: not valid JSON (Expecting value at character 1); "
        "expected one object a line"
    )


@pytest.mark.parametrize("name", ["data.json", "data.json.gz"])
@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n  "])
def test_an_empty_file_is_reported(tmp_path, name, content):
    path = write(tmp_path, content, name=name, end=b"")
    for work in (lambda: read(path), lambda: list(json_objects(path, title="test"))):
        with pytest.raises(DataError) as caught:
            work()
        assert str(caught.value) == f"{path}:1: the file is empty; expected one JSON object a line"


def test_a_file_without_line_ends_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 2**20)
    path = write(tmp_path, line(), b'{"user": "' + b"x" * 30 * 2**20 + b'"}')
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:2: no line end within 1 MB; expected one JSON object a line"
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("chunk", [1_000, 2**20])
def test_a_truncated_gzip_file_is_reported_where_it_ends(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", chunk)
    path = write(
        tmp_path, *(line(count=number**7, user=f"u{number**5}") for number in range(2_000)), name="data.json.gz"
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    lines = []
    with pytest.raises(DataError, match=r"the gzip file is damaged or cut off here .*; download it again") as caught:
        lines.extend(raw_lines(path, title="test"))
    assert str(caught.value).startswith(f"{path}:{len(lines) + 1}: ")
    assert 500 < len(lines) < 1_500
    with pytest.raises(DataError, match="the gzip file is damaged"):
        read(path, broken_lines="skip")


def test_a_damaged_gzip_file_is_reported(tmp_path):
    path = write(tmp_path, *[line()] * 50, name="data.json.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # in the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.json\.gz:51: the gzip file is damaged or cut off here \(CRC"):
        read(path)


def test_only_what_is_kept_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(_json_lines, "CHUNK_BYTES", 1_000)
    path = write(tmp_path, *(line(count=count) for count in range(500)))
    pieces = []

    def keep(table):
        pieces.append(len(table))
        return table.filter(pl.col("count") % 100 == 3).select("count", half=pl.col("stars") / 2)

    table, _ = read(path, keep=keep)
    assert_frame_equal(table, pl.DataFrame({"count": [3, 103, 203, 303, 403], "half": [2.25] * 5}))
    assert len(pieces) > 20
    assert sum(pieces) == 500
    assert len(read(path, keep=lambda table: table.clear())[0]) == 0


def test_objects_come_with_their_line(tmp_path):
    path = write(tmp_path, b"\n" + line(), b"nonsense", line(user="u2", deep={"a": [1]}))
    with pytest.raises(DataError) as caught:
        list(json_objects(path, title="test"))
    expected = "not valid JSON (Expecting value at character 1); expected one object a line"
    assert str(caught.value) == f"{path}:3: {expected}{HINT}"
    broken = []
    found = list(json_objects(path, title="test", broken=broken.append))
    assert [(number, entry["user"]) for number, entry in found] == [(2, "u1"), (4, "u2")]
    assert found[1][1]["deep"] == {"a": [1]}
    assert [str(error).partition(": ")[0] for error in broken] == [f"{path}:3"]
    wanted = json_objects(path, title="test", wanted=lambda line: b'"u2"' in line)
    assert [number for number, _ in wanted] == [4]
