"""Vectors of typed columns: standardized numbers, indicators of missing values, one-hot categories, equal weights."""

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.item_encoders.columns import Columns
from genrec.runtime.environment import WorkContext
from genrec.types import Catalog, Column


def numbers(*values):
    return Column("numeric", np.array(values, dtype=np.float64))


def texts(*values):
    return Column("categorical", np.fromiter(values, dtype=object))


def days(*values):
    return Column("datetime", np.array(values, dtype="datetime64[s]"))


def encode(there, **fields):
    size = len(next(iter(there.values()))) if there else 2
    keys = tuple(map(str, range(size)))
    return Columns(**fields).encode(Catalog(keys, keys, keys, ((),) * size, columns=there), None, context=WorkContext())


def distances(vectors_IE):
    return np.linalg.norm(vectors_IE[:, None] - vectors_IE[None], axis=2)


def test_a_number_is_standardized():
    vectors = encode({"price": numbers(1, 2, 6, 7)})
    assert vectors.vectors_IE.shape == (4, 1)
    assert np.allclose(np.abs(vectors.vectors_IE[:, 0]), np.abs((np.array([1, 2, 6, 7]) - 4) / np.sqrt(6.5)))
    assert vectors.vectors_IE.std() == pytest.approx(1)
    assert np.allclose(encode({"price": numbers(10, 20, 60, 70)}).vectors_IE, vectors.vectors_IE, atol=1e-6)


def test_a_logarithm_makes_ratios_distances():
    prices = {"price": numbers(0, 9, 99, 999)}
    plain, log = (distances(encode(prices, log=log).vectors_IE) for log in ((), ("price",)))
    assert log[1, 2] == pytest.approx(log[2, 3], rel=1e-5)
    assert plain[2, 3] > 5 * plain[1, 2]


def test_a_missing_number_is_the_mean_with_an_indicator_of_its_own():
    columns = {"price": numbers(1, 2, 3, np.nan, np.nan), "brand": texts(*[("a",), ("b",), ("a",), ("b",), ("a",)])}
    far = distances(encode(columns, min_items=1).vectors_IE)
    assert far[3, 1] > 0.5
    assert far[0, 4] == pytest.approx(far[2, 4], rel=1e-5)
    assert far[3, 4] == pytest.approx(distances(encode({"brand": columns["brand"]}).vectors_IE)[3, 4], rel=1e-5)


def test_items_without_any_value_are_absent():
    vectors = encode({"price": numbers(1, np.nan, 2, np.nan), "brand": texts(("a",), ("a",), ("a",), ())})
    assert vectors.present_I.tolist() == [True, True, True, False]
    assert (vectors.vectors_IE[3] == 0).all()
    assert vectors.notes == ()
    rare = encode({"price": numbers(1, np.nan, 2), "brand": texts(("a",), ("once",), ("a",))})
    assert rare.present_I.tolist() == [True, False, True]
    assert rare.notes == ("1 items have no value that is frequent enough to be read",)


def test_items_are_close_that_share_values():
    genres = texts(("a", "b"), ("a", "b"), ("a", "c"), ("d", "e"), ("d", "e"), ("c",))
    far = distances(encode({"genre": genres}).vectors_IE)
    assert far[0, 1] == pytest.approx(0, abs=1e-5)
    assert 0.1 < far[0, 2] < far[0, 3]
    brands = texts(("a", "b"), ("a",), ("b",), ("c",))
    lengths = distances(encode({"brand": brands}, min_items=1).vectors_IE)
    assert lengths[0, 1] == pytest.approx(lengths[0, 2], rel=1e-5)  # two values weigh as much as one


def test_only_frequent_values_are_reported_apart():
    brands = texts(*[("a",)] * 4, *[("b",)] * 3, *[("c",)] * 2, ("d",))
    price = numbers(*[1.0] * 10)
    all_three = encode({"brand": brands, "price": price}).vectors_IE
    assert len(np.unique(all_three.round(4), axis=0)) == 4
    two = encode({"brand": brands, "price": price}, max_values=2).vectors_IE
    assert len(np.unique(two.round(4), axis=0)) == 3
    assert np.allclose(two[7], two[9])


def test_columns_weigh_the_same_whatever_their_type_and_scale():
    generator = np.random.default_rng(0)
    price_I, brand_I = 1000 * generator.normal(size=200), generator.integers(0, 20, 200)
    columns = {"price": numbers(*price_I), "brand": texts(*((f"b{brand}",) for brand in brand_I))}
    assert encode(columns).vectors_IE.var(axis=0).sum() == pytest.approx(2, rel=1e-4)
    assert encode(columns, columns=("brand",)).vectors_IE.var(axis=0).sum() == pytest.approx(1, rel=1e-4)


def test_the_width_is_that_of_the_directions_of_largest_variance():
    generator = np.random.default_rng(0)
    columns = {
        "brand": texts(*((f"b{brand}",) for brand in generator.integers(0, 20, 200))),
        "price": numbers(*range(200)),
    }
    wide, narrow = encode(columns).vectors_IE, encode(columns, dim=5).vectors_IE
    assert (wide.shape, narrow.shape) == ((200, 20), (200, 5))
    assert np.allclose(wide[:, :5], narrow, atol=1e-5)
    variance_E = wide.var(axis=0)
    assert (np.diff(variance_E) <= 1e-6).all()
    assert np.abs(wide.mean(axis=0)).max() < 1e-6


def test_times_are_numbers():
    vectors = encode({"since": days("2024-01-01", "2024-01-02", "2024-01-03", "NaT")})
    far = distances(vectors.vectors_IE)
    assert vectors.present_I.tolist() == [True, True, True, False]
    assert far[0, 1] == pytest.approx(far[1, 2], rel=1e-4)


def test_columns_are_chosen_by_name():
    columns = {"price": numbers(1, 2, 3), "brand": texts(("a",), ("b",), ("a",))}
    only = encode(columns, columns=("price", "price")).vectors_IE
    assert np.array_equal(only, encode({"price": columns["price"]}).vectors_IE)
    assert not Columns.is_random
    assert not Columns.reads_histories


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": ("prize", "price")}, "no column prize in this dataset; expected price (numeric), brand "
         "(categorical)"),
        ({"log": ("brand",)}, "log names brand, expected numeric columns that are read; there are price (numeric), "
         "brand (categorical)"),
        ({"columns": ("brand",), "log": ("price",)}, "log names price, expected numeric columns that are read; there "
         "are price (numeric), brand (categorical)"),
        ({"columns": ("brand",)}, "no value of brand is shared by 2 items or more"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_an_error_that_says_what_there_is(fields, message):
    with pytest.raises(DataError) as caught:
        encode({"price": numbers(1, 2), "brand": texts(("a",), ("b",))}, **fields)
    assert str(caught.value) == f"columns: {message}"


def test_a_dataset_without_columns_needs_another_encoder():
    with pytest.raises(DataError, match=r"^columns: this dataset has no item columns; choose an item encoder that"):
        encode({})


def test_columns_are_missed_before_any_work():
    catalog = Catalog(("a",), ("",), ("",), ((),), columns={"price": numbers(1)})
    with pytest.raises(DataError, match="no column prize in this dataset"):
        Columns(columns=("prize",)).prepare(catalog, context=WorkContext())
    with pytest.raises(DataError, match="all items have the same price and brand; choose other columns"):
        encode({"price": numbers(1, 1), "brand": texts(("a",), ("a",))})
