"""MovieLens: every edition, order, k-core, film metadata, tags, and errors of broken files by their line."""

import json
from pathlib import Path

import numpy as np
import pytest
import table_files
from datasets_read import error_of, keys_of
from PIL import Image

from genrec.datasets.movielens import MovieLens

SHARED = Path(__file__).parents[2] / "../shared/data"
RATINGS = "userId,movieId,rating,timestamp\n2,30,5.0,7\n1,20,4.0,9\n1,10,3.5,9\n1,30,1.0,2\n2,20,4.0,8\n"
MOVIES = 'movieId,title,genres\n10,"Gate, The (1987)",Horror|Fantasy\n20,Plain (1990),(no genres listed)\n'
ROWS = [(2, 30, 7), (1, 20, 9), (1, 10, 9), (1, 30, 2), (2, 20, 8)]
WRITERS = {
    "u.data": table_files.write_movielens_100k,
    "1m/ratings.dat": table_files.write_movielens_1m,
    "10m/ratings.dat": table_files.write_movielens_10m,
    "ratings.csv": table_files.write_movielens,
}


def write(folder, ratings=RATINGS, movies=MOVIES, tags=None):
    (folder / "ratings.csv").write_text(ratings, encoding="utf-8")
    (folder / "movies.csv").write_text(movies, encoding="utf-8")
    if tags is not None:
        (folder / "tags.csv").write_text(tags, encoding="utf-8")
    return folder


def load(data, **fields):
    return MovieLens(**{"core": 0, **fields}).load(data)


def error(data, **fields):
    return error_of(MovieLens(**{"core": 0, **fields}), data)


def test_histories_go_by_time_and_ties_by_film(tmp_path):
    dataset = load(write(tmp_path))
    assert keys_of(dataset) == {"1": ["30", "10", "20"], "2": ["30", "20"]}
    assert dataset.times.tolist() == [2, 9, 9, 7, 8]
    assert dataset.order == "by time; equal times by movieId"
    assert dataset.catalog.titles == ("Gate, The (1987)", "Plain (1990)", "")
    assert dataset.catalog.texts == ("Gate, The (1987)\nGenres: Horror, Fantasy", "Plain (1990)", "")
    assert dataset.catalog.attributes == (("Horror", "Fantasy"), (), ())
    assert dataset.notes == (
        "33 % of consecutive interactions have equal timestamps; their order is by movieId",
        "share of films with each text field: title 66.7 %, genres 33.3 %",
        "1 rated films are not in movies.csv; they have no title and no genres",
    )


@pytest.mark.parametrize("edition", WRITERS)
def test_every_edition_gives_the_same(tmp_path, edition):
    WRITERS[edition](tmp_path, ROWS)
    dataset = load(tmp_path)
    assert keys_of(dataset) == {"1": ["30", "10", "20"], "2": ["30", "20"]}
    assert dataset.times.tolist() == [2, 9, 9, 7, 8]
    assert all("Café" in name for name in dataset.catalog.titles)
    assert dataset.catalog.attributes == (("Action", "Drama"),) * 3
    assert dataset.catalog.texts[0].endswith("\nGenres: Action, Drama")
    assert load(tmp_path).fingerprint == dataset.fingerprint
    WRITERS[edition](tmp_path, ROWS[:-1])
    assert load(tmp_path).fingerprint != dataset.fingerprint


def test_years_and_genres_are_columns(tmp_path):
    names = ["Gate, The (1987)", "Plain 1990", "Show (2001-2004)", "Show (2002– )", "(1999) (2000)"]
    films = "".join(f'{10 * place},"{name}",Drama|War\n' for place, name in enumerate(names, start=1))
    ratings = "".join(f"1,{10 * place},4,{place}\n" for place in range(1, 7))
    write(tmp_path, f"userId,movieId,rating,timestamp\n{ratings}", f"movieId,title,genres\n{films}")
    columns = load(tmp_path).catalog.columns
    assert np.array_equal(columns["year"].values_I, [1987, np.nan, 2001, 2002, 2000, np.nan], equal_nan=True)
    assert columns["genre"].values_I.tolist() == [("Drama", "War")] * 5 + [()]


@pytest.mark.parametrize("edition", WRITERS)
def test_low_ratings_are_left_out(tmp_path, edition):
    name = edition.rpartition("/")[2]
    WRITERS[edition](tmp_path, ROWS)
    content = (tmp_path / name).read_text(encoding="utf-8")
    for sign in ("\t4\t", "::4::", "::3.5::", ",4.0,"):
        content = content.replace(f"30{sign}", f"30{sign}".replace("4", "2").replace("3.5", "2.5"))
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert keys_of(load(tmp_path, min_rating=3)) == {"1": ["10", "20"], "2": ["20"]}
    assert error(tmp_path, min_rating=6) == f"{tmp_path / name}: no rating is 6.0 or more; lower min_rating"


