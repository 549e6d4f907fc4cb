"""New items of a file in a finished run: another run, which recommends them beside the known ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import genrec
from genrec.datasets.showroom import Showroom
from genrec.errors import DataError, RecipeError
from genrec.experiment.storage import load_vectors
from genrec.runtime.checksums import checksum, seal, verify
from genrec.runtime.files import write_json
from tests.damaged_files import forget_checksums

pytestmark = pytest.mark.slow

CATALOG = Showroom(items=60, users=120).load().catalog
TWIN = 4
"""A known item of which there is a copy."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENREC_DATA", raising=False)


def entry(item: int, key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "title": CATALOG.titles[item], "text": CATALOG.texts[item], **changes}


def items_file(*entries: dict[str, Any], name: str = "new.jsonl") -> Path:
    file = Path(name)
    file.write_text("\n".join(map(json.dumps, entries)) + "\n", encoding="utf-8")
    return file


def versions(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "versions.json").read_text(encoding="utf-8"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".stages" not in file.parts
    }


def test_a_copy_of_a_known_item_is_found_beside_it_and_the_old_run_stays(small_run: Path) -> None:
    before = content(small_run)
    run = genrec.add_items(small_run, items_file(entry(TWIN, "twin"), entry(7, "other")), "grown")
    assert content(small_run) == before
    assert run.path == Path("grown")
    for file in content(run.path):
        verify(run.path / file)
    assert run.report.rows[0].metrics == genrec.load_run(small_run).report.rows[0].metrics, "the old results"
    items = json.loads((run.path / "items.json").read_text(encoding="utf-8"))
    old = json.loads((small_run / "items.json").read_text(encoding="utf-8"))
    assert items["keys"] == [*old["keys"], "twin", "other"]
    assert items["titles"][-2:] == [CATALOG.titles[TWIN], CATALOG.titles[7]]
    assert items["counts"] == [*old["counts"], 0, 0]
    text_IE = load_file(run.path / "streams/text/vectors.safetensors")["vectors_IE"]
    assert np.allclose(text_IE[60], text_IE[TWIN], atol=1e-5)
    found = {item.key for item in run.recommender().recommend([[CATALOG.keys[3], "twin"]], 62, seen="keep")[0]}
    assert {"twin", "other"} <= found


def test_what_was_added_is_recorded(small_run: Path) -> None:
    file = items_file(entry(TWIN, "twin"), {"key": "bare"})
    run = genrec.add_items(small_run, file, "grown")
    [version] = versions(run.path)
    mark = json.loads((small_run / "run.json").read_text(encoding="utf-8"))
    assert version["from"] == {"folder": str(small_run.absolute()), "model": mark["model"]}
    assert version["file"] == str(file.absolute())
    assert version["items"] == ["twin", "bare"]
    assert version["genrec"] == genrec.__version__
    assert version["streams"] == {
        "behavior": {"nearest in text": ["twin"], "left out": ["bare"]},
        "text": {"encoded": ["twin"], "left out": ["bare"]},
        "visual": {"nearest in text": ["twin"], "left out": ["bare"]},
    }
    grown = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert grown["verb"] == "run"
    assert grown["finished"] is True
    assert grown["model"] not in (mark["model"], None)
    assert grown["seconds"] == mark["seconds"]


def test_adding_again_extends_the_record_and_keeps_what_was_added(small_run: Path) -> None:
    first = genrec.add_items(small_run, items_file(entry(TWIN, "twin")), "one")
    second = genrec.add_items(first, items_file(entry(8, "more"), entry(TWIN, "third")), "two")
    assert [version["items"] for version in versions(second.path)] == [["twin"], ["more", "third"]]
    assert [load_vectors(Path(run, "streams/text/vectors.safetensors")).num_added for run in ("one", "two")] == [1, 3]
    for stream in ("behavior", "text", "visual"):
        old, new = (load_file(Path(run, f"streams/{stream}/ids.safetensors")) for run in ("one", "two"))
        assert np.array_equal(new["codes_IL"][:61], old["codes_IL"])
        vectors = load_file(Path("two", f"streams/{stream}/vectors.safetensors"))["vectors_IE"]
        assert np.array_equal(
            vectors[:61], load_file(Path("one", f"streams/{stream}/vectors.safetensors"))["vectors_IE"]
        )
    both = [load_file(Path(run, "model.safetensors")) for run in ("one", "two")]
    table = next(name for name in both[0] if name.endswith("item_table.weight"))
    assert np.array_equal(both[1][table][:61], both[0][table][:61])
    assert not both[1][table][-1].any(), "padding stays the last row"
    message = refusal(second.path, items_file(entry(1, "twin")), "three")
    assert message.startswith("new.jsonl:1: key 'twin' is an item of the run already (1 such items")


