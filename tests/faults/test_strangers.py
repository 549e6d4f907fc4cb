"""Folders of runs from someone else: nothing in them is executed, and nothing is written through their links."""

import shutil
from pathlib import Path

import pytest

from genrec import registry
from genrec.cli import main
from genrec.errors import RecipeError
from genrec.recipe import load_recipe

PLUGIN = """
from pathlib import Path
from genrec.plugin import Merge, merges
Path({evidence!r}).write_text("executed")

@merges.register("evil")
class Evil(Merge):
    '''Writes a file when it is imported.'''

    length_normalized: bool = False

    def merge(self, candidates, *, top_n):
        return candidates
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """The file that the plugin writes when it is imported."""
    return tmp_path / "evidence"


@pytest.fixture
def hostile(
    small_run: Path, tmp_path: Path, evidence: Path, clean_registry: None, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of a run with a plugin in ``plugins/``; the working folder is another one."""
    run = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns(".stages"))
    (run / "plugins").mkdir()
    (run / "plugins" / "evil.py").write_text(PLUGIN.format(evidence=str(evidence)), encoding="utf-8")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return run


def named(run: Path) -> Path:
    """The run with a recipe that names the plugin, and no record of the file that was replaced."""
    text = (run / "recipe.yaml").read_text(encoding="utf-8")
    assert "  type: confidence\n" in text
    (run / "recipe.yaml").write_text(text.replace("  type: confidence\n", "  type: evil\n"), encoding="utf-8")
    (run / "run.json").write_text('{"verb": "run", "finished": true}', encoding="utf-8")
    return run


@pytest.mark.slow
@pytest.mark.parametrize("place", ["elsewhere", "in the run"])
def test_no_command_that_takes_a_run_imports_its_plugins(
    hostile: Path, evidence: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run = named(hostile)
    if place == "in the run":
        monkeypatch.chdir(run)
    folder = Path.cwd() / "plugins"
    (run.parent / "new.jsonl").write_text('{"key": "new"}', encoding="utf-8")
    for verb, *words in (
        ["compare", "--dry-run"],
        ["bench"],
        ["recommend", "--history", "x"],
        ["recommend", "--all-users", "--output", str(run.parent / "recs.jsonl")],
        ["export", str(run.parent / "export")],
        ["add-items", str(run.parent / "new.jsonl"), "--output", str(run.parent / "grown")],
        ["serve", "--port", "0"],
    ):
        assert main([verb, str(run), *words]) == 2, verb
        told = capsys.readouterr().err
        assert told.startswith(f"{run / 'recipe.yaml'}:")
        assert "unknown merge 'evil'" in told
        assert told.endswith(f"; the run had it from a plugin: put the file that registers it into {folder}\n")
    assert main(["list", "merges"]) == 0
    assert "evil" not in capsys.readouterr().out
    assert not evidence.exists()


@pytest.mark.slow
def test_a_run_finds_its_plugins_in_the_working_folder(hostile: Path, evidence: Path, capsys: Capture) -> None:
    run = named(hostile)
    shutil.copytree(run / "plugins", "plugins")
    assert main(["compare", str(run), "--dry-run"]) == 0
    assert evidence.exists()
    assert registry.plugin_folders() == [Path.cwd() / "plugins"]


@pytest.mark.parametrize("name", ["recipe.yaml", "copy.yaml"])
def test_a_recipe_in_the_folder_of_a_run_does_not_import_its_plugins(
    hostile: Path, evidence: Path, name: str, capsys: Capture
) -> None:
    if name != "recipe.yaml":
        shutil.copy(hostile / "recipe.yaml", hostile / name)
    message = (
        f"{hostile / 'plugins'}: found plugins (evil.py) in the folder of a run, which may come from someone else; "
        "expected plugins/ in the working folder: move them there, or pass --trust-plugins to `run` or `validate` to "
        "execute their code\n"
    )
    for verb in ("validate", "show", "run"):
        assert main([verb, str(hostile / name)]) == 2
        assert capsys.readouterr().err == message
    assert not evidence.exists()
    assert list(Path.cwd().iterdir()) == []


def test_plugins_of_a_run_can_be_trusted(hostile: Path, evidence: Path) -> None:
    run = named(hostile)
    with pytest.raises(RecipeError, match="--trust-plugins"):
        load_recipe(run / "recipe.yaml")
    assert not evidence.exists()
    assert load_recipe(run / "recipe.yaml", trust_plugins=True).merge.type_name == "evil"
    assert evidence.exists()
    assert main(["validate", str(run / "recipe.yaml"), "--trust-plugins"]) == 0


def test_a_run_in_the_working_folder_does_not_import_either(
    hostile: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A recipe elsewhere, while the working folder is that of a run."""
    shutil.copy(hostile / "recipe.yaml", hostile.parent / "mine.yaml")
    monkeypatch.chdir(hostile)
    assert main(["validate", "../mine.yaml"]) == 2
    assert "found plugins (evil.py) in the folder of a run" in capsys.readouterr().err
    assert not evidence.exists()


@pytest.mark.parametrize("verb", ["run", "tokenize", "compare"])
@pytest.mark.parametrize("link", ["model.safetensors", "streams", ".stages"])
def test_output_is_not_written_through_links(
    hostile: Path, tmp_path: Path, verb: str, link: str, small_recipe: str, capsys: Capture
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    if (hostile / link).is_dir():
        shutil.rmtree(hostile / link)
    (hostile / link).unlink(missing_ok=True)
    (hostile / link).symlink_to(precious)
    Path("small.yaml").write_text(small_recipe, encoding="utf-8")
    assert main([verb, "small.yaml", "--output", str(hostile), "--device", "cpu"]) == 2
    assert "is a symbolic link to" in capsys.readouterr().err
    assert list(precious.iterdir()) == []
