"""The folder of a run: whose it is, whether it is finished, and that files in it are whole."""

import json
import os
from pathlib import Path

import pytest

from genrec.errors import DataError
from genrec.experiment.run_folder import RunFolder
from genrec.testing import tiny_catalog

RECIPE = Path("recipes/small.yaml")


def test_a_new_run_marks_its_folder(tmp_path):
    folder = RunFolder.create(tmp_path / "a" / "b", RECIPE)
    assert (folder.path, folder.cache) == (tmp_path / "a" / "b", tmp_path / "a" / "b" / ".stages")
    assert folder.read_json("run.json") == {"verb": "run", "finished": False}
    folder.finish({"model": "k"})
    assert RunFolder.open(folder.path).read_json("run.json") == {"verb": "run", "finished": True, "model": "k"}
    again = RunFolder.create(folder.path, RECIPE)
    assert again.read_json("run.json") == {"verb": "run", "finished": False}, "a run's folder can be run again"


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError) as caught:
        RunFolder.create(tmp_path, RECIPE)
    assert str(caught.value) == f"{tmp_path}: is not empty and not the folder of a run; pass another folder to --output"
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError) as caught:
        RunFolder.create(tmp_path / "thesis.tex", RECIPE)
    assert str(caught.value) == f"{tmp_path / 'thesis.tex'}: is a file, expected a folder for the run"


def test_a_comparison_and_a_run_keep_to_their_own_folders(tmp_path):
    folder = RunFolder.create(tmp_path / "compared", RECIPE, verb="compare")
    folder.finish({})
    with pytest.raises(DataError) as caught:
        RunFolder.create(folder.path, RECIPE)
    assert str(caught.value) == f"{folder.path}: the folder of a `genrec compare`; pass another folder to --output"
    with pytest.raises(DataError) as caught:
        RunFolder.open(folder.path)
    assert str(caught.value) == (
        f"{folder.path}: the folder of a `genrec compare`, which has no model; expected that of a run"
    )


def test_an_empty_folder_is_taken(tmp_path):
    assert RunFolder.create(tmp_path, RECIPE).path == tmp_path


def test_a_new_run_in_a_folder_removes_the_files_of_the_last_but_its_training_logs(tmp_path):
    folder = RunFolder.create(tmp_path / "run", RECIPE)
    logs = {"logs/json_lines/training.jsonl", "train_only/logs/json_lines/training.jsonl"}
    old = {"streams/logs/ids.safetensors", "candidates/test.safetensors", "train_only/streams/text/ids.safetensors"}
    old |= {"train_only/candidates/valid.safetensors", "train_only/model.safetensors", "train_only/training.json"}
    for name in logs | old:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text("of the last run")
    RunFolder.create(folder.path, RECIPE)
    left = {file.relative_to(folder.path).as_posix() for file in folder.path.rglob("*") if file.is_file()}
    assert left == logs | {"run.json"}


def test_runs_of_one_second_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [RunFolder.create(None, RECIPE) for _ in range(3)]
    assert len({folder.path for folder in folders}) == 3
    for folder in folders:
        assert folder.path.parent == Path("runs")
        assert folder.path.name.startswith("small-")
        assert folder.cache == Path("runs/.stages"), "stages are shared by all such runs"


def test_what_is_no_finished_run_cannot_be_opened(tmp_path):
    with pytest.raises(DataError) as caught:
        RunFolder.open(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not the folder of a run (no run.json); `genrec run RECIPE` creates one"
    RunFolder.create(tmp_path, RECIPE)
    with pytest.raises(DataError) as caught:
        RunFolder.open(tmp_path)
    assert str(caught.value) == f"{tmp_path}: this run has not finished; run its recipe again, it resumes"


def test_missing_and_broken_files_are_said(tmp_path):
    folder = RunFolder.create(tmp_path, RECIPE)
    with pytest.raises(DataError) as caught:
        folder.read_json("metrics.json")
    assert str(caught.value) == f"{tmp_path / 'metrics.json'}: missing; the run is not complete"
    (tmp_path / "metrics.json").write_text('{"a": 1,\n]')
    with pytest.raises(DataError) as caught:
        folder.read_json("metrics.json")
    assert str(caught.value).startswith(f"{tmp_path / 'metrics.json'}:2: not valid JSON: ")


def test_files_are_written_whole_or_not_at_all(tmp_path):
    folder = RunFolder.create(tmp_path, RECIPE)
    folder.write_text("report.md", "first")
    with pytest.raises(UnicodeEncodeError):
        folder.write_text("report.md", "half \ud800 a report")
    assert (tmp_path / "report.md").read_text() == "first"


def test_the_recipe_says_what_was_changed(tmp_path):
    folder = RunFolder.create(tmp_path, RECIPE)
    folder.write_recipe("title: Größe\n", ["seed=3", "title=Grö\nße"])
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert text == "# --set seed=3\n# --set title=Grö ße\ntitle: Größe\n"


def test_the_catalog_maps_rows_to_the_sources_keys(tmp_path):
    folder, catalog = RunFolder.create(tmp_path, RECIPE), tiny_catalog()
    folder.write_catalog(catalog)
    stored = json.loads((tmp_path / "items.json").read_text())
    assert (tuple(stored["keys"]), tuple(stored["titles"])) == (catalog.keys, catalog.titles)


@pytest.mark.parametrize("links", [True, False])
def test_a_stage_is_kept_with_the_run(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    folder = RunFolder.create(tmp_path / "run", RECIPE)
    for content in ("first", "second"):
        stage = tmp_path / content
        stage.write_text(content)
        folder.place(stage, "streams/text/ids.safetensors")
        stage.unlink()
        assert (folder.path / "streams/text/ids.safetensors").read_text() == content
