"""Vectors from files: matched by key, never by position; errors of each malformed file."""

import json

import numpy as np
import polars
import pytest
from safetensors.numpy import save_file

from genrec.errors import DataError
from genrec.experiment.keys import component_key
from genrec.item_encoders.precomputed import Precomputed
from genrec.runtime.environment import Environment, WorkContext

KEYS = ["item-2", "stranger", "item-0"]
VECTORS = np.array([[2.0, 2.5], [9.0, 9.5], [0.0, 0.5]], dtype=np.float32)


@pytest.fixture
def catalog(catalog_of):
    return catalog_of(["a", "b", "c"])


def _write(kind, folder):
    match kind:
        case "parquet":
            file = folder / "vectors.parquet"
            polars.DataFrame({"key": KEYS, "vector": VECTORS.tolist()}).write_parquet(file)
        case "parquet array":
            file = folder / "vectors.parquet"
            vector = polars.Series("vector", VECTORS, dtype=polars.Array(polars.Float32, 2))
            polars.DataFrame({"key": KEYS}).with_columns(vector).write_parquet(file)
        case "safetensors metadata":
            file = folder / "vectors.safetensors"
            save_file({"vectors": VECTORS}, file, metadata={"keys": json.dumps(KEYS)})
        case "safetensors beside":
            file = folder / "vectors.safetensors"
            save_file({"vectors": VECTORS}, file)
            (folder / "vectors.safetensors.keys.json").write_text(json.dumps(KEYS))
        case "npy lines":
            file = folder / "vectors.npy"
            np.save(file, VECTORS.astype(np.float64))
            (folder / "names.txt").write_text("\n".join(KEYS) + "\n")
            return Precomputed(file=str(file), keys=str(folder / "names.txt"))
    return Precomputed(file=str(file))


@pytest.mark.parametrize(
    "kind", ["parquet", "parquet array", "safetensors metadata", "safetensors beside", "npy lines"]
)
def test_every_format_is_matched_by_key(kind, tmp_path, catalog, no_histories):
    encoder = _write(kind, tmp_path)
    vectors = encoder.encode(catalog, no_histories, context=WorkContext(seed=0))
    assert vectors.vectors_IE.tolist() == [[0.0, 0.5], [0.0, 0.0], [2.0, 2.5]]
    assert vectors.present_I.tolist() == [True, False, True]
    name = encoder.file.rpartition("/")[2]
    assert vectors.notes == (
        f"1 of 3 items have no vector in {name}",
        f"1 keys of {name} are not items of this dataset",
    )


def test_identity_follows_the_content(tmp_path):
    encoder = _write("safetensors beside", tmp_path)
    before = component_key(encoder, Environment())
    assert component_key(encoder, Environment()) == before
    (tmp_path / "vectors.safetensors.keys.json").write_text(json.dumps(KEYS[::-1]))
    other_keys = component_key(encoder, Environment())
    assert other_keys != before
    save_file({"vectors": VECTORS + 1}, tmp_path / "vectors.safetensors")
    assert component_key(encoder, Environment()) != other_keys


@pytest.mark.parametrize("place", ["data", "recipe"])
def test_a_file_is_also_looked_for_in_the_folders_of_data_and_recipe(place, tmp_path, catalog, no_histories):
    _write("parquet", tmp_path)
    encoder, context = Precomputed(file="vectors.parquet"), WorkContext(environment=Environment(**{place: tmp_path}))
    assert encoder.encode(catalog, no_histories, context=context).present_I.sum() == 2
    assert encoder.input_files(context.environment) == (tmp_path / "vectors.parquet",)


def test_malformed_files(tmp_path, catalog, no_histories):
    def message(encoder):
        with pytest.raises(DataError) as caught:
            encoder.encode(catalog, no_histories, context=WorkContext(seed=0))
        return str(caught.value).replace(f"{tmp_path}/", "")

    file = tmp_path / "v.npy"
    assert message(Precomputed(file=str(file))) == (f"v.npy: no such file or folder, looked in {Environment().places}")
    np.save(file, VECTORS)
    assert message(Precomputed(file=str(file))) == (
        "v.npy: the keys of its vectors are missing; expected v.npy.keys.json beside it, or `keys:` "
        "with a file of the keys (a JSON list or one per line, in the order of the rows)"
    )
    keys = tmp_path / "v.npy.keys.json"
    keys.write_text('["item-0", "item-1"]')
    assert message(Precomputed(file=str(file))) == "v.npy: 3 vectors for 2 keys; expected one key for each vector"
    keys.write_text('["item-0", "item-1", "item-0"]')
    assert message(Precomputed(file=str(file))) == (
        "v.npy: key 'item-0' occurs twice; expected one vector for each item"
    )
    keys.write_text('["B00", "B01", "B02"]')
    assert message(Precomputed(file=str(file))) == (
        "v.npy: none of its 3 keys (e.g. 'B00', 'B01', 'B02') is an item of this dataset (e.g. 'item-0', 'item-1', "
        "'item-2'); expected the source's own item keys"
    )
    keys.write_text('["item-0", "item-1", "item-2"]')
    np.save(file, np.array([[1.0], [np.nan], [2.0]]))
    assert message(Precomputed(file=str(file))) == "v.npy: the vector of 'item-1' is not finite"
    np.save(file, np.array([{"a": 1}], dtype=object))
    assert message(Precomputed(file=str(file))).startswith("v.npy: not an array of numbers: Array can't")
    polars.DataFrame({"item": ["a"]}).write_parquet(tmp_path / "v.parquet")
    assert message(Precomputed(file=str(tmp_path / "v.parquet"))) == (
        "v.parquet: expected the columns 'key' and 'vector', found item"
    )
    polars.DataFrame({"key": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}).write_parquet(tmp_path / "v.parquet")
    assert message(Precomputed(file=str(tmp_path / "v.parquet"))) == "v.parquet: vectors differ in width: 1 to 2"
    save_file({"weights": VECTORS}, tmp_path / "v.safetensors", metadata={"keys": json.dumps(KEYS)})
    assert message(Precomputed(file=str(tmp_path / "v.safetensors"))) == (
        "v.safetensors: no tensor is called 'vectors'; there are weights"
    )
    (tmp_path / "v.pkl").write_bytes(b"")
    assert message(Precomputed(file=str(tmp_path / "v.pkl"))) == (
        "v.pkl: files ending in '.pkl' are not read; use .parquet, .safetensors or .npy"
    )
