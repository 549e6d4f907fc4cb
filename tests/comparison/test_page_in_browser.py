"""The page in a real browser: no requests, no overlap, light and dark, narrow and wide."""

import shutil

import pytest
from made_comparison import MERGES, made_comparison

from genrec.reporting.page import page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path"),
]

LONG = tuple(
    f"a_tokenizer_of_a_long_name_{n}(levels={n}, codes=256, balanced=true, normalized=false)" for n in range(5)
)
OVERLAPS = """() => {
  const found = [];
  for (const plot of document.querySelectorAll("svg.plot")) {
    const box = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    for (const [name, a] of texts) {
      if (a.left < box.left - 1 || a.right > box.right + 1 || a.top < box.top - 1 || a.bottom > box.bottom + 1)
        found.push(`${name} leaves its plot`);
      for (const [other, b] of texts)
        if (a !== b && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5)
          found.push(`${name} | ${other}`);
    }
  }
  return found;
}"""
"""2.5 of the 14 units of a line's box are its leading: letters do not reach there."""
BROKEN_WORDS = """() => {
  const found = [], texts = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (node.parentElement.closest("svg, pre, caption")) continue;
    for (const word of node.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1) found.push(word[0]);
    }
  }
  return found;
}"""
"""Words on more than one line. Names are several texts: those between the places where they may be wrapped."""
CONTRASTS = """() => {
  const luminance = color => {
    const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = color.match(/[\\d.]+/g).map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  const found = {};
  for (const name of ["ink", "muted", "accent", "warm", "c0", "c1", "c2", "c3", "c4", "c5", "c6"]) {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(--${name})`;
    const own = luminance(getComputedStyle(probe).color);
    found[name] = (Math.max(own, paper) + .05) / (Math.min(own, paper) + .05);
    probe.remove();
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module", params=["two axes", "long names", "one variant"])
def file(request, tmp_path_factory):
    made = {
        "two axes": made_comparison,
        "long names": lambda: made_comparison(
            {"streams.*.tokenizer": LONG, "merge": (MERGES[0], "日本語 שלום")}, users=200, codes=False
        ),
        "one variant": lambda: made_comparison({"recipe": ("light",)}, seeds=(1,), users=100),
    }[request.param]()
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    path.write_text(page(made, path.parent), encoding="utf-8")
    assert path.stat().st_size < 500_000
    return path


def opened(browser, file, width, scheme="light"):
    """The page, and the URLs that it requested."""
    tab, requested = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), []
    tab.on("request", lambda request: requested.append(request.url))
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.goto(file.as_uri())
    assert messages == []
    return tab, requested


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_requested_and_nothing_overlaps(browser, file, width):
    tab, requested = opened(browser, file, width)
    assert requested == [file.as_uri()]
    assert tab.evaluate("document.querySelectorAll('svg.plot text').length") > 10
    assert tab.evaluate(OVERLAPS) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


@pytest.mark.parametrize("width", [400, 1280])
def test_no_word_is_broken(browser, file, width):
    tab, _ = opened(browser, file, width)
    words = tab.evaluate(BROKEN_WORDS)
    assert [word for word in words if word.isascii()] == []  # ideographs have no words
    tab.close()


def test_no_column_is_cut_off_on_a_laptop(browser, file):
    tab, _ = opened(browser, file, 1280)
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.genrec-table')].map("
        "box => [box.getAttribute('aria-label'), box.scrollWidth - box.clientWidth])"
    )
    assert len(sizes) >= 5
    assert [label for label, hidden in sizes if hidden > 0] == []
    tab.close()


def test_names_stay_in_sight_on_a_phone(browser, file):
    tab, _ = opened(browser, file, 400)
    place = """() => {
      const box = document.querySelector(".genrec-table");
      box.scrollLeft = 10000;
      const name = box.querySelector("tbody tr:not(.group) th").getBoundingClientRect();
      const hidden = [...box.querySelectorAll("bdi")].filter(name => name.scrollWidth > name.clientWidth);
      return [box.scrollLeft, name.left - box.getBoundingClientRect().left, name.width, hidden.length];
    }"""
    scrolled, left, width, hidden = tab.evaluate(place)
    assert scrolled > 100
    assert 0 <= left < 3
    assert width < 200
    assert hidden == 0
    tab.close()


def test_a_name_that_cannot_be_wrapped_is_shortened_and_widens_no_page(browser, tmp_path):
    name = "anamewithoutanyplacewhereitmaybewrappedoverthewholelengthofit"
    file = tmp_path / "comparison.html"
    made = made_comparison({"recipe": (name, "best")}, users=100, codes=False, title="A" * 120)
    file.write_text(page(made, tmp_path), encoding="utf-8")
    for width in (400, 1280):
        tab, _ = opened(browser, file, width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        shortened = "bdi => [bdi.title, bdi.scrollWidth > bdi.clientWidth, getComputedStyle(bdi).textOverflow]"
        assert tab.eval_on_selector(".genrec-table tbody bdi", shortened) == [name, True, "ellipsis"]
        tab.close()


def test_light_and_dark_can_be_read(browser, file):
    papers = {}
    for scheme in ("light", "dark"):
        tab, _ = opened(browser, file, 1000, scheme)
        papers[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        contrasts = tab.evaluate(CONTRASTS)
        # WCAG 2.2: 4.5 for text, 3 for what is drawn.
        assert {n: c for n, c in contrasts.items() if c < (3.0 if n[0] == "c" else 4.5)} == {}, scheme
        texts = tab.evaluate("getComputedStyle(document.querySelector('svg.plot text')).fill")
        assert texts == tab.evaluate("getComputedStyle(document.body).color")
        tab.close()
    assert papers == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


def test_the_keyboard_reaches_what_scrolls(browser, file):
    tab, _ = opened(browser, file, 400)
    reached = set()
    for _ in range(12):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.getAttribute('aria-label')"))
    boxes = set(
        tab.evaluate("[...document.querySelectorAll('[role=region]')].map(box => box.getAttribute('aria-label'))")
    )
    assert len(boxes) >= 5
    assert boxes <= reached
    tab.close()
