"""Tables as HTML: complete, escaped, and with names that are wrapped between their words."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from genrec.reporting.html_tables import (
    TableCell,
    TableRow,
    breakable,
    html_table,
    row_head,
    scrolling,
    table_element,
    table_style,
)

ROWS = [
    TableRow("log_prob_sum", [TableCell("0.2077", True, "[0.1973, 0.2176]", "a"), "3"], "Merges"),
    TableRow("text", [TableCell("0.1919", note="[0.1821, 0.2024]", letters=""), "3"], "Streams", "best of 3"),
    TableRow("visual", ["no result"], "Streams"),
]
COLUMNS = ("method", "NDCG@10", "seeds")


class Cells(HTMLParser):
    """The text of each cell, row by row; refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "wbr":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def test_every_cell_is_in_its_place() -> None:
    assert Cells(html_table("Results", COLUMNS, ROWS)).rows == [
        [*COLUMNS],
        ["Merges"],
        ["log_prob_sum", "0.2077a[0.1973, 0.2176]", "3"],
        ["Streams"],
        ["textbest of 3", "0.1919[0.1821, 0.2024]", "3"],
        ["visual", "no result"],
    ]


def test_a_fragment_has_its_style_and_requests_nothing() -> None:
    text = html_table("Results", COLUMNS, ROWS)
    assert text == f"<style>\n{table_style()}</style>\n{table_element('Results', COLUMNS, ROWS)}"
    assert not re.search(r"https?:|//\w|@import|@font-face|url\(|<script|#[0-9a-fA-F]{3,8}\b", text)
    outside = [line for line in table_style().splitlines() if "{" in line and ".genrec-table" not in line]
    assert outside == ["@media (max-width: 640px) {"], "the style changes nothing else in a notebook"


def test_the_best_is_bold_and_the_main_column_marked() -> None:
    text = table_element("Results", COLUMNS, ROWS, main=("NDCG@10",), left=("seeds",))
    assert re.findall("<b>(.*?)</b>", text) == ["0.2077"]
    assert '<th scope="col" class="main">NDCG@10</th><th scope="col" class="text">seeds</th>' in text
    assert '<td class="text">3</td>' in text
    assert '<span class="letters">a</span>' in text
    assert '<span class="letters"></span>' in text, "keeps the place of the letters"
    assert '<td class="text" colspan="2">no result</td>' in text


def test_rows_without_a_group_have_no_title() -> None:
    assert Cells(table_element("Items", ("rank", "item"), [TableRow("1", ["Tea"]), TableRow("2", ["Jam"])])).rows == [
        ["rank", "item"],
        ["1", "Tea"],
        ["2", "Jam"],
    ]
    assert Cells(table_element("Empty", ("rank", "item"), [])).rows == [["rank", "item"]]


def test_texts_of_any_origin_are_escaped() -> None:
    bad = '</table><script>alert("1")</script>\u202e'
    row = TableRow(bad, [TableCell(bad, True, bad, bad)], bad, bad)
    text = table_element(bad, (bad, bad + "2"), [row])
    assert "<script" not in text
    assert "\u202e" not in text
    assert Cells(text).rows[0][0] == bad[:-1]
    assert text.count("&lt;/table&gt;&lt;script&gt;") == 11
    assert '"' not in re.sub(r'="[^"]*"', "", text)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("best_beauty_concatenated", ["best_", "beauty_", "concatenated"]),
        ("rqvae(levels=3, codes=256)", ["rqvae(", "levels=", "3, codes=", "256)"]),
        ("behavior~text+visual", ["behavior~", "text+", "visual"]),
        ("streams.text.tokenizer", ["streams.", "text.", "tokenizer"]),
        ("runs/compare-shop", ["runs/", "compare-shop"]),
        ("1,234,567", ["1,234,567"]),
        ("+0.0123 [-0.1000, 1e-3]", ["+0.0123 [-0.1000, 1e-3]"]),
        ("NDCG@10: p < 0.001", ["NDCG@10: p &lt; 0.001"]),
        ("two\nlines", ["two lines"]),
        ("", [""]),
    ],
)
def test_names_are_wrapped_between_words_and_numbers_are_not(name: str, parts: list[str]) -> None:
    assert breakable(name).split("<wbr>") == parts


def test_only_a_name_that_may_be_shortened_has_itself_as_a_tooltip() -> None:
    assert "title" not in row_head("a_name_of_very_many_words(that=fit, into=lines) of-a-table")
    word = "anamewithoutanyplacewhereitmaybewrapped"
    assert row_head(f"{word}<") == (f'<th scope="row"><bdi title="{word}&lt;">{word}&lt;</bdi></th>')
    assert row_head("a", "<em>!</em>") == '<th scope="row"><bdi>a</bdi><em>!</em></th>'


def test_what_scrolls_is_reached_by_keyboard_and_has_a_name() -> None:
    assert scrolling("A & B", "<tr></tr>", kind="slices") == (
        '<div class="genrec-table" tabindex="0" role="region" aria-label="Table: A &amp; B">'
        '<table class="slices"><caption>A &amp; B</caption><tr></tr></table></div>'
    )
