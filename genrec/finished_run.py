"""A finished run as its folder holds it: its streams and its model, without encoding or training anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from genrec.errors import DataError
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.report import read_metrics
from genrec.experiment import TRAIN_ONLY, Address, Experiment, known_vectors, untrained
from genrec.files import fingerprint
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.run_folder import RunFolder
from genrec.runtime.environment import Environment
from genrec.search.trie import Trie
from genrec.stages import Stages, address, load_ids, load_vectors
from genrec.training.checkpoint import load_tensors, load_weights
from genrec.training.trainer import TrainingLog
from genrec.types import Dataset, ItemVectors


class FinishedExperiment(Experiment):
    """A run as its folder holds it: nothing is encoded or trained anew, whatever has become of the sources since.

    Args:
        folder: of a finished run.
        recipe: the run's, perhaps with another merge.
        stages: where candidates of further searches are kept.
        environment: device and folders; by default what this machine has, and no data folder.
        dataset: the recipe's dataset, if it has been read before.
        chosen: as in :class:`~genrec.experiment.Experiment`.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        stages: Stages,
        *,
        environment: Environment | None = None,
        dataset: Dataset | None = None,
        chosen: FinishedExperiment | None = None,
    ) -> None:
        super().__init__(recipe, stages, environment=environment, dataset=dataset, chosen=chosen)
        self._folder = folder
        self._place = folder.path / TRAIN_ONLY if recipe.training.final_fit and chosen is None else folder.path
        known: list[str] = folder.read_json("items.json")["keys"]
        if tuple(known) != self.dataset.catalog.keys:
            raise DataError(
                f"{folder.path}: was run on {len(known):,} items, {self.dataset.name} has {self.dataset.num_items:,} "
                "or others; expected the data that it was run on (--data)"
            )
        asked, test = RankFile.read(folder.path), self.dataset.test
        if not (np.array_equal(asked.users, test.users) and np.array_equal(asked.targets, test.targets)):
            raise DataError(
                f"{folder.path}: has asked {len(asked.users):,} users of {self.dataset.name} for their last items; "
                f"now these are other items or of other users ({len(test):,}), and its model may have seen them; "
                "expected the data that it was run on (--data)"
            )

    @cached_property
    def _final(self) -> FinishedExperiment:
        dataset = self.dataset.with_validation()
        return FinishedExperiment(
            self._folder, self.recipe, self.stages, environment=self.environment, dataset=dataset, chosen=self
        )

    def addresses(self) -> Iterator[Address]:
        """The model alone: a finished run has nothing else to be made."""
        yield Address("model", "+".join(self.recipe.streams), self.model_key)

    @cached_property
    def model_key(self) -> str:
        """As the run has it; a run that kept none is known by its weights."""
        known = self._folder.read_json("run.json").get(self.kept_as("model"))
        return known or address(weights=fingerprint(_there(self._place / "model.safetensors")))

    @cached_property
    def validated_under(self) -> Literal["keep", "filter"]:  # type: ignore[override]
        return read_metrics(self._folder.path)["protocol"]["seen_items"]

    @cached_property
    def streams(self) -> dict[str, StreamContext]:
        return load_streams(self.recipe, self._place)

    @cached_property
    def vectors(self) -> dict[str, ItemVectors]:
        return _load_vectors(self.recipe, self._place)

    @cached_property
    def _trained(self) -> tuple[Retriever, TrainingLog]:
        model = load_model(self.recipe, self._place, self.streams, self.dataset.num_items)
        return model.to(self.environment.torch_device), TrainingLog.from_file(_there(self._place / "training.json"))


def load_streams(recipe: Recipe, path: Path) -> dict[str, StreamContext]:
    """Codes of a finished run's streams and the vectors they were made of, from the run's own files alone.

    Args:
        recipe: the run's.
        path: the run's folder.

    Raises:
        DataError: a file is missing.
    """
    vectors, streams = _load_vectors(recipe, path), {}
    for name, stream in recipe.streams.items():
        ids = load_ids(_there(path / "streams" / name / "ids.safetensors"))
        streams[name] = StreamContext(ids, Trie.of(ids), known_vectors(stream, name, vectors))
    return streams


def _load_vectors(recipe: Recipe, path: Path) -> dict[str, ItemVectors]:
    return {name: load_vectors(_there(path / "streams" / name / "vectors.safetensors")) for name in recipe.streams}


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
    weights = load_tensors(_there(path / "model.safetensors"))
    model = untrained(recipe, streams, num_items)
    load_weights(model, weights)
    return model.eval()


def _there(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: missing, expected what the run has made; run its recipe again")
    return file
