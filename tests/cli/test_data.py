"""data list, fetch, audit, images: output, confirmation, and errors."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer

from genrec.cli import data as verb
from genrec.cli import main
from genrec.cli._output import print_table
from genrec.datasets.download import fetch as _download
from genrec.datasets.download import sources as _sources
from genrec.datasets.download.sources import RemoteFile, Source
from genrec.datasets.readers.descriptions import words

RATINGS = "userId,movieId,rating,timestamp\n" + "".join(
    f"{user},{film},4.0,{1000 * user + (film * user) % 7}\n" for user in range(1, 7) for film in range(1, 7)
)
MOVIES = "movieId,title,genres\n" + "".join(f"{film},Film {film} (1999),Drama\n" for film in range(1, 7))


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "data" / "films").mkdir(parents=True)
    (folder / "data" / "films" / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    (folder / "data" / "films" / "movies.csv").write_text(MOVIES, encoding="utf-8")
    return folder / "data"


@pytest.fixture
def ml_9(data: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A published dataset that "downloads" a file made here."""
    archive = data.parent / "served.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("ml-9/ratings.csv", RATINGS)
        content.writestr("ml-9/movies.csv", MOVIES)
    file = RemoteFile("ml-9.zip", "https://films.example/ml-9.zip", ("ratings.csv", "movies.csv"), "archive")
    source = Source("ml-9", "films", {"type": "movielens", "folder": "ml-9"}, (file,), "free", "https://films.example")
    monkeypatch.setattr(_sources, "sources", lambda: {"ml-9": source})
    monkeypatch.setattr(_download, "remote_size", lambda source, file, data: archive.stat().st_size)
    monkeypatch.setattr(_download, "download", lambda url, path: path.write_bytes(archive.read_bytes()))
    return source


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["data", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["data", *words]) == 2
    return capsys.readouterr().err.strip()


def test_list_shows_size_license_and_what_is_found(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "ml-1m").mkdir()
    for name in ("ratings.dat", "movies.dat"):
        (data / "ml-1m" / name).touch()
    text = told(["list", "ml-1", "--data", str(data)], capsys)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith((" ml-1m ", " ml-100k "))}
    assert rows["ml-1m"][-4:] == ["movielens", "5.9", "MB", "yes"]
    assert rows["ml-1m"][3:6] == ["6,040", "3,706", "1,000,209"]
    assert rows["ml-100k"][-1] == "no"
    assert "GroupLens: research only" in text
    assert "yelp" not in text


def test_list_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["name"]: row for row in json.loads(told(["list", "--json"], capsys))}
    assert found.keys() == _sources.sources().keys()
    assert found["amazon-toys"]["found"] is None
    assert found["amazon-toys"]["size"] is None
    assert found["ml-25m"]["files"][0]["checksum"].startswith("sha256:8b21cfb7")
    assert "items.jsonl" in found["amazon-toys"]["note"]
    with_data = json.loads(told(["list", "ml-25m", "--data", str(data), "--json"], capsys))
    assert [row["found"] for row in with_data] == [False]


