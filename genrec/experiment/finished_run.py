"""Load the streams and the model of a finished run, without encoding or training."""

from __future__ import annotations

import numpy as np

from genrec.errors import DataError
from genrec.evaluation.rank_file import RankFile
from genrec.experiment.fit import TRAIN_ONLY, Fit, Fits
from genrec.experiment.keys import Keys, make_key
from genrec.experiment.model import Trained
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_items import VERSIONS
from genrec.experiment.saved_model import existing, load_model, load_streams
from genrec.model.contracts import StreamContext
from genrec.recipe.schema import Recipe
from genrec.reporting.report import read_metrics
from genrec.runtime.checksums import parsing, read_mark
from genrec.runtime.environment import Environment
from genrec.runtime.files import fingerprint
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
    with parsing(file := existing(place / "training.json"), "the log of a training"):
        log = TrainingLog.from_file(file)
    return streams, Trained(model.to(fit.environment.torch_device), log)


def _check_data(folder: RunFolder, dataset: Dataset) -> None:
    known = folder.read_items().keys
    if (folder.path / VERSIONS).is_file():
        raise DataError(
            f"{folder.path}: new items were added to this run, so that its data does not have all of its items; "
            f"expected the run that they were added to ({VERSIONS} names it)"
        )
    if tuple(known) != dataset.catalog.keys:
        raise DataError(
            f"{folder.path}: the run used {len(known):,} items, but {dataset.name} has {dataset.num_items:,} or other "
            "items; expected the data of the run (--data)"
        )
    evaluated, test = RankFile.read(folder.path), dataset.test
    if not (np.array_equal(evaluated.users, test.users) and np.array_equal(evaluated.targets, test.target_lists.items)):
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
    return Keys({}, {}, known or make_key(weights=fingerprint(existing(weights))))
