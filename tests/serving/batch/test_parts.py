"""Finished parts of a batch survive a kill; damaged ones, and those of other inputs, do not count."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from genrec.errors import DataError
from genrec.serving.batch.histories import FileFormat
from genrec.serving.batch.parts import Parts
from genrec.serving.batch.scoring import Counts

INPUTS = {"k": 10, "run": ["a", "b"]}


def parts_of(tmp_path: Path, file_format: FileFormat = "csv", **changed: object) -> Parts:
    return Parts(tmp_path / f"recs.{file_format}", file_format, {**INPUTS, **changed})


def content(start: int, count: int) -> bytes:
    file = BytesIO()
    pl.DataFrame(
        {"user": [f"u{n}" for n in range(start, start + count)], "rank": range(start, start + count)}
    ).write_parquet(file)
    return file.getvalue()


def test_parts_are_found_again(tmp_path: Path) -> None:
    with parts_of(tmp_path).locked():
        parts_of(tmp_path).put(0, b"a,1\n", Counts(users=1, rows=1))
        parts_of(tmp_path).put(2, b"c,1\n", Counts(users=2, rows=3))
    with parts_of(tmp_path).locked():
        found = [parts_of(tmp_path).get(number) for number in range(4)]
    assert found == [Counts(users=1, rows=1), None, Counts(users=2, rows=3), None]


def test_damaged_parts_do_not_count(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    with parts.locked():
        for number in range(4):
            parts.put(number, b"a,1\n", Counts(users=1))
        (parts.folder / "000000.part").write_bytes(b"a,2\n")
        (parts.folder / "000001.part").unlink()
        (parts.folder / "000002.json").write_text("{")
        assert [parts.get(number) for number in range(4)] == [None, None, None, Counts(users=1)]


def test_parts_of_other_inputs_are_removed_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = parts_of(tmp_path)
    with parts.locked():
        parts.put(0, b"a,1\n", Counts(users=1))
    with parts_of(tmp_path, k=5, seen="keep").locked():
        assert parts.get(0) is None
    expected = f"{parts.folder}: parts of another batch (k, seen changed); starting anew\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "recs.csv.parts"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="is not empty and not of a batch"), parts_of(tmp_path).locked():
        pass
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    with parts.locked():
        parts.put(0, b"a,1\n", Counts(users=1))
        with pytest.raises(DataError, match="in use by another process"), parts_of(tmp_path).locked():
            pass
        assert parts.get(0) == Counts(users=1)


def test_texts_are_put_together(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    with parts.locked():
        for number in range(3):
            parts.put(number, f"{number}\n".encode(), Counts())
        parts.write_output(3, Counts(users=3), header=b"user\n")
    assert parts.output.read_bytes() == b"user\n0\n1\n2\n"
    assert list(tmp_path.iterdir()) == [parts.output]


def test_parquet_files_are_put_together(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, "parquet")
    with parts.locked():
        for number, (start, count) in enumerate([(0, 5), (5, 0), (5, 7)]):
            parts.put(number, content(start, count), Counts())
        parts.write_output(3, Counts(), header=b"")
    assert_frame_equal(pl.read_parquet(parts.output), pl.read_parquet(BytesIO(content(0, 12))))


def test_a_batch_that_was_killed_after_its_output_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parts_of(tmp_path)
    with parts.locked():
        parts.put(0, b"a\n", Counts(users=1))
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "clear", lambda self: None)
            parts.write_output(1, Counts(users=1), header=b"")
    with parts.locked():
        assert parts_of(tmp_path).finished() == Counts(users=1)
        parts.output.write_bytes(b"b\n")
        assert parts_of(tmp_path).finished() is None