def refusal(run: Path, items: Path, output: str, **options: Any) -> str:
    with pytest.raises((DataError, RecipeError)) as caught:
        genrec.add_items(run, items, output, **options)
    assert not Path(output, "model.safetensors").exists() or output == str(run)
    return str(caught.value)


def test_mistakes_have_one_message_and_write_nothing(small_run: Path) -> None:
    file = items_file(entry(TWIN, "twin"))
    assert refusal(small_run, file, str(small_run)) == (
        f"{small_run}: is the run itself, which stays as it is; pass another folder to --output"
    )
    shutil.copytree(small_run, "taken", ignore=shutil.ignore_patterns(".stages"))
    with pytest.raises(DataError) as caught:
        genrec.add_items(small_run, file, "taken")
    assert str(caught.value) == "taken: has a finished run; pass another folder to --output"
    assert refusal(small_run, file, "out", vectors={"sound": "v.npy"}) == (
        "--vectors sound=v.npy: unknown stream, expected one of behavior, text, visual"
    )
    assert refusal(small_run, file, "out", vectors={"text": "v.npy"}) == "--vectors text=v.npy: no such file"
    assert not Path("out").exists()


def test_an_encoder_that_is_fitted_again_must_give_the_stored_vectors(small_run: Path) -> None:
    shutil.copytree(small_run, "changed", ignore=shutil.ignore_patterns(".stages"))
    forget_checksums(Path("changed"))
    file = Path("changed/streams/text/vectors.safetensors")
    tensors = load_file(file)
    tensors["vectors_IE"][2] *= -1
    save_file(tensors, file, metadata={"notes": "[]"})
    message = refusal(Path("changed"), items_file(entry(TWIN, "twin")), "out")
    assert message.startswith("tfidf: fitted again to the known items, it gives item 'item-3' another vector than the ")
    assert message.endswith(
        "expected the data of the run (--data) and the versions of libraries that it was computed with"
    )


def test_vectors_of_new_items_may_be_given(small_run: Path) -> None:
    known_IE = load_file(small_run / "streams/visual/vectors.safetensors")["vectors_IE"]
    save_file({"vectors": known_IE[[TWIN]]}, "given.safetensors", metadata={"keys": '["twin"]'})
    run = genrec.add_items(
        small_run, items_file(entry(TWIN, "twin"), entry(5, "x")), "grown", vectors={"visual": "given.safetensors"}
    )
    assert versions(run.path)[0]["streams"]["visual"] == {"encoded": ["twin"], "nearest in text": ["x"]}
    grown_IE = load_file(run.path / "streams/visual/vectors.safetensors")["vectors_IE"]
    assert np.array_equal(grown_IE[60], known_IE[TWIN])
    save_file({"vectors": known_IE[[TWIN], :3].copy()}, "narrow.safetensors", metadata={"keys": '["twin"]'})
    message = refusal(small_run, items_file(entry(TWIN, "twin")), "out", vectors={"visual": "narrow.safetensors"})
    assert message == (
        f"narrow.safetensors: vectors have 3 numbers, expected {known_IE.shape[1]} as those of the stream 'visual'"
    )


def test_what_describes_the_former_model_of_an_export_is_left_out(small_run: Path) -> None:
    export = genrec.export(small_run, "export", images=True)
    record = json.loads((export / "run.json").read_text(encoding="utf-8"))
    (export / "onnx").mkdir()
    (export / "onnx" / "text.onnx").write_bytes(b"a model without the new items")
    record["files"]["onnx/text.onnx"] = checksum(export / "onnx" / "text.onnx")
    write_json(export / "run.json", seal({key: value for key, value in record.items() if key != "checksum"}))
    grown = genrec.add_items(export, items_file(entry(TWIN, "twin")), "grown")
    assert content(export).keys() - content(grown.path).keys() == {"README.md", "onnx/text.onnx"}
    assert str(export.absolute()) in json.dumps(versions(grown.path))
    again = grown.export("again")
    assert genrec.export(again, "third").is_dir()
    for place in (again, Path("third")):
        [version] = versions(place)
        assert (version["items"], version["file"]) == (["twin"], "new.jsonl")
        assert str(Path.cwd()) not in json.dumps(version), "the folders of the machine are not published"
    card = (again / "README.md").read_text(encoding="utf-8")
    assert "\n- Added items: 1 of 61 items were added after training; the results are from before.\n" in card
