"""Typed columns: numbers, missing values, rejected fields, and their length."""

import re

import numpy as np
import pytest

from genrec.datasets._columns import categorical, column_of, datetimes, filled, is_of_behavior, numeric, to_number
from genrec.errors import DataError
from genrec.types import Catalog, Column

BEHAVIOR = (
    "stars review_count average_rating averageRating AVG_RATING rating_number ratingNumber salesRank sales_rank rank "
    "item_stars item_review_count rating num_reviews number_of_ratings popularity also_bought related imdb_rating "
    "total-sales reviewCount likes sold sentiment play_cnt"
)
KNOWN = (
    "price year brand category title mpaa_rating content_rating grade release_year num_pages page_count sales_type "
    "is_open user_manual start_date rank_insignia class weight"
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (2.5, 2.5),
        ("5.99", 5.99),
        (" $1,009.50 ", 1009.5),
        ("4 - 5", 4.5),
        ("$4.00 - $1,000", 502.0),
        ("-2", -2.0),
        ("1995", 1995.0),
        *((wrong, None) for wrong in ("1,5", "", "x 3", "4 -", "nan", None, [3], float("inf"), float("nan"))),
    ],
)
def test_a_number_is_one_or_the_middle_of_a_range(value, number):
    assert to_number(value) == number if number is not None else np.isnan(to_number(value))


def test_columns_say_where_they_have_a_value():
    assert numeric([1, "x"]).present_I.tolist() == [True, False]
    assert datetimes([0, None]).present_I.tolist() == [True, False]
    assert datetimes([60, None]).values_I.astype(str).tolist() == ["1970-01-01T00:01:00", "NaT"]
    texts = categorical(["a", ["b", ["c", "b"]], None, " "])
    assert texts.values_I.tolist() == [("a",), ("b", "c"), (), ()]
    assert texts.present_I.tolist() == [True, True, False, False]
    assert list(filled({"a": numeric(["x"]), "b": numeric([1])})) == ["b"]
    assert len(categorical([])) == len(numeric([])) == 0


def test_columns_are_equal_where_their_values_are():
    for kind, values in (("numeric", [1, None]), ("categorical", ["a", None]), ("datetime", [1, None])):
        column = column_of(kind, values)
        assert column == column_of(kind, values)
        assert column != column_of(kind, values[::-1])
        assert column != column_of(kind, values[:1])
    assert numeric([1, 2]) != numeric([1, 3])
    assert categorical(["a", "b"]) != categorical(["a", ["b", "c"]])
    assert numeric([None]) != datetimes([None])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("numeric", np.zeros(2, dtype=np.float32), "a numeric column must be float64 (I,), got float32 (2,)"),
        ("numeric", np.zeros((2, 1)), "a numeric column must be float64 (I,), got float64 (2, 1)"),
        ("numeric", np.array([1.0, np.inf]), "the value of item 1 is not finite"),
        ("datetime", np.zeros(2, dtype=np.int64), "a datetime column must be datetime64[s] (I,), got int64 (2,)"),
        ("categorical", np.array(["a", "b"], dtype=object), "a categorical column must hold a tuple of texts for each"),
    ],
)
def test_a_column_checks_itself(kind, values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Column(kind, values)


def test_a_column_has_a_value_for_each_item():
    catalog = Catalog(("a", "b"), ("", ""), ("", ""), ((), ()), columns={"price": numeric([1, 2])})
    assert catalog.columns["price"].values_I.tolist() == [1, 2]
    assert Catalog(("a",), ("",), ("",), ((),)).columns == {}
    with pytest.raises(DataError) as caught:
        Catalog(("a", "b"), ("", ""), ("", ""), ((), ()), columns={"price": numeric([1])})
    assert str(caught.value) == "catalog: column 'price' has 1 values for 2 items"


def test_names_of_behavior_are_known():
    assert [name for name in BEHAVIOR.split() if not is_of_behavior(name)] == []
    assert [name for name in KNOWN.split() if is_of_behavior(name)] == []
