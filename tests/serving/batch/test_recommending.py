"""A batch gives what the recommender gives, in the order of the users, whatever format, number of workers and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from genrec.errors import DataError
from genrec.formats.keys import sorted_keys
from genrec.runtime.peak_memory import PeakMemory
from genrec.runtime.threads import one_thread
from genrec.serving.batch import recommending
from genrec.serving.batch.histories import FileFormat, FileHistories
from genrec.serving.batch.recommending import recommend_batch
from genrec.serving.batch.scoring import Counts, Settings, content_of
from genrec.serving.recommender import Recommender

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", name="recommender")
def _recommender(small_run: Path) -> Recommender:
    return Recommender.load(small_run, device="cpu")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "_MOST_USERS", 7)


def write_histories(folder: Path, count: int = 40) -> Path:
    """Histories of every kind: known, partly known, unknown and empty ones."""
    rows = [
        {"user": f"u{n}", "history": [f"item-{1 + (n * step) % 60}" for step in range(1, n % 6)] + ["?"] * (n % 3 == 0)}
        for n in range(count)
    ]
    file = folder / "histories.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def expected_table(recommender: Recommender, file: Path, **options: Any) -> pl.DataFrame:
    """The table of the recommender, with the users of a file."""
    users = list(FileHistories(file))
    found: list[pl.DataFrame] = []
    for start in range(0, len(users), 7):  # the last digits of scores depend on who shares a batch
        some = users[start : start + 7]
        with one_thread():
            table = recommender.recommend([user.items for user in some], **options).table().to_polars()
        names = pl.Series("user", [some[place].user for place in table["history"].to_list()], dtype=pl.String)
        found.append(table.drop("history").insert_column(0, names))
    return pl.concat(found, how="vertical_relaxed").rename(lambda name: name.replace(" ", "_"))


def read(file: Path | BytesIO, file_format: str) -> pl.DataFrame:
    match file_format:
        case "parquet":
            return pl.read_parquet(file)
        case "csv":
            return pl.read_csv(file)
        case _:
            return pl.read_ndjson(file, infer_schema_length=None)


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_every_format_has_what_the_recommender_gives(
    file_format: str, recommender: Recommender, tmp_path: Path
) -> None:
    histories = write_histories(tmp_path)
    output = tmp_path / f"recs.{file_format}"
    counts = recommend_batch(recommender, FileHistories(histories), output, Settings(5), workers=1)
    expected = expected_table(recommender, histories, k=5)
    found = read(output, file_format)
    assert found.columns == expected.columns
    assert found["rank"].to_list() == [1, 2, 3, 4, 5] * 40
    assert_frame_equal(found, expected, check_dtypes=False, rel_tol=1e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == [histories.name, output.name]
    assert (counts.users, counts.rows, counts.unknown_items, counts.users_with_unknown_items) == (40, 200, 14, 14)
    assert counts.fallbacks == found.filter("fallback")["user"].n_unique() > 0


def test_the_same_columns_and_types_whoever_the_users_are(recommender: Recommender, tmp_path: Path) -> None:
    schemas = []
    for text in ("user,history\nu,item-1\n", "user,history\nu,\n"):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        histories = FileHistories(tmp_path / "a.csv")
        recommend_batch(recommender, histories, tmp_path / "recs.parquet", Settings(3), workers=1, force=True)
        schemas.append(pl.read_parquet_schema(tmp_path / "recs.parquet"))
    assert schemas[0] == schemas[1]
    assert list(schemas[0].values())[:6] == [pl.String, pl.Int32, pl.String, pl.String, pl.Float32, pl.Boolean]


def test_whole_numbers_as_users_stay_whole_numbers(recommender: Recommender, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [3, 1], "history": [["item-1"], ["item-2"]]}, schema_overrides={"user": pl.UInt32})
    frame.write_parquet(tmp_path / "a.parquet")
    recommend_batch(recommender, FileHistories(tmp_path / "a.parquet"), tmp_path / "r.parquet", Settings(2), workers=1)
    found = pl.read_parquet(tmp_path / "r.parquet")
    assert found["user"].dtype == pl.UInt32
    assert found["user"].to_list() == [3, 3, 1, 1]


def test_settings_are_those_of_the_recommender(recommender: Recommender, tmp_path: Path) -> None:
    histories, output = write_histories(tmp_path), tmp_path / "r.parquet"
    settings = Settings(4, "keep", ("item-1", "item-2"), "text", explain=False)
    recommend_batch(recommender, FileHistories(histories), output, settings, workers=1)
    options = {"k": 4, "seen": "keep", "exclude": ["item-1", "item-2"], "merge": "text", "explain": False}
    expected = expected_table(recommender, histories, **options)
    assert expected.columns == ["user", "rank", "item", "title", "score", "fallback"]
    assert_frame_equal(pl.read_parquet(output), expected, check_dtypes=False)


def test_users_for_whom_no_item_is_left_are_counted(recommender: Recommender, tmp_path: Path) -> None:
    everything = " ".join(sorted_keys(recommender.keys))
    (tmp_path / "a.csv").write_text(f"user,history\nall,{everything}\none,item-1\n", encoding="utf-8")
    counts = recommend_batch(recommender, FileHistories(tmp_path / "a.csv"), tmp_path / "r.csv", Settings(3), workers=1)
    assert (counts.users, counts.rows, counts.users_without_rows) == (2, 3, 1)
    assert pl.read_csv(tmp_path / "r.csv")["user"].to_list() == ["one"] * 3


def test_a_stream_gets_the_bytes_of_the_file(recommender: Recommender, tmp_path: Path) -> None:
    histories = FileHistories(write_histories(tmp_path))
    for file_format in ("csv", "jsonl"):
        stream, file = BytesIO(), tmp_path / f"r.{file_format}"
        recommend_batch(recommender, histories, file, Settings(2), workers=1)
        recommend_batch(recommender, histories, stream, Settings(2), file_format=file_format, workers=1)
        assert stream.getvalue() == file.read_bytes()
    with pytest.raises(DataError, match="Parquet needs a file"):
        recommend_batch(recommender, histories, BytesIO(), Settings(2), file_format="parquet")


def test_an_output_that_exists_is_replaced_only_by_force(recommender: Recommender, tmp_path: Path) -> None:
    histories, output = FileHistories(write_histories(tmp_path)), tmp_path / "r.csv"
    output.write_text("mine")
    with pytest.raises(DataError) as caught:
        recommend_batch(recommender, histories, output, Settings(2), workers=1)
    assert str(caught.value) == f"{output}: exists; pass --force to replace it, or another --output"
    assert output.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["histories.jsonl", "r.csv"]
    recommend_batch(recommender, histories, output, Settings(2), workers=1, force=True)
    assert output.read_text().startswith("user,rank,item,title,score,fallback,behavior_rank,")


def test_an_interrupted_batch_computes_the_rest_only(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    histories, computed = FileHistories(write_histories(tmp_path)), []
    recommend_part = recommending.recommend_part

    def interrupted(recommender: Recommender, users: Any, *rest: Any) -> Any:
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(users[0].user)
        return recommend_part(recommender, users, *rest)

    recommend_batch(recommender, histories, tmp_path / "whole.parquet", Settings(2), workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(recommending, "recommend_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recommend_batch(recommender, histories, tmp_path / "r.parquet", Settings(2), workers=1)
        assert not (tmp_path / "r.parquet").exists()
        computed[:] = ["-"]
        with pytest.raises(KeyboardInterrupt):
            recommend_batch(recommender, histories, tmp_path / "r.parquet", Settings(2), workers=1)
        assert computed == ["-", "u21", "u28"]
    capsys.readouterr()
    counts = recommend_batch(recommender, histories, tmp_path / "r.parquet", Settings(2), workers=1)
    assert capsys.readouterr().err == f"{tmp_path / 'r.parquet'}: resuming, 5 of 6 parts are finished\n"
    assert (tmp_path / "r.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert (counts.users, counts.rows) == (40, 80)


def test_histories_that_change_meanwhile_are_an_error(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories, recommend_part = write_histories(tmp_path), recommending.recommend_part

    def changed(*arguments: Any) -> Any:
        write_histories(tmp_path, 41)
        return recommend_part(*arguments)

    monkeypatch.setattr(recommending, "recommend_part", changed)
    with pytest.raises(DataError, match="not written, because the histories changed while they were read"):
        recommend_batch(recommender, FileHistories(histories), tmp_path / "r.csv", Settings(2), workers=1)
    assert not (tmp_path / "r.csv").exists()
    monkeypatch.setattr(recommending, "recommend_part", recommend_part)
    counts = recommend_batch(recommender, FileHistories(histories), tmp_path / "r.csv", Settings(2), workers=1)
    assert counts.users == 41


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_users(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(recommender: Recommender, users: Any, settings: Settings, file_format: FileFormat, *_: Any) -> Any:
        keys = [user.user for user in users for _ in range(settings.k)]
        frame = pl.DataFrame({"user": keys, "item": keys, "title": [f"the title of {key}" for key in keys]})
        return content_of(frame, file_format), Counts(users=len(users), rows=len(keys))

    monkeypatch.setattr(recommending, "recommend_part", quick)
    monkeypatch.setattr(recommending, "_MOST_USERS", 4096)
    peaks = []
    for count in (20_000, 200_000):
        history = [f"item-{n}" for n in range(20)]
        frame = pl.DataFrame({"user": range(count)}).with_columns(history=pl.lit(history))
        frame.write_parquet(tmp_path / "histories.parquet")
        histories, output = FileHistories(tmp_path / "histories.parquet"), tmp_path / "r.parquet"
        with PeakMemory() as peak:
            counts = recommend_batch(recommender, histories, output, Settings(20), workers=1, force=True)
        assert counts.rows == 20 * count
        peaks.append(peak.bytes or 0)
    assert peaks[0] > 0
    assert peaks[1] - peaks[0] < 200 * 2**20, "the histories alone are 270 MB as lists of texts"


@pytest.mark.slow
def test_processes_give_the_bytes_of_one(recommender: Recommender, tmp_path: Path) -> None:
    histories = FileHistories(write_histories(tmp_path))
    for file_format in ("parquet", "csv"):
        files = [tmp_path / f"{workers}.{file_format}" for workers in (1, 3)]
        for file, workers in zip(files, (1, 3), strict=True):
            recommend_batch(recommender, histories, file, Settings(4), workers=workers)
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_an_error_in_a_process_is_that_of_one(recommender: Recommender, tmp_path: Path) -> None:
    histories = FileHistories(write_histories(tmp_path))
    for workers in (1, 2):
        with pytest.raises(DataError if workers == 1 else Exception, match=r"^merge: found 'none', expected one of "):
            recommend_batch(recommender, histories, tmp_path / "r.csv", Settings(4, merge="none"), workers=workers)
    assert [file.name for file in tmp_path.iterdir()] == ["histories.jsonl"]


_CHILD = """
import os, signal, sys
from pathlib import Path
from genrec.serving.batch import recommending
from genrec.serving.batch.histories import FileFormat, FileHistories
from genrec.serving.batch.scoring import Counts, Settings, content_of
from genrec.serving.recommender import Recommender

