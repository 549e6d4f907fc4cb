"""Plots: every point at its place, round ticks, one dot for one point."""

import re

import numpy as np
import pytest

from genrec.reporting.plots import Line, Span, intervals, panel, ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.016, 0.131, 4, ["0.025", "0.050", "0.075", "0.100", "0.125"]),
        (0.0, 1.0, 4, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (-2.2, 6.3, 4, ["\N{MINUS SIGN}2", "0", "2", "4", "6"]),
        (0.0, 123_456.0, 6, ["0", "20,000", "40,000", "60,000", "80,000", "100,000", "120,000"]),
        (0.0, 2.1e30, 4, ["0", "5e+29", "1e+30", "1.5e+30", "2e+30"]),
        (0.12345, 0.12347, 4, ["0.123450", "0.123455", "0.123460", "0.123465", "0.123470"]),
    ],
)
def test_ticks_are_round_values_of_the_range(low, high, most, expected):
    found = ticks(low, high, most)
    assert [label for _, label in found] == expected
    assert [value for value, _ in found] == [
        pytest.approx(float(label.replace(",", "").replace("\N{MINUS SIGN}", "-"))) for label in expected
    ]


@pytest.mark.parametrize(("low", "high"), [(0.99, 1.01), (0.96, 2.04), (0.0, 26.0), (0.0, 7.0), (-0.4, 300.0)])
def test_whole_ticks_have_no_fractions(low, high):
    found = ticks(low, high, 5, whole=True)
    assert 1 <= len(found) <= 6
    assert all(value == int(value) and low <= value <= high for value, _ in found)
    assert [label for _, label in found] == [f"{int(value)}" for value, _ in found]


def drawn(lines, *, y_range=(0.0, 10.0), x_range=(0.0, 4.0), is_log=False):
    options = {"y_range": y_range, "x_range": x_range, "is_log": is_log}
    return panel(lines, described="a & b", x_label="epoch", y_label="loss", **options)


def test_lines_lead_through_their_points():
    plot = drawn([Line(np.array([0, 2, 4]), np.array([0.0, 5.0, 10.0]), "c1", dash="7 3")])
    assert 'aria-label="a &amp; b"' in plot
    assert '<path d="M58 152L170 80L282 8" fill="none" stroke="var(--c1)"' in plot
    assert 'stroke-dasharray="7 3"' in plot
    texts = re.findall(r">([^<>]+)</text>", plot)
    assert texts == ["0.0", "2.5", "5.0", "7.5", "10.0", "0", "1", "2", "3", "4", "epoch", "loss"]


def test_a_logarithmic_axis_has_powers_of_ten():
    plot = drawn([Line(np.array([0, 4]), np.array([1.0, 1000.0]))], y_range=(1.0, 1000.0), is_log=True)
    assert "M58 152L282 8" in plot
    assert re.findall(r'text-anchor="end">([^<]+)<', plot) == ["1", "10", "100", "1,000"]


def test_one_point_is_a_dot():
    plot = drawn([Line(np.array([1]), np.array([5.0]))], x_range=None)
    assert '<circle cx="170" cy="80" r="2.5"' in plot


def test_intervals_are_in_proportion_and_seeds_are_shown_from_two_on():
    first = Span("one", 0.2, 0.1, 0.3, (0.15, 0.25), "0.2", "c0")
    second = Span("<two>", 0.4, 0.4, 0.5, (0.4,), "0.4", "ink", is_baseline=True)
    plot = intervals([("Group", [first, second])], described="plot", x_label="NDCG@10")
    ranges = re.findall(r'<path d="M([\d.]+) [\d.]+L([\d.]+) [\d.]+" stroke="var\(--(?:c0|ink)\)" stroke-w', plot)
    starts, ends = ([float(x) for x in xs] for xs in zip(*ranges, strict=True))
    assert len(starts) == 2
    assert ends[0] - starts[0] == pytest.approx(2 * (ends[1] - starts[1]), abs=0.2)
    assert plot.count("<circle") == 3, "a mean and two seeds"
    assert plot.count("stroke-dasharray") == 1, "the baseline"
    assert ">&lt;two&gt;</text>" in plot
