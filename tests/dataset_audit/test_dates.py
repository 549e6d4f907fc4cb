"""Dates of interactions: their period is reported, and dates that cannot be are an error."""

import time

import numpy as np
import pytest

from genrec.dataset_audit.audit import audit
from genrec.dataset_audit.dates import period
from genrec.types import Catalog, Dataset, Histories

T = 1_577_836_800
"""The year 2020."""


def made(times, **fields):
    items = list(range(len(times)))
    blank = ("",) * len(times)
    catalog = Catalog(tuple(map(str, items)), blank, blank, ((),) * len(times))
    times = None if times[0] is None else np.array(times, dtype=np.int64)
    return Dataset("made", catalog, ("u",), Histories.of([items]), "fingerprint", times=times, **fields)


def finding(dataset):
    found = [finding for finding in audit(dataset).findings if finding.check == "dates"]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("times", "severity", "text"),
    [
        ([T, T + 86_400, T + 172_799], "ok", "interactions are from 2020-01-01 to 2020-01-02"),
        ([631_152_000, T, T], "ok", "interactions are from 1990-01-01 to 2020-01-01"),
        ([631_151_999, T, T], "error", "interactions are from 1989-12-31 to 2020-01-01: 1 (33 %) are before 1990"),
        ([-1, T, T, 1000 * T], "error", "interactions are from 1969-12-31 to 51969-08-29: 1 (25 %) are before 1990 and "
         "1 (25 %) are in the future"),
        ([T, T, 11_676_096_000], "error", "interactions are from 2020-01-01 to 2340-01-02: 1 (33 %) are in the future"),
        ([2**62] * 3, "error", "interactions are from 146138514283-06-19"),
    ],
)  # fmt: skip
def test_dates_before_1990_or_in_the_future_are_an_error(times, severity, text):
    hit = finding(made(times))
    assert hit.severity == severity
    assert hit.text.startswith(text)
    assert ("time_unit, time_format" in hit.advice) == (severity == "error")


def test_tomorrow_in_another_time_zone_is_fine():
    now = int(time.time())
    assert finding(made([T, now, now + 80_000])).severity == "ok"
    assert finding(made([T, now, now + 90_000])).severity == "error"


def test_without_dates_there_is_no_period():
    for dataset in (made([None] * 3), made([1, 2, 3], times_are_dates=False)):
        assert finding(dataset) is None
        assert period(dataset) is None
        assert audit(dataset).figures.first is None
        assert "dates" not in audit(dataset).lines()[0]


def test_the_period_is_in_the_figures_and_in_what_a_report_cites():
    found = audit(made([T, T + 86_400, T + 172_800]))
    assert (found.figures.first, found.figures.last) == ("2020-01-01", "2020-01-03")
    assert found.lines()[0].endswith("median 3, dates 2020-01-01 to 2020-01-03")
