"""The folder of a run: whose it is, whether it is finished, and that files in it are whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.errors import DataError
from genrec.experiment import run_folder
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_items import SavedItems
from genrec.recipe import parse_recipe
from genrec.runtime.checksums import checksum, read_mark
from genrec.testing import tiny_catalog
from genrec.types import Histories

RECIPE = Path("recipes/small.yaml")


def names_in(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def finished(path, files, *, recipe=None, **options):
    """The folder of a finished run with these files."""
    with RunFolder.create(path, RECIPE, recipe=recipe, **options) as folder:
        for name, text in files.items():
            folder.write_text(name, text)
        if recipe is not None:
            folder.write_recipe(recipe_text(recipe), [])
        folder.finish({})
    return folder


def fails(path, work):
    """A run that fails after some work in its folder."""
    with RunFolder.create(path, RECIPE) as folder:
        work(folder)
        raise ZeroDivisionError


def recipe_text(recipe):
    return json.dumps(recipe.block())


def test_a_new_run_marks_its_folder(tmp_path):
    folder = RunFolder.create(tmp_path / "a" / "b", RECIPE)
    assert (folder.path, folder.cache) == (tmp_path / "a" / "b", tmp_path / "a" / "b" / ".stages")
    assert read_mark(folder.path) == {"verb": "run", "finished": False}
    folder.write_text("report.md", "good")
    folder.finish({"model": "k"})
    mark = RunFolder.open(folder.path).read_json("run.json")
    files = {"report.md": checksum(folder.path / "report.md")}
    assert mark == {"verb": "run", "finished": True, "model": "k", "files": files, "checksum": mark["checksum"]}
    assert names_in(folder.path) == {"report.md", "run.json"}
    with RunFolder.create(folder.path, RECIPE) as again:
        assert read_mark(again.path)["finished"], "the last run stays until the next is finished"
    assert names_in(folder.path) == {"report.md", "run.json"}


def test_a_folder_in_which_a_run_was_killed_at_its_first_file_is_used_again(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"{name}.{ended.pid}.partial" for name in ("run.json", ".lock.json")]
    for name in names:
        (tmp_path / name).write_text("{", encoding="utf-8")
    with RunFolder.create(tmp_path, RECIPE):
        assert not any((tmp_path / name).exists() for name in names)


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError) as caught:
        RunFolder.create(tmp_path, RECIPE)
    assert str(caught.value) == f"{tmp_path}: is not empty and not the folder of a run; pass another folder to --output"
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    for below in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "runs" / "first"):
        with pytest.raises(DataError) as caught:
            RunFolder.create(below, RECIPE)
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


def test_a_finished_run_replaces_the_last_one_of_its_folder_but_for_its_training_logs_and_files_of_others(tmp_path):
    others = {
        "logs/json_lines/training.jsonl",
        "train_only/logs/json_lines/training.jsonl",
        "notes.txt",
        ".stages/ids-k",
    }
    last = {"streams/logs/ids.safetensors", "candidates/test.safetensors", "train_only/model.safetensors", "report.md"}
    finished(tmp_path / "run", dict.fromkeys(last, "of the last run"))
    for name in others:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("stays")
    folder = finished(tmp_path / "run", {"report.md": "new", "streams/text/ids.safetensors": "new"})
    assert names_in(folder.path) == others | {"run.json", "report.md", "streams/text/ids.safetensors"}
    assert (folder.path / "report.md").read_text() == "new"
    assert not (folder.path / "candidates").exists()
    assert not (folder.path / "streams" / "logs").exists()


def test_files_of_an_earlier_version_which_recorded_none_are_replaced(tmp_path):
    last = {
        "streams/logs/ids.safetensors",
        "train_only/candidates/valid.safetensors",
        "model.safetensors",
        "items.json",
    }
    for name in last:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("old")
    (tmp_path / "run" / "run.json").write_text('{"finished": true}')
    assert RunFolder.open(tmp_path / "run").file("items.json").read_text() == "old", "there is no checksum to check"
    folder = finished(tmp_path / "run", {"items.json": "new"})
    assert names_in(folder.path) == {"run.json", "items.json"}


def test_a_run_that_fails_leaves_the_last_one_and_nothing_else(tmp_path):
    files = {"report.md": "good", "candidates/test.safetensors": "many"}
    finished(tmp_path / "run", files)
    with pytest.raises(ZeroDivisionError):
        fails(tmp_path / "run", lambda folder: folder.write_text("report.md", "bad"))
    assert {name: (tmp_path / "run" / name).read_text() for name in files} == files
    assert names_in(tmp_path / "run") == {*files, "run.json"}
    assert RunFolder.open(tmp_path / "run").file("report.md").read_text() == "good"


def test_a_run_that_fails_before_its_first_stage_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fails(tmp_path / "run", lambda folder: folder.write_text("recipe.yaml", "title: none"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZeroDivisionError):
        fails(tmp_path / "run", lambda folder: (folder.path / ".stages").mkdir())
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"run.json", ".stages"}
    with pytest.raises(DataError, match="this run has not finished"):
        RunFolder.open(tmp_path / "run")


@pytest.mark.parametrize("number", range(25))
def test_a_kill_while_a_run_is_replaced_leaves_the_last_one_or_the_new_one(number, tmp_path, monkeypatch):
    """Killed before each call that changes the disk."""
    old, new = {"report.md": "old", "a/x": "old"}, {"report.md": "new", "b/y": "new"}
    finished(tmp_path / "run", old)
    folder = RunFolder.create(tmp_path / "run", RECIPE)
    for name, text in new.items():
        folder.write_text(name, text)
    calls = []

    def killing(function):
        def call(*arguments, **options):
            calls.append(function.__name__)
            if len(calls) > number:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink", "rmdir"):
            patch.setattr(Path, name, killing(getattr(Path, name)))
        patch.setattr(run_folder.shutil, "rmtree", killing(run_folder.shutil.rmtree))
        patch.setattr(run_folder, "sync", killing(run_folder.sync))
        try:
            folder.finish({})
        except KeyboardInterrupt:
            if folder._lock is not None:
                folder._lock._lock.release()  # as the operating system does
        else:
            assert number >= len(calls)
    is_new = RunFolder.open(tmp_path / "run").file("report.md").read_text() == "new"
    assert is_new == ("rename" in calls[:number])
    with RunFolder.create(tmp_path / "run", RECIPE):
        pass
    expected = new if is_new else old
    assert {name: (tmp_path / "run" / name).read_text() for name in expected} == expected
    assert names_in(tmp_path / "run") == {*expected, "run.json"}
    assert read_mark(tmp_path / "run")["files"].keys() == expected.keys()


def test_a_damaged_replacement_is_dropped(tmp_path):
    """Its files are still in the cache."""
    finished(tmp_path / "run", {"report.md": "old"})
    (tmp_path / "run" / ".ready").mkdir()
    (tmp_path / "run" / ".ready" / "report.md").write_text("new")
    (tmp_path / "run" / ".ready" / "run.json").write_text("")
    assert RunFolder.open(tmp_path / "run").file("report.md").read_text() == "old"
    assert names_in(tmp_path / "run") == {"report.md", "run.json"}


def test_a_folder_in_use_is_refused_and_taken_over_when_its_process_is_dead(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom genrec.experiment.run_folder import RunFolder\n"
        "folder = RunFolder.create(Path(sys.argv[1]), Path('x.yaml'))\nfolder.write_text('report.md', 'half')\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(DataError) as caught:
        RunFolder.create(tmp_path / "run", RECIPE)
    owner = json.loads((tmp_path / "run" / ".lock.json").read_text())
    assert owner["pid"] == other.pid
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: in use by another process (process {other.pid} on {owner['host']}, started "
        f"{owner['started']}); wait until it has finished or pass another folder to --output"
    )
    other.kill()
    other.communicate()
    assert names_in(tmp_path / "run") == {".lock", ".lock.json", ".new/report.md", "run.json"}
    with RunFolder.create(tmp_path / "run", RECIPE) as folder:
        assert names_in(folder.path) == {".lock", ".lock.json", "run.json"}
        assert json.loads((folder.path / ".lock.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run").exists()


def test_another_recipe_in_the_folder_of_a_finished_run_is_refused_unless_forced(tmp_path, small_recipe, capsys):
    recipe, changes = parse_recipe(small_recipe), ["merge=learned", "training.max_epochs=3", "title=Other"]
    other = parse_recipe(small_recipe, overrides=changes)
    path = tmp_path / "run"
    finished(path, {"report.md": "old", "streams/a/ids": "old", "streams/b/ids": "old"}, recipe=recipe)
    (path / "logs").mkdir()
    (path / "logs" / "old").write_text("log")
    os.utime(path / "logs" / "old", (0, 0))
    with RunFolder.create(path, RECIPE, recipe=recipe):
        pass
    differences = (
        "  title: 'Three views of a small shop [showroom]' -> 'Other'\n"
        "  training.max_epochs: 2 -> 3\n"
        "  merge.type: 'confidence' -> 'learned'\n"
    )
    with pytest.raises(DataError) as caught:
        RunFolder.create(path, RECIPE, recipe=other)
    text = str(caught.value)
    opening = f"{path}: has a finished run of another recipe; pass another folder to --output, or --force to replace"
    assert text.startswith(f"{opening} that run:\n{differences}")
    assert names_in(path) == {"recipe.yaml", "report.md", "run.json", "streams/a/ids", "streams/b/ids", "logs/old"}
    capsys.readouterr()
    with RunFolder.create(path, RECIPE, recipe=other, force=True) as folder:
        assert [(path / name).read_text() for name in ("report.md", "logs/old")] == ["old", "log"]
        folder.write_text("report.md", "new")
        (path / "logs" / "new").write_text("log")
        os.utime(path / "logs" / "new", (2**32, 2**32))
        folder.finish({})
    told = capsys.readouterr().err
    assert told.startswith(f"{path}: --force replaces the finished run of another recipe:\n{differences}")
    assert told.endswith("these files are replaced or removed: recipe.yaml, report.md, streams/, logs/\n")
    assert names_in(path) == {"report.md", "run.json", "logs/new"}


@pytest.mark.parametrize("name", ["model.safetensors", "streams", ".stages", ".stages/locks", ".new"])
def test_nothing_is_written_through_a_symbolic_link(name, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    finished(tmp_path / "run", {"report.md": "old"})
    (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "run" / name).symlink_to(precious)
    for attempt in (lambda: RunFolder.create(tmp_path / "run", RECIPE), lambda: RunFolder.cache_of(tmp_path / "run")):
        with pytest.raises(DataError) as caught:
            attempt()
        assert str(caught.value) == (
            f"{tmp_path / 'run' / name}: is a symbolic link to {precious}; a run writes nowhere outside of its folder: "
            "remove the link or pass another folder to --output"
        )
    assert list(precious.iterdir()) == []


def test_an_interrupted_replacement_does_not_follow_links_or_leave_its_folder(tmp_path):
    """The folder of a run may come from someone else."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "thesis.tex").write_text("precious")
    run = tmp_path / "run"
    for folder in (run, run / ".ready"):
        (folder / "streams").mkdir(parents=True)
        (folder / "run.json").write_text('{"finished": true, "files": {"../thesis.tex": "", "/etc/hosts": ""}}')
    (run / ".ready" / "run.json").write_text('{"finished": true, "files": {}}')
    RunFolder.open(run)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    (run / ".ready" / "streams").mkdir(parents=True)
    (run / ".ready" / "streams" / "x").write_text("evil")
    (run / ".ready" / "run.json").write_text('{"finished": true, "files": {}}')
    (run / "streams").symlink_to(precious)
    with pytest.raises(DataError, match="is a symbolic link"):
        RunFolder.open(run)
    assert list(precious.iterdir()) == []


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
    folder = RunFolder.create(tmp_path, RECIPE)
    with pytest.raises(DataError) as caught:
        RunFolder.open(folder.path)
    assert str(caught.value) == f"{tmp_path}: this run has not finished; run its recipe again, it resumes"


