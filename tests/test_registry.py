"""Three doors lead into one table: files of the core, plugin files, entry points; only what is named is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec import registry
from genrec.errors import PluginError
from genrec.experiment.keys import component_key
from genrec.families import FAMILIES, REGISTRIES, Component, Merge, merges, tokenizers
from genrec.registry import Registry, add_plugin_folder, load_plugin, plugin_files
from genrec.runtime.environment import Environment

BORDA = """\
from genrec.families import Merge, merges


@merges.register("borda")
class Borda(Merge):
    \"\"\"Points for ranks.

    More of it.
    \"\"\"

    def merge(self, candidates, *, top_n): ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty plugin folder that the registries look at; everything is as before afterwards."""
    monkeypatch.setattr(registry, "_plugin_folders", [])
    monkeypatch.chdir(tmp_path)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    add_plugin_folder(plugins)
    before = set(sys.modules)
    loaded = {family.family: dict(family._classes) for family in FAMILIES}

    def forget_plugins() -> None:
        for family in FAMILIES:
            for name, cls in list(family._classes.items()):
                if not cls.__module__.startswith("genrec."):
                    del family._classes[name]

    forget_plugins()
    yield plugins
    forget_plugins()
    for family in FAMILIES:
        family._classes.update(loaded[family.family])
    for name in set(sys.modules) - before:
        if not name.startswith("genrec."):
            del sys.modules[name]


def install(site: Path, entry_points: str, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """A package as pip would leave it, on the path."""
    info = site / "shop_merges-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-merges\nVersion: 2.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_core_file_registers_its_own_name_once(family: Registry[Component]) -> None:
    core = [entry for entry in family.entries() if entry.origin == "core"]
    files = (Path(registry.__file__).parent / family.folder).glob("[!_]*.py")
    assert core
    assert [entry.name for entry in core] == sorted(file.stem for file in files)
    assert all(entry.summary for entry in core), "a class without a docstring"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_core_component_is_of_its_family_and_knows_its_name(family: Registry[Component]) -> None:
    [interface] = [cls for cls, its in REGISTRIES.items() if its is family]
    for entry in family.entries():
        if entry.origin == "core":
            cls = family.get(entry.name)
            assert issubclass(cls, interface)
            assert cls.type_name == entry.name
            assert family.get(entry.name) is cls


@pytest.mark.slow
def test_listing_and_getting_import_only_what_is_named() -> None:
    code = (
        "import sys; from genrec.families import *; from genrec import families as f\n"
        "for family in f.FAMILIES: family.entries()\n"
        "assert not [m for m in sys.modules if m.startswith('genrec.merges.')]\n"
        "f.merges.get('confidence')\n"
        "names = [m for m in sys.modules if m.startswith('genrec.merges.') and '._' not in m]\n"
        "assert names == ['genrec.merges.confidence'], names\n"
        "assert 'torch' not in sys.modules\n"
    )
    root = Path(registry.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_plugin_file_is_listed_without_being_imported(folder: Path) -> None:
    (folder / "points.py").write_text("raise SystemExit('imported')\n" + BORDA, encoding="utf-8")
    [entry] = [entry for entry in merges.entries() if entry.name == "borda"]
    assert (entry.family, entry.summary, entry.origin) == (
        "merges",
        "Points for ranks.",
        str(Path("plugins/points.py")),
    )
    assert "borda" in merges.names()
    assert plugin_files() == [(folder / "points.py").resolve()]


def test_plugin_is_loaded_once_on_first_use(folder: Path) -> None:
    (folder / "points.py").write_text(BORDA, encoding="utf-8")
    cls = merges.get("borda")
    assert issubclass(cls, Merge)
    assert cls.type_name == "borda"
    load_plugin((folder / "points.py").resolve())
    assert merges.get("borda") is cls
    own, core = (component_key(merge(), Environment()) for merge in (cls, merges.get("confidence")))
    assert own["source"] != core["source"]


def test_changed_file_is_listed_anew(folder: Path) -> None:
    file = folder / "points.py"
    file.write_text(BORDA, encoding="utf-8")
    assert "borda" in merges.names()
    file.write_text(BORDA.replace('"borda"', '"borda_count"'), encoding="utf-8")
    assert "borda_count" in merges.names()
    assert "borda" not in merges.names()


def test_one_file_may_bring_parts_of_several_families(folder: Path) -> None:
    (folder / "parts.py").write_text(
        BORDA + "\nfrom genrec import families\n\n@families.tokenizers.register('points')\n"
        "class Points(families.Tokenizer):\n    def fit(self, vectors, *, keys, context): ...\n",
        encoding="utf-8",
    )
    assert merges.get("borda").type_name == "borda"
    assert tokenizers.get("points").type_name == "points"


def test_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(PluginError) as caught:
        merges.get("nothing")
    assert str(caught.value) == f"unknown merge 'nothing', expected one of {', '.join(merges.names())}"


def test_name_taken_by_two_plugins_is_an_error(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.py").write_text(BORDA, encoding="utf-8")
    with pytest.raises(PluginError) as caught:
        merges.get("borda")
    a, b = (folder / "a.py").resolve(), (folder / "b.py").resolve()
    assert str(caught.value) == f"merge 'borda' is registered twice: {a} and {b}; rename one of them"


def test_name_of_the_core_cannot_be_taken(folder: Path) -> None:
    merges.get("confidence")
    (folder / "mine.py").write_text(BORDA.replace("borda", "confidence"), encoding="utf-8")
    with pytest.raises(PluginError, match=r"merge 'confidence' is registered twice: .*confidence.py and .*mine.py"):
        merges.get("confidence")


def test_name_taken_twice_in_one_file_is_an_error(folder: Path) -> None:
    (folder / "a.py").write_text(BORDA + BORDA.replace("class Borda", "class Again"), encoding="utf-8")
    with pytest.raises(PluginError, match="merge 'borda' is registered twice"):
        merges.get("borda")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (BORDA + "\n1 / 0\n", 13, "ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name\n" + BORDA, 1, "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit('no')\n" + BORDA, 1, "SystemExit: no"),
        ("import json\njson.loads('x')\n" + BORDA, 2, "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_plugin_that_fails_to_load_says_where(folder: Path, text: str, line: int, problem: str) -> None:
    file = folder / "bad.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PluginError) as caught:
        merges.get("borda")
    assert str(caught.value) == f"{file.resolve()}:{line}: the plugin 'borda' cannot be loaded: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x = 1\nclass (:\n", ":2: not valid Python: invalid syntax"),
        (b"x = '\xff'\n", ":1: not valid Python: "),
        (b"x = 1\0\n", ":1: not valid Python: source code "),
    ],
)
def test_file_that_is_no_python_is_listed_as_broken(folder: Path, content: bytes, problem: str) -> None:
    file = folder / "bad.py"
    file.write_bytes(content)
    [entry] = [entry for entry in merges.entries() if entry.problem]
    assert entry.name == "bad"
    assert entry.problem is not None
    assert entry.problem.startswith(f"{file.resolve()}{problem}")
    assert "bad" not in merges.names()


def test_folder_is_taken_once_and_only_if_there(folder: Path, tmp_path: Path) -> None:
    add_plugin_folder(tmp_path / "missing")
    add_plugin_folder(folder / ".." / "plugins")
    (folder / "points.py").write_text(BORDA, encoding="utf-8")
    assert plugin_files() == [(folder / "points.py").resolve()]


def test_entry_point_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "shop_borda" not in merges.names()
    text = BORDA.replace('@merges.register("borda")\n', "")
    install(
        tmp_path / "site",
        "[genrec.merges]\nshop_borda = shop_borda_module:Borda\n",
        monkeypatch,
        shop_borda_module=text,
    )
    [entry] = [entry for entry in merges.entries() if entry.name == "shop_borda"]
    assert (entry.origin, entry.file, entry.target) == ("shop-merges 2.0", None, "shop_borda_module:Borda")
    assert "shop_borda_module" not in sys.modules
    assert "shop_borda" not in tokenizers.names()
    cls = merges.get("shop_borda")
    assert cls.type_name == "shop_borda"
    assert cls.__module__ == "shop_borda_module"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module:Borda", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("shop_module:Nothing", "AttributeError: module 'shop_module' has no attribute 'Nothing'"),
    ],
)
def test_entry_point_that_fails_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, problem: str
) -> None:
    install(tmp_path / "site", f"[genrec.merges]\nborda = {target}\n", monkeypatch, shop_module="")
    with pytest.raises(PluginError) as caught:
        merges.get("borda")
    assert str(caught.value) == f"shop-merges 2.0: the plugin 'borda' cannot be loaded: {problem}"


def test_registering_again_from_the_same_place_is_no_conflict() -> None:
    own: Registry[Merge] = Registry("merges", "merge")

    def define() -> type:
        @own.register("x")
        class Once:
            pass

        return Once

    define()
    again = define()
    assert own.get("x") is again
    with pytest.raises(PluginError, match="merge 'x' is registered twice"):

        @own.register("x")
        class Other:
            pass