def test_fetch_shows_what_it_is_and_asks(
    data: Path, ml_9: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def confirm(text: str, abort: bool) -> bool:
        asked.append(text)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", confirm)
    assert main(["data", "fetch", "ml-9", "--data", str(data)]) == 130
    out = capsys.readouterr().out
    assert "license: free" in out
    assert "https://films.example/ml-9.zip (0.0 MB, no checksum published)" in out
    assert f"to:      {data / 'ml-9'}" in out
    assert asked == ["Download it under these terms?"]
    assert not (data / "ml-9").exists()

    out = told(["fetch", "ml-9", "--data", str(data), "--yes"], capsys)
    assert ", no checksum published\n" in out
    assert out.endswith(f"{data / 'ml-9'}: ready; next: genrec data audit ml-9 --data {data}\n")
    assert sorted(path.name for path in data.iterdir()) == ["films", "ml-9", "ml-9.fetched.json"]
    assert told(["fetch", "ml-9", "--data", str(data)], capsys) == (
        f"{data / 'ml-9'}: already there; to fetch it again, move it away\n"
    )


def test_fetch_goes_on_from_a_file_put_there_by_hand_without_asking(
    data: Path, ml_9: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "ml-9").mkdir()
    (data / "ml-9" / "ml-9.zip").write_bytes((data.parent / "served.zip").read_bytes())
    out = told(["fetch", "ml-9", "--data", str(data)], capsys)
    assert "from:" not in out
    assert ml_9.is_found(data)


def test_fetch_of_what_does_not_exist(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(["fetch", "ml-2m", "--data", str(data)], capsys).startswith("unknown published dataset 'ml-2m'")
    text = mistake(["fetch", "amazon-beaty", "--data", str(data)], capsys)
    assert "did you mean 'amazon-beauty'?" in text
    assert mistake(["fetch", "ml-1m"], capsys) == ("no data folder: pass --data DIR or set GENREC_DATA")


def test_audit_of_a_folder_a_name_and_a_recipe_agree(
    data: Path, ml_9: Source, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(["fetch", "ml-9", "--data", str(data), "--yes"], capsys)
    recipe = (
        (folder / "recipe.yaml").read_text().replace("dataset: showroom", "dataset: {type: movielens, folder: films}")
    )
    (folder / "films.yaml").write_text(recipe)
    found = [
        json.loads(told(["audit", *words, "--json"], capsys))
        for words in (
            ["films", "--data", str(data)],
            ["ml-9", "--data", str(data)],
            ["films.yaml", "--data", str(data)],
            [str(data / "films")],
            ["data/films", "--data", str(folder)],
        )
    ]
    assert [one["figures"] for one in found] == [found[0]["figures"]] * 5
    assert found[0]["figures"]["interactions"] == 36
    assert found[0]["block"]["folder"] == "films"
    assert {hit["check"] for hit in found[0]["findings"]} >= {"order", "ties", "future", "repeats", "same title"}


def test_audit_prints_figures_findings_and_what_a_report_cites(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(["audit", "films", "--data", str(data)], capsys)
    assert "interactions" in text
    assert "every history is in chronological order" in text
    assert "6 users, 6 items, 36 interactions (density 100 %), histories of 6 to 6 items, median 6" in text


def test_audit_takes_changes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "films", "--data", str(data), "--json", "--set", "dataset.min_rating=4.5"]
    assert "no rating is 4.5 or more" in mistake(words, capsys)
    text = mistake([*words[:-1], "dataset.cores=3"], capsys)
    assert "dataset.cores" in text
    assert "did you mean 'core'" in text


def test_audit_of_histories_without_items_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S3-Rec publishes histories alone: fetched, they can be audited at once."""
    (data / "amazon-toys").mkdir()
    lines = [f"{user} {' '.join(str(1 + (user * k) % 11) for k in range(1, 6))}" for user in range(1, 9)]
    (data / "amazon-toys" / "sequences.txt").write_text("\n".join(lines))
    (data / "amazon-toys" / "item2attributes.json").write_text("{}")
    found = json.loads(told(["audit", "amazon-toys", "--data", str(data), "--json"], capsys))
    assert found["figures"]["users"] == 8
    assert found["figures"]["described"] == 0.0


def test_audit_of_what_is_not_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(["audit", "ml-1m", "--data", str(data)], capsys) == (
        f"{data / 'ml-1m'}: ml-1m is not there; get it with 'genrec data fetch ml-1m --data {data}'"
    )
    assert mistake(["audit", "fims", "--data", str(data)], capsys) == (
        f"'fims' is neither a name in 'genrec data list', a recipe nor a folder under {data}; did you mean 'films'?"
    )
    (data / "empty").mkdir()
    assert "no known format" in mistake(["audit", "empty", "--data", str(data)], capsys)
    assert "recipes.yaml: no such file" in mistake(["audit", "recipes.yaml", "--data", str(data)], capsys)


def test_images_prints_a_line_per_image(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data / "amazon"
    folder.mkdir()
    reviews = [
        {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": 5.0, "unixReviewTime": 86_400 * (100 + user + item)}
        for item in range(5)
        for user in range(5)
    ]
    about = [{"asin": f"B{item}", "title": "x", "imUrl": f"http://shop.example/{item}.jpg"} for item in range(4)]
    (folder / "reviews_Desks_5.json").write_text("\n".join(map(json.dumps, reviews)))
    with gzip.open(folder / "meta_Desks.json.gz", "wt") as out:
        out.write("\n".join(map(repr, about)))
    text = told(["images", "amazon", "--data", str(data)], capsys)
    assert text.splitlines() == [f"B{item}\thttp://shop.example/{item}.jpg" for item in range(4)]


def test_images_of_data_that_knows_no_addresses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(["images", "films", "--data", str(data)], capsys) == (
        "films: the dataset 'movielens' has no image URLs; expected a dataset whose metadata has them, such as "
        "amazon_reviews"
    )


def test_verbs_of_data_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(["--help"], capsys)
    assert all(f" {name} " in text for name in ("list", "fetch", "audit", "images"))
    assert {command.name for command in verb.app.registered_commands} == {"list", "fetch", "audit", "images"}


@pytest.mark.slow
def test_audit_needs_no_torch(data: Path) -> None:
    words = ["data", "audit", "films", "--data", str(data)]
    code = f"import sys; from genrec.cli import main; status = main({words!r}); print(status, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_nothing_that_a_terminal_obeys_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("t", ("a", "b"), [("x\x1b[2Jy", "z\x9b\x07")])
    assert not {"\x1b", "\x9b", "\x07"} & set(capsys.readouterr().out)
    assert words(["Oil\x1b]0;owned\x07 of\x85Olay"]) == ["Oil ]0;owned of Olay"]