def test_missing_and_malformed_files_are_reported(tmp_path):
    (tmp_path / "run.json").write_text('{"finished": true}')
    folder = RunFolder.open(tmp_path)
    file = tmp_path / "metrics.json"
    for content, message in {
        None: f"{file}: missing; the run is not complete",
        b'{"a": 1,\n]': f"{file}:2: not valid JSON: Expecting property name enclosed in double quotes",
        b"": f"{file}: empty, expected JSON",
        b"\xff\xfe": f"{file}: not UTF-8 text (byte 0)",
        b"[" * 100_000: f"{file}: not valid JSON: it is nested too deeply",
        b"1" * 5000: f"{file}: not valid JSON: a number has too many digits",
    }.items():
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(DataError) as caught:
            folder.read_json("metrics.json")
        assert str(caught.value) == message


def test_a_changed_file_is_reported_with_the_command_that_repairs_it(tmp_path):
    folder = finished(tmp_path / "run", {"items.json": '{"keys": []}', "recipe.yaml": "title: x"})
    (folder.path / "items.json").write_text('{"keys": [1]}')
    with pytest.raises(DataError) as caught:
        folder.read_json("items.json")
    assert str(caught.value) == (
        f"{folder.path / 'items.json'}: its checksum is not the one in {folder.path / 'run.json'}; repair: "
        f"genrec run {folder.path / 'recipe.yaml'}"
    )
    (folder.path / "recipe.yaml").write_text("title: y")
    with pytest.raises(DataError, match=r"restore it, or copy it to another folder to change it$"):
        folder.file("recipe.yaml")
    (folder.path / ".stages").mkdir()
    with pytest.raises(DataError, match=f"repair: genrec run {folder.path}/recipe.yaml --output {folder.path}$"):
        folder.read_json("items.json")