def test_the_usual_folder_inside_is_found(tmp_path):
    table_files.write_movielens_1m(tmp_path / "ml-1m", ROWS)
    assert load(tmp_path).name == "ml-1m"
    table_files.write_movielens_100k(tmp_path / "ml-100k", ROWS)
    assert load(tmp_path, folder="ml-100k").name == "ml-100k"
    assert error(tmp_path) == (f"{tmp_path}: there are several MovieLens datasets; set folder: one of ml-100k, ml-1m")


def test_the_core_is_taken_again_until_all_have_enough(tmp_path):
    rows = ["1,10", "1,20", "2,10", "2,20", "3,20", "3,30"]  # 30 goes, then user 3 has one left, and goes too
    ratings = "userId,movieId,rating,timestamp\n" + "".join(f"{row},4,{time}\n" for time, row in enumerate(rows))
    dataset = load(write(tmp_path, ratings), core=2)
    assert keys_of(dataset) == {"1": ["10", "20"], "2": ["10", "20"]}
    assert dataset.notes[0] == "2 of 6 interactions, 1 of 3 users and 1 of 3 items were removed by the 2-core filter"
    assert error(tmp_path, core=3) == (
        f"{tmp_path / 'ratings.csv'}: none of 6 interactions is left with core 3; lower it"
    )


def test_tags_are_ordered_by_use_and_folded(tmp_path):
    tags = "userId,movieId,tag,timestamp\n7,10,dark,1\n7,10,Gate,1\n8,10,gate,2\n3,10,old,3\n7,99,other,4\n"
    dataset = load(write(tmp_path, tags=tags), max_tags=2)
    assert dataset.catalog.texts[0] == "Gate, The (1987)\nGenres: Horror, Fantasy\nTags: Gate, dark"


def test_tags_for_held_out_films_or_later_are_left_out(tmp_path):
    rows = [(1, 10, 1), (1, 20, 2), (1, 30, 5), (1, 40, 6), (2, 10, 1), (2, 20, 2)]
    table_files.write_movielens(tmp_path, rows)
    tags = [
        (1, 10, "before", 4), (1, 10, "at once", 5), (1, 20, "later", 9),  # user 1 is asked for 30 at 5 and 40 at 6
        (1, 30, "valid", 1), (1, 40, "test", 1),
        (2, 10, "never asked", 9), (3, 40, "of a stranger", 9),
    ]  # fmt: skip
    lines = [",".join(map(str, tag)) for tag in tags]
    (tmp_path / "tags.csv").write_text("\n".join(["userId,movieId,tag,timestamp", *lines]))
    dataset = load(tmp_path, text_fields=("tags",))
    assert dataset.catalog.texts == ("Tags: before, never asked", "", "", "Tags: of a stranger")
    assert dataset.notes[0] == ("4 of 7 tags are dropped: given to held-out films of the same user, or later")
    kept = load(tmp_path, text_fields=("tags",), held_out_tags="keep")
    assert kept.catalog.texts[0] == "Tags: before, at once, never asked"
    assert not any("left out" in note for note in kept.notes)
    assert not any("tags" in note for note in load(tmp_path, text_fields=("title",)).notes)


def test_tags_of_10m_are_read(tmp_path):
    table_files.write_movielens_10m(tmp_path, ROWS)
    (tmp_path / "tags.dat").write_text("9::10::slow: but::good::5\n", encoding="utf-8")
    assert load(tmp_path, text_fields=("tags",)).catalog.texts == ("Tags: slow: but::good", "", "")


