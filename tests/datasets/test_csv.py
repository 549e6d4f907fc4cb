"""CSV: what Python's csv module reads, whichever of the two readers a file needs; broken rows by their line."""

import csv
import io

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genrec.datasets.readers import csv as csv_reader
from genrec.datasets.readers.csv import CSV, Layout, line_of, read_csv, read_csv_skipping
from genrec.errors import DataError

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "error::polars.exceptions.PolarsWarning")

COLUMNS = {"a": pl.String, "b": pl.String, "n": pl.Int64}
FIELDS = st.text("x\"' ,;|\n\ré", max_size=5)
WORDS = ["1", "x", "", "é", " 2", "2 ", "+3", "-1", "4.0", "1e3", "0x1", " "]
RAW = st.lists(st.text('x", 5', max_size=6), min_size=3, max_size=3).map(",".join)


def write(folder, text):
    path = folder / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_python_reads(path, columns, separator=","):
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file, delimiter=separator)
    return [tuple(row[head.index(name)] for name in columns) for row in rows if row]


@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, st.integers(0, 99)), min_size=1, max_size=6),
    separator=st.sampled_from([",", ";", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, separator, quoting, end):
    fields = "".join(a + b for a, b, _ in rows)
    assume(quoting != csv.QUOTE_MINIMAL or not {"\r", "\n"} & {*fields})  # it leaves some of these unquoted
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([("a", "b", "n"), *rows])
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue())
    layout = Layout(separator)
    assert read_csv(path, COLUMNS, layout).rows() == rows
    assert read_csv_skipping(path, COLUMNS, layout)[0].rows() == rows


@given(st.lists(RAW, min_size=1, max_size=5))
def test_stray_quotes_are_read_as_python_reads_them(tmp_path_factory, lines):
    path = write(tmp_path_factory.mktemp("csv"), "\n".join(["a,b,c", *lines]) + "\n")
    columns = {"a": pl.String, "c": pl.String}
    text = path.read_text()
    *rows, last = csv.reader(io.StringIO(f"{text}end"))
    if last == ["end"] and all(len(row) >= 3 and not any(row[3:4]) for row in rows):
        assert read_csv(path, columns).rows() == as_python_reads(path, columns)
    else:
        with pytest.raises(DataError, match=r"\d: (\d+ fields, the header line has 3|a quote that opens)"):
            read_csv(path, columns)


@given(
    lines=st.lists(
        st.lists(st.sampled_from(["1", "x", "", "é", " 2", "2 ", "+3", "-1", "4.0", "1e3", "0x1", " "]), max_size=4),
        min_size=1,
        max_size=6,
    ),
    skip=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_both_readers_agree_where_there_are_no_quotes(tmp_path_factory, lines, skip, end):
    path = write(tmp_path_factory.mktemp("csv"), end.join(["a,b,n", *map(",".join, lines)]) + end)

    def outcome():
        try:
            if skip:
                table, count = read_csv_skipping(path, COLUMNS, filled=["a"])
                return table.rows(), count
            return read_csv(path, COLUMNS, filled=["a"]).rows()
        except DataError as error:
            return str(error)

    fast = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_is_plain", lambda path, layout: False)
        assert outcome() == fast


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b,n\n5" nails,x,1\n"two\nlines",y,2\nz,,3\n', [('5" nails', "x", 1), ("two\nlines", "y", 2), ("z", "", 3)]),
        ('a,b,n\n"Best" chair,x,1\n', [("Best chair", "x", 1)]),
        ('a,b,n\n"say ""hi""",x,1\n', [('say "hi"', "x", 1)]),
        ('a,b,n\r"x",y,1\rz,,2\r', [("x", "y", 1), ("z", "", 2)]),
        ("a,b,n\rx,y,1\r\rz,,2", [("x", "y", 1), ("z", "", 2)]),
        ('"a","b","n"\n"","","1"\n', [("", "", 1)]),
        ('"a\nb",a,b,n\n1,2,3,4\n', [("2", "3", 4)]),
        (b'\xef\xbb\xbf"a",b,n\nx,y,1\n', [("x", "y", 1)]),
        (f'a,b,n\n"{"x" * 200_000}",y,1\n', [("x" * 200_000, "y", 1)]),
    ],
    ids=range(9),
)  # fmt: skip
def test_quotes_and_line_ends(tmp_path, text, rows):
    assert read_csv(write(tmp_path, text), COLUMNS).rows() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b,n\n5" nails,x,1\n"two\nlines",y,2\nlast,3\n', "5: 2 fields, the header line has 3"),
        ('a,b,n\n"two\nlines",y,2\n"x",y,soon\n', "4: n is 'soon', expected a whole number"),
        ('a,b,n\nx,y,1\nu,"open,2\nx,y,3\n', "3: a quote that opens in this row is not closed; close it, or double it "
         "if it is part of a text"),
        (b'a,b,n\n"x",y,1\n"caf\xe9",y,2\n', "3: not UTF-8: byte 0xe9; save the file as UTF-8 and run again"),
        ('a,b,n\r"x",y,1\rx,y\r', "3: 2 fields, the header line has 3"),
        (f'a,b,n\n"x",y,{"9" * 5000}\n', "2: n is '99999999999999999999999999999999999999999999999999999999..., "
         "expected a whole number"),
        ('a,b,n\n"","y",1\n', "2: a is empty"),
        ('a,b\n"x",y\n', "1: no column n; found a, b"),
        ("\r\r\r", "1: the file is empty; expected a header line"),
    ],
    ids=range(9),
)  # fmt: skip
def test_broken_rows_have_the_line_on_which_they_start(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_csv(path, COLUMNS, filled=["a"])
    assert str(caught.value) == f"{path}:{message}"


def test_broken_rows_of_files_with_quotes_are_skipped_and_counted(tmp_path):
    path = write(tmp_path, b'a,b,n\n"x",y,1\n"caf\xe9",y,2\n"",y,3\nz,"\xe9",4\nu,v\nw,v,soon\nk,l,5,6\n')
    table, count = read_csv_skipping(path, COLUMNS, filled=["a"])
    assert (table.rows(), count) == ([("x", "y", 1), ("z", "\ufffd", 4)], 5)
    with pytest.raises(DataError, match="is not closed"):  # which rows it would swallow, nobody knows
        read_csv_skipping(write(tmp_path, 'a,b,n\nx,y,1\n"u,y,2\nx,y,3\n'), COLUMNS)


def test_a_line_is_found_behind_quoted_line_ends(tmp_path):
    path = write(tmp_path, 'a,b,n\n"two\nlines",y,1\nx,y,2\nx,y,3\n')
    assert line_of(path, CSV, "a", "x") == 4
    assert line_of(path, CSV, "a", "x", occurrence=2) == 5