def test_a_changed_record_is_reported(tmp_path):
    folder = finished(tmp_path / "run", {"report.md": "good"})
    text = (folder.path / "run.json").read_text()
    (folder.path / "run.json").write_text(text.replace('"verb": "run"', '"verb": "ran"'))
    with pytest.raises(DataError) as caught:
        RunFolder.open(folder.path)
    assert str(caught.value) == (
        f"{folder.path / 'run.json'}: damaged, its content does not match its checksum; run the same command again"
    )


def test_a_folder_whose_record_is_damaged_can_be_run_again(tmp_path, small_recipe):
    recipe = parse_recipe(small_recipe)
    folder = finished(tmp_path / "run", {"report.md": "good", "model.safetensors": "old"}, recipe=recipe)
    (folder.path / "run.json").write_text("")
    folder = finished(tmp_path / "run", {"report.md": "new"}, recipe=recipe)
    assert RunFolder.open(folder.path).file("report.md").read_text() == "new"
    assert names_in(folder.path) == {"report.md", "recipe.yaml", "run.json"}


def test_files_are_written_whole_or_not_at_all(tmp_path):
    folder = RunFolder.create(tmp_path, RECIPE)
    folder.write_text("report.md", "first")
    with pytest.raises(UnicodeEncodeError):
        folder.write_text("report.md", "half \ud800 a report")
    assert (folder.draft / "report.md").read_text() == "first"


