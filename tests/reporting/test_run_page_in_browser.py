"""The page of a run in a real browser: no requests, no overlap, light and dark, narrow and wide."""

import shutil

import pytest
from made_run import made_dataset, made_run

from genrec.reporting.run_page import run_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path"),
]

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
OUTSIDE = """() => [...document.querySelectorAll(".cards li > *")].filter(part => {
  const [inner, card] = [part.getBoundingClientRect(), part.parentElement.getBoundingClientRect()];
  return inner.left < card.left - 1 || inner.right > card.right + 1 || inner.bottom > card.bottom + 1;
}).map(part => part.textContent)"""
"""Parts of cards that reach beyond their card."""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module", params=["three streams", "long names", "one stream"])
def file(request, tmp_path_factory):
    made = {
        "three streams": made_run,
        "long names": lambda: made_run(
            ("a_stream_of_a_long_name_that_has_underscores", "direct"),
            title="A" * 120,
            dataset=made_dataset(titles=("anamewithoutanyplacewhereitmaybewrapped" * 9, "日本語 שלום <b>") * 150),
        ),
        "one stream": lambda: made_run(("text",), curve=False, dataset=made_dataset(images=False)),
    }[request.param]()
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(run_page(*made, path.parent), encoding="utf-8")
    return path


def opened(browser, file, width, scheme="light"):
    """The page, and the URLs that it requested."""
    tab, requested, messages = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), [], []
    tab.on("request", lambda request: requested.append(request.url))
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.goto(file.as_uri())
    assert messages == []
    return tab, [url for url in requested if not url.startswith("data:image/jpeg")]


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_requested_nothing_overlaps_and_the_page_does_not_scroll_sideways(browser, file, width):
    tab, requested = opened(browser, file, width)
    assert requested == [file.as_uri()]
    assert tab.evaluate("document.querySelectorAll('svg.plot text').length") > 10
    assert tab.evaluate(OVERLAPS) == []
    assert tab.evaluate(OUTSIDE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


def test_every_image_is_shown(browser, file):
    tab, _ = opened(browser, file, 1400)
    sizes = tab.evaluate("[...document.images].map(image => [image.naturalWidth, image.clientHeight])")
    assert len(sizes) > 100 or "no image" not in tab.content()
    assert all(natural == 64 and shown > 50 for natural, shown in sizes)
    tab.close()


def test_light_and_dark_share_the_page(browser, file):
    papers = {}
    for scheme in ("light", "dark"):
        tab, _ = opened(browser, file, 1000, scheme)
        papers[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = tab.evaluate("getComputedStyle(document.body).color")
        for selector in ("svg.plot text", "svg.tree text", ".cards .name"):
            of_texts = tab.evaluate(
                "selector => [...document.querySelectorAll(selector)].map(text => text.closest('svg')"
                " ? getComputedStyle(text).fill : getComputedStyle(text).color)",
                selector,
            )
            assert ink in of_texts, selector
        tab.close()
    assert papers == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


def test_the_keyboard_reaches_what_scrolls(browser, file):
    tab, _ = opened(browser, file, 400)
    boxes = tab.evaluate("[...document.querySelectorAll('[role=region]')].map(box => box.getAttribute('aria-label'))")
    reached = set()
    for _ in boxes:
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert len(boxes) >= 5
    assert set(boxes) == reached
    tab.close()


def test_a_printed_page_is_as_wide_as_the_paper(browser, file, tmp_path):
    tab, _ = opened(browser, file, 700, "dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    assert len(tab.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)) > 10_000
    tab.close()