def test_plot_cast_and_posters_lie_beside_it(tmp_path):
    write(tmp_path)
    entries = [
        {"item_id": 10, "title": "Other", "categories": ["Other"], "description": "A gate opens.", "actors": "A, B"},
        {"item_id": 20, "image": ["named.png", "gone.png", "images/30.jpg"], "tags": ["x"]},
    ]  # fmt: skip
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (2, 2), "red").save(tmp_path / "images" / "30.jpg")
    Image.new("RGB", (2, 2), "blue").save(tmp_path / "named.png")
    before = (dataset := load(tmp_path)).fingerprint
    assert dataset.catalog.texts[0] == "Gate, The (1987)\nGenres: Horror, Fantasy\nA gate opens.\nActors: A, B"
    assert dataset.catalog.images.counts_I.tolist() == [0, 2, 1]
    assert dataset.catalog.images.open(1).getpixel((0, 0)) == (0, 0, 255)
    assert dataset.catalog.images.open(1, 1).getpixel((0, 0))[0] > 200
    assert "tags of items.jsonl have no user and no time: some may leak held-out interactions" in dataset.notes
    Image.new("RGB", (64, 64), "red").save(tmp_path / "images" / "30.jpg")
    assert load(tmp_path).fingerprint != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ratings.csv", "", "1: the file is empty; expected a header line"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n", "2: no rows below the header line"),
        ("ratings.csv", "userId,item,rating\n1,2,3\n", "1: no column movieId, timestamp; found userId, item, rating"),
        ("ratings.csv", "user_id,movieId,timestamp\n1,2,3\n", "1: no column userId; found user_id, movieId, timestamp; "
         "did you mean user_id?"),
        ("ratings.csv", RATINGS + "3,x,4.0,5\n", "7: movieId is 'x', expected a whole number"),
        ("ratings.csv", RATINGS + "3,9999999999,4.0,5\n", "7: movieId is '9999999999', expected a whole number"),
        ("ratings.csv", RATINGS + "3,10,4.0\n", "7: 3 fields, the header line has 4"),
        ("ratings.csv", RATINGS + "\n\r\n3,10,4.0,1,2\n", "9: 5 fields, the header line has 4"),
        ("ratings.csv", RATINGS + "3,10,4.0,\n", "7: timestamp is '', expected a whole number"),
        ("movies.csv", MOVIES + "30,Short\n40\n", "4: 2 fields, the header line has 3"),
        ("movies.csv", MOVIES + '30,"two\nlines",Drama\nx,Other,Drama\n', "6: movieId is 'x', expected a whole number"),
        ("movies.csv", MOVIES + '30,"open,Drama\n40,Other,Drama\n', "4: a quote that opens in this row is not closed; "
         "close it, or double it if it is part of a text"),
        ("movies.csv", MOVIES.encode() + b"30,caf\xe9,Drama\n", "4: not UTF-8: byte 0xe9; save the file as UTF-8 and "
         "run again"),
    ],
)  # fmt: skip
def test_broken_files_are_reported_by_line(tmp_path, name, content, message):
    write(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert error(tmp_path) == f"{tmp_path / name}:{message}"


@pytest.mark.parametrize(
    ("writer", "name", "content", "message"),
    [
        ("write_movielens_1m", "ratings.dat", "", "1: the file is empty; expected rows of userId, movieId, rating, "
         "timestamp"),
        ("write_movielens_1m", "ratings.dat", "1::2::3::4\n\n1::2::3\n", "3: 3 fields, expected 4"),
        ("write_movielens_1m", "ratings.dat", "1::2::3::4::5\n", "1: 5 fields, expected 4"),
        ("write_movielens_1m", "ratings.dat", "1::2::3::4\n1::x::3::4\n", "2: movieId is 'x', expected a whole number"),
        ("write_movielens_1m", "movies.dat", "1::A::Drama\n2:B:Drama\n", "2: found '2:B:Drama', expected "
         "movieId::title::genres"),
        ("write_movielens_1m", "movies.dat", "\n", "1: the file is empty"),
        ("write_movielens_10m", "tags.dat", "1::2::x::4\n1::2::3\n", "2: found '1::2::3', expected "
         "userId::movieId::tag::timestamp"),
        ("write_movielens_100k", "u.data", "1\t2\t3\t4\n1\t2\t3\t4.5\n", "2: timestamp is '4.5', expected a whole "
         "number"),
        ("write_movielens_100k", "u.item", "1|A|||x|0|1|1\n2|B|||x|0|1\n", "2: 7 fields, starting with '2'; expected "
         "8: id|title|release|video release|address|3 flags"),
    ],
)  # fmt: skip
def test_broken_files_of_older_editions_are_reported_by_line(tmp_path, writer, name, content, message):
    getattr(table_files, writer)(tmp_path, ROWS)
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert error(tmp_path) == f"{tmp_path / name}:{message}"


@pytest.mark.parametrize(
    ("writer", "name", "what"),
    [
        ("write_movielens", "ratings.csv", "the ratings (or ratings.dat of 1M and 10M, u.data of 100K)"),
        ("write_movielens", "movies.csv", "title and genres of each film"),
        ("write_movielens_1m", "movies.dat", "title and genres of each film"),
        ("write_movielens_100k", "u.item", "title and genres of each film"),
        ("write_movielens_100k", "u.genre", "the names of the genres"),
    ],
)
def test_missing_files_say_where_to_get_them(tmp_path, writer, name, what):
    getattr(table_files, writer)(tmp_path, ROWS)
    (tmp_path / name).unlink()
    assert error(tmp_path) == (
        f"{tmp_path / name}: missing file: {what}; unpack ml-latest-small.zip or another MovieLens "
        "(files.grouplens.org/datasets/movielens), and put it there (or point --data elsewhere)"
    )


@pytest.mark.parametrize(("core", "file"), [(5, "sequences_5core.txt"), (0, "sequences_all.txt")])
def test_the_prepared_sequences_are_reproduced_exactly(core, file):
    folder = SHARED / "movielens-posters"
    if not folder.is_dir():
        pytest.skip("movielens-posters is not here")
    dataset = MovieLens(core=core).load(SHARED)
    lines = [line.split() for line in (folder / file).read_text().splitlines()]
    assert list(keys_of(dataset).items()) == [(user, items) for user, *items in lines]
    same_user = np.diff(np.repeat(np.arange(len(dataset.histories)), dataset.histories.lengths)) == 0
    assert (np.diff(dataset.times)[same_user] >= 0).all()
    if core == 5:
        assert (dataset.num_items, int((dataset.catalog.images.counts_I > 0).sum())) == (3650, 3159)
        assert dataset.notes[0].startswith("16 % of consecutive interactions have equal timestamps")
