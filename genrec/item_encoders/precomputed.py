"""Item vectors from a file, matched by item key, never by position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from genrec.errors import DataError
from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.formats.keys import examples, key_list, key_text, match_keys, read_keys
from genrec.item_encoders._new_items import NO_HISTORIES, all_absent
from genrec.item_encoders._rows import place
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.types import Catalog, Histories, ItemVectors


@item_encoders.register("precomputed")
class Precomputed(ItemEncoder):
    """Vectors from a .safetensors, .parquet or .npy file, matched by item key."""

    reads_histories = False

    file: InputFile
    """``.parquet`` (columns ``key`` and ``vector``), ``.safetensors`` (tensor ``vectors``) or ``.npy``, searched
    as given, beside the recipe and in the data folder. In the last two, row i belongs to key i of ``keys``."""
    keys: InputFile | None = None
    """File of the keys, a JSON list or one per line. By default the JSON list ``keys`` in the metadata of a
    safetensors file that has it, otherwise ``<file>.keys.json``."""

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The vectors and, unless they are in the same file, their keys."""
        file = environment.find_file(self.file)
        keys = self._keys_file(file, environment)
        return (file,) if keys is None else (file, keys)

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        file = context.find_file(self.file)
        keys, vectors_NE = self._read(file, context.environment)
        if vectors_NE.ndim != 2 or not vectors_NE.shape[1] or vectors_NE.dtype.kind not in "fiu":
            raise DataError(
                f"{file}: expected numbers of shape (items, width), got {vectors_NE.dtype} {vectors_NE.shape}"
            )
        if len(keys) != len(vectors_NE):
            raise DataError(f"{file}: {len(vectors_NE)} vectors for {len(keys)} keys; expected one key for each vector")
        row_of = {key: row for row, key in enumerate(keys)}
        if len(row_of) != len(keys):
            twice = next(key for row, key in enumerate(keys) if row_of[key] != row)
            raise DataError(f"{file}: key {twice!r} occurs twice; expected one vector for each item")
        row_of = {item: row_of[key] for key, item in match_keys(catalog.keys, keys).items()}
        rows_I = np.array([row_of.get(key, -1) for key in catalog.keys])
        present_I = rows_I >= 0
        if not present_I.any():
            raise DataError(
                f"{file}: none of its {len(keys)} keys (e.g. {examples(keys)}) is an item of this "
                f"dataset (e.g. {examples(catalog.keys)}); expected the source's own item keys"
            )
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is an error below
            chosen_NE = vectors_NE[rows_I[present_I]].astype(np.float32)
        finite = np.isfinite(chosen_NE).all(axis=1)
        if not finite.all():
            bad = np.flatnonzero(present_I)[~finite][0]
            raise DataError(f"{file}: the vector of {catalog.keys[bad]!r} is not finite")
        notes = []
        if missing := int((~present_I).sum()):
            keys_here = examples(catalog.keys)
            few = f" (its keys: {examples(keys)}; items: {keys_here})" if 2 * missing > len(catalog) else ""
            notes.append(f"{missing} of {len(catalog)} items have no vector in {file.name}{few}")
        if unknown := len(keys) - int(present_I.sum()):
            notes.append(f"{unknown} keys of {file.name} are not items of this dataset")
        return place(chosen_NE, present_I, tuple(notes))

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Vectors of the new items from the same file; items that it lacks are absent."""
        keys, _ = self._read(context.find_file(self.file), context.environment)
        if not match_keys(new.keys, keys):
            return all_absent(new, known)
        return replace(self.encode(new, NO_HISTORIES, context=context), notes=())

    def _keys_file(self, file: Path, environment: Environment) -> Path | None:
        """The file of the keys; None if they are in the vectors file."""
        if self.keys is not None:
            return environment.find_file(self.keys)
        if file.suffix == ".parquet" or (file.suffix == ".safetensors" and "keys" in _metadata(file)):
            return None
        beside = file.with_name(file.name + ".keys.json")
        if not beside.is_file():
            raise DataError(
                f"{file}: the keys of its vectors are missing; expected {beside.name} beside it, "
                "or `keys:` with a file of the keys (a JSON list or one per line, in the order of the rows)"
            )
        return beside

    def _read(self, file: Path, environment: Environment) -> tuple[list[str], np.ndarray]:
        match file.suffix:
            case ".parquet":
                if self.keys is not None:
                    raise DataError(f"{file}: a Parquet file holds its keys in the column 'key'; leave `keys` out")
                return _read_parquet(file)
            case ".npy":
                vectors_NE = _read_npy(file)
            case ".safetensors":
                vectors_NE = _read_safetensors(file)
            case other:
                raise DataError(f"{file}: files ending in {other!r} are not read; use .parquet, .safetensors or .npy")
        keys_file = self._keys_file(file, environment)
        return _metadata_keys(file) if keys_file is None else read_keys(keys_file), vectors_NE


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as content:
            return content.metadata() or {}
    except SafetensorError as error:
        raise DataError(f"{file}: not a safetensors file: {error}") from error


def _metadata_keys(file: Path) -> list[str]:
    return key_list(_metadata(file)["keys"], f"{file}, metadata entry 'keys'")


def _read_npy(file: Path) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)  # a mapped file must be as long as its header says
    except Exception as error:  # the header is Python, and numpy raises what Python's tokenizer raises
        problem = str(error).partition("\n")[0] or "it ends early"
        raise DataError(f"{file}: not an array of numbers: {problem:.200}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{file}: found an archive of arrays (.npz), expected one array (.npy)")
    return array


def _read_safetensors(file: Path) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as content:
            names = list(content.keys())
            if "vectors" not in names:
                raise DataError(f"{file}: no tensor is called 'vectors'; there are {', '.join(names)}")
            return content.get_tensor("vectors")
    except (SafetensorError, TypeError) as error:
        raise DataError(f"{file}: the tensor 'vectors' cannot be read as float32 or float16: {error}") from error


def _read_parquet(file: Path) -> tuple[list[str], np.ndarray]:
    import polars

    from genrec.formats.parquet import reading_parquet

    with reading_parquet(file):
        frame = polars.read_parquet(file, glob=False)
    if not {"key", "vector"} <= set(frame.columns):
        raise DataError(f"{file}: expected the columns 'key' and 'vector', found {', '.join(frame.columns)}")
    if frame["key"].null_count() or frame["vector"].null_count():
        raise DataError(f"{file}: a key or a vector is null; remove such items")
    widths = frame["vector"].list.len() if isinstance(frame["vector"].dtype, polars.List) else None
    if widths is not None and widths.n_unique() > 1:
        raise DataError(f"{file}: vectors differ in width: {widths.min()} to {widths.max()}")
    try:
        vectors_NE = np.array(frame["vector"].to_list(), dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: column 'vector' must hold lists of numbers, found {frame['vector'].dtype}") from error
    with reading_parquet(file):
        keys = [key_text(key) for key in frame["key"].to_list()]
    if None in keys:
        raise DataError(
            f"{file}: key {frame['key'][keys.index(None)]!r} is blank or no key; expected texts or whole numbers"
        )
    return [key for key in keys if key is not None], vectors_NE
