"""The page of a run as text: complete, escaped, self-contained, of bounded size."""

import base64
import io
import re
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_run import LENGTH, made_dataset, made_run
from PIL import Image

from genrec.errors import DataError
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.report_markdown import run_protocol_text
from genrec.reporting.run_page import run_page
from genrec.reporting.texts import interval_text

FOLDER = Path("runs/shop")
VOID = {"meta", "img", "wbr"}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' & </title></svg>",
    "bell\x07 line\nbreak \u202eright to left",
    "x" * 100_000,
    "http://example.com/?a=1&b=2",
)


class Parsed(HTMLParser):
    """Tags in order and the texts in each; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def words_of(text):
    """The text of a page or a part of it, without tags."""
    body = text.rpartition("</style>")[2].replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def made():
    return made_run()


@pytest.fixture(scope="module")
def text(made):
    return run_page(*made, FOLDER)


def users_of(text):
    return re.findall(r'<article class="user">.*?</article>', text, re.DOTALL)


def test_it_is_well_formed_and_can_be_read_without_seeing_it(text):
    parsed = Parsed(text)
    count = Counter(tag for tag, _ in parsed.tags)
    assert count["h1"] == count["main"] == 1
    assert count["caption"] == count["table"]
    plots = [attributes for tag, attributes in parsed.tags if tag == "svg" and "plot" in attributes.get("class", "")]
    assert len(plots) == 1 + 2 + 2 + 2  # intervals, losses and validation, codes and tree of two streams
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_loads_nothing(text):
    assert not re.search(r"https?:|//\w|@import|@font-face|javascript:", re.sub(r"base64,[^\"]+", "", text))
    parsed = Parsed(text)
    policies = [attributes.get("content") for tag, attributes in parsed.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "image"} == set()
    sources = {attributes["src"][:23] for tag, attributes in parsed.tags if tag == "img"}
    assert sources == {"data:image/jpeg;base64,"}


def test_every_color_is_one_of_the_page(text):
    style, body = text.split("</style>")
    assert set(re.findall(r"var\(--([a-z0-9]+)\)", text)) <= set(re.findall(r"--([a-z0-9]+):", style + body))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"base64,[^\"]+", "", body)) == []


def test_equal_runs_give_equal_bytes(made, text):
    assert run_page(*made_run(), FOLDER) == text


def test_conclusion_protocol_and_every_number_of_the_report_are_there(made, text):
    report, words = made[0], words_of(text)
    assert words.index(run_conclusion(report)) < words.index(run_protocol_text(report)) < words.index("Results")
    for row in report.rows:
        assert row.name in words
        for by_cutoff in row.metrics.values():
            for estimate in by_cutoff.values():
                assert f"{estimate.mean:.4f} {interval_text(estimate)}" in words
    for test in report.tests:
        assert f"{test.other} {test.verdict} {test.difference.mean:+.4f}" in words
    headings = re.findall(r"<h2 [^>]*>([^<]+)</h2>", text)
    assert headings == [
        "Results",
        "NDCG@10 by method",
        "Tests of the merge",
        "Example users",
        "NDCG@10 by kind of user and item",
        "Training curves",
        "Codes",
        "Parameters and time",
        "Notes",
        "Next steps",
    ]
    assert "total 3,500" in words
    assert "train 2 min 5 s" in words
    assert report.notes[0] in words
    assert f"genrec recommend {FOLDER} --history key-4 --history key-5" in words


def test_slices_divide_the_users_and_average_to_the_whole(made, text):
    report, _ = made
    for axis in ("history length", "target popularity", "memorization"):
        parts = [part for part in report.slices if part.axis == axis]
        assert sum(part.users for part in parts) == report.protocol.users
        for row in report.rows:
            if row.kind != "oracle":
                mean = sum(part.users * part.means[row.name] for part in parts) / report.protocol.users
                assert mean == pytest.approx(row.metrics["ndcg"][10].mean)
        for part in parts:
            assert f"{part.label} {part.users:,} users" in words_of(text)


def test_example_users_are_drawn_by_the_seed_and_agree_with_the_ranks(made, text):
    report, details = made
    shown = users_of(text)
    assert len(shown) == len(details.examples) == 10
    assert "10 random test users, drawn with the seed of the run and not selected by result" in words_of(text)
    keys, dataset = [user.key for user in details.examples], made_dataset()
    rows = [dataset.user_keys.index(key) for key in keys]
    assert rows == sorted(rows)
    merge = report.rows[0].ranks_U
    found = 0
    for user, row, article in zip(details.examples, rows, shown, strict=True):
        words, rank = words_of(article), merge[row]
        assert user.target.rank == (None if rank < 0 else rank + 1)
        target = f"rank {rank + 1}" if rank >= 0 else f"not among the first {LENGTH}"
        assert f"Target: {target} {user.target.item.name}" in words
        history = dataset.test.histories[row]
        last = ", the last 8" if len(history) > 8 else ""
        assert f"User {user.key} History: {len(history)} item{'s' * (len(history) > 1)}{last}" in words
        names = [dataset.catalog.titles[item] or dataset.catalog.keys[item] for item in history[-8:]]
        assert [item.name for item in user.history] == names
        assert words.count("target") == (0 <= rank < 10)
        found += rank >= 0
        for ranked in user.recommended:
            place = ", ".join(f"{name} {at}" for name, at in ranked.stream_ranks.items() if at)
            assert set(place.split(", ")) <= set(re.findall(r"(?:behavior|text|direct) \d+", words)) | {""}
    assert 0 < found < 10, "some targets are found and some are not"


def test_thumbnails_are_small_jpegs_and_items_without_an_image_say_so(made, text):
    images = re.findall(r'base64,([^"]+)"', text)
    assert len(images) > 100
    for code in images[:10]:
        image = Image.open(io.BytesIO(base64.b64decode(code)))
        assert (image.format, image.size) == ("JPEG", (64, 64))
    without = made_run(dataset=made_dataset(images=False))
    assert not without[1].has_images
    assert "<img" not in run_page(*without, FOLDER)
    assert "no image" not in words_of(run_page(*without, FOLDER))


class Broken:
    """Images of which one is far too large and one cannot be read."""

    counts_I = np.ones(300, dtype=np.int32)

    def open(self, item, number=0):
        if item % 2:
            raise DataError(f"item {item} cannot be read")
        noise = np.random.default_rng(item).integers(0, 256, (1500, 900, 3), dtype=np.uint8)
        return Image.fromarray(noise)


def test_large_images_are_scaled_and_unreadable_ones_left_out():
    dataset = made_dataset(num_users=12)
    object.__setattr__(dataset.catalog, "images", Broken())
    text = run_page(*made_run(dataset=dataset), FOLDER)
    assert "no image" in words_of(text)
    code = re.findall(r'base64,([^"]+)"', text)[0]
    assert Image.open(io.BytesIO(base64.b64decode(code))).size == (58, 96)
    assert len(text) < 2_500_000


def test_texts_of_any_origin_are_escaped_and_shortened():
    titles = HOSTILE * 60
    report, details = made_run(title=HOSTILE[0], notes=HOSTILE[:3], dataset=made_dataset(titles=titles, num_items=300))
    text = run_page(report, details, FOLDER)
    Parsed(text)
    body = text.split("</style>")[1]
    assert "<script" not in text
    assert "onerror=alert(1)>" not in body
    assert not re.search("[\x07\u202e]", text)
    assert HOSTILE[0] in words_of(text)
    assert len(text) < 1_000_000, "long titles are shortened"
    assert "xxx…" in text


def test_a_run_with_one_direct_stream_has_neither_tests_nor_trees():
    text = run_page(*made_run(("direct",), curve=False, notes=()), FOLDER)
    Parsed(text)
    headings = re.findall(r'<h2 id="(\w+)"', text)
    assert headings == ["results", "metric", "examples", "slices", "codes", "costs", "steps"]
    assert "Without codes, as they have no tokenizer: direct." in words_of(text)
    assert "Recommended by stream: direct" in words_of(text)


def test_fewer_users_than_examples_are_all_shown():
    _, details = made_run(dataset=made_dataset(num_users=3))
    assert [user.key for user in details.examples] == ["user 0", "user 1", "user 2"]


def test_a_large_catalog_does_not_enlarge_the_page():
    dataset = made_dataset(num_items=100_000, num_users=40)
    text = run_page(*made_run(("a", "b", "c", "d", "e"), dataset=dataset), FOLDER)
    assert len(text.encode()) < 2_000_000


def test_the_page_of_a_run_is_one_of_its_files(small_run):
    text = (small_run / "report.html").read_text(encoding="utf-8")
    Parsed(text)
    assert "Three views of a small shop [showroom]" in words_of(text)
    assert len(users_of(text)) == 10
    assert "report.html" in (small_run / "run.json").read_text(encoding="utf-8")
