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
from genrec.types import Catalog

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


def written(file, content):
    if isinstance(content, np.ndarray):
        np.save(file, content)
    else:
        file.write_bytes(content)
    return Precomputed(file=str(file))


def header(shape, kind="<f4"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


INVALID = {
    "empty": (b"", "not an array of numbers: "),
    "text": (b"1,2\n3,4\n", "not an array of numbers: "),
    "a pickle": (b"\x80\x04N.", "not an array of numbers: "),
    "a header alone": (header((3, 2)), "not an array of numbers: "),
    "a shape of a trillion": (header((10**12, 2)) + bytes(24), "not an array of numbers: "),
    "an archive": (b"PK\x05\x06" + bytes(18), "found an archive of arrays (.npz), expected one array (.npy)"),
    "a single row": (np.ones(3), "expected numbers of shape (items, width), got float64 (3,)"),
    "one number": (np.array(1.0), "expected numbers of shape (items, width), got float64 ()"),
    "no width": (np.ones((3, 0)), ""),
    "texts": (np.array([["a"], ["b"], ["c"]]), "expected numbers of shape (items, width), got <U1 (3, 1)"),
    "complex numbers": (np.ones((3, 1), complex), "expected numbers of shape (items, width), got complex128 (3, 1)"),
    "too large for float32": (np.full((3, 1), 1e300), "the vector of 'item-0' is not finite"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("content", "message"), INVALID.values(), ids=INVALID)
def test_an_invalid_array_is_one_error(tmp_path, catalog, no_histories, content, message):
    encoder = written(tmp_path / "v.npy", content)
    (tmp_path / "v.npy.keys.json").write_text('["item-0", "item-1", "item-2"]')
    with pytest.raises(DataError) as caught:
        encoder.encode(catalog, no_histories, context=WorkContext(seed=0))
    assert str(caught.value).startswith(f"{tmp_path / 'v.npy'}: {message}")


@pytest.mark.parametrize("keys", [b"\xef\xbb\xbf0\r\n 1 \r\n2", b"[0, 1.0, 2]", b"0.0\r1.0\r2.0"])
def test_keys_are_matched_as_numbers_and_without_blanks(tmp_path, no_histories, keys):
    encoder = written(tmp_path / "v.npy", np.array([[0.0], [1.0], [2.0]]) + 1)
    (tmp_path / "v.npy.keys.json").write_bytes(keys)
    catalog = Catalog(("2", "1", "0"), ("",) * 3, ("",) * 3, ((),) * 3)
    vectors = encoder.encode(catalog, no_histories, context=WorkContext(seed=0))
    assert vectors.vectors_IE.tolist() == [[3.0], [2.0], [1.0]]
    assert vectors.notes == ()


def test_a_key_that_is_missing_is_an_error(tmp_path, catalog, no_histories):
    for key in (None, float("nan")):
        polars.DataFrame({"key": [1.0, key], "vector": [[1.0], [2.0]]}).write_parquet(tmp_path / "v.parquet")
        with pytest.raises(DataError, match=r"v.parquet: (a key or a vector is null|key nan is blank or no key)"):
            Precomputed(file=str(tmp_path / "v.parquet")).encode(catalog, no_histories, context=WorkContext(seed=0))


def test_vectors_that_distinguish_nothing_and_keys_that_hardly_match_are_noted(tmp_path, catalog, no_histories):
    keys = tmp_path / "v.npy.keys.json"
    keys.write_text('["item-0", "item-1", "item-2"]')

    def notes(vectors):
        encoder = written(tmp_path / "v.npy", np.array(vectors))
        return encoder.encode(catalog, no_histories, context=WorkContext(seed=0)).notes

    assert notes([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]) == (
        "all 3 vectors are equal: the stream cannot distinguish items",
    )
    assert notes([[0.0], [0.0], [0.0]]) == ("all 3 vectors are equal: the stream cannot distinguish items",)
    assert notes([[0.0], [1.0], [0.0]]) == ("2 of 3 vectors are zero: the stream cannot distinguish these items",)
    assert notes([[1.0], [1.0], [2.0]]) == ()
    keys.write_text('["item-0", "B1", "B2"]')
    assert notes([[1.0], [1.0], [2.0]])[0] == (
        "2 of 3 items have no vector in v.npy (its keys: 'item-0', 'B1', 'B2'; items: 'item-0', 'item-1', 'item-2')"
    )
