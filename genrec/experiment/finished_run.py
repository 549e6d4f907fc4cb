"""A finished run as its folder holds it: its streams and its model, without encoding or training anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genrec.errors import DataError
from genrec.evaluation.rank_file import RankFile
from genrec.experiment.fit import TRAIN_ONLY, Fit, Fits
from genrec.experiment.ids import known_vectors
from genrec.experiment.keys import Keys, make_key
from genrec.experiment.model import Trained, untrained_model
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.storage import load_ids, load_vectors
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.reporting.report import read_metrics
from genrec.runtime.environment import Environment
from genrec.runtime.files import fingerprint
from genrec.semantic_ids.trie import Trie
from genrec.training.checkpoint import load_tensors, load_weights
from genrec.training.trainer import TrainingLog
from genrec.types import Dataset


def finished_fits(folder: RunFolder, recipe: Recipe, dataset: Dataset, environment: Environment) -> Fits:
    """The fits of a finished run: their keys are those of its models, whatever has become of the sources since.

    Args:
        folder: of the run.
        recipe: the run's, perhaps with another merge or search.
        dataset: the recipe's, which must be what the run was run on.
        environment: device, threads and the data folder.

    Raises:
        DataError: the run is of other data, or lacks a file.
    """
    _check_data(folder, dataset)
    rule = read_metrics(folder.path)["protocol"]["seen_items"]
    is_final = recipe.training.final_fit
    valid = Fit(recipe, dataset, environment, _keys(folder, final=is_final, first=True), selected_under=rule)
    if not is_final:
        return Fits(valid, valid)
    keys = _keys(folder, final=True, first=False)
    return Fits(valid, Fit(recipe, dataset.with_validation(), environment, keys, valid, rule))


def load_fit(folder: RunFolder, fit: Fit) -> tuple[dict[str, StreamContext], Trained]:
    """The streams and the model of one of a run's fits, in eval mode, on the environment's device.

    Raises:
        DataError: a file is missing.
    """
    place = folder.path / fit.artifact("")
    streams = load_streams(fit.recipe, place)
    model = load_model(fit.recipe, place, streams, fit.dataset.num_items)
    log = TrainingLog.from_file(_existing(place / "training.json"))
    return streams, Trained(model.to(fit.environment.torch_device), log)


def load_streams(recipe: Recipe, path: Path) -> dict[str, StreamContext]:
    """Codes of a finished run's streams and the vectors they were made of, from the run's own files alone.

    Args:
        recipe: the run's.
        path: the run's folder.

    Raises:
        DataError: a file is missing.
    """
    files = {name: path / "streams" / name for name in recipe.streams}
    vectors = {name: load_vectors(_existing(file / "vectors.safetensors")) for name, file in files.items()}
    streams = {}
    for name, stream in recipe.streams.items():
        ids = load_ids(_existing(files[name] / "ids.safetensors"))
        streams[name] = StreamContext(ids, Trie.of(ids), known_vectors(stream, name, vectors))
    return streams


def load_model(recipe: Recipe, path: Path, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    """The trained model of a finished run, in eval mode, from the run's own files alone.

    Args:
        recipe: the run's.
        path: the run's folder.
        streams: what :func:`load_streams` gave.
        num_items: size of the catalog.

    Raises:
        DataError: the file of the weights is missing, or holds those of another model.
    """
    weights = load_tensors(_existing(path / "model.safetensors"))
    model = untrained_model(recipe, streams, num_items)
    load_weights(model, weights)
    return model.eval()


def _check_data(folder: RunFolder, dataset: Dataset) -> None:
    known: list[str] = folder.read_json("items.json")["keys"]
    if tuple(known) != dataset.catalog.keys:
        raise DataError(
            f"{folder.path}: was run on {len(known):,} items, {dataset.name} has {dataset.num_items:,} "
            "or others; expected the data that it was run on (--data)"
        )
    evaluated, test = RankFile.read(folder.path), dataset.test
    if not (np.array_equal(evaluated.users, test.users) and np.array_equal(evaluated.targets, test.targets)):
        raise DataError(
            f"{folder.path}: was evaluated on the last items of {len(evaluated.users):,} users of {dataset.name}; "
            f"now these are other items or of other users ({len(test):,}), and its model may have seen them; "
            "expected the data that it was run on (--data)"
        )


def _keys(folder: RunFolder, *, final: bool, first: bool) -> Keys:
    """The key of a run's model; a run that kept none is known by its weights."""
    place = f"{TRAIN_ONLY}/" if final and first else ""
    known = folder.read_json("run.json").get(f"{place}model")
    weights = folder.path / f"{place}model.safetensors"
    return Keys({}, {}, known or make_key(weights=fingerprint(_existing(weights))))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: missing, expected what the run has made; run its recipe again")
    return file
