"""The files of the web page: they are in the package, and hold nothing that its security policy would refuse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import genrec

PAGE = Path(genrec.__file__).parent / "serving" / "page"
FILES = sorted(PAGE.iterdir())
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_comes_from_another_host(file: Path) -> None:
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text(encoding="utf-8").replace(SVG_NAMESPACE, "")) == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.suffix in (".html", ".svg")], ids=lambda file: file.name
)
def test_no_inline_script_or_style(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", text) == []


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".js"], ids=lambda file: file.name)
def test_titles_cannot_become_markup_or_code(file: Path) -> None:
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b|new Function|cssText",
        file.read_text(encoding="utf-8"),
    )
    assert found == []
    assert (
        re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", file.read_text(encoding="utf-8")) is None
    )


def test_every_file_is_used() -> None:
    """What a file of the page names is there, and nothing else is."""
    named = {"index.html"}
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:src|href)="([\w.]+\.(?:js|css|svg))"', text))
        named |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert {file.name for file in FILES} == named


def test_every_element_that_the_scripts_look_for_is_in_the_page() -> None:
    scripts = "".join(file.read_text(encoding="utf-8") for file in FILES if file.suffix == ".js")
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    wanted = set(re.findall(r'(?:getElementById|\bat)\("([\w-]+)"\)', scripts))
    made = set(re.findall(r'\bid: "([\w-]+)"', scripts))
    assert len(wanted) > 20
    assert wanted - made - set(re.findall(r'\bid="([\w-]+)"', page)) == set()
