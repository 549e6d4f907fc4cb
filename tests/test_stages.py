"""Finished stages: loaded where they are whole, worked out where they are not, and what decides an address."""

import os
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

import genrec.stages
from genrec.errors import DataError
from genrec.families import ItemEncoder
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.cooccurrence import Cooccurrence
from genrec.item_encoders.tfidf import Tfidf
from genrec.runtime.environment import Environment, InputFile
from genrec.stages import Stages, address, component_identity, load_ids, load_vectors, save_ids, save_vectors
from genrec.types import ItemVectors, SemanticIds


def ask(stages, key="k", *, work=lambda: "content", save=lambda text, path: path.write_text(text)):
    return stages.get("codes", key, name="text", work=work, save=save, load=lambda path: path.read_text())


def never():
    raise AssertionError("this was finished before")


def test_a_finished_stage_is_not_worked_out_again(tmp_path):
    first, second = Stages(tmp_path / "stages"), Stages(tmp_path / "stages")
    assert ask(first) == ("content", tmp_path / "stages" / "codes-k")
    assert ask(second, work=never) == ask(first, work=never)
    assert ask(second, "other", work=lambda: "new")[0] == "new"
    entry = {"kind": "codes", "name": "text", "address": "k"}
    assert first.log == [entry | {"reused": False}, entry | {"reused": True}]
    assert second.log == [entry | {"reused": True}, entry | {"address": "other", "reused": False}]


def test_what_was_interrupted_is_worked_out_again(tmp_path):
    def dies(text, path):
        path.write_text("half a cont")
        raise KeyboardInterrupt

    stages = Stages(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        ask(stages, save=dies)
    with pytest.raises(ZeroDivisionError):
        ask(stages, work=lambda: 1 / 0)
    assert not stages.path("codes", "k").exists()
    assert ask(stages)[0] == "content"


def test_two_runs_at_one_stage_do_not_write_to_one_file(tmp_path, monkeypatch):
    """Another process finishes the same stage while this one writes."""

    def save(text, path):
        path.write_text(text)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: -1)
            if not stages.path("codes", "k").exists():
                ask(stages)

    stages = Stages(tmp_path)
    assert ask(stages, save=save)[0] == "content"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["codes-k", "made-codes-k.json"]


def test_nothing_is_made_before_there_is_something_to_store(tmp_path):
    Stages(tmp_path / "stages").path("codes", "k")
    assert not (tmp_path / "stages").exists()


def test_an_address_depends_on_all_and_only_on_content(monkeypatch):
    parts = {"component": {"block": {"type": "x", "k": 3}, "source": "abc"}, "seed": 1}
    assert address(**parts) == address(seed=1, component={"source": "abc", "block": {"k": 3, "type": "x"}})
    others = [
        address(component=parts["component"], seed=2),
        address(component={**parts["component"], "source": "abd"}, seed=1),
        address(component=parts["component"], seed=None),
        address(component=parts["component"], seed=1, more=None),
        address(component=["a", "b"], seed=1),
        address(component=["b", "a"], seed=1),
    ]
    monkeypatch.setattr(genrec.stages, "__version__", "0.0.0-other")
    others.append(address(**parts))
    monkeypatch.undo()
    assert len({address(**parts), *others}) == len(others) + 1


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
    stages = Stages(tmp_path)
    ask(stages)
    made = stages.made("codes", "k")
    assert made["seconds"] >= 0
    assert made["peak_bytes"] is None or made["peak_bytes"] > 1_000_000
    assert stages.all_made("codes") == [made]
    assert stages.made("codes", "another") == {}
    (tmp_path / "made-codes-k.json").write_text("broken")
    assert stages.made("codes", "k") == {}


def test_a_stage_that_another_process_is_at_is_waited_for(tmp_path, capsys):
    stages = Stages(tmp_path)
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom genrec.stages import Stages\n"
        "with Stages(Path(sys.argv[1])).alone('codes', 'k'):\n"
        "    print('working', flush=True)\n    time.sleep(1)\n"
        "    (Path(sys.argv[1]) / 'codes-k').write_text('content')\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "working\n"
    with stages.alone("codes", "k"):
        assert ask(stages, work=never)[0] == "content"
    assert "another process is at it; waiting" in capsys.readouterr().err
    other.wait()
    with stages.alone("codes", "other"):
        assert ask(stages, "other", work=lambda: "new")[0] == "new"


class Reading(ItemEncoder):
    """Reads a file."""

    type_name: ClassVar[str] = "reading"
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    file: InputFile
    """The file."""
    batch_size: int = 32
    """Changes no number."""

    def encode(self, catalog, train, *, context):
        raise AssertionError("nobody encodes here")


def test_a_component_is_known_by_what_decides_its_work_and_so_are_those_inside_it(tmp_path):
    (tmp_path / "a").write_text("one")
    environment = Environment(data=tmp_path)

    def identity(file="a", *, wrapped=False, dim=128, **fields):
        component = Reading.model_validate({"file": file, **fields})
        if wrapped:
            component = Concatenation(encoders=(Tfidf(dim=dim), component))
        return component_identity(component, environment)

    assert identity(batch_size=1) == identity()
    assert identity(batch_size=1, wrapped=True) == identity(wrapped=True)
    assert "batch_size" not in identity()["block"]
    assert identity(dim=3, wrapped=True) != identity(wrapped=True)
    sources = [
        component_identity(Concatenation(encoders=(part,)), environment)["source"] for part in (Tfidf(), Cooccurrence())
    ]
    assert sources[0] != sources[1]
    before = identity(), identity(wrapped=True)
    (tmp_path / "a").write_text("another")
    assert identity()["files"] != before[0]["files"]
    assert identity(wrapped=True)["files"] != before[1]["files"]
    with pytest.raises(DataError, match=f"^gone: no such file or folder, looked in .*{tmp_path}$"):
        identity("gone", wrapped=True)
