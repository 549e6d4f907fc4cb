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
from typing import Any, Literal, NamedTuple, TypeVar

from genrec.absent_items import like_nearest, with_own_branch
from genrec.errors import DataError
from genrec.evaluation.metrics import mean_ndcg
from genrec.families import Component
from genrec.merges.single import Single
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.progress import console
from genrec.recipe.schema import Recipe, Stream
from genrec.runtime.environment import Environment, WorkContext
from genrec.search.candidates import load_candidates, save_candidates
from genrec.search.dense import item_numbers
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams, tell_prefixes
from genrec.search.trie import Trie
from genrec.seeds import derive
from genrec.sources import source_hash
from genrec.stages import Stages, address, component_identity, load_ids, load_vectors, save_ids, save_vectors
from genrec.training.batches import HistoryBatches
from genrec.training.checkpoint import load_tensors, load_weights, save_json, save_tensors, weights_of
from genrec.training.trainer import TrainingLog, train
from genrec.types import Candidates, Dataset, Histories, ItemVectors, SemanticIds, Split

_DECIDE_TRAINING = (Retriever, HistoryBatches, train, search_streams, Single, mean_ndcg)
"""What a trained model depends on beside its components: their source is in its address."""

TRAIN_ONLY = "train_only"
"""Folder inside that of a run with ``final_fit``: what was fitted on train alone, and chose the number of epochs."""

T = TypeVar("T")
SplitName = Literal["valid", "test"]


class Address(NamedTuple):
    """Where a stage is kept."""

    kind: Literal["vectors", "ids", "model", "candidates", "baseline"]
    name: str
    """Of the stream, of all of them, of the split, or of the baseline."""
    key: str


