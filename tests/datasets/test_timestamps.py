"""Times: every value has a unit, columns have one, formats are checked, and nothing is misread without an error."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from genrec.datasets.readers.timestamps import DateNumbersError, TimeFormat, expected, to_ticks

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))
FORMATS = ["%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S%z", "%d %b %Y %H:%M:%S.%f"]


def seconds(moment):
    return int(moment.replace(tzinfo=UTC).timestamp())


def read(column, *args, **options):
    ticks = to_ticks(pl.Series(column), *args, **options)
    return [None if value is None else value // ticks.per_second for value in ticks.values.to_list()]


@given(st.lists(MOMENTS, min_size=1), st.sampled_from(list(PER_SECOND)), st.sampled_from([int, str, float]))
def test_numbers_of_each_unit_are_the_same_times(moments, unit, kind):
    numbers = [seconds(moment) * PER_SECOND[unit] for moment in moments]
    column = [float(number) if kind is float and unit != "ns" else kind(number) for number in numbers]
    assert read(column) == read(column, unit=unit) == list(map(seconds, moments))
    assert to_ticks(pl.Series(column)).unit == unit


@given(
    st.lists(st.tuples(MOMENTS, st.sampled_from(list(PER_SECOND))), min_size=1),
    st.sampled_from([int, str]),
)
def test_of_mixed_units_one_is_read_and_the_others_are_not(rows, kind):
    column = pl.Series([kind(seconds(moment) * PER_SECOND[unit]) for moment, unit in rows])
    ticks = to_ticks(column)
    units = [unit for _, unit in rows]
    assert units.count(ticks.unit) == max(map(units.count, units))
    expected_values = [seconds(moment) if unit == ticks.unit else None for moment, unit in rows]
    assert [value and value // ticks.per_second for value in ticks.values.to_list()] == expected_values


@given(st.lists(MOMENTS, min_size=1), st.sampled_from(FORMATS))
def test_a_format_reads_what_it_writes(moments, form):
    texts = [moment.replace(tzinfo=UTC).strftime(form) for moment in moments]
    assert read(texts, form) == list(map(seconds, moments))
    assert read(texts, ("%d-%m-%Y", form)) == list(map(seconds, moments))
    if form == "%Y%m%d%H%M%S":
        assert read(list(map(int, texts)), form) == list(map(seconds, moments))


@given(st.lists(st.integers(0, 10**8 - 1), min_size=1), st.sampled_from([int, str, float]))
def test_counters_are_an_order(numbers, kind):
    try:
        ticks = to_ticks(pl.Series(list(map(kind, numbers))))
    except DateNumbersError:
        return
    assert (ticks.unit, ticks.values.to_list()) == ("order", numbers)
    assert not ticks.are_dates


def test_fractions_keep_their_order():
    assert to_ticks(pl.Series([1.5, 2.25, 1.75]), unit="order").values.to_list() == [1_500_000, 2_250_000, 1_750_000]
    assert to_ticks(pl.Series(["1577836800.25", "1577836800.5"])).values.to_list() == [
        1577836800_250000,
        1577836800_500000,
    ]


@pytest.mark.parametrize("of_items", [False, True])
@pytest.mark.parametrize(
    ("numbers", "form"),
    [
        ([20231229, 20231230], "%Y%m%d"),
        ([12292023, 12302023, 12312023, 1012024], "%m%d%Y"),
        ([29122023, 30122023, 1012024], "%d%m%Y"),
        ([20231229183000], "%Y%m%d%H%M%S"),
        ([202312291830], "%Y%m%d%H%M"),
    ],
)
def test_dates_in_digits_need_a_format(numbers, form, of_items):
    for column in (numbers, list(map(str, numbers)), list(map(float, numbers))):
        with pytest.raises(DateNumbersError) as caught:
            to_ticks(pl.Series(column), of_items=of_items)
        assert (caught.value.value, caught.value.form) == (str(numbers[0]), form)
        assert None not in read(column, form)
    assert read(numbers, unit="order") == numbers


def test_leading_zeros_that_numbers_lack_are_no_matter():
    assert read([12292023, 1012024], "%m%d%Y") == [seconds(datetime(2023, 12, 29)), seconds(datetime(2024, 1, 1))]
    assert read([12292023.0, 1012024.5], "%m%d%Y") == [seconds(datetime(2023, 12, 29)), None]


@pytest.mark.parametrize(
    "column",
    [
        [date(2020, 1, 2), None],
        [datetime(2020, 1, 2), None],
        [datetime(2020, 1, 2, tzinfo=UTC), None],
        ["2020-01-02", "never"],
        ["2020-01-02T00:00:00Z", ""],
        ["2020-01-02 02:00:00+02:00", "2020-13-02"],
        ["2020-01-02", "1577923200"],
        [1577923200.0, float("nan")],
        ["1577923200", "inf"],
    ],
)
def test_what_is_no_time_is_null(column):
    column = column if column[-1] != "1577923200" else [*column, "2020-01-03"]
    assert read(column)[:2] == [seconds(datetime(2020, 1, 2)), None]


def test_dates_of_items_are_of_any_century_and_years_are_none():
    films = [-1577836800, 0, 3600, 946684800]
    assert read(films, of_items=True) == films
    assert read([1577836800, 1577836800000], of_items=True)[1] is None
    assert read([1995, 2001], of_items=True) == [None, None]
    assert read([1995, 2001], "%Y", of_items=True) == [seconds(datetime(1995, 1, 1)), seconds(datetime(2001, 1, 1))]


@pytest.mark.parametrize("form", ["", "time", "%Q", "%", "%H:%M", "%d.%m.", "%Y-%m-%d %Z", ["%d.%m.%Y", "%"], ()])
def test_a_format_that_cannot_be_meant_is_refused(form):
    with pytest.raises(ValidationError, match=r"no format of dates|has the name of a time zone|there is no format"):
        TypeAdapter(TimeFormat).validate_python(form)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", [*FORMATS, "%Y", "%s", tuple(FORMATS)])
def test_formats_are_accepted_without_a_warning_of_polars(form):
    assert TypeAdapter(TimeFormat).validate_python(form) == form


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (["1577836800", "soon"], "soon", "expected a Unix time or an ISO 8601 time such as 2024-05-31T18:30:00Z"),
        ([1577836800, 1577836801, 0], "0", "a counter by its size, but most values are seconds since 1970; expected "
         "one unit in a column"),
        ([1, 2, 1577836801000], "1577836801000", "milliseconds since 1970 by its size, but most values are counters; "
         "expected one unit in a column"),
        (["2020-01-01", "2020-01-02", "7"], "7", "a counter by its size, but most values are dates; expected one unit "
         "in a column"),
    ],
)  # fmt: skip
def test_a_message_says_what_a_value_is(column, value, message):
    assert expected(value, to_ticks(pl.Series(column))) == message


@given(st.lists(st.text(max_size=20) | st.integers().map(str) | st.floats().map(str), max_size=20))
def test_any_text_is_a_time_or_null(texts):
    try:
        ticks = to_ticks(pl.Series(texts, dtype=pl.String))
    except DateNumbersError:
        return
    assert len(ticks.values) == len(texts)
    for text, value in zip(texts, ticks.values.to_list(), strict=True):
        if value is None:
            assert expected(text, ticks)


def test_types_without_times_are_an_error_of_polars():
    for value in (timedelta(1), [1]):
        with pytest.raises(pl.exceptions.PolarsError):
            to_ticks(pl.Series([value]))