def test_the_recipe_says_what_was_changed(tmp_path):
    folder = RunFolder.create(tmp_path, RECIPE)
    folder.write_recipe("title: Größe\n", ["seed=3", "title=Grö\nße"])
    text = (folder.draft / "recipe.yaml").read_text(encoding="utf-8")
    assert text == "# --set seed=3\n# --set title=Grö ße\ntitle: Größe\n"


def test_the_catalog_maps_rows_to_the_sources_keys(tmp_path):
    folder, catalog = RunFolder.create(tmp_path, RECIPE), tiny_catalog()
    folder.write_items(SavedItems.of(catalog, Histories.of([[0, 2], [2]])))
    stored, read = json.loads((folder.draft / "items.json").read_text()), folder.read_items()
    assert (tuple(read.keys), tuple(read.titles)) == (catalog.keys, catalog.titles)
    assert read.counts_I is not None
    assert stored["counts"] == read.counts_I.tolist() == [1, 0, 2] + [0] * (len(catalog) - 3)


@pytest.mark.parametrize("counts", [{}, [1, -1], [1], [1.5, 2], [True, 1], [1, 10**30]])
def test_counts_that_are_not_counts_name_their_file(counts, tmp_path):
    folder = finished(
        tmp_path / "run", {"items.json": json.dumps({"keys": ["a", "b"], "titles": ["", ""], "counts": counts})}
    )
    with pytest.raises(
        DataError, match=r"items\.json: expected the keys and titles of the items, found something else"
    ):
        folder.read_items()


@pytest.mark.parametrize("whole", [True, False])
def test_a_stage_is_copied_into_the_run(tmp_path, monkeypatch, whole):
    """What happens to the copy, or to the stage, happens to no other file."""
    if not whole:
        monkeypatch.setattr(os, "copy_file_range", lambda *_: (_ for _ in ()).throw(OSError("not on this system")))
    folder = RunFolder.create(tmp_path / "run", RECIPE)
    stage = tmp_path / "stage"
    stage.write_text("content")
    folder.place(stage, "streams/text/ids.safetensors")
    copy = folder.draft / "streams/text/ids.safetensors"
    assert copy.read_text() == "content"
    os.truncate(copy, 3)
    assert stage.read_text() == "content"