class Experiment:
    """One recipe on its data.

    Args:
        recipe: what to do.
        stages: where finished stages are kept.
        environment: device and folders; by default what this machine has, and no data folder.
        keep: told the file of each stage and the name that it has in the folder of a run.
        dataset: the recipe's dataset, if it has been read before.
        chosen: the same recipe on train alone, which has found out on validation for how many epochs this one is to
            train; this one has no validation. See :meth:`asked_of`.

    Attributes:
        seconds: wall clock of each part, in the order in which they ran; a stage found finished took next to none.
            ``chosen`` and what it has chosen share it.
    """

    def __init__(
        self,
        recipe: Recipe,
        stages: Stages,
        *,
        environment: Environment | None = None,
        keep: Callable[[Path, str], None] = lambda file, name: None,
        dataset: Dataset | None = None,
        chosen: Experiment | None = None,
    ) -> None:
        self.recipe, self.stages, self.chosen = recipe, stages, chosen
        self.seconds: dict[str, float] = {} if chosen is None else chosen.seconds
        self.environment, self._keep = environment or Environment(), keep
        if dataset is not None:
            self.dataset = dataset

    @cached_property
    def dataset(self) -> Dataset:
        """Catalog, histories, split.

        Raises:
            DataError: files are missing or malformed, or nobody can be asked.
        """
        with self.timed("dataset"):
            dataset = self.recipe.dataset.load(self.environment.data)
        if not len(dataset.valid):
            raise DataError(f"{dataset.name}: no user has three items or more, so nobody can be asked")
        return dataset

    def asked_of(self, split: SplitName) -> Experiment:
        """The experiment whose model the users of a split are asked of, the same whichever of the two is asked.

        Without ``training.final_fit`` it is this one. With it, test users are asked of the experiment on train +
        validation, and validation users of the one that has not learned their items.
        """
        if not self.recipe.training.final_fit:
            return self
        if split == "test":
            return self if self.chosen is not None else self._final
        return self.chosen or self

    @cached_property
    def _final(self) -> Experiment:
        dataset = self.dataset.with_validation()
        return Experiment(
            self.recipe, self.stages, environment=self.environment, keep=self._keep, dataset=dataset, chosen=self
        )

    def kept_as(self, name: str) -> str:
        """The name that a file has in the folder of a run, where the model that test users are asked of comes first."""
        return name if self.asked_of("test") is self else f"{TRAIN_ONLY}/{name}"

    @cached_property
    def vectors_keys(self) -> dict[str, str]:
        """By stream: what its item vectors are made of."""
        first = self.chosen or self
        return {
            name: address(
                component=self._identity(stream.item_encoder),
                data=(
                    self._identity(self.recipe.dataset),
                    (self if stream.item_encoder.reads_histories else first).dataset.fingerprint,
                ),
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
                component=self._identity(stream.tokenizer) if stream.tokenizer else None,
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
            streams=[(name, ids, self._identity(recipe.streams[name].decoder)) for name, ids in self.ids_keys.items()],
            history_encoder=self._identity(recipe.history_encoder),
            tasks=[self._identity(task) for task in recipe.tasks],
            training=recipe.training.model_dump(exclude={"final_fit"}),
            chosen=self.chosen and self.chosen.model_key,
            source=source_hash(*(Path(inspect.getfile(part)) for part in _DECIDE_TRAINING)),
            validation=self.validated_under,
            seed=recipe.seed,
        )

    def candidates_key(self, split: SplitName, *, scores: bool) -> str:
        """What the candidates of a split's users are made of."""
        return address(
            model=self.asked_of(split).model_key,
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
                # what is missing is said before another's work
                stream.item_encoder.prepare(self.dataset.catalog, context=self._context("item encoder", name))
        return {name: self._encode(name, stream) for name, stream in self.recipe.streams.items()}

    def _encode(self, name: str, stream: Stream) -> ItemVectors:
        key = self.vectors_keys[name]
        unfinished = self.stages.path("unfinished", key)
        work = partial(
            stream.item_encoder.encode,
            self.dataset.catalog,
            self.dataset.train,
            context=self._context("item encoder", name, folder=unfinished),
        )
        stage, kept_as = Address("vectors", name, key), f"streams/{name}/vectors.safetensors"
        with self.timed(f"vectors of {name}"):
            return self._get(stage, kept_as, work, save_vectors, load_vectors, scratch=unfinished)

    @cached_property
    def streams(self) -> dict[str, StreamContext]:
        """Codes of every stream, those of its absent items included, and the vectors they were made of."""
        return {name: self._code(name, stream) for name, stream in self.recipe.streams.items()}

    def _code(self, name: str, stream: Stream) -> StreamContext:
        key, known = self.ids_keys[name], known_vectors(stream, name, self.vectors)

        def work() -> SemanticIds:
            return _fit_codes(stream, known, self.dataset.catalog.keys, self._context("tokenizer", name))

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
        dataset, key = self.dataset, self.model_key
        model = untrained(self.recipe, self.streams, dataset.num_items, dataset.train).to(self.environment.torch_device)
        recipe, chosen, title = self.recipe, self.chosen, "+".join(self.recipe.streams)

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
                validate=None if chosen else lambda: self._validate(model),
                seed=self._seed("training"),
                title=f"final fit of {title}" if chosen else f"training {title}",
                folder=self.stages.path("training", key),
                epochs=chosen.training_log.best_epoch if chosen else None,
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

    @property
    def validated_under(self) -> Literal["keep", "filter"]:
        """The rule about seen items under which validation chose; a finished run may be asked under the other."""
        return self.recipe.evaluation.seen_items

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
        if (asked := self.asked_of(split)) is not self:
            return asked.candidates(split, scores=scores)
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
        self._keep(path, self.kept_as(kept_as))
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

    def _context(self, *purpose: object, folder: Path | None = None) -> WorkContext:
        return WorkContext(self._seed(*purpose), self.environment, folder)

    def _identity(self, component: Component) -> dict[str, Any]:
        return component_identity(component, self.environment)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the block's wall clock under a name in ``seconds``."""
        part = f"{part}, final fit" if self.chosen else part
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began
        if self.seconds[part] > 1:
            console.print(f"{part}: {self.seconds[part]:.1f} s", style="dim", markup=False)


def known_vectors(stream: Stream, name: str, vectors: Mapping[str, ItemVectors]) -> ItemVectors:
    """The vectors that a stream is coded by: its own, absent items with those of the nearest if the recipe says so.

    Args:
        stream: the recipe's.
        name: its name.
        vectors: of every stream, as its item encoder gave them.
    """
    guide = stream.nearest_in
    return vectors[name] if guide is None else like_nearest(vectors[name], vectors[guide])


def untrained(
    recipe: Recipe, streams: Mapping[str, StreamContext], num_items: int, train: Histories | None = None
) -> Retriever:
    """The recipe's model with fresh weights; without training histories its counts are to come with weights."""
    decoders = {name: stream.decoder for name, stream in recipe.streams.items()}
    seed = derive(recipe.seed, "model")
    return Retriever(
        recipe.history_encoder, decoders, recipe.tasks, streams, num_items=num_items, seed=seed, train=train
    )


def _fit_codes(stream: Stream, vectors: ItemVectors, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
    if stream.tokenizer is None:
        return item_numbers(vectors)
    ids = stream.tokenizer.fit(vectors, keys=keys, context=context)
    return ids if stream.absent_items == "leave_out" else with_own_branch(ids)
