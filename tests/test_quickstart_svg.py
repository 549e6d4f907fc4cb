"""The figure of the README: it shows what the present version prints for the quickstart, and requests nothing."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from genrec.recipe import load_recipe
from genrec.reporting.report import Estimate, MethodKind, MethodResult, Protocol, Report

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from quickstart_svg import FIGURE, RECIPE, ROOT, drawing

SVG = "{http://www.w3.org/2000/svg}"


def quickstart_report() -> Report:
    """A report of the quickstart with the methods of a real one and made-up numbers."""
    recipe = load_recipe(ROOT / RECIPE)
    methods: dict[str, MethodKind] = {f"merge: {recipe.merge.type_name}": "merge"}
    methods |= {f"pair: {one} + {two}": "pair" for one, two in combinations(recipe.streams, 2)}
    methods |= {f"stream: {name}": "stream" for name in recipe.streams}
    methods |= {"oracle": "oracle"} | {baseline.type_name: "baseline" for baseline in recipe.baselines}
    settings, ranks_U = recipe.evaluation, np.zeros(4000, np.int32)
    metrics = {metric: {cutoff: Estimate(0.2, 0.1, 0.3) for cutoff in settings.cutoffs} for metric in settings.metrics}
    protocol = Protocol("showroom", 4000, 600, 0.0, "keep", "", "", 1, settings.cutoffs, 0.95, 1000)
    rows = [MethodResult(name, kind, metrics, ranks_U) for name, kind in methods.items()]
    users_U, targets_U = np.arange(4000), np.zeros(4000, dtype=np.int64)
    history = ("item-1", "item-2")
    return Report(recipe.title, protocol, users_U, targets_U, rows, notes=("left out",), example_history=history)


def lines_of(svg: str) -> list[str]:
    """The lines of the terminal in a figure, without the width of spaces; every number is 0."""
    lines: dict[float, str] = {}
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        if text.get("clip-path"):  # the title of the window has none
            line = float(text.get("y", "0"))
            lines[line] = f"{lines.get(line, '')} {text.text or ''}"
    shown = [" ".join(lines[line].split()) for line in sorted(lines)]
    return [re.sub(r"\d+", "0", line) for line in shown]


def test_the_figure_has_the_format_of_the_present_version() -> None:
    report = quickstart_report()
    committed, drawn = lines_of(FIGURE.read_text(encoding="utf-8")), lines_of(drawing(report))
    shown = committed[committed.index(report.title) :]
    assert shown == drawn[drawn.index(report.title) :], "draw it again: python docs/quickstart_svg.py"
    assert committed[0].startswith("The merge "), "the conclusion comes first"
    assert any("upper bound" in line for line in drawn)
    assert drawn[-1] == "genrec bench runs/quickstart"
    assert not any("left out" in line for line in drawn)


def test_the_figure_requests_nothing() -> None:
    text = FIGURE.read_text(encoding="utf-8")
    assert not re.search(r"@font-face|@import|<script|href=", text)
    assert re.findall(r"url\((?!#)[^)]*\)", text) == []


def test_the_readme_shows_it() -> None:
    assert "](docs/quickstart.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")