run, histories, output, workers, last, count = *map(Path, sys.argv[1:4]), int(sys.argv[4]), int(sys.argv[5]), 0
recommending._MOST_USERS = 7

def kill(event, arguments):
    global count
    if event == "open":
        changes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
    if changes and str(output) in str(arguments[0]):
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

recommender = Recommender.load(run, device="cpu")
sys.addaudithook(kill)
recommending.recommend_batch(recommender, FileHistories(histories), output, Settings(3), workers=workers)
print(count)
"""
"""Kills itself before a call that changes the file system beside the output, given by its number."""


def batch_killed(run: Path, histories: Path, output: Path, *, workers: int, moment: int) -> int | None:
    """Recommend in a process that is killed at a moment; the number of moments, or None if it was killed."""
    command = [sys.executable, "-c", _CHILD, *map(str, (run, histories, output, workers, moment))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return None if done.returncode else int(done.stdout)


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """Histories, their output, and the number of moments at which a process may be killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    histories, output = write_histories(folder), folder / "r.parquet"
    count = batch_killed(small_run, histories, output, workers=1, moment=0)
    assert count is not None
    assert count > 40
    return histories, output, count


@pytest.mark.slow
@pytest.mark.parametrize(("share", "workers"), [(0.05, 1), (0.4, 2), (0.8, 1), (0.95, 1)])
def test_a_killed_batch_ends_as_an_undisturbed_one(
    share: float, workers: int, undisturbed: tuple[Path, Path, int], recommender: Recommender, tmp_path: Path
) -> None:
    histories, expected, count = undisturbed
    output = tmp_path / "r.parquet"
    moment = max(1, round(share * count))
    assert batch_killed(recommender.path, histories, output, workers=workers, moment=moment) is None
    recommend_batch(recommender, FileHistories(histories), output, Settings(3), workers=1)
    assert output.read_bytes() == expected.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == [output.name]


@pytest.mark.slow
def test_a_batch_that_is_killed_at_its_last_moment_is_finished(
    undisturbed: tuple[Path, Path, int], recommender: Recommender, tmp_path: Path
) -> None:
    histories, expected, count = undisturbed
    output = tmp_path / "r.parquet"
    assert batch_killed(recommender.path, histories, output, workers=1, moment=count) is None
    assert output.read_bytes() == expected.read_bytes()
    with pytest.raises(DataError, match="exists; pass --force"):
        recommend_batch(recommender, FileHistories(histories), output, Settings(3), workers=1)
    assert [file.name for file in tmp_path.iterdir()] == [output.name]
