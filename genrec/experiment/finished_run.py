"""Load the streams and the model of a finished run, without encoding or training."""

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
from genrec.runtime.checksums import parsing, read_mark, verify
from genrec.runtime.environment import Environment
from genrec.runtime.files import fingerprint
from genrec.semantic_ids.trie import Trie
from genrec.training.checkpoint import load_tensors, load_weights
from genrec.training.trainer import TrainingLog
from genrec.types import Dataset


def finished_fits(folder: RunFolder, recipe: Recipe, dataset: Dataset, environment: Environment) -> Fits:
    """The fits of a finished run; their keys are those of its models, even if the source code has changed since.

    Args:
        folder: folder of the run.
        recipe: recipe of the run; merge and search may differ.
        dataset: dataset of the recipe; it must equal that of the run.
        environment: device, threads and data folder.

    Raises:
        DataError: the run used other data, or a file is missing.
    """
    _check_data(folder, dataset)
    with parsing(folder.path / "metrics.json", "the results of a run"):
        rule = read_metrics(folder.path)["protocol"]["seen_items"]
    is_final = recipe.training.final_fit
    valid = Fit(recipe, dataset, environment, _keys(folder, final=is_final, first=True), selected_under=rule)
    if not is_final:
        return Fits(valid, valid)
    keys = _keys(folder, final=True, first=False)
    return Fits(valid, Fit(recipe, dataset.with_validation(), environment, keys, valid, rule))


def load_fit(folder: RunFolder, fit: Fit) -> tuple[dict[str, StreamContext], Trained]:
    """The streams and the model of one fit of a run, in eval mode, on the device of the environment.

    Raises:
        DataError: a file is missing.
    """
    place = folder.path / fit.artifact("")
    streams = load_streams(fit.recipe, place)
    model = load_model(fit.recipe, place, streams, fit.dataset.num_items)
    with parsing(file := _existing(place / "training.json"), "the log of a training"):
        log = TrainingLog.from_file(file)
    return streams, Trained(model.to(fit.environment.torch_device), log)


def load_streams(recipe: Recipe, path: Path) -> dict[str, StreamContext]:
    """Semantic IDs and vectors of the streams of a finished run, from the files of the run only.

    Args:
        recipe: recipe of the run.
        path: folder of the run.

    Raises:
        DataError: a file is missing.
    """
    files = {name: path / "streams" / name for name in recipe.streams}
    vectors, ids, streams = {}, {}, {}
    for name, folder in files.items():
        with parsing(file := _existing(folder / "vectors.safetensors"), "item vectors"):
            vectors[name] = load_vectors(file)
        with parsing(file := _existing(folder / "ids.safetensors"), "semantic IDs"):
            ids[name] = load_ids(file)
    for name, stream in recipe.streams.items():
        known = known_vectors(stream, name, vectors)
        streams[name] = StreamContext(ids[name], Trie.of(ids[name]), known, vectors[name].present_I)
    return streams


def load_model(recipe: Recipe, path: Path, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    """The trained model of a finished run, in eval mode, from the files of the run only.

    Args:
        recipe: recipe of the run.
        path: folder of the run.
        streams: from :func:`load_streams`.
        num_items: size of the catalog.

    Raises:
        DataError: the file of the weights is missing, or its weights do not fit the model.
    """
    with parsing(file := _existing(path / "model.safetensors"), "the weights of the recipe's model"):
        weights = load_tensors(file)
        model = untrained_model(recipe, streams, num_items)
        load_weights(model, weights)
    return model.eval()


def _check_data(folder: RunFolder, dataset: Dataset) -> None:
    known = folder.read_items()["keys"]
    if tuple(known) != dataset.catalog.keys:
        raise DataError(
            f"{folder.path}: the run used {len(known):,} items, but {dataset.name} has {dataset.num_items:,} or other "
            "items; expected the data of the run (--data)"
        )
    evaluated, test = RankFile.read(folder.path), dataset.test
    if not (np.array_equal(evaluated.users, test.users) and np.array_equal(evaluated.targets, test.targets)):
        raise DataError(
            f"{folder.path}: the run was evaluated on {len(evaluated.users):,} test users of {dataset.name}, but the "
            f"data now has other users or targets ({len(test):,}), which the model may have been trained on; expected "
            "the data of the run (--data)"
        )


def _keys(folder: RunFolder, *, final: bool, first: bool) -> Keys:
    """The key of the model of a run; a hash of the weights if the run stored none."""
    place = f"{TRAIN_ONLY}/" if final and first else ""
    known = read_mark(folder.path).get(f"{place}model")
    weights = folder.path / f"{place}model.safetensors"
    return Keys({}, {}, known or make_key(weights=fingerprint(_existing(weights))))


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: missing, expected a file of the finished run; run its recipe again")
    return verify(file)
