"""``genrec recommend`` for many users: sources, outputs, options, and one line for every mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from genrec.cli import main
from genrec.datasets.showroom import Showroom
from genrec.serving.batch import recommending
from genrec.serving.recommender import Recommender

Capture = pytest.CaptureFixture[str]


def recommend(run: Path, *words: object) -> int:
    return main(["recommend", str(run), "--device", "cpu", "--threads", "1", *map(str, words)])


def problem(run: Path, capsys: Capture, *words: object) -> str:
    """The one line of a command that fails."""
    assert recommend(run, *words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.rstrip("\n")


def usage(run: Path, capsys: Capture, *words: object) -> str:
    """The message about wrong options."""
    assert recommend(run, *words) == 2
    return re.sub(r"[\s│╭╮╰╯─]+", " ", capsys.readouterr().err)


def histories(text: str = "user,history\nu1,item-3 item-9\nu2,item-20\n") -> Path:
    file = Path("histories.csv")
    file.write_text(text, encoding="utf-8")
    return file


def test_all_users_of_the_dataset(small_run: Path, folder: Path, capsys: Capture) -> None:
    assert recommend(small_run, "--all-users", "--output", "recs.parquet", "--k", 3) == 0
    assert capsys.readouterr() == ("", "recs.parquet: 360 rows for 120 users\n")
    shop = Showroom(items=60, users=120).load()
    found = pl.read_parquet("recs.parquet")
    assert found["user"].unique(maintain_order=True).to_list() == list(shop.user_keys)
    items = [[shop.catalog.keys[item] for item in shop.histories[user]] for user in range(120)]
    expected = Recommender.load(small_run, device="cpu").recommend(items, 3).item_keys()
    assert found["item"].to_list() == [key for keys in expected for key in keys]


def test_some_users_are_printed_like_a_history(small_run: Path, capsys: Capture) -> None:
    assert recommend(small_run, "--user", "user-7", "--user", "user-3", "--k", 2) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^for user (\S+)", printed, re.MULTILINE) == ["user-7", "user-3"]
    assert recommend(small_run, "--user", "user-7", "--user", "user-3", "--k", 2, "--json") == 0
    lists = json.loads(capsys.readouterr().out)
    assert list(lists) == ["user-7", "user-3"]
    for items in lists.values():
        assert all(item["key"] in printed for item in items)
        assert set(items[0]) == {"key", "title", "score", "streams"}


def test_some_users_to_a_file(small_run: Path, folder: Path) -> None:
    assert recommend(small_run, "--user", "user-7", "--user", "user-3", "--output", "r.csv", "--k", 2) == 0
    assert pl.read_csv("r.csv")["user"].to_list() == ["user-7", "user-7", "user-3", "user-3"]


def test_an_unknown_user_is_one_line(small_run: Path, capsys: Capture) -> None:
    expected = "user 'user-777': not in showroom, which has 120 users such as 'user-1'; did you mean 'user-77'?"
    assert problem(small_run, capsys, "--user", "user-777") == expected


def test_a_file_of_histories(small_run: Path, folder: Path, capsys: Capture) -> None:
    text = 'user,history\nu1,item-3 item-9 nothing\nü,"[""item-20"", null]"\n,item-1\nu3,\n'
    words = ["--input", histories(text), "--output", "r.jsonl", "--k", 2, "--no-explain"]
    expected = "histories.csv:4: user is '', expected a key; correct it, or pass --broken-rows skip"
    assert problem(small_run, capsys, *words) == expected
    assert recommend(small_run, *words, "--broken-rows", "skip") == 0
    assert capsys.readouterr().err.splitlines() == [
        "r.jsonl: 6 rows for 3 users",
        "rows of the input that were skipped: 1",
        "missing items that were skipped (null, NaN or an empty text): 1",
        "items that were skipped because the catalog has none of this key: 1",
        "users with such items: 1",
        "users without known items, who got the most popular ones: 1",
    ]
    rows = [json.loads(line) for line in Path("r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["user"], row["rank"], row["fallback"]) for row in rows] == [
        (user, rank, user == "u3") for user in ("u1", "ü", "u3") for rank in (1, 2)
    ]
    assert set(rows[0]) == {"user", "rank", "item", "title", "score", "fallback"}
    assert not Path("r.jsonl.parts").exists()


def test_keys_of_another_dataset_are_noted(small_run: Path, folder: Path, capsys: Capture) -> None:
    assert recommend(small_run, "--input", histories("user,history\nu1,B001\n"), "--output", "r.csv") == 0
    last = "no item of any history is in the catalog: are these the keys of another dataset?"
    assert capsys.readouterr().err.splitlines()[-1] == last


@pytest.mark.parametrize("words", [(), ("--format", "csv")])
def test_standard_output_has_rows_alone(words: tuple[str, ...], small_run: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "genrec.cli", "recommend", str(small_run), "--input", str(histories()), *words]
    done = subprocess.run([*command, "--output", "-", "--k", "2"], capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    if words:
        assert lines[0].startswith("user,rank,item,")
        assert [line.split(",")[0] for line in lines[1:]] == ["u1", "u1", "u2", "u2"]
    else:
        assert [json.loads(line)["user"] for line in lines] == ["u1", "u1", "u2", "u2"]
    assert done.stderr.decode().splitlines()[-1] == "standard output: 4 rows for 2 users"


def test_items_are_excluded(small_run: Path, folder: Path, capsys: Capture) -> None:
    def items(*words: object) -> list[str]:
        assert recommend(small_run, "--input", histories(), "--output", "r.csv", "--force", "--k", 4, *words) == 0
        return pl.read_csv("r.csv")["item"].to_list()

    first, second, *_ = items()
    (folder / "sold_out.txt").write_text(f"{second}\nno such item\n", encoding="utf-8")
    capsys.readouterr()
    assert {first, second}.isdisjoint(items("--exclude", first, "--exclude-file", "sold_out.txt"))
    noted = capsys.readouterr().err.splitlines()[0]
    assert noted == "sold_out.txt: 1 of 2 keys are not in the catalog ('no such item')"
    assert recommend(small_run, "--history", "item-3", "--exclude", f"{first},{second}", "--json") == 0
    assert {first, second}.isdisjoint(item["key"] for item in json.loads(capsys.readouterr().out))
    words = ("--input", histories(), "--output", "x.csv")
    assert problem(small_run, capsys, *words, "--exclude", "itm-3").startswith("'itm-3': no item has this key or title")
    assert problem(small_run, capsys, *words, "--exclude-file", "none").startswith("none: cannot be read: ")


def test_a_stream_alone_and_without_explanations(small_run: Path, capsys: Capture) -> None:
    assert recommend(small_run, "--history", "item-3", "--merge", "text", "--no-explain") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].split() == ["#", "key", "title", "score"]
    assert "Columns of streams" not in printed
    alone = Recommender.load(small_run, device="cpu").recommend(["item-3"], merge="text").item_keys()[0]
    assert [line.split()[1] for line in printed.splitlines() if re.match(r"\s*\d+ ", line)] == alone


def test_the_same_command_again(small_run: Path, folder: Path, capsys: Capture) -> None:
    words: list[Any] = ["--input", histories(), "--output", "r.csv"]
    assert recommend(small_run, *words) == 0
    before = Path("r.csv").read_bytes()
    capsys.readouterr()
    expected = "r.csv: exists; pass --force to replace it, or another --output"
    assert problem(small_run, capsys, *words) == expected
    assert recommend(small_run, *words, "--force") == 0
    assert Path("r.csv").read_bytes() == before


def test_an_interrupted_batch_says_how_to_resume(
    small_run: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommend_part, users = recommending.recommend_part, []

    def interrupted(recommender: Recommender, part: Any, *rest: Any) -> Any:
        if users:
            raise KeyboardInterrupt
        users.append(part[0].user)
        return recommend_part(recommender, part, *rest)

    monkeypatch.setattr(recommending, "_MOST_USERS", 1)
    monkeypatch.setattr(recommending, "recommend_part", interrupted)
    assert recommend(small_run, "--input", histories(), "--output", "r.jsonl") == 130
    resumes = "r.jsonl: 1 of 2 users are finished; the same command resumes\ninterrupted\n"
    assert capsys.readouterr().err == resumes
    assert recommend(small_run, "--input", histories(), "--output", "-") == 130
    assert capsys.readouterr().err == "interrupted\n"
    users.clear()
    monkeypatch.setattr(recommending, "recommend_part", recommend_part)
    assert recommend(small_run, "--input", histories(), "--output", "r.jsonl") == 0
    done = ["r.jsonl: resuming, 1 of 2 parts are finished", "r.jsonl: 20 rows for 2 users"]
    assert capsys.readouterr().err.splitlines() == done


def test_options_that_exclude_each_other(small_run: Path, folder: Path, capsys: Capture) -> None:
    expected = "expected one of --history, --user, --all-users and --input"
    assert expected in usage(small_run, capsys)
    found = usage(small_run, capsys, "--all-users", "--user", "user-1", "--output", "a.csv")
    assert f"found --user and --all-users, {expected}" in found
    assert "--all-users needs --output FILE, or --output - for" in usage(small_run, capsys, "--all-users")
    assert "--input needs --output FILE" in usage(small_run, capsys, "--input", histories())
    history = usage(small_run, capsys, "--history", "item-3", "--output", "a.csv")
    assert "--output needs --user, --all-users or --input" in history
    assert "pass --format jsonl" in usage(small_run, capsys, "--all-users", "--output", "a.csv", "--json")
    assert not Path("a.csv").exists()


def test_outputs_that_cannot_be_written(small_run: Path, folder: Path, capsys: Capture) -> None:
    words = ["--input", histories()]
    ending = "r.xlsx: found the ending '.xlsx', expected one of .parquet, .pq, .csv, .jsonl, .ndjson"
    assert problem(small_run, capsys, *words, "--output", "r.xlsx") == ending
    Path("dir.csv").mkdir()
    assert problem(small_run, capsys, *words, "--output", "dir.csv") == "dir.csv: is a folder, expected a file"
    Path("file").write_text("")
    inside = "file/r.csv.parts: cannot be written: Not a directory"
    assert problem(small_run, capsys, *words, "--output", "file/r.csv") == inside
    parquet = "--output -: Parquet needs a file; pass --format jsonl or csv, or a file"
    assert problem(small_run, capsys, *words, "--output", "-", "--format", "parquet") == parquet
