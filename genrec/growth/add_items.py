"""A finished run and a file of new items -> a finished run that can recommend them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from genrec.contracts.demands import Demands
from genrec.errors import DataError, RecipeError
from genrec.experiment.dataset import load_dataset
from genrec.experiment.keys import make_key
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_items import VERSIONS
from genrec.experiment.saved_model import existing, load_model, load_streams
from genrec.experiment.storage import load_vectors, save_ids, save_vectors
from genrec.families import KnownItems
from genrec.growth.grow import Grown, check_new_vectors, encode_new_items, grow
from genrec.growth.item_file import read_item_file
from genrec.item_encoders.columns import Columns
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.precomputed import Precomputed
from genrec.model.weights import save_tensors, weights_of
from genrec.recipe.loading import load_recipe_of_run
from genrec.recipe.schema import Recipe
from genrec.runtime.checksums import MARK, parsing, read_mark
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.runtime.files import copy_file
from genrec.types import Catalog, ColumnKind, ItemVectors
from genrec.version import __version__

_REWRITTEN = ("items.json", "model.safetensors", VERSIONS)
_UNKNOWN = {"counts": 0}
"""What ``items.json`` says of a new item besides key and title; null where nothing is named here."""
_OF_OLD_CATALOG = ("train_only/", "candidates/", "onnx/", "README.md")
"""Parts of a run or an export that describe the model and the lists before; the one that they belong to has them."""


def add_items(
    run: Path,
    items: Path,
    output: Path,
    *,
    environment: Environment,
    vectors: Mapping[str, Path] | None = None,
    new_only: bool = False,
) -> tuple[RunFolder, dict[str, Any]]:
    """Write a run with the new items of a file; nothing is trained, and ``run`` is not changed.

    Args:
        run: folder of a finished run.
        items: the file, see :func:`read_item_file`.
        output: folder of the new run; it must not have a finished run.
        environment: device, threads and, for encoders that are fitted to the catalog, the data folder.
        vectors: files of new items' vectors by stream, in the formats of ``precomputed``, used instead of its encoder.
        new_only: leave items out that the run has.

    Returns:
        The folder, and what was added: the last entry of its ``versions.json``.

    Raises:
        DataError: a file is missing or malformed, an encoder that is fitted again gives other vectors of the known
            items, or a tokenizer has no free code.
    """
    folder = RunFolder.open(run)
    _refuse(run, output)
    recipe = load_recipe_of_run(folder.file("recipe.yaml"))
    environment = folder.located(environment).for_dataset(recipe.dataset.block())
    known = folder.read_items().keys
    stored = _stored_vectors(recipe, run)
    num_fitted = len(known) - next(iter(stored.values())).num_added
    read_catalog = _catalog_reader(recipe, environment, known[:num_fitted])
    kinds: dict[str, ColumnKind] = {}
    if _reads_columns(recipe):
        kinds = {name: column.kind for name, column in read_catalog().columns.items()}
    new, notes = read_item_file(items, recipe.dataset, known, kinds=kinds, new_only=new_only)
    streams = load_streams(recipe, run)
    model = load_model(recipe, run, streams, len(known)).to(environment.torch_device)
    given = {
        name: _given_vectors(recipe, name, file, stored, new, environment) for name, file in (vectors or {}).items()
    }
    others = recipe.model_copy(update={"streams": {n: s for n, s in recipe.streams.items() if n not in given}})
    encoded = encode_new_items(others, stored, new, read_catalog, environment)
    grown = grow(recipe, stored, streams, model, {**encoded, **given}, len(new))
    mark = read_mark(run)
    notes += [f"{name}: {note}" for name, found in encoded.items() if found is not None for note in found.notes]
    version = {
        "date": datetime.now().isoformat(timespec="seconds"),
        "genrec": __version__,
        "from": {"folder": str(run.absolute()), "model": mark.get("model")},
        "file": str(items.absolute()),
        "items": list(new.keys),
        "streams": {name: _by_way(new.keys, stream.how_J) for name, stream in grown.streams.items()},
        "notes": notes,
    }
    return _write(folder, mark, output, new, grown, version), version


def _refuse(run: Path, output: Path) -> None:
    """Check that no finished run is in the output folder."""
    if output.exists() and run.resolve() == output.resolve():
        raise DataError(f"{output}: is the run itself, which stays as it is; pass another folder to --output")
    if (output / MARK).is_file() and read_mark(output).get("finished"):
        raise DataError(f"{output}: has a finished run; pass another folder to --output")


def _stored_vectors(recipe: Recipe, run: Path) -> dict[str, ItemVectors]:
    vectors = {}
    for name in recipe.streams:
        with parsing(file := existing(run / "streams" / name / "vectors.safetensors"), "item vectors"):
            vectors[name] = load_vectors(file)
    return vectors


def _catalog_reader(recipe: Recipe, environment: Environment, keys: list[str]) -> Callable[[], Catalog]:
    """Reads the catalog that encoders were fitted to, once."""

    @cache
    def read() -> Catalog:
        try:
            catalog = load_dataset(recipe, environment).catalog
        except DataError as error:
            raise DataError(
                f"{error}\nAn item encoder of this run is fitted to the catalog, so that new items need the data of "
                "the run: pass --data DIR"
            ) from error
        if catalog.keys != tuple(keys):
            raise DataError(
                f"the data has {len(catalog):,} items, the run was fitted to {len(keys):,} or other items; expected "
                "the data of the run (--data)"
            )
        return catalog

    return read


def _reads_columns(recipe: Recipe) -> bool:
    """Whether an item encoder reads the columns of the catalog."""
    encoders = [stream.item_encoder for stream in recipe.streams.values()]
    parts = [part for encoder in encoders if isinstance(encoder, Concatenation) for part in encoder.encoders]
    return any(isinstance(encoder, Columns) for encoder in (*encoders, *parts))


def _given_vectors(
    recipe: Recipe, name: str, file: Path, stored: Mapping[str, ItemVectors], new: Catalog, environment: Environment
) -> ItemVectors:
    """The vectors of a file for new items in a stream."""
    if name not in recipe.streams:
        raise RecipeError(f"--vectors {name}={file}: unknown stream, expected one of {', '.join(recipe.streams)}")
    if not file.is_file():
        raise DataError(f"--vectors {name}={file}: no such file")
    encoder = Precomputed(file=InputFile(str(file.absolute())))
    known = KnownItems(stored[name], lambda: new)
    found = encoder.encode_new(new, known, context=WorkContext(0, environment))
    width, expected = found.vectors_IE.shape[1], stored[name].vectors_IE.shape[1]
    if width != expected:
        raise DataError(f"{file}: vectors have {width} numbers, expected {expected} as those of the stream {name!r}")
    check_new_vectors(found, stored[name], len(new), Demands(encoder))
    return found


def _by_way(keys: tuple[str, ...], how_J: tuple[str, ...]) -> dict[str, list[str]]:
    """The items by how they got their codes."""
    ways: dict[str, list[str]] = {}
    for key, how in zip(keys, how_J, strict=True):
        ways.setdefault(how, []).append(key)
    return ways


def _write(
    run: RunFolder,
    mark: dict[str, Any],
    output: Path,
    new: Catalog,
    grown: Grown,
    version: dict[str, Any],
) -> RunFolder:
    """Write the files of the new run: those of the old one, and the grown ones."""
    names = [*(mark.get("files") or _files(run.path))]
    rewritten = {
        *_REWRITTEN,
        *(f"streams/{name}/{part}.safetensors" for name in grown.streams for part in ("vectors", "ids")),
    }
    with RunFolder.create(output, output) as folder:
        for name in names:
            if name not in rewritten and not name.startswith(_OF_OLD_CATALOG):
                copy_file(run.file(name), folder.draft / name)
        for name, stream in grown.streams.items():
            place = folder.draft / "streams" / name
            place.mkdir(parents=True, exist_ok=True)
            save_vectors(stream.vectors, place / "vectors.safetensors")
            save_ids(stream.context.ids, place / "ids.safetensors")
        save_tensors(weights_of(grown.model), folder.draft / "model.safetensors")
        folder.write_json("items.json", _more_items(run.read_json("items.json"), new))
        versions = run.read_json(VERSIONS) if VERSIONS in names else []
        folder.write_json(VERSIONS, [*versions, version])
        facts = {key: value for key, value in mark.items() if key not in ("verb", "finished", "files", "checksum")}
        key = make_key(grown_from=mark.get("model"), items=version["items"], streams=version["streams"])
        folder.finish({**facts, "model": key, "date": version["date"], "genrec": __version__})
    return folder


def _files(path: Path) -> list[str]:
    """The files of a run of a version that did not record them."""
    found = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
    return [name.as_posix() for name in found if name.name != MARK and not name.parts[0].startswith(".")]


def _more_items(items: dict[str, list[Any]], new: Catalog) -> dict[str, list[Any]]:
    """``items.json`` with the new items; lists that the run lacks stay out."""
    for name, values in items.items():
        more = {"keys": new.keys, "titles": new.titles}.get(name, [_UNKNOWN.get(name)] * len(new))
        items[name] = [*values, *more]
    return items
