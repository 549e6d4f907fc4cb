"""What README and docs say is true: their code runs, their recipes validate, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from genrec.evaluation.metrics import METRICS
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.families import FAMILIES
from genrec.recipe import load_recipe
from genrec.registry import add_plugin_folder, load_plugin
from genrec.testing import check
from genrec.types import ABSENT

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_plugin_in_the_readme_is_the_one_in_plugins() -> None:
    assert (ROOT / "plugins" / "borda.py").read_text(encoding="utf-8") in blocks("README.md", "python")


def components() -> list[str]:
    return [code for code in blocks("docs/plugins.md", "python") if "@metrics.register" not in code]


def test_metrics_in_the_docs_work(tmp_path: Path, clean_registry: None) -> None:
    for number, code in enumerate(set(blocks("docs/plugins.md", "python")) - set(components())):
        (tmp_path / f"metric_{number}.py").write_text(code, encoding="utf-8")
    add_plugin_folder(tmp_path)
    settings = EvaluationSettings.model_validate(
        {"metrics": ("recall", "first_place"), "beyond_accuracy": ("popularity",)}
    )
    assert METRICS.get(settings.metrics[1])(np.array([0, 1, ABSENT]), 10).tolist() == [1, 0, 0]
    items_UK = np.array([[2, 0], [1, ABSENT]])
    lists = TopLists(items_UK, items_UK == 1, ItemFacts(np.array([4, 1, 2])))
    assert METRICS.get("popularity").of_lists(lists).tolist() == [3, 1]


def registered(code: str) -> tuple[str, str]:
    """Family and name of the component in a block."""
    [found] = re.findall(r'^@(\w+)\.register\("(\w+)"', code, re.MULTILINE)
    return found


def test_docs_have_an_example_of_every_family() -> None:
    families = {registered(code)[0] for code in blocks("docs/plugins.md", "python")}
    assert families == {*(family.family for family in FAMILIES), "metrics"}


@pytest.mark.parametrize("code", components(), ids=lambda code: registered(code)[1])
def test_plugin_in_the_docs_keeps_its_contract(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family_name, name = registered(code)
    [family] = [family for family in FAMILIES if family.family == family_name]
    monkeypatch.setattr(family, "_classes", dict(family._classes))
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    load_plugin(tmp_path / f"{name}.py")
    component = family._classes[name]
    streams = {"first": "behavior", "second": "text"}
    (tmp_path / "baskets.txt").write_text("ann: pen ink pad\nbob: ink pen\n", encoding="utf-8")
    arguments = {field: stream for field, stream in streams.items() if field in component.model_fields}
    check(component(**arguments), data=tmp_path)


def test_recipe_in_the_readme_is_valid(tmp_path: Path) -> None:
    recipe = blocks("README.md", "yaml")[-1]
    (tmp_path / "readme.yaml").write_text(recipe, encoding="utf-8")
    assert len(recipe.splitlines()) <= 20
    assert load_recipe(tmp_path / "readme.yaml").streams.keys() == {"behavior", "text", "visual"}


def test_readme_names_every_recipe() -> None:
    named = set(re.findall(r"recipes/(\w+)\.yaml", text(ROOT / "README.md")))
    assert named == {file.stem for file in (ROOT / "recipes").glob("*.yaml")}


def test_readme_names_every_verb() -> None:
    files = (ROOT / "genrec" / "cli").glob("*.py")
    verbs = {file.stem.replace("_", "-") for file in files if not file.name.startswith("_")}
    assert set(re.findall(r"^\| `genrec ([\w-]+)", text(ROOT / "README.md"), re.MULTILINE)) == verbs


def test_architecture_names_every_component_of_the_core() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    for family in FAMILIES:
        [row] = re.findall(rf"^\| `{family.family}` .*$", page, re.MULTILINE)
        named = set(re.findall(r"`(\w+)`", row.split("|")[5]))
        assert named == {entry.name for entry in family.entries() if entry.origin == "core"}, family.family


def test_architecture_has_every_folder_and_file_of_the_root() -> None:
    """The annotated tree: folders with their own lines, or with others of their kind on one."""
    tree = re.search(r"^    genrec/\n((?:^     .*\n)+)", text(ROOT / "docs" / "architecture.md"), re.MULTILINE)
    assert tree is not None
    named = re.findall(r"(?:^| )([a-z_]+/|[a-z_]+\.py)(?= )", tree[1], re.MULTILINE)
    package = ROOT / "genrec"
    folders = [file.parent for file in package.rglob("__init__.py") if file.parent != package]
    assert sorted(named) == sorted(
        [f"{folder.name}/" for folder in folders] + [file.name for file in package.glob("*.py")]
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text(page))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`?\bmake ([a-z]+)`", text(page))}
    assert named
    assert named <= targets
