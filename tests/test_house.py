"""Rules of the house that no linter holds: layers, lazy imports, names, what a tracked file may not say."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import genrec
from genrec.families import FAMILIES, Component
from genrec.registry import Registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "genrec"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in PACKAGE.rglob("*.py")
)


def component_files(family: Registry[Any]) -> list[Path]:
    """The files of a family's components in the core."""
    return [file for file in sorted((PACKAGE / family.folder).glob("*.py")) if not file.name.startswith("_")]


CORE = [
    pytest.param(family, file, id=f"{family.family}/{file.stem}")
    for family in FAMILIES
    for file in component_files(family)
]


def in_new_process(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tracked_files() -> list[Path]:
    """Everything that is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def tracked_lines() -> Iterator[tuple[str, str]]:
    """(``file:line``, text) of every text file."""
    for file in tracked_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            yield f"{file.relative_to(ROOT)}:{number}", line


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every absolute import of a file, lazy ones included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def imports_on_loading(file: Path) -> Iterator[str]:
    """Modules that a file imports at its top, whoever loads it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def layer_names() -> list[str]:
    [contract] = PROJECT["tool"]["importlinter"]["contracts"]
    return [name.strip() for layer in contract["layers"] for name in re.split("[|:]", layer)]


@pytest.mark.slow
def test_imports_flow_one_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import importlinter.cli as c, sys; sys.exit(c.lint_imports(no_cache=True))"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_folder_is_a_package() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    assert sorted(str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()) == []


def test_every_module_has_a_layer() -> None:
    layers = layer_names()
    packages = {module for module in MODULES if (ROOT / module.replace(".", "/")).is_dir()}
    free = [
        module
        for module in MODULES
        if module not in packages and not any(module == layer or module.startswith(f"{layer}.") for layer in layers)
    ]
    assert free == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["genrec", "genrec.families", "genrec.registry", "genrec.types", "genrec.recipe", "genrec.plugin", "genrec.cli"],
)
def test_importing_needs_no_torch(module: str) -> None:
    heavy = "{'torch', 'transformers', 'sentence_transformers', 'torchvision', 'polars', 'sklearn'}"
    assert in_new_process(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))") == "[]"


@pytest.mark.slow
def test_only_components_that_import_torch_themselves_need_it() -> None:
    """``genrec validate`` imports what a recipe names: no torch, unless one of those files asks for it at its top."""
    names = [
        (family.family, file.stem)
        for family in FAMILIES
        for file in component_files(family)
        if "torch" not in {module.partition(".")[0] for module in imports_on_loading(file)}
    ]
    get_all = f"[getattr(families, family).get(name) for family, name in {names}]"
    code = f"import sys; from genrec import families; {get_all}; print('torch' in sys.modules)"
    assert in_new_process(code) == "False"


@pytest.mark.slow
def test_knowing_every_component_imports_no_library_that_only_its_work_needs() -> None:
    heavy = {
        *("transformers", "sentence_transformers", "timm", "open_clip", "torchvision", "faiss"),
        *("sklearn", "scipy", "pandas", "matplotlib"),
    }
    get_all = "[family.get(name) for family in FAMILIES for name in family.names()]"
    code = f"import sys; from genrec.families import FAMILIES; {get_all}; print(sorted({heavy} & set(sys.modules)))"
    assert in_new_process(code) == "[]"


def test_one_component_is_one_file() -> None:
    """Settings above, module below: no ``x.py`` with its other half in ``_x.py``."""
    halves = [file for file in PACKAGE.rglob("_*.py") if file.with_name(file.name.removeprefix("_")).is_file()]
    assert [str(file.relative_to(ROOT)) for file in halves] == []


def test_public_names_are_there() -> None:
    for name in genrec.__all__:
        assert getattr(genrec, name) is not None


@pytest.mark.parametrize(("family", "file"), CORE)
def test_registered_name_is_the_file_name(family: Registry[Component], file: Path) -> None:
    assert [entry.name for entry in family.entries() if entry.file == file] == [file.stem]
    component = family.get(file.stem)
    assert component.type_name == file.stem
    assert Path(inspect.getfile(component)) == file


@pytest.mark.parametrize(("family", "file"), CORE)
def test_every_field_has_help(family: Registry[Component], file: Path) -> None:
    component = family.get(file.stem)
    assert component.model_config.get("frozen")
    assert component.model_config.get("extra") == "forbid"
    assert (component.__doc__ or "").strip()
    assert [name for name, field in component.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    "settings",
    [
        "genrec.training.settings:OptimizationSettings",
        "genrec.training.settings:TrainingSettings",
        "genrec.search.settings:SearchSettings",
        "genrec.evaluation.protocol:EvaluationSettings",
    ],
)
def test_every_setting_has_help(settings: str) -> None:
    module, _, name = settings.partition(":")
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_modules_are_nouns_that_say_something() -> None:
    vague = {"utils", "util", "common", "base", "helpers", "misc", "manager", "core"}
    assert [module for module in MODULES if vague & set(module.strip("_").split("."))] == []
    classes = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Manager", "Utils", "Helper"))
    ]
    assert classes == []


def test_every_module_states_its_contract() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.py")
        if file.stat().st_size and not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_files_have_one_reason_to_exist() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in tracked_files()
        if file.suffix == ".py"
    }
    assert {name: length for name, length in lengths.items() if length > 450} == {}


def test_no_machine_is_named() -> None:
    """Neither a path of somebody's machine nor the host of a package registry."""
    paths = re.compile(r"(?<![\w.~$])/(?:work|farm|root|home|Users)/[A-Za-z.]")
    hosts = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs|conda\.anaconda\.org|deb\.debian\.org")
    assert [
        f"{place}: {line.strip()}" for place, line in tracked_lines() if paths.search(line) or hosts.search(line)
    ] == []


def test_nothing_is_left_unfinished() -> None:
    words = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImpl" + r"ementedError|coming so" + r"on)\b")
    assert [f"{place}: {line.strip()}" for place, line in tracked_lines() if words.search(line)] == []


def test_nothing_that_can_run_code_is_loaded() -> None:
    banned = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
    found = [
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in tracked_files()
        if file.suffix == ".py"
        for line, module in imports(file)
        if module.split(".")[0] in banned
    ]
    assert found == []
    calls = re.compile(
        r"allow_pickle=T" + r"rue|yaml\.load\(|trust_remote_code=T" + r"rue|torch\.load\((?!.*weights_only=True)"
        r"|read_pick" + r"le"
    )
    assert [f"{place}: {line.strip()}" for place, line in tracked_lines() if calls.search(line)] == []


def test_everything_imported_is_declared() -> None:
    """Base dependencies and the extras for texts and images cover every import of the package, lazy ones included."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *extras["text"],
        *extras["vision"],
        *extras["pandas"],
        *extras["serve"],
        *extras["onnx"],
    ]
    declared = {re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    declared.add("pydantic-core")  # one package with pydantic, which pins it
    distributions = importlib.metadata.packages_distributions()
    missing = {
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in PACKAGE.rglob("*.py")
        for line, module in imports(file)
        if (top := module.split(".")[0]) not in sys.stdlib_module_names
        and top != "genrec"
        and not {name.lower().replace("_", "-") for name in distributions.get(top, [top])} & declared
    }
    assert missing == set()


def test_dependencies_have_lower_bounds_and_no_pins() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    base = PROJECT["project"]["dependencies"]
    assert [line for line in base if ">=" not in line] == []
    assert [line for group in (base, *extras.values()) for line in group if re.search(r"==|<|~=", line)] == []
