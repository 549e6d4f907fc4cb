"""``genrec cache``: what is listed and used by which run, and what is removed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genrec.cli import main
from genrec.experiment.cache import Cache
from genrec.experiment.cache_entries import cache_entries, clean_cache
from genrec.experiment.keys import Stage
from genrec.experiment.run_folder import RunFolder


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache with stages of two runs, unfinished work and leftovers."""
    monkeypatch.chdir(tmp_path)
    root = Path("runs/.stages")
    for run, keys in {"first": ["v1", "m1"], "second": ["v1", "m2"]}.items():
        cache = Cache(root, quiet=True)
        with RunFolder(Path("runs") / run, root) as folder:
            for key in keys:
                stage = Stage("vectors" if key[0] == "v" else "model", "text", key)
                beside = [] if key[0] == "v" else [f"log-{key}.json"]

                def save(content, path, beside=beside):
                    path.write_text(content)
                    for name in beside:
                        (root / name).write_text("log")

                cache.get(
                    stage,
                    work=lambda: "x" * 1000,
                    save=save,
                    load=Path.read_text,
                    like=["shop", "tfidf"],
                    beside=beside,
                )
            folder.finish({"stages": cache.log})
    cache.get(Stage("ids", "text", "i1"), work=str, save=lambda _, path: path.write_text(""), load=Path.read_text)
    for name in ("training-t1", "unfinished-u1", "fitted-f1"):
        (root / name).mkdir()
        (root / name / "part").write_text("half")
    for name in ("made-ids-gone.json", "log-gone.json", "ids-x.999999999.partial"):
        (root / name).write_text("left")
    return root


def kinds(entries):
    return [(entry.kind, entry.key) for entry in entries]


LEFTOVERS = {("leftover", name) for name in ("made-ids-gone.json", "log-gone.json", "ids-x.999999999.partial")}
UNFINISHED = {("training", "t1"), ("unfinished", "u1"), ("fitted", "f1")}


def test_entries_have_size_inputs_and_runs(root):
    entries = cache_entries(root)
    assert {(e.kind, e.key): e.runs for e in entries if e.is_stage} == {
        ("vectors", "v1"): ("first", "second"),
        ("ids", "i1"): (),
        ("model", "m1"): ("first",),
        ("model", "m2"): ("second",),
    }
    assert set(kinds(entries)) >= LEFTOVERS | UNFINISHED
    assert [entry.kind for entry in entries][:4] == ["vectors", "ids", "model", "model"]
    vectors = entries[0]
    assert vectors.inputs == "shop, tfidf"
    assert vectors.size == 1000 + (root / "made-vectors-v1.json").stat().st_size
    assert time.time() - vectors.last_used < 100


def test_clean_removes_leftovers_and_old_unfinished_work(root):
    assert set(kinds(clean_cache(root, older_than=3600))) == LEFTOVERS
    assert set(kinds(clean_cache(root, dry_run=True))) == UNFINISHED
    assert set(kinds(clean_cache(root))) == UNFINISHED
    assert clean_cache(root) == []
    assert {entry.kind for entry in cache_entries(root)} == {"vectors", "ids", "model"}
    assert Cache(root).has(Stage("model", "text", "m1"))


def test_stages_that_no_run_uses_are_removed_on_request(root):
    assert set(kinds(clean_cache(root, unused=True, older_than=3600))) == LEFTOVERS
    assert ("ids", "i1") in kinds(clean_cache(root, unused=True))
    assert not (root / "made-ids-i1.json").exists()
    assert {entry.key for entry in cache_entries(root)} == {"v1", "m1", "m2"}


def test_the_last_use_of_a_stage_is_known(root):
    os.utime(root / "model-m1", (0, 0))
    os.utime(root / "log-m1.json", (0, 0))
    os.utime(root / "made-model-m1.json", (0, 0))
    cache = Cache(root, quiet=True)
    before = next(entry for entry in cache_entries(root) if entry.key == "m1").last_used
    cache.get(Stage("model", "text", "m1"), work=str, save=print, load=Path.read_text)
    after = next(entry for entry in cache_entries(root) if entry.key == "m1").last_used
    assert before == 0
    assert time.time() - after < 100


def test_work_in_progress_and_the_folder_of_a_running_process_stay(root):
    program = (
        "import sys\nfrom pathlib import Path\nfrom genrec.experiment.cache import Cache\n"
        "from genrec.experiment.run_folder import RunFolder\n"
        "root = Path('runs/.stages')\n"
        "with Cache(root).lock('model', 't1'), RunFolder(Path('runs/third'), root) as folder:\n"
        "    folder.write_text('recipe.yaml', 'title: x')\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    removed = kinds(clean_cache(root))
    assert ("training", "t1") not in removed
    assert ("leftover", "third/.new") not in removed
    other.kill()
    other.communicate()
    assert set(kinds(clean_cache(root))) == {("training", "t1"), ("leftover", "third/.new")}
    assert not Path("runs/third").exists()


def test_the_commands(root, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["cache", "list"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("runs/.stages: 10 entries, ")
    assert "first, second" in told
    assert told.splitlines()[-1].startswith("1 entry, ")
    assert "genrec cache clean --unused" in told.splitlines()[-1]
    assert main(["cache", "clean", "--dry-run", "--older-than", "0s"]) == 0
    assert capsys.readouterr().out.startswith("runs/.stages: would remove 6 entries, ")
    assert main(["cache", "clean", "--unused", "--older-than", "0s", "--json"]) == 0
    assert {(entry["kind"], entry["key"]) for entry in json.loads(capsys.readouterr().out)} == (
        LEFTOVERS | UNFINISHED | {("ids", "i1")}
    )
    assert main(["cache", "clean", "--older-than", "0s"]) == 0
    assert capsys.readouterr().out == "runs/.stages: nothing to remove\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["list", "--output", "nowhere"],
            "nowhere/.stages: no such folder, so there is no cache; expected the --output of a run",
        ),
        (["list"], "runs/.stages: no such folder, so there is no cache; pass the --output of the runs"),
        (
            ["clean", "--older-than", "soon"],
            "--older-than soon: expected a number and a unit, such as 90s, 30m, 12h or 7d",
        ),
    ],
)
def test_mistakes(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["cache", *words]) == 2
    assert capsys.readouterr().err == f"{message}\n"
