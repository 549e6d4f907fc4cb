"""Devices by name, and the places where a file is looked for."""

from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ValidationError

from genrec.errors import DataError, GenrecError
from genrec.runtime.environment import Environment, InputFile, WorkContext


def test_devices_go_by_their_names():
    assert Environment("cpu").torch_device == torch.device("cpu")
    assert Environment().torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert WorkContext(environment=Environment("cpu")).device == torch.device("cpu")
    Environment("cpu").check_device()
    Environment().check_device()


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(GenrecError, match=r"^--device abacus: cannot be used \(.*\); expected auto, cpu, or"):
        Environment("abacus").check_device()


def test_a_file_is_looked_for_as_named_then_beside_the_recipe_then_in_the_data_folder(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("here", "recipe", "data")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["here"])
    environment = Environment(recipe=folders["recipe"], data=folders["data"])
    assert environment.locate("v.npy") is None
    for name in ("data", "recipe"):
        (folders[name] / "v.npy").touch()
        assert environment.find("v.npy") == folders[name] / "v.npy"
    (folders["here"] / "v.npy").touch()
    assert environment.find("v.npy") == Path("v.npy")
    assert environment.find(str(folders["data"] / "v.npy")) == folders["data"] / "v.npy"
    assert WorkContext(environment=environment).find_file("v.npy") == Path("v.npy")


def test_a_missing_file_is_said_with_the_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        Environment(recipe=Path("recipes"), data=Path("data")).find("v.npy")
    assert str(caught.value) == f"v.npy: no such file or folder, looked in {tmp_path}, recipes, data"
    with pytest.raises(DataError, match=r"no data folder: pass --data DIR or set GENREC_DATA\)$"):
        Environment().find("v.npy")
    with pytest.raises(DataError, match="is a folder, expected a file"):
        Environment().find_file(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        ("given", ["data/shop", "shop"], "given"),
        (None, ["data/shop", "shop"], "recipes/data"),
        (None, ["data", "shop"], "recipes"),
        (None, ["data", "rows.csv"], "recipes"),
        (None, ["data"], "recipes/data"),
        (None, ["table"], None),
        (None, [], None),
    ],
)
def test_data_is_found_beside_the_recipe(tmp_path, given, there, expected):
    folder = tmp_path / "recipes"
    for name in ("", *there):
        (folder / name).mkdir(parents=True, exist_ok=True)
    environment = Environment(recipe=folder, data=given and tmp_path / given)
    block = {"type": "table", "folder": "shop", "interactions": "rows.csv", "title": "", "items": None, "core": 5}
    found = environment.for_dataset(block)
    assert found.data == (expected and tmp_path / expected)
    assert found.recipe == folder
    assert Environment().for_dataset(block).data is None


def test_an_input_file_is_text_that_knows_what_it_is():
    class Settings(BaseModel):
        file: InputFile

    for name in ("codes.json", Path("codes.json")):
        file = Settings.model_validate({"file": name}).file
        assert file == "codes.json"
        assert isinstance(file, InputFile)
    assert Settings.model_json_schema()["properties"]["file"]["type"] == "string"
    with pytest.raises(ValidationError):
        Settings.model_validate({"file": ""})
