"""Finished stages: loaded where they are whole, worked out where they are not, and what decides a key."""

import os
import subprocess
import sys

import numpy as np
import pytest

from genrec.experiment import keys
from genrec.experiment.cache import Cache
from genrec.experiment.keys import Stage, make_key
from genrec.experiment.storage import load_ids, load_vectors, save_ids, save_vectors
from genrec.types import ItemVectors, SemanticIds
from tests.damaged_files import DAMAGES


def ask(cache, key="k", *, work=lambda: "content", save=lambda text, path: path.write_text(text)):
    return cache.get(Stage("ids", "text", key), work=work, save=save, load=lambda path: path.read_text())


def never():
    raise AssertionError("this was finished before")


def test_a_finished_stage_is_not_worked_out_again(tmp_path):
    first, second = Cache(tmp_path / "stages"), Cache(tmp_path / "stages")
    assert ask(first) == "content"
    assert (tmp_path / "stages" / "ids-k").read_text() == "content"
    assert ask(second, work=never) == ask(first, work=never)
    assert ask(second, "other", work=lambda: "new") == "new"
    entry = {"kind": "ids", "name": "text", "key": "k"}
    assert first.log == [entry | {"reused": False}, entry | {"reused": True}]
    assert second.log == [entry | {"reused": True}, entry | {"key": "other", "reused": False}]


def test_what_was_interrupted_is_worked_out_again(tmp_path):
    def dies(text, path):
        path.write_text("half a cont")
        raise KeyboardInterrupt

    cache = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ask(cache, save=dies)
    with pytest.raises(ZeroDivisionError):
        ask(cache, work=lambda: 1 / 0)
    assert not cache.path("ids", "k").exists()
    assert ask(cache) == "content"


def whole(folder):
    """A finished stage of two files, and that of another run in ``other``; returns a function to ask for it."""

    def get(cache, content="content", key="k"):
        def save(text, path):
            path.write_text(f"a long {text}")
            (path.parent / f"log-{key}.json").write_text(f"log of {text}")

        return cache.get(
            Stage("model", "text", key),
            work=lambda: content,
            save=save,
            load=lambda path: path.read_text().removeprefix("a long "),
            beside=[f"log-{key}.json"],
        )

    get(Cache(folder))
    get(Cache(folder / "other"), "other content")
    return get


@pytest.mark.parametrize("name", ["model-k", "log-k.json", "made-model-k.json"])
@pytest.mark.parametrize("how", sorted(DAMAGES))
def test_a_damaged_stage_is_reported_and_computed_again(name, how, tmp_path, capsys):
    get, stage = whole(tmp_path), Stage("model", "text", "k")
    assert Cache(tmp_path).has(stage)
    DAMAGES[how](tmp_path / name, tmp_path / "other" / name)
    cache = Cache(tmp_path)
    assert not cache.has(stage)
    capsys.readouterr()
    assert get(cache) == "content"
    assert cache.log[-1]["reused"] is False
    assert capsys.readouterr().err.count("this stage is computed again") == 0, "it was reported once"
    assert (tmp_path / "model-k").read_text() == "a long content"
    again = Cache(tmp_path)
    assert get(again, "never") == "content"
    assert again.log[-1]["reused"] is True
    assert capsys.readouterr().err == "model of text: found in the cache (model-k)\n"


def test_what_is_damaged_is_named(tmp_path, capsys):
    whole(tmp_path)
    for name, problem in {
        "log-k.json": "log-k.json is missing",
        "made-model-k.json": "has no checksum (its record is damaged or from an earlier version)",
    }.items():
        (tmp_path / name).unlink()
        capsys.readouterr()
        assert not Cache(tmp_path).has(Stage("model", "text", "k"))
        assert capsys.readouterr().err == f"{tmp_path / 'model-k'}: {problem}; this stage is computed again\n"


def test_temporary_files_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (tmp_path / f"ids-k.{pid}.partial").write_text("half")
    ask(Cache(tmp_path))
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"ids-k", "made-ids-k.json", "locks", f"ids-k.{os.getppid()}.partial"}


def test_another_run_that_finished_the_same_stage_meanwhile_does_no_harm(tmp_path):
    """On a file system without locks."""
    cache = Cache(tmp_path)

    def save(text, path):
        path.write_text(text)
        cache.path("ids", "k").write_text("content")

    assert ask(cache, save=save) == "content"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ids-k", "locks", "made-ids-k.json"]


def test_nothing_is_made_before_there_is_something_to_store(tmp_path):
    Cache(tmp_path / "stages").path("ids", "k")
    assert not (tmp_path / "stages").exists()


