"""The web page in a real browser, on a real service: what a user does, and what the API says about it."""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opened_page import answer, expect, expect_keys, history_of, opened, recommended, served, sync_api

pytest.importorskip("fastapi", reason="fastapi is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path"),
]

KEY = "a key of the tests"
HISTORY = "#h=item-3&h=item-8"
HOSTILE = "<img src=x onerror='document.title=1'><b>\"&amp;'</b>\u202e${1}"


@pytest.fixture(scope="module")
def url(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service of two runs, `run` and `second`."""
    second = tmp_path_factory.mktemp("runs") / "second"
    shutil.copytree(small_run, second)
    with served(small_run, second) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


def test_items_are_found_and_added_with_the_keyboard_alone(browser: Any, url: str) -> None:
    title = answer(url, "items/item-8")["title"]
    word = title.split()[-1]
    found = answer(url, f"items?q={word}&limit=20")["items"]
    with opened(browser, url) as tab:
        expect(tab.locator("#fallback")).to_have_text("Popular items, because the history is empty.")
        for _ in range(3):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.id") == "search":
                break
        box = tab.get_by_role("combobox", name="Find an item")
        expect(box).to_be_focused()
        tab.keyboard.type(word)
        options = tab.locator("#matches > li")
        expect(options).to_have_count(len(found))
        texts = options.all_inner_texts()
        assert [text for text, item in zip(texts, found, strict=True) if item["key"] not in text] == []
        for _ in range(2):
            tab.keyboard.press("ArrowDown")
        expect(options.nth(1)).to_have_attribute("aria-selected", "true")
        expect(box).to_have_attribute("aria-activedescendant", "match-1")
        tab.keyboard.press("Enter")
        expect(box).to_have_value("")
        expect(box).to_be_focused()
        assert history_of(tab) == [found[1]["key"]]
        tab.keyboard.type("item-8")  # a key, with Enter before the list has come
        tab.keyboard.press("Enter")
        expect(tab.locator("#history-items > li")).to_have_count(2)
        assert history_of(tab) == [found[1]["key"], "item-8"]
        expect(tab.locator("#history-items > li").nth(1)).to_contain_text(title)
        expect(tab.locator("#fallback")).to_be_hidden()
        expect_keys(tab, recommended(url, history_of(tab)))


def test_the_history_can_be_reordered_and_emptied(browser: Any, url: str) -> None:
    with opened(browser, url, "/#h=item-3&h=item-8&h=item-5") as tab:
        expect_keys(tab, recommended(url, ["item-3", "item-8", "item-5"]))
        down = tab.get_by_role("button", name="Move down").first
        down.focus()
        tab.keyboard.press("Enter")
        tab.keyboard.press("Enter")  # the focus has moved along with the item
        assert history_of(tab) == ["item-8", "item-5", "item-3"]
        tab.keyboard.press("Enter")  # it is the last one now
        assert history_of(tab) == ["item-8", "item-5", "item-3"]
        expect_keys(tab, recommended(url, ["item-8", "item-5", "item-3"]))
        tab.get_by_role("button", name="Remove").first.press("Enter")
        assert history_of(tab) == ["item-5", "item-3"]
        tab.keyboard.press("Enter")  # the next one has come into its place
        assert history_of(tab) == ["item-3"]
        tab.get_by_role("button", name="Clear").press("Enter")
        assert history_of(tab) == []
        expect(tab.get_by_role("combobox", name="Find an item")).to_be_focused()
        expect(tab.locator("#fallback")).to_be_visible()
        tab.go_back()
        assert history_of(tab) == ["item-3"]
        expect_keys(tab, recommended(url, ["item-3"]))


def test_a_recommended_item_is_added_with_one_click(browser: Any, url: str) -> None:
    with opened(browser, url, f"/{HISTORY}") as tab:
        first = recommended(url, ["item-3", "item-8"])[0]
        tab.get_by_role("button", name="Add to the history").first.click()
        expect_keys(tab, recommended(url, ["item-3", "item-8", first]))
        assert history_of(tab) == ["item-3", "item-8", first]


def test_merge_and_seen_rule_and_count_change_the_list_as_the_api_says(browser: Any, url: str) -> None:
    history = recommended(url, [])[:2]  # popular items are recommended even to those who have them
    merges = answer(url, "runs")[0]["merges"]
    lists = {}
    with opened(browser, url, f"/#h={history[0]}&h={history[1]}") as tab:
        expect_keys(tab, recommended(url, history))
        for stream in ("behavior", "text", "visual"):
            tab.get_by_role("group", name="Ranked by").get_by_role("radio", name=stream).check()
            lists[stream] = recommended(url, history, merge=stream)
            expect_keys(tab, lists[stream])
            expect(tab.get_by_label("Merge")).to_be_disabled()
        tab.get_by_role("radio", name="All streams").check()
        for merge in merges[1:]:
            tab.get_by_label("Merge").select_option(merge)
            lists[merge] = recommended(url, history, merge=merge)
            expect_keys(tab, lists[merge])
        tab.get_by_label("Merge").select_option(merges[0])
        tab.get_by_role("radio", name="Allow").check()
        lists["keep"] = recommended(url, history, seen="keep")
        expect_keys(tab, lists["keep"])
        tab.get_by_label("Show").select_option("20")
        expect_keys(tab, recommended(url, history, seen="keep", k=20))
    assert len({tuple(keys) for keys in lists.values()}) >= 6
    assert set(history) & set(lists["keep"])
    assert not set(history) & set(lists["text"])


def test_the_evidence_is_that_of_the_api(browser: Any, url: str) -> None:
    [found] = answer(url, "recommend", {"history": ["item-3", "item-8"]})["results"]
    with opened(browser, url, f"/{HISTORY}") as tab:
        rows = tab.locator("#ranked > li")
        expect(rows).to_have_count(10)
        for row, item in zip(rows.all(), found["items"], strict=True):
            assert f"score {item['score']:.3f}".replace("-", "\u2212") in row.inner_text()
            for line, (stream, vote) in zip(row.locator(".votes li").all(), item["streams"].items(), strict=True):
                text = line.inner_text()
                assert stream in text
                assert (f"#{vote['rank']}" if vote["rank"] else "\u2013") in text
                assert (
                    "\u2013" if vote["log_prob"] is None else f"{vote['log_prob']:.2f}".replace("-", "\u2212")
                ) in text
                width = line.evaluate(
                    "line => line.querySelector('.bar span').offsetWidth / line.querySelector('.bar').offsetWidth"
                )
                assert width == pytest.approx(vote["share"], abs=0.02)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_code_tree_shows_the_path_of_an_item(browser: Any, url: str, width: int) -> None:
    item = answer(url, "items/item-8")
    code = item["semantic_ids"]["text"]
    with opened(browser, url, f"/{HISTORY}", width=width) as tab:
        tab.locator("#history-items .open").nth(1).click()
        panel = tab.locator("#panel")
        expect(panel.get_by_role("heading", name=item["title"])).to_be_focused()
        panel.get_by_role("radio", name="text").check()
        tree = panel.get_by_role("tree", name="Code tree of text")
        expect(tree.locator("[data-path] > .row > .code")).to_have_text([str(part) for part in code])
        expect(tree.locator("[aria-current]")).to_contain_text(item["title"])
        siblings = answer(url, f"tree/text?prefix={code[0]}")["children"]
        leaves = tree.locator("[data-path] [role=treeitem]:not(.more)")
        shown = leaves.all_inner_texts()
        titles = [child["examples"][0]["title"] for child in siblings]
        assert len(shown) >= 2
        assert all(any(title in text for title in titles) for text in shown)
        expect(tree.locator("[data-path] .tile.loaded").first).to_be_visible()

        current = tree.locator("[aria-current]")
        current.focus()
        tab.keyboard.press("ArrowLeft")  # to its parent
        expect(tree.locator("[aria-expanded=true]")).to_be_focused()
        tab.keyboard.press("ArrowLeft")  # closes it
        expect(current).to_be_hidden()
        tab.keyboard.press("ArrowRight")
        expect(current).to_be_visible()
        tab.keyboard.press("Home")
        tab.keyboard.press("Enter")
        first = tree.locator("> li").first
        if first.get_attribute("aria-expanded") is None:  # the row was that of more codes, which now are there
            tab.keyboard.press("Home")
            tab.keyboard.press("Enter")
        expect(first).to_have_attribute("aria-expanded", re.compile("true|false"))

        tab.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        expect(tab.locator("#history-items .open").nth(1)).to_be_focused()


def test_similar_items_are_those_of_the_api_and_can_be_opened(browser: Any, url: str) -> None:
    near = answer(url, "similar/item-8?stream=visual&k=9")["items"]
    with opened(browser, url, "/#item=item-8&stream=visual") as tab:
        links = tab.locator(".similar .open")
        expect(links).to_have_text([item["title"] for item in near])
        links.first.click()
        expect(tab.get_by_role("heading", name=near[0]["title"], level=2)).to_be_focused()
        expect(tab.locator(".similar .open").first).to_be_visible()
        tab.go_back()
        expect(links).to_have_text([item["title"] for item in near])
        tab.get_by_role("button", name="Close").click()
        expect(tab.locator("#panel")).to_be_hidden()


def test_a_link_restores_everything(browser: Any, url: str) -> None:
    path = "/#run=second&merge=visual&seen=keep&k=5&item=item-9&stream=text&h=item-3&h=item-8"
    with opened(browser, url, path) as tab:
        expect_keys(tab, recommended(url, ["item-3", "item-8"], run="second", merge="visual", seen="keep", k=5))
        expect(tab.get_by_label("Run")).to_have_value("second")
        expect(tab.get_by_role("group", name="Ranked by").get_by_role("radio", name="visual")).to_be_checked()
        expect(tab.get_by_role("radio", name="Allow")).to_be_checked()
        expect(tab.locator("#panel").get_by_role("radio", name="text")).to_be_checked()
        expect(tab.locator("#panel-title")).to_have_text(answer(url, "items/item-9")["title"])
        tab.get_by_label("Run").select_option("run")
        expect_keys(tab, recommended(url, ["item-3", "item-8"], seen="keep", k=5))


def test_nonsense_in_the_link_is_ignored(browser: Any, url: str) -> None:
    with opened(browser, url, "/#run=none&merge=%00&seen=never&k=1e9&stream=x&h=&x=%E0%A4%A&item=") as tab:
        expect_keys(tab, recommended(url, []))
        expect(tab.get_by_label("Show")).to_have_value("10")


def test_a_history_of_unknown_items_gets_popular_items_and_says_so(browser: Any, url: str) -> None:
    with opened(browser, url, "/#h=gone", expected="status of 404") as tab:
        expect(tab.locator("#fallback")).to_have_text("Popular items, because no item of the history is known.")
        expect(tab.locator("#history-items")).to_contain_text("not in this catalog")
        expect(tab.locator("#ranked > li").first).to_contain_text("% of all purchases")
    with opened(browser, url, "/#h=gone&h=item-3", expected="status of 404") as tab:
        expect(tab.locator("#ranking-note")).to_have_text("1 item of the history is not in the catalog.")


def test_hostile_titles_stay_text(browser: Any, url: str) -> None:
    def replaced(content: Any) -> Any:
        if isinstance(content, list):
            return [replaced(part) for part in content]
        if isinstance(content, dict):
            return {
                name: HOSTILE if name == "title" and "key" in content else replaced(part)
                for name, part in content.items()
            }
        return content

    def titled(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=replaced(response.json()))

    with opened(browser, url) as tab:
        for path in ("recommend", "items*", "items/*", "tree/*", "similar/*"):
            tab.route(f"{url}/{path}*", titled)
        tab.get_by_role("combobox", name="Find an item").fill("item-3")
        expect(tab.locator("#matches > li").first).to_contain_text(HOSTILE)
        tab.keyboard.press("Enter")
        tab.locator("#ranked .open").first.click()
        expect(tab.locator("#panel-title")).to_have_text(HOSTILE)
        expect(tab.locator(".similar .open").first).to_have_text(HOSTILE)
        expect(tab.locator(".tree [aria-current]")).to_contain_text(HOSTILE)
        assert tab.locator("main b, img[src=x]").count() == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= 1400
        assert tab.title().endswith("genrec")


@pytest.mark.parametrize("path", ["/", f"/{HISTORY}&k=20", f"/{HISTORY}&item=item-8"])
@pytest.mark.parametrize("width", [320, 400, 800])
def test_nothing_is_wider_than_the_screen(browser: Any, url: str, path: str, width: int) -> None:
    with opened(browser, url, path, width=width) as tab:
        expect(tab.locator("#ranked > li").first).to_be_visible()
        if "item=" in path:
            expect(tab.locator(".similar li").first).to_be_visible()
            assert tab.evaluate("document.querySelector('#panel').scrollWidth") <= width
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark_can_be_read(browser: Any, url: str) -> None:
    contrasts = """() => {
      const luminance = color => {
        const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
        const [r, g, b] = color.match(/[\\d.]+/g).map(v => linear(v / 255));
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const probe = document.body.appendChild(document.createElement("span"));
      const of = name => { probe.style.color = `var(--${name})`; return luminance(getComputedStyle(probe).color); };
      const contrast = (a, b) => (Math.max(of(a), of(b)) + .05) / (Math.min(of(a), of(b)) + .05);
      const pairs = [["ink", "card"], ["ink", "paper"], ["ink", "sunk"], ["ink", "tint"], ["ink", "raised"],
        ["muted", "card"], ["muted", "paper"], ["muted", "sunk"], ["muted", "tint"],
        ["accent", "card"], ["accent-ink", "accent"], ["warm", "warm-tint"], ["amber", "amber-tint"]];
      const drawn = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "edge"].map(name => [name, "card"]);
      const measured = (pairs, least) => pairs.map(([a, b]) => [a, b, contrast(a, b), least]);
      return [...measured(pairs, 4.5), ...measured(drawn, 3)];
    }"""
    papers = {}
    for scheme in ("light", "dark"):
        with opened(browser, url, f"/{HISTORY}&item=item-8", scheme=scheme) as tab:
            expect(tab.locator(".similar li").first).to_be_visible()
            papers[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            # WCAG 2.2: 4.5 for text, 3 for what is drawn.
            assert [pair for pair in tab.evaluate(contrasts) if pair[2] < pair[3]] == [], scheme
    assert papers == {"light": "rgb(244, 245, 247)", "dark": "rgb(20, 23, 27)"}


def test_a_busy_service_is_waited_for(browser: Any, url: str) -> None:
    refused = []

    def busy(route: Any) -> None:
        if len(refused) < 2:
            refused.append(route.request.url)
            route.fulfill(status=429, json={"detail": "too many"}, headers={"retry-after": "1"})
        else:
            route.continue_()

    with opened(browser, url, expected="status of 429") as tab:
        expect(tab.locator("#ranked > li").first).to_be_visible()
        tab.route("**/recommend", busy)
        tab.get_by_label("Show").select_option("5")
        expect(tab.get_by_role("alert")).to_contain_text("The service is busy. Trying again in 1 second.")
        expect_keys(tab, recommended(url, [], k=5))
        expect(tab.get_by_role("alert")).to_be_hidden()
    assert len(refused) == 2


def test_a_service_that_is_gone_is_said_in_words(browser: Any, url: str) -> None:
    with opened(browser, url, f"/{HISTORY}", expected="ERR_FAILED|status of 422") as tab:
        expect_keys(tab, recommended(url, ["item-3", "item-8"]))
        tab.route("**/recommend", lambda route: route.abort())
        tab.get_by_label("Show").select_option("5")
        expect(tab.get_by_role("alert")).to_contain_text("The service does not answer.")
        expect(tab.locator("#ranked > li")).to_have_count(0)
        tab.unroute("**/recommend")
        tab.get_by_role("button", name="Try again").click()
        expect_keys(tab, recommended(url, ["item-3", "item-8"], k=5))
        expect(tab.get_by_role("alert")).to_be_hidden()
        tab.route("**/recommend", lambda route: route.fulfill(status=422, json={"detail": "k: found 5"}))
        tab.get_by_label("Show").select_option("10")
        expect(tab.get_by_role("alert")).to_contain_text("The service refused the request. k: found 5")


def test_a_key_is_asked_for_and_kept_in_memory_only(browser: Any, small_run: Path) -> None:
    with (
        served(small_run, GENREC_API_KEY=KEY) as url,
        opened(browser, url, f"/{HISTORY}", expected="status of (401|503)") as tab,
    ):
        dialog = tab.get_by_role("dialog", name="API key")
        tab.get_by_label("Key", exact=True).fill("wrong key")
        tab.keyboard.press("Enter")
        expect(dialog).to_contain_text("does not accept this key")
        tab.get_by_label("Key", exact=True).fill(KEY)
        tab.keyboard.press("Enter")
        expect(tab.locator("#ranked > li")).to_have_count(10)
        expect(tab.locator("#ranked .tile.loaded").first).to_be_visible()
        assert tab.locator("#ranked img").first.get_attribute("src").startswith("blob:")
        assert KEY not in tab.url
        assert tab.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        tab.reload()
        tab.get_by_role("button", name="Cancel").click()
        expect(tab.get_by_role("alert")).to_contain_text("The service needs an API key.")


def test_scripts_and_styles_come_from_files_alone(url: str) -> None:
    with urllib.request.urlopen(f"{url}/", timeout=60) as response:
        policy = dict(part.split(maxsplit=1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
