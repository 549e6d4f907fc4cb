"""A recipe's stages, each worked out when it is first asked for, or found finished.

files -> ``dataset`` -> ``vectors`` -> ``streams`` (codes) -> ``model`` -> ``candidates``. Addresses need the dataset
alone, so that what is finished can be told before any work.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from genrec.absent_items import like_nearest, with_own_branch
from genrec.devices import chosen_device
from genrec.errors import DataError
from genrec.evaluation.metrics import mean_ndcg
from genrec.evaluation.rank_file import RankFile
from genrec.files import fingerprint
from genrec.merges.single import Single
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.progress import console
from genrec.recipe.schema import Recipe, Stream
from genrec.run_folder import RunFolder
from genrec.search.candidates import load_candidates, save_candidates
from genrec.search.dense import item_numbers
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams, tell_prefixes
from genrec.search.trie import Trie
from genrec.seeds import derive
from genrec.sources import source_hash
from genrec.stages import Stages, address, load_ids, load_vectors, save_ids, save_vectors
from genrec.training.batches import HistoryBatches
from genrec.training.checkpoint import load_tensors, load_weights, save_json, save_tensors, weights_of
from genrec.training.trainer import TrainingLog, train
from genrec.types import Candidates, Dataset, ItemVectors, SemanticIds, Split

_DECIDE_TRAINING = (Retriever, HistoryBatches, train, search_streams, Single, mean_ndcg)
"""What a trained model depends on beside its components: their source is in its address."""

T = TypeVar("T")
SplitName = Literal["valid", "test"]


class Address(NamedTuple):
    """Where a stage is kept."""

    kind: Literal["vectors", "ids", "model", "candidates"]
    name: str
    """Of the stream, of all of them, or of the split."""
    key: str


class Experiment:
    """One recipe on its data.

    Args:
        recipe: what to do.
        stages: where finished stages are kept.
        data: where data sets lie.
        keep: told the file of each stage and the name that it has in the folder of a run.
        dataset: the recipe's dataset, if it has been read before.

    Attributes:
        seconds: wall clock of each part, in the order in which they ran; a stage found finished took next to none.
    """

    def __init__(
        self,
        recipe: Recipe,
        stages: Stages,
        *,
        data: Path | None = None,
        keep: Callable[[Path, str], None] = lambda file, name: None,
        dataset: Dataset | None = None,
    ) -> None:
        self.recipe, self.stages = recipe, stages
        self.seconds: dict[str, float] = {}
        self._data, self._keep = data, keep
        if dataset is not None:
            self.dataset = dataset

    @cached_property
    def dataset(self) -> Dataset:
        """Catalog, histories, split.

        Raises:
            DataError: files are missing or malformed, or nobody can be asked.
        """
        with self.timed("dataset"):
            dataset = self.recipe.dataset.load(self._data)
        if not len(dataset.valid):
            raise DataError(f"{dataset.name}: no user has three items or more, so nobody can be asked")
        return dataset

    @cached_property
    def vectors_keys(self) -> dict[str, str]:
        """By stream: what its item vectors are made of."""
        return {
            name: address(
                component=stream.item_encoder.identity(),
                data=(self.recipe.dataset.identity(), self.dataset.fingerprint),
                seed=self._seed("item encoder", name) if stream.item_encoder.is_random else None,
            )
            for name, stream in self.recipe.streams.items()
        }

    @cached_property
    def ids_keys(self) -> dict[str, str]:
        """By stream: what its codes are made of."""
        vectors = self.vectors_keys
        return {
            name: address(
                component=stream.tokenizer.identity() if stream.tokenizer else None,
                vectors=vectors[name],
                absent_items=stream.absent_items,
                nearest_in=vectors[stream.nearest_in] if stream.nearest_in else None,
                source=source_hash(Path(inspect.getfile(like_nearest))),
                seed=self._seed("tokenizer", name) if stream.tokenizer and stream.tokenizer.is_random else None,
            )
            for name, stream in self.recipe.streams.items()
        }

    @cached_property
    def model_key(self) -> str:
        """What the trained model is made of; the merge is no part of it."""
        recipe = self.recipe
        return address(
            streams=[(name, ids, recipe.streams[name].decoder.identity()) for name, ids in self.ids_keys.items()],
            history_encoder=recipe.history_encoder.identity(),
            tasks=[task.identity() for task in recipe.tasks],
            training=recipe.training.model_dump(),
            source=source_hash(*(Path(inspect.getfile(part)) for part in _DECIDE_TRAINING)),
            validation=recipe.evaluation.seen_items,
            seed=recipe.seed,
        )

    def candidates_key(self, split: SplitName, *, scores: bool) -> str:
        """What the candidates of a split's users are made of."""
        return address(
            model=self.model_key,
            search=self.recipe.search.model_dump(),
            seen=self.recipe.evaluation.seen_items,
            scores=scores,
            split=split,
        )

    def addresses(self) -> Iterator[Address]:
        """The stages before the candidates, in the order of the work."""
        yield from (Address("vectors", name, key) for name, key in self.vectors_keys.items())
        yield from (Address("ids", name, key) for name, key in self.ids_keys.items())
        yield Address("model", "+".join(self.recipe.streams), self.model_key)

    def like(self, stage: Address) -> tuple[str, ...]:
        """What the time of a stage depends on, in words; equal words, like times."""
        streams = self.recipe.streams
        coders = {name: tokenizer.type_name if (tokenizer := s.tokenizer) else "none" for name, s in streams.items()}
        match stage.kind:
            case "vectors":
                components = [streams[stage.name].item_encoder.type_name]
            case "ids":
                components = [coders[stage.name]]
            case _:
                parts = [f"{coders[name]} {stream.decoder.type_name}" for name, stream in streams.items()]
                components = [self.recipe.history_encoder.type_name, *parts]
        return (self.dataset.name, *components)

    @cached_property
    def vectors(self) -> dict[str, ItemVectors]:
        """Item vectors of every stream, absent items without."""
        for name, stream in self.recipe.streams.items():
            if not self.stages.path("vectors", self.vectors_keys[name]).is_file():
                stream.item_encoder.prepare(self.dataset.catalog)  # what is missing is said before another's work
        return {name: self._encode(name, stream) for name, stream in self.recipe.streams.items()}

    def _encode(self, name: str, stream: Stream) -> ItemVectors:
        key = self.vectors_keys[name]
        unfinished = self.stages.path("unfinished", key)
        work = partial(
            stream.item_encoder.encode_resumable,
            self.dataset.catalog,
            self.dataset.train,
            seed=self._seed("item encoder", name),
            folder=unfinished,
        )
        stage, kept_as = Address("vectors", name, key), f"streams/{name}/vectors.safetensors"
        with self.timed(f"vectors of {name}"):
            return self._get(stage, kept_as, work, save_vectors, load_vectors, scratch=unfinished)

    @cached_property
    def streams(self) -> dict[str, StreamContext]:
        """Codes of every stream, those of its absent items included, and the vectors they were made of."""
        return {name: self._code(name, stream) for name, stream in self.recipe.streams.items()}

    def _code(self, name: str, stream: Stream) -> StreamContext:
        key, known = self.ids_keys[name], self.vectors[name]
        if stream.nearest_in is not None:
            known = like_nearest(known, self.vectors[stream.nearest_in])

        def work() -> SemanticIds:
            return _fit_codes(stream, known, self._seed("tokenizer", name), self.dataset.catalog.keys)

        with self.timed(f"codes of {name}"):
            ids = self._get(Address("ids", name, key), f"streams/{name}/ids.safetensors", work, save_ids, load_ids)
        return StreamContext(ids, Trie.of(ids), known)

    @property
    def model(self) -> Retriever:
        """The trained model, with its best weights, in eval mode."""
        return self._trained[0]

    @property
    def training_log(self) -> TrainingLog:
        """How its training went."""
        return self._trained[1]

    @cached_property
    def _trained(self) -> tuple[Retriever, TrainingLog]:
        model, key = untrained(self.recipe, self.streams, self.dataset.num_items).to(chosen_device()), self.model_key
        recipe, title = self.recipe, "+".join(self.recipe.streams)

        def work() -> TrainingLog:
            batches = HistoryBatches(
                self.dataset.train,
                num_items=self.dataset.num_items,
                max_history=recipe.history_encoder.max_history,
                batch_size=recipe.training.batch_size,
                each_position=model.is_causal,
                seed=self._seed("batches"),
                device=next(model.parameters()).device,
            )
            return train(
                model,
                batches.epoch,
                model.losses,
                recipe.training,
                validate=lambda: self._validate(model),
                seed=self._seed("training"),
                title=f"training {title}",
                folder=self.stages.path("training", key),
            )

        def save(log: TrainingLog, path: Path) -> None:
            save_json(log.as_json(), path.with_name(f"log-{key}.json"))
            save_tensors(weights_of(model), path)

        def load(path: Path) -> TrainingLog:
            load_weights(model, load_tensors(path))
            return TrainingLog.from_file(path.with_name(f"log-{key}.json"))

        stage, scratch = Address("model", title, key), self.stages.path("training", key)
        with self.timed("training"):
            log = self._get(stage, "model.safetensors", work, save, load, scratch=scratch)
        return model.eval(), log

    @cached_property
    def validation_users(self) -> Split:
        """The users by whom a checkpoint is chosen."""
        users = self.recipe.training.validation_users
        return self.dataset.valid.sample(users, self._seed("validation users"))

    def _validate(self, model: Retriever) -> float:
        """Mean NDCG@10 of each stream alone, by exact search: ten items are soon found, and no beam decides."""
        settings = SearchSettings(method="bound", list_length=10)
        found = self._search(model, self.validation_users, settings, "validating", scores=False)
        ndcg = [
            mean_ndcg(Single(stream=name).merge(found, top_n=10), self.validation_users.targets)
            for name in found.streams
        ]
        return sum(ndcg) / len(ndcg)

    def candidates(self, split: SplitName, *, scores: bool) -> Candidates:
        """What the streams propose to the users of a split.

        Args:
            split: which users.
            scores: whether every stream gives its log-probability of every candidate.
        """
        if not scores and self.stages.path("candidates", self.candidates_key(split, scores=True)).is_file():
            return self.candidates(split, scores=True).without_scores()
        users: Split = getattr(self.dataset, split)
        key = self.candidates_key(split, scores=scores)
        if not self.stages.path("candidates", key).is_file():
            _ = self.model  # trained before the clock of the search starts

        def work() -> Candidates:
            settings, title = self.recipe.search, f"searching {split}"
            return self._search(self.model, users, settings, title, scores=scores, told=tell_prefixes)

        stage, kept_as = Address("candidates", split, key), f"candidates/{split}.safetensors"
        with self.timed(f"search {split}"):
            return self._get(stage, kept_as, work, save_candidates, load_candidates)

    def _get(
        self,
        stage: Address,
        kept_as: str,
        work: Callable[[], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
        *,
        scratch: Path | None = None,
    ) -> T:
        """The content of a stage, found or worked out with no other process at it; its ``scratch`` folder goes then."""
        kind, name, key = stage
        with self.stages.alone(kind, key):
            content, path = self.stages.get(
                kind, key, name=name, work=work, save=save, load=load, like=self.like(stage)
            )
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
        self._keep(path, kept_as)
        return content

    def _search(
        self,
        model: Retriever,
        split: Split,
        settings: SearchSettings,
        title: str,
        *,
        scores: bool,
        told: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Candidates:
        return search_streams(
            model,
            {name: context.trie for name, context in self.streams.items()},
            split.histories,
            settings,
            num_items=self.dataset.num_items,
            max_history=self.recipe.history_encoder.max_history,
            with_scores=scores,
            seen=self.recipe.evaluation.seen_items,
            title=title,
            told=told,
        )

    def _seed(self, *purpose: object) -> int:
        return derive(self.recipe.seed, *purpose)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the block's wall clock under a name in ``seconds``."""
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began
        if self.seconds[part] > 1:
            console.print(f"{part}: {self.seconds[part]:.1f} s", style="dim", markup=False)


class FinishedExperiment(Experiment):
    """A run as its folder holds it: nothing is encoded or trained anew, whatever has become of the sources since.

    Args:
        folder: of a finished run.
        recipe: the run's, perhaps with another merge.
        stages: where candidates of further searches are kept.
        data: where data sets lie.
        dataset: the recipe's dataset, if it has been read before.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        stages: Stages,
        *,
        data: Path | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        super().__init__(recipe, stages, data=data, dataset=dataset)
        self._folder = folder
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

    def addresses(self) -> Iterator[Address]:
        """The model alone: a finished run has nothing else to be made."""
        yield Address("model", "+".join(self.recipe.streams), self.model_key)

    @cached_property
    def model_key(self) -> str:
        """As the run has it; a run that kept none is known by its weights."""
        known = self._folder.read_json("run.json").get("model")
        return known or address(weights=fingerprint(self._folder.path / "model.safetensors"))

    @cached_property
    def streams(self) -> dict[str, StreamContext]:
        return load_streams(self.recipe, self._folder)

    @cached_property
    def vectors(self) -> dict[str, ItemVectors]:
        return {name: context.vectors for name, context in self.streams.items()}

    @cached_property
    def _trained(self) -> tuple[Retriever, TrainingLog]:
        model = load_model(self.recipe, self._folder, self.streams, self.dataset.num_items)
        return model.to(chosen_device()), TrainingLog.from_file(self._folder.path / "training.json")


def load_streams(recipe: Recipe, folder: RunFolder) -> dict[str, StreamContext]:
    """Codes and vectors of a finished run's streams, from the run's own files alone."""
    streams = {}
    for name in recipe.streams:
        ids = load_ids(folder.path / "streams" / name / "ids.safetensors")
        vectors = load_vectors(folder.path / "streams" / name / "vectors.safetensors")
        streams[name] = StreamContext(ids, Trie.of(ids), vectors)
    return streams


def load_model(recipe: Recipe, folder: RunFolder, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    """The trained model of a finished run, in eval mode, from the run's own files alone."""
    model = untrained(recipe, streams, num_items)
    load_weights(model, load_tensors(folder.path / "model.safetensors"))
    return model.eval()


def untrained(recipe: Recipe, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    """The recipe's model with fresh weights."""
    decoders = {name: stream.decoder for name, stream in recipe.streams.items()}
    return Retriever(
        recipe.history_encoder, decoders, recipe.tasks, streams, num_items=num_items, seed=derive(recipe.seed, "model")
    )


def _fit_codes(stream: Stream, vectors: ItemVectors, seed: int, keys: tuple[str, ...]) -> SemanticIds:
    if stream.tokenizer is None:
        return item_numbers(vectors)
    ids = stream.tokenizer.fit(vectors, seed=seed, keys=keys)
    return ids if stream.absent_items == "leave_out" else with_own_branch(ids)