def test_a_key_depends_on_all_and_only_on_content(monkeypatch):
    parts = {"component": {"block": {"type": "x", "k": 3}, "source": "abc"}, "seed": 1}
    assert make_key(**parts) == make_key(seed=1, component={"source": "abc", "block": {"k": 3, "type": "x"}})
    others = [
        make_key(component=parts["component"], seed=2),
        make_key(component={**parts["component"], "source": "abd"}, seed=1),
        make_key(component=parts["component"], seed=None),
        make_key(component=parts["component"], seed=1, more=None),
        make_key(component=["a", "b"], seed=1),
        make_key(component=["b", "a"], seed=1),
    ]
    monkeypatch.setattr(keys, "FORMAT", keys.FORMAT + 1)
    others.append(make_key(**parts))
    monkeypatch.undo()
    assert len({make_key(**parts), *others}) == len(others) + 1


def test_vectors_survive_their_file(tmp_path):
    vectors = ItemVectors(
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3)), np.array([1, 0, 1, 1], bool), ("random ü",)
    )
    save_vectors(vectors, tmp_path / "vectors")
    loaded = load_vectors(tmp_path / "vectors")
    np.testing.assert_array_equal(loaded.vectors_IE, vectors.vectors_IE)
    np.testing.assert_array_equal(loaded.present_I, vectors.present_I)
    assert loaded.notes == vectors.notes


def test_ids_survive_their_file(tmp_path):
    codes_IL = np.array([[0, 1], [-1, -1], [2, 0]], dtype=np.int32)
    ids = SemanticIds(codes_IL, (np.int64(3), 2), {"level/0": np.eye(3), "mean": np.zeros(2, np.float32)}, 4)
    save_ids(ids, tmp_path / "ids")
    loaded = load_ids(tmp_path / "ids")
    np.testing.assert_array_equal(loaded.codes_IL, codes_IL)
    assert (loaded.vocabulary_sizes, loaded.collisions) == ((3, 2), 4)
    assert loaded.codebook.keys() == ids.codebook.keys()
    for name, part in ids.codebook.items():
        np.testing.assert_array_equal(loaded.codebook[name], part)
        assert loaded.codebook[name].dtype == part.dtype


def test_what_a_stage_took_is_kept_beside_it(tmp_path):
    cache = Cache(tmp_path)
    ask(cache)
    made = cache.facts("ids", "k")
    assert made["seconds"] >= 0
    assert made["peak_bytes"] is None or made["peak_bytes"] > 1_000_000
    assert cache.all_facts("ids") == [made]
    assert cache.facts("ids", "another") == {}
    (tmp_path / "made-ids-k.json").write_text("broken")
    assert cache.facts("ids", "k") == {}


def test_stages_of_another_device_or_number_of_threads_are_a_note(tmp_path):
    one, two = "cpu with 1 thread", "cpu with 2 threads"
    for key, machine in (("a", two), ("b", one), ("c", ""), ("d", two)):
        ask(Cache(tmp_path, machine=machine), key)
    stages = [Stage("ids", f"stream {key}", key) for key in "abcda"]
    assert Cache(tmp_path, machine=one).facts("ids", "a")["machine"] == two
    end = "results may differ from those of one machine"
    assert Cache(tmp_path, machine=one).machine_notes(stages) == [
        f"cache: ids of stream a, ids of stream d computed on {two}, the rest on {one}; {end}"
    ]
    assert Cache(tmp_path).machine_notes(stages) == [
        f"cache: ids of stream b computed on {one}, the rest on {two}; {end}"
    ]
    assert Cache(tmp_path, machine=two).machine_notes([stages[0], stages[2], stages[3]]) == []
    assert Cache(tmp_path).machine_notes([]) == []


@pytest.mark.slow
def test_a_stage_that_another_process_is_at_is_waited_for(tmp_path, capsys):
    cache = Cache(tmp_path)
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom genrec.experiment.cache import Cache\n"
        "from genrec.experiment.keys import Stage\n"
        "def work():\n    print('working', flush=True)\n    time.sleep(1)\n    return 'content'\n"
        "save, load = (lambda text, path: path.write_text(text)), (lambda path: path.read_text())\n"
        "Cache(Path(sys.argv[1])).get(Stage('ids', 'text', 'k'), work=work, save=save, load=load)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "working\n"
    assert ask(cache, work=never) == "content"
    assert "waiting for another process that is computing it" in capsys.readouterr().err
    other.wait()
    assert ask(cache, "other", work=lambda: "new") == "new"
