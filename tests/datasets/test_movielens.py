"""MovieLens: order, k-core, what is told of films, and broken CSV files told by their line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from genrec.datasets.movielens import MovieLens
from genrec.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data"
RATINGS = "userId,movieId,rating,timestamp\n2,30,5.0,7\n1,20,4.0,9\n1,10,3.5,9\n1,30,1.0,2\n2,20,4.0,8\n"
MOVIES = 'movieId,title,genres\n10,"Gate, The (1987)",Horror|Fantasy\n20,Plain (1990),(no genres listed)\n'


def write(folder, ratings=RATINGS, movies=MOVIES, tags=None):
    (folder / "ratings.csv").write_text(ratings, encoding="utf-8")
    (folder / "movies.csv").write_text(movies, encoding="utf-8")
    if tags is not None:
        (folder / "tags.csv").write_text(tags, encoding="utf-8")
    return folder


def load(folder, **fields):
    return MovieLens(**{"core": 0, **fields}).load(folder)


def keys_of(dataset):
    histories = [dataset.histories[user].tolist() for user in range(len(dataset.histories))]
    return {
        user: [dataset.catalog.keys[item] for item in items]
        for user, items in zip(dataset.user_keys, histories, strict=True)
    }


def test_histories_go_by_time_and_ties_by_film(tmp_path):
    dataset = load(write(tmp_path))
    assert keys_of(dataset) == {"1": ["30", "10", "20"], "2": ["30", "20"]}
    assert dataset.catalog.titles == ("Gate, The (1987)", "Plain (1990)", "")
    assert dataset.catalog.texts == ("Gate, The (1987)\nGenres: Horror, Fantasy", "Plain (1990)", "")
    assert dataset.catalog.attributes == (("Horror", "Fantasy"), (), ())
    assert dataset.notes == (
        "33 % of neighbours in the histories share a timestamp: there the 'next item' is the order of the ids, not of "
        "the user's choices",
        "films with each text field: title 66.7 %, genres 33.3 %",
        "1 rated films are not in movies.csv: they have no title and no genres",
    )


def test_low_ratings_are_left_out(tmp_path):
    assert keys_of(load(write(tmp_path), min_rating=3.6)) == {"1": ["20"], "2": ["30", "20"]}


def test_the_core_is_taken_again_until_all_have_enough(tmp_path):
    rows = ["1,10", "1,20", "2,10", "2,20", "3,20", "3,30"]  # 30 goes, then user 3 has one left, and goes too
    ratings = "userId,movieId,rating,timestamp\n" + "".join(f"{row},4,{time}\n" for time, row in enumerate(rows))
    dataset = load(write(tmp_path, ratings), core=2)
    assert keys_of(dataset) == {"1": ["10", "20"], "2": ["10", "20"]}
    with pytest.raises(DataError, match=r"ratings\.csv: no rating is left with min_rating None and core 3; lower one"):
        load(tmp_path, core=3)


def test_tags_are_ordered_by_use_and_folded(tmp_path):
    tags = "userId,movieId,tag,timestamp\n1,10,dark,1\n1,10,Gate,1\n2,10,gate,2\n3,10,old,3\n1,99,other,4\n"
    dataset = load(write(tmp_path, tags=tags), max_tags=2)
    assert dataset.catalog.texts[0] == "Gate, The (1987)\nGenres: Horror, Fantasy\nTags: Gate, dark"


def test_plot_cast_and_posters_lie_beside_it(tmp_path):
    write(tmp_path)
    entries = [
        {"item_id": 10, "title": "Other", "categories": ["Other"], "description": "A gate opens.", "actors": "A, B"},
        {"item_id": 20, "image": "named.png"},
    ]  # fmt: skip
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (2, 2), "red").save(tmp_path / "images" / "30.jpg")
    Image.new("RGB", (2, 2), "blue").save(tmp_path / "named.png")
    before = (dataset := load(tmp_path)).fingerprint
    assert dataset.catalog.texts[0] == "Gate, The (1987)\nGenres: Horror, Fantasy\nA gate opens.\nActors: A, B"
    assert dataset.catalog.pictures.present_I.tolist() == [False, True, True]
    assert dataset.catalog.pictures.open(1).getpixel((0, 0)) == (0, 0, 255)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "images" / "30.jpg")
    assert load(tmp_path).fingerprint != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ratings.csv", "", "1: the file is empty; expected a header line userId,movieId,timestamp"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n", "2: there is nothing below the header line"),
        ("ratings.csv", "userId,item,rating\n1,2,3\n", "1: no column movieId, timestamp; found userId, item, rating"),
        ("ratings.csv", RATINGS + "3,x,4.0,5\n", "7: movieId is 'x', expected a whole number"),
        ("ratings.csv", RATINGS + "3,10,4.0\n", "7: 3 fields, the header line has 4"),
        ("ratings.csv", RATINGS + "3,10,4.0,1,2\n", "7: 5 fields, the header line has 4"),
        ("ratings.csv", RATINGS + "3,10,4.0,\n", "7: timestamp is '', expected a whole number"),
        ("movies.csv", MOVIES + "30,Short\n", "4: 2 fields, the header line has 3"),
        ("movies.csv", MOVIES.encode() + b"30,caf\xe9,Drama\n", "4: not UTF-8: byte 0xe9; save the file as UTF-8 and "
         "run again"),
    ],
)  # fmt: skip
def test_broken_files_are_told_by_line(tmp_path, name, content, message):
    write(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / name}:{message}"


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_missing_files_say_where_to_get_them(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: missing file: .* unpack ml-latest-small\.zip"):
        load(tmp_path)


@pytest.mark.parametrize(("core", "file"), [(5, "sequences_5core.txt"), (0, "sequences_all.txt")])
def test_the_prepared_sequences_are_reproduced_exactly(core, file):
    folder = SHARED / "movielens-posters"
    if not folder.is_dir():
        pytest.skip("movielens-posters is not here")
    dataset = MovieLens(core=core).load(SHARED)
    lines = [line.split() for line in (folder / file).read_text().splitlines()]
    assert list(keys_of(dataset).items()) == [(user, items) for user, *items in lines]
    if core == 5:
        assert (dataset.num_items, int(dataset.catalog.pictures.present_I.sum())) == (3650, 3159)
        assert dataset.notes[0].startswith("16 % of neighbours in the histories share a timestamp")
