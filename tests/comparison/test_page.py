"""The page as text, for comparisons of any kind."""

import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_comparison import MERGES, made_comparison

from genrec.reporting.conclusion import comparison_sentences
from genrec.reporting.html_tables import breakable
from genrec.reporting.page import page
from genrec.reporting.plots import shortened, text_width
from genrec.reporting.texts import plain

FOLDER = Path("runs/compare-shop")
VOID = {"meta", "link", "br", "img", "hr", "input", "source", "wbr"}


class Parsed(HTMLParser):
    """Tags in order, ids, texts by the tag around them; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture(scope="module")
def comparison():
    return made_comparison(axes={"streams.*.tokenizer": ("kmeans_tree", "rqvae"), "merge": MERGES[:3]})


@pytest.fixture(scope="module")
def text(comparison):
    return page(comparison, FOLDER)


def test_it_needs_nothing_else(text):
    parsed = Parsed(text)
    assert not re.search(
        r"https?:|//\w|@import|@font-face|javascript:|data:",
        text.replace("img-src data:", "").replace("data: 3.1 %", ""),
    )
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "img", "iframe", "object", "image"} == set()
    assert not any(name.endswith(("href", "src")) for _, attributes in parsed.tags for name in attributes)


def test_ids_are_unique(text):
    ids = Parsed(text).ids
    assert {"results", "steps", "tests"} <= set(ids)
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_every_color_is_one_of_the_page(text):
    style, body = text.split("</style>")
    assert set(re.findall(r"var\(--([a-z0-9]+)\)", text)) <= set(re.findall(r"--([a-z0-9]+):", style + body))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", body) == []


def test_equal_comparisons_give_equal_bytes(comparison, text):
    assert page(comparison, FOLDER) == text


def test_it_can_be_read_without_seeing_it(text):
    parsed = Parsed(text)
    assert ("html", {"lang": "en"}) in parsed.tags
    assert parsed.texts["title"] == ["Five tokenizers and five merges on the made-up shop"]
    count = Counter(tag for tag, _ in parsed.tags)
    assert count["h1"] == count["main"] == 1
    assert count["caption"] == count["table"] == 6
    plots = [attributes for tag, attributes in parsed.tags if tag == "svg" and attributes.get("class") == "plot"]
    assert len(plots) == 1 + 2 + 1 + 4  # intervals, Recall@K of two tokenizers, curves, codes of two streams each
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    boxes = [
        attributes
        for _, attributes in parsed.tags
        if {"scroll", "genrec-table"} & {*(attributes.get("class") or "").split()}
    ]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def words_of(text):
    """The text of a page, without tags."""
    body = text.split("</style>")[1].replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_conclusion_and_the_protocol_are_on_the_page(comparison, text):
    words = words_of(text)
    best = max(
        (row for row in comparison.rows if row.kind == "variant"),
        key=lambda row: comparison.cells[row.name]["ndcg"][10].mean,
    )
    cell = comparison.cells[best.name]["ndcg"][10]
    assert f"NDCG@10: '{best.name}' has the highest mean ({cell.mean:.4f} ± {cell.std:.4f})" in words
    header = f"Validation users {plain(comparison.title)} {' '.join(comparison_sentences(comparison))}"
    assert words.startswith(header)
    assert "Validation users" in words
    assert "600 users is ranked among all 2,000 items" in words
    assert "Seen items are kept in the lists" in words
    assert "Rows that share a letter are not significantly different" in words
    assert f"{cell.mean:.4f} ± {cell.std:.4f} {comparison.letters['ndcg'][best.name]}" in words
    assert f"[{cell.low:.4f}, {cell.high:.4f}]" in words
    for part in ("1,234,567", "812 MB", "Oracle (upper bound)", "genrec run shop.yaml --seed SEED", "bought 0 times"):
        assert part in words
    assert "TEST users" not in words


def test_the_best_of_each_column_is_bold(comparison, text):
    table = text.split("<caption>Results</caption>")[1].split("</table>")[0]
    methods = [row.name for row in comparison.rows if row.kind in ("variant", "baseline")]
    means = [
        f"{max(comparison.cells[name][metric][cutoff].mean for name in methods):.4f}"
        for metric in ("ndcg", "recall")
        for cutoff in (5, 10, 20)
    ]
    assert sorted({bold for bold, _ in re.findall(r"<b>([\d.]+)( ± [\d.]+)?</b>", table)}) == sorted(set(means))


def test_colors_of_the_slices_are_shares_of_their_columns_best(comparison, text):
    first = comparison.slices[0]
    rows = [row for row in comparison.rows if row.kind in ("variant", "baseline")]
    values = [first.cells[row.name]["ndcg"].mean for row in rows]
    table = text.split('<table class="slices">')[1].split("</table>")[0]
    shares = [
        float(re.search(r"--share: ([\d.]+)", line)[1])
        for line in table.split("<tbody>")[1].split("<tr>")
        if "td" in line
    ]
    expected = [max(value / max(values) - 0.5, 0) / 0.5 for value in values]
    assert shares == pytest.approx(expected, abs=6e-4)
    assert max(shares) == 1.0
    assert min(shares) < 0.5


def test_the_page_begins_with_what_a_reader_needs(text):
    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", text) == [
        "Results",
        "Next steps",
        "NDCG@10 by variant",
        "Tests of the best variant",
        "Recall at every K",
        "NDCG@10 by kind of user and item",
        "Learning curves",
        "Use of codes",
        "Single streams",
        "Time, parameters, memory",
        "Shared stages",
        "Notes",
        "Commands of the variants",
    ]


def test_variants_that_share_a_model_are_one_line_of_costs(text):
    table = text.split("<caption>Time, parameters, memory</caption>")[1].split("</table>")[0]
    assert words_of(f"</style>{table}") == (
        "variants parameters training search memory "
        "kmeans_tree, confidence and 2 more 1,234,567 1 min 4 s 7.2 s 812 MB "
        "rqvae, confidence and 2 more 1,234,567 1 min 4 s 7.2 s 812 MB"
    )


def test_test_users_are_not_to_be_overlooked():
    text = page(made_comparison(axes={"merge": MERGES[:2]}, split="test", curves=False, codes=False), FOLDER)
    assert '<p class="split test">TEST users' in text
    assert "the last item of each of 600 users" in text


NAMES = (
    '<script>alert(1)</script> & "co"',
    "$x_1$ and \\$",
    "_first",
    "שלום",
    "日本語の名前",
    "\u202eevil#010101\nline",
    'id="a" url(#b) var(--ink)',
)


@pytest.mark.filterwarnings("error")
def test_names_of_any_origin_are_escaped():
    made = made_comparison(
        axes={"tokenizer": NAMES, "merge": ("a", "<b>")}, users=60, codes=False, title="</title><script>x</script>"
    )
    rows = [replace(row, notes=("<i>left out</i>",), command="genrec run 'a&b<c'") for row in made.rows]
    text = page(replace(made, rows=rows, notes=("</main>&amp;",)), FOLDER)
    parsed = Parsed(text)
    assert not {tag for tag, _ in parsed.tags} & {"script", "i"}
    assert "\u202e" not in text
    in_plots = [unescape(data) for data in parsed.texts["text"]]
    for name in NAMES:
        assert plain(name) in in_plots
        assert f"<h3><bdi>{breakable(name)}</bdi></h3>" in text
    assert "genrec run &#x27;a&amp;b&lt;c&#x27;" in text


def small(**changes):
    return made_comparison(**{"axes": {"merge": MERGES[:2]}, "users": 60, "codes": False} | changes)


@pytest.mark.parametrize(
    ("made", "present", "absent"),
    [
        (
            lambda: small(axes={"recipe": ("light",)}, baselines=(), tested=False),
            "light reaches NDCG@10 0.",
            "Rows that share a letter",
        ),
        (
            lambda: small(axes={}, baselines=(), tested=False),
            "there is no other method to compare it with",
            "letters at the right",
        ),
        (lambda: small(seeds=(4,)), "(one seed)", "Small dots"),
        (lambda: small(failed=("confidence",)), "expected 2,000 at least", "25 variants"),
        (lambda: small(tested=False), "differences were not tested", "Tests of the best variant"),
        (lambda: small(curves=False, codes=True), "Use of codes", "Learning curves"),
        (lambda: small(codes=False), "Learning curves", "Use of codes"),
        (lambda: replace(small(), slices=()), "Results", "kind of user"),
        (lambda: replace(small(), stages={}, notes=()), "Results", "Shared stages"),
        (lambda: small(axes={"seed_free": tuple("abcdefgh")}, curves=False), "the series named above", "level 1"),
    ],
)
def test_missing_parts_are_left_out(made, present, absent):
    text = page(made(), FOLDER)
    Parsed(text)
    words = words_of(text)
    assert present in words
    assert absent not in words


def test_a_model_that_a_failed_merge_left_incomplete_is_still_one_model():
    made = small(axes={"tokenizer": ("kmeans_tree", "rqvae"), "merge": MERGES[:2]}, failed=("rqvae, confidence",))
    text = page(made, FOLDER)
    assert text.count('aria-label="validation NDCG@10 by epoch: kmeans_tree, rqvae"') == 1


def test_a_diverged_curve_and_a_seed_that_stopped_early_are_drawn():
    made = small()
    row = made.rows[0]
    curves = [model.curve for model in row.models]
    broken = replace(curves[0][3], validation=float("nan"))
    models = (
        replace(row.models[0], curve=(*curves[0][:3], broken, *curves[0][4:])),
        replace(row.models[1], curve=curves[1][:5]),
        replace(row.models[2], curve=()),
    )
    rows = [replace(one, models=models) if one.models else one for one in made.rows]
    text = page(replace(made, rows=rows), FOLDER)
    assert "Learning curves" in text
    assert "nan" not in text.split("</style>")[1].lower()


def test_long_names_stay_unique():
    names = [f"tokenizer_with_a_long_name(levels={n}, codes=256, balanced=true, seed=1)" for n in range(12)]
    short = shortened([*names, "popularity"], 30)
    assert len(set(short)) == 13
    assert short[-1] == "popularity"
    assert max(map(text_width, short)) < 40
    assert all(f"={n}, " in name for n, name in enumerate(short[:-1]))
    assert shortened(["a" * 50, "b"], 21) == ["a" * 10 + "…" + "a" * 10, "b"]
    assert text_width(shortened(["語" * 50], 21)[0]) <= 21
