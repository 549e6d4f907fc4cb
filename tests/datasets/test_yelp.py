"""The Yelp Open Dataset: years, text of businesses, photos, other layouts, broken files; MovieLens there and back."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from datasets_read import keys_of
from PIL import Image
from pydantic import ValidationError
from shop_files import small_shop, write_movielens
from yelp_files import write_yelp, yelp_id

from genrec.datasets.movielens import MovieLens
from genrec.datasets.yelp import Yelp
from genrec.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data"
REVIEW, BUSINESS = "yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"
REVIEWS = [
    ("ann", "deli", 5.0, "2019-03-02 10:00:00"),
    ("bob", "cafe", 2.0, "2019-12-31 23:59:59"),
    ("ann", "cafe", 4.0, "2019-01-01 00:00:00"),
    ("ann", "barn", 4.0, "2018-12-31 23:59:59"),
    ("bob", "deli", 4.0, "2019-12-31 23:59:59"),
    ("bob", "barn", 1.0, "2020-01-01 00:00:00"),
]
BUSINESSES = [
    {
        "business_id": "cafe",
        "name": "Café  Noir",
        "city": "Tucson",
        "state": "AZ",
        "categories": "Coffee & Tea, Food",
        "attributes": {
            "BikeParking": "True",
            "WiFi": "u'free'",
            "Alcohol": "'full_bar'",
            "BYOBCorkage": "'no'",
            "HasTV": "False",
            "RestaurantsPriceRange2": "2",
            "BusinessParking": "{'garage': False, 'street': True, u'lot': True}",
            "Ambience": "{'romantic': False, 'hipster': None}",
            "Music": "None",
            "NoiseLevel": "loud (",
            "GoodForMeal": {"lunch": True, "dinner": False},
        },
    },
    {"business_id": "barn", "name": "The Barn", "city": "", "attributes": None, "categories": None},
    {"business_id": "closed", "name": "Nobody came", "city": "Tucson", "categories": "Bars"},
]
CAFE = (
    "Café Noir\nCategories: Coffee & Tea, Food\nAttributes: bike parking; wifi: free; alcohol: full bar; restaurants "
    "price range: 2; business parking: street, lot; noise level: loud (; good for meal: lunch\nCity: Tucson\nState: AZ"
)


def lines(entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def write(folder, reviews=REVIEWS, businesses=BUSINESSES, photos=None):
    names = ("user_id", "business_id", "stars", "date")
    entries = [{"review_id": "r", **dict(zip(names, row, strict=True)), "text": "Good.\n"} for row in reviews]
    (folder / REVIEW).write_text(lines(entries), encoding="utf-8")
    (folder / BUSINESS).write_text(lines(businesses), encoding="utf-8")
    if photos is not None:
        write_photos(folder / "photos.json", folder / "photos", photos)
    return folder


def write_photos(file, folder, photos):
    folder.mkdir(parents=True)
    for number, (photo, business, label, is_there) in enumerate(photos):
        if is_there:
            Image.new("RGB", (2, 2), (number * 40, 0, 0)).save(folder / f"{photo}.jpg", quality=100)
        with file.open("a") as stream:
            stream.write(lines([{"photo_id": photo, "business_id": business, "caption": "", "label": label}]))


PHOTOS = [
    ("p0", "cafe", "food", True),
    ("p1", "deli", "menu", True),
    ("p2", "cafe", "inside", False),
    ("p3", "cafe", "drink", True),
    ("p4", "closed", "food", True),
    ("p5", "cafe", "food", True),
]


def load(folder, **fields):
    return Yelp(**{"core": 0, **fields}).load(folder)


def test_reviews_of_one_year_by_time(tmp_path):
    dataset = load(write(tmp_path))
    assert dataset.catalog.keys == ("cafe", "deli")
    assert keys_of(dataset) == {"ann": ["cafe", "deli"], "bob": ["cafe", "deli"]}
    assert dataset.times.tolist() == [1546300800, 1551520800, 1577836799, 1577836799]
    assert dataset.order == "by time; equal times by place in the file"
    assert dataset.catalog.titles == ("Café Noir", "")
    assert dataset.catalog.texts == (CAFE, "")
    assert dataset.catalog.attributes == (("Coffee & Tea", "Food"), ())
    assert dataset.catalog.images is None
    assert dataset.notes == (
        "50 % of consecutive interactions have equal timestamps; their order is by place in the file",
        "share of businesses with each text field: title 50 %, categories 50 %, attributes 50 %, city 50 %, state 50 %",
        f"1 reviewed businesses are not in {BUSINESS}; they have no name and no text",
        f"no photos: photos.json and photos/ not found in {tmp_path.name}",
    )


def test_columns_are_what_the_business_says(tmp_path):
    businesses = [{**BUSINESSES[0], "stars": 4.5, "review_count": 7}, *BUSINESSES[1:]]
    dataset = load(write(tmp_path, businesses=businesses))
    columns = dataset.catalog.columns
    assert {name: column.values_I.tolist() for name, column in columns.items()} == {
        "category": [("Coffee & Tea", "Food"), ()],
        "attribute": [
            (
                *("bike parking", "wifi: free", "alcohol: full bar", "restaurants price range: 2"),
                *("business parking: street, lot", "noise level: loud (", "good for meal: lunch"),
            ),
            (),
        ],
        "city": [("Tucson",), ()],
        "state": [("AZ",), ()],
        "price": [2.0, pytest.approx(np.nan, nan_ok=True)],
    }
    write(tmp_path, businesses=[{**BUSINESSES[0], "stars": 1.0, "review_count": 9}])
    assert load(tmp_path, text_fields=()).fingerprint == load(write(tmp_path), text_fields=()).fingerprint
    write(tmp_path, businesses=[{**BUSINESSES[0], "city": "Yuma"}])
    assert load(tmp_path, text_fields=()).fingerprint != load(write(tmp_path), text_fields=()).fingerprint


def test_years_stars_core_and_order_are_options(tmp_path):
    write(tmp_path)
    assert keys_of(load(tmp_path, year=(2018, 2019))) == {"ann": ["barn", "cafe", "deli"], "bob": ["cafe", "deli"]}
    everything = load(tmp_path, year=None)
    assert keys_of(everything) == {"ann": ["barn", "cafe", "deli"], "bob": ["cafe", "deli", "barn"]}
    assert everything.catalog.texts[0] == "The Barn"
    assert keys_of(load(tmp_path, min_stars=4)) == {"ann": ["cafe", "deli"], "bob": ["deli"]}
    assert keys_of(load(tmp_path, order="file")) == {"ann": ["deli", "cafe"], "bob": ["cafe", "deli"]}
    assert keys_of(load(tmp_path, core=2, min_stars=2)) == {"ann": ["cafe", "deli"], "bob": ["cafe", "deli"]}
    with pytest.raises(DataError) as caught:
        load(tmp_path, year=2016, min_stars=3)
    assert str(caught.value) == (
        f"{tmp_path / REVIEW}: no review is left with year 2016 and min_stars 3.0; the file has reviews of 2018 to 2020"
    )
    with pytest.raises(DataError, match=r"review\.json: none of 4 interactions is left with core 3; lower it"):
        load(tmp_path, core=3)
    with pytest.raises(ValidationError, match="the first year, 2020, comes after the last, 2019"):
        Yelp(year=(2020, 2019))


def test_photos_come_in_the_order_of_their_file(tmp_path):
    dataset = load(write(tmp_path, photos=PHOTOS))
    images = dataset.catalog.images
    assert images.counts_I.tolist() == [3, 1]
    reds = [images.open(0, number).getpixel((0, 0))[0] for number in range(3)]
    assert np.abs(np.array(reds) - [0, 120, 200]).max() < 5
    assert dataset.notes[-1] == "1 photos named in photos.json are missing from photos/ and are skipped"
    assert load(tmp_path, max_images=2).catalog.images.counts_I.tolist() == [2, 1]
    assert load(tmp_path, photo_labels=("menu", "drink")).catalog.images.counts_I.tolist() == [1, 1]
    outside = load(tmp_path, photo_labels=("outside",))
    assert outside.catalog.images is None
    assert outside.notes[-1] == (
        "no photos: none of photos.json with a label of outside shows a business of the catalog"
    )


def test_photos_with_a_repeated_key_are_reported(tmp_path):
    write(tmp_path, photos=PHOTOS)
    file = tmp_path / "photos.json"
    file.write_text(
        file.read_text(encoding="utf-8").replace('"label"', '"label": "menu", "label"', 1), encoding="utf-8"
    )
    text = "1 keys occur again in the same object of photos.json (first: 'label' on line 1); the last value counts"
    dataset = load(tmp_path)
    assert [finding.text for finding in dataset.findings] == [text]
    assert text in dataset.notes


def test_photos_may_lie_in_a_folder_of_their_own_and_the_rest_too(tmp_path):
    (tmp_path / "Yelp JSON" / "yelp_dataset").mkdir(parents=True)
    write(tmp_path / "Yelp JSON" / "yelp_dataset")
    write_photos(tmp_path / "photo.json", tmp_path / "yelp_photos" / "photos", PHOTOS)
    assert load(tmp_path).catalog.images.counts_I.tolist() == [3, 1]
    (tmp_path / "photo.json").unlink()
    assert load(tmp_path).notes[-1] == f"no photos: photos.json not found in {tmp_path.name}"


def test_older_editions_have_short_names_lists_and_days(tmp_path):
    write(tmp_path, [("ann", "cafe", 5, "2019-03-02")], [{**BUSINESSES[0], "categories": ["Food", "Bars, late"]}])
    (tmp_path / REVIEW).rename(tmp_path / "review.json")
    (tmp_path / BUSINESS).rename(tmp_path / "business.json")
    dataset = load(tmp_path)
    assert dataset.times.tolist() == [1551484800]
    assert dataset.catalog.attributes == (("Food", "Bars, late"),)


@pytest.mark.parametrize(("name", "what"), [(REVIEW, "the reviews"), (BUSINESS, "the metadata")])
def test_missing_files_say_where_to_get_them(tmp_path, name, what):
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: missing file: {what}")
    assert (
        "accept Yelp's terms on business.yelp.com/data/resources/open-dataset (formerly yelp.com/dataset): "
        "download the JSON archive there, unpack it, and put it there"
    ) in str(caught.value)


BROKEN = [
    (REVIEW, '{"user_id": "ann"}', "no key business_id, date; found user_id"),
    (
        REVIEW,
        json.dumps({"user_id": "ann", "business_id": "cafe", "date": "2019/03/02"}),
        'date is "2019/03/02", expected a time such as 2019-03-31 20:15:00',
    ),
    (BUSINESS, '{"business_id": ', "not valid JSON (Expecting value at character 16); expected one object a line"),
    (BUSINESS, '{"name": "x"}', "no text under the key business_id; keys found: name"),
    (BUSINESS, '{"business_id": "cafe"}', "business 'cafe' was on an earlier line"),
    ("photos.json", '{"photo_id": 5, "label": 1}', "no text under the key photo_id, business_id; keys found: photo_id, "
     "label"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "bad", "message"), BROKEN)
def test_a_broken_line_is_reported_or_skipped_and_counted(tmp_path, name, bad, message):
    path = write(tmp_path, photos=PHOTOS) / name
    whole = load(tmp_path, broken_lines="skip")
    number = path.read_bytes().count(b"\n") + 1
    with path.open("a") as file:
        file.write(bad + "\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{path}:{number}: {message}; fix or remove the line, or set broken_lines: skip"
    dataset = load(tmp_path, broken_lines="skip")
    assert set(dataset.notes) - set(whole.notes) == {f"1 broken lines of {name} were skipped"}
    assert dataset.fingerprint == whole.fingerprint


def test_a_photo_outside_the_folder_is_rejected(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.jpg")
    data = tmp_path / "data"
    data.mkdir()
    write(data, photos=PHOTOS)
    with (data / "photos.json").open("a") as file:
        file.write(lines([{"photo_id": "../../secret", "business_id": "cafe"}]))
    with pytest.raises(DataError, match="is outside of the folder; expected a path inside this folder"):
        load(data)


def test_the_fingerprint_follows_what_comes_out(tmp_path):
    before = load(write(tmp_path, photos=PHOTOS)).fingerprint
    assert load(tmp_path).fingerprint == before
    longer = [*REVIEWS, ("bob", "cafe", 3.0, "2017-01-01 00:00:00")]
    assert load(write(tmp_path, longer)).fingerprint == before  # a review of another year
    changes = [
        {"reviews": [*REVIEWS, ("bob", "cafe", 3.0, "2019-01-01 00:00:00")]},
        {"reviews": [(*REVIEWS[0][:3], "2019-03-02 10:00:01"), *REVIEWS[1:]]},
        {"businesses": [{**BUSINESSES[0], "city": "Reno"}, *BUSINESSES[1:]]},
    ]
    prints = [load(write(tmp_path, **change)).fingerprint for change in changes]
    write(tmp_path)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos" / "p0.jpg")
    prints += [load(tmp_path).fingerprint, load(tmp_path, max_images=1).fingerprint]
    assert len({before, *prints}) == 6


def assert_movielens_comes_back(movielens, yelp_folder, **fields):
    films, yelp = MovieLens(**fields).load(movielens), Yelp(**fields).load(yelp_folder)
    business_of = {yelp_id("business", film): film for film in films.catalog.keys}
    user_of = {yelp_id("user", user): user for user in films.user_keys}
    assert {business_of[key] for key in yelp.catalog.keys} == set(films.catalog.keys)
    found = keys_of(yelp)
    assert {user_of[user]: [business_of[item] for item in items] for user, items in found.items()} == keys_of(films)
    rows = [films.catalog.row_of[business_of[key]] for key in yelp.catalog.keys]
    assert yelp.catalog.titles == tuple(films.catalog.titles[row] for row in rows)
    assert yelp.catalog.attributes == tuple(films.catalog.attributes[row] for row in rows)
    assert yelp.catalog.images is not None
    assert films.catalog.images is not None
    assert yelp.catalog.images.counts_I.tolist() == films.catalog.images.counts_I[rows].tolist()
    return yelp


@pytest.mark.parametrize("core", [0, 5, 6])
def test_a_shop_comes_back(tmp_path, core):
    write_movielens(small_shop(), tmp_path / "movielens")
    write_yelp(tmp_path / "movielens", tmp_path / "yelp")
    yelp = assert_movielens_comes_back(tmp_path / "movielens", tmp_path / "yelp", core=core)
    user = 0
    times = yelp.times[yelp.histories.offsets[user] : yelp.histories.offsets[user + 1]]
    assert (np.diff(times) > 0).all()
    assert yelp.times.min() >= 1546300800
    assert yelp.times.max() < 1577836800


@pytest.mark.slow
def test_movielens_with_posters_comes_back(tmp_path):
    movielens = SHARED / "movielens-posters"
    if not movielens.is_dir():
        pytest.skip("movielens-posters is not here")
    write_yelp(movielens.resolve(), tmp_path, place=os.symlink)
    yelp = assert_movielens_comes_back(movielens, tmp_path, core=5)
    assert (len(yelp.user_keys), yelp.num_items, len(yelp.histories.items)) == (610, 3650, 90274)
    assert int(yelp.catalog.images.counts_I.sum()) == 3159
    assert "16 % of consecutive interactions have equal timestamps" in yelp.notes[0]


@pytest.mark.parametrize("text", ["{[1]: 2}", "{{}}", "-" * 20_000 + "1", "[" * 500])
def test_a_value_that_is_no_python_is_taken_as_it_stands(tmp_path, text):
    write(tmp_path, businesses=[{**BUSINESSES[0], "attributes": {"Music": text}}, *BUSINESSES[1:]])
    texts = load(tmp_path, text_fields=["attributes"]).catalog.texts
    assert f"Attributes: music: {text}" in texts


@pytest.mark.parametrize("field", ["stars", "review_count"])
def test_what_reviewers_did_is_rejected_as_text(field):
    with pytest.raises(ValidationError, match=f"'{field}' would leak: it is computed from all reviews"):
        Yelp(text_fields=("title", field))


def test_photos_with_impossible_names_are_lost(tmp_path):
    write(tmp_path, photos=PHOTOS)
    before = load(tmp_path).catalog.images.counts_I.tolist()
    with (tmp_path / "photos.json").open("a") as file:
        file.write(lines([{"photo_id": "x" * 300, "business_id": "cafe"}]))
    assert load(tmp_path).catalog.images.counts_I.tolist() == before
