"""The nine families of components: what each takes, what it gives, and the registry that holds it.

A component is a frozen pydantic model: its fields are the keys of its recipe block, their docstrings its help, and one
verb does the work. Verbs in a base class with a body are defaults that a plugin may leave alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt

from genrec.registry import Registry
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.semantic_ids.new_items import with_new_items
from genrec.types import Candidates, Catalog, Dataset, Histories, ItemVectors, Ranking, SemanticIds

if TYPE_CHECKING:
    from genrec.model.contracts import BuildContext, DecoderModule, HistoryEncoderModule, TaskModule
    from genrec.training.log import EpochRecord, TrainingLog


class Component(BaseModel, ABC):
    """What all components have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    type_name: ClassVar[str] = ""
    """The name under which it is registered, the ``type`` of its recipe block."""
    is_random: ClassVar[bool] = False
    """Whether its work depends on the seed; where it does not, the stage is shared by all seeds."""
    speed_only: ClassVar[frozenset[str]] = frozenset()
    """Fields that change speed and memory but no result (a batch size of inference); not part of cache keys."""

    def block(self) -> dict[str, Any]:
        """Its recipe block with every default written out, plain data."""
        return plain(self)

    def streams_used(self) -> tuple[str, ...]:
        """Names of the recipe's streams that it refers to, for ``validate``."""
        return ()

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The files and folders that it reads, whose content is part of the cache key of what it computes.

        By default those of its fields of type :class:`InputFile`.

        Raises:
            DataError: one is missing; the text says where it was looked for.
        """
        values = [getattr(self, name) for name in type(self).model_fields]
        return tuple(environment.find(name) for name in _input_files(values))


def _input_files(value: Any) -> Iterator[InputFile]:
    """Those in a value; components inside it answer for themselves."""
    if isinstance(value, InputFile):
        yield value
    elif isinstance(value, BaseModel) and not isinstance(value, Component):
        yield from _input_files([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _input_files(part)
    elif isinstance(value, dict):
        yield from _input_files(list(value.values()))


def plain(value: Any) -> Any:
    """Components and settings as mappings, tuples as lists, paths as text; scalars as they are."""
    if isinstance(value, Component):
        return {"type": value.type_name, **{name: plain(getattr(value, name)) for name in type(value).model_fields}}
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Path | InputFile):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    return value


class DatasetSource(Component):
    """Files, or a recipe for making data, -> a :class:`Dataset`."""

    @abstractmethod
    def load(self, data: Path | None) -> Dataset:
        """Read the data.

        Args:
            data: what ``--data`` or ``GENREC_DATA`` says; :func:`genrec.datasets.readers.folder.find` turns it and the
                component's ``folder`` into the place to read.

        Raises:
            DataError: a file is missing (the text says what to put where) or malformed (file and line).
        """


class ItemEncoder(Component):
    """Catalog and training histories -> one vector an item. It sees nothing else, so nothing can leak."""

    reads_histories: ClassVar[bool] = True
    """Whether its vectors depend on the training histories; where they do not, a final fit uses them again."""
    gives_vectors: ClassVar[bool] = True
    """Whether there is anything in them, for tokenizers and whoever refers to the stream."""

    @abstractmethod
    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        """Encode every item.

        Args:
            catalog: all items, those never seen in training included.
            train: training histories only.
            context: seed (for encoders with ``is_random``), device, files, and a folder for the finished parts of long
                work.

        Raises:
            DataError: weights or files are missing; the text says what to put where.
        """

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Look for what :meth:`encode` will need (weights, packages, images), before any stream's work begins.

        Raises:
            DataError: it is missing; the text says what to put where. By default nothing is needed.
        """


class Tokenizer(Component):
    """Item vectors -> semantic IDs."""

    reads_vectors: ClassVar[bool] = True
    """Whether the codes depend on the vectors, or only on which items there are."""

    @abstractmethod
    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Give every present item a code of its own.

        Args:
            vectors: one vector an item; absent items get no code.
            keys: the source's key of each item, for tokenizers that read codes from a file.
            context: seed (for tokenizers with ``is_random``), device and files.
        """

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Codes for items that came after :meth:`fit`, without fitting anew, so that a trained model can read them.

        By default a new item goes below the path of the nearest known item (squared Euclidean distance) that has a free
        last code, and takes the lowest.

        Args:
            ids: what :meth:`fit` gave for I items, a branch for absent items added or not.
            vectors: what :meth:`fit` was given.
            new: vectors of J new items, of the same width; absent ones get no code.

        Returns:
            The codes of I + J items: the known ones first and unchanged, then the new ones, no two alike; vocabulary
            sizes and codebook as they were.

        Raises:
            DataError: the widths differ, or no code is free below any path that is known.
        """
        return with_new_items(ids, vectors, new, tokenizer=self.type_name)

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray | None:
        """The vectors that codes stand for: what a stream still knows of its items.

        Args:
            ids: what :meth:`fit` gave, a branch for absent items added or not.
            levels: read this many codes of each item, from the first; by default all. Codes that only tell items apart
                (a suffix, a tree's leaves) say nothing.

        Returns:
            float32 (I, E) in the space that was quantised (vectors of length 1 where ``ids.codebook["normalized"]``),
            NaN in the rows of items that the codebook does not know. By default None: the codes stand for no vectors.
        """
        return None


class HistoryEncoder(Component):
    """Builds the module that reads a user's items."""

    dim: PositiveInt = 128
    """Width D of the model: of item embeddings, states and decoders."""
    max_history: PositiveInt = 20
    """Most recent items that are read."""
    share: Literal["all", "items", "none"] = "all"
    """``all``: one history encoder for all streams (the paper). ``items``: the item table alone in common. ``none``:
    one history encoder for each stream. The block of a single stream has layers of its own in any case; under ``all``
    and ``items`` it shares the item table with the other history encoders of the same ``dim`` that share theirs."""

    @abstractmethod
    def build(self, context: BuildContext) -> HistoryEncoderModule:
        """The module, with fresh weights from torch's global generator (the caller seeds it)."""


class EmbeddingHistoryEncoder(HistoryEncoder):
    """A history encoder that embeds items; :mod:`genrec.model.item_embeddings` has what its module needs for that."""

    start_from: tuple[str, ...] = ()
    """Streams whose item vectors the item embeddings start from (joined, reduced to ``dim`` by PCA); none: random."""
    add_vectors: tuple[str, ...] = ()
    """Streams whose item vectors (joined) are added to the item embeddings through a linear map, so that an item with
    few purchases is read by what it is like; none: an item is its embedding alone (the paper)."""

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from`` and ``add_vectors``."""
        return (*self.start_from, *self.add_vectors)


class Decoder(Component):
    """Builds the module that writes one stream's codes."""

    writes_codes: ClassVar[bool] = True
    """Whether the stream needs a tokenizer; a decoder that scores items directly needs none."""
    reads_states: ClassVar[bool] = True
    """Whether it reads the history encoder's states; one that looks at the items alone gets no encoder built for it."""

    @abstractmethod
    def build(self, context: BuildContext) -> DecoderModule:
        """The module for the stream ``context.stream``, with fresh weights from torch's global generator."""


class Task(Component):
    """Builds the module that gives one auxiliary loss."""

    reads_vectors: ClassVar[bool] = False
    """Whether it reads the item vectors of the streams that it names."""

    needs_equal_dims: ClassVar[bool] = True
    """Whether the streams that it reads must have states of one width, ``context.dim``. A task with a map for each
    stream needs none: it asks ``context.dim_of``."""

    weight: NonNegativeFloat = 1.0
    """Factor of this loss in the total; tasks of one type share it (EAGER, eq. 6), so a third stream does not
    double it."""

    @abstractmethod
    def build(self, context: BuildContext) -> TaskModule:
        """The module, with fresh weights from torch's global generator."""


class Merge(Component):
    """The streams' candidates -> one ranking."""

    needs_scores: ClassVar[bool] = False
    """Whether every stream must give its exact log-probability of every candidate."""

    def fit(self, candidates: Candidates, targets: np.ndarray) -> Merge:
        """A merge fitted on validation candidates and their targets (B,); by default there is nothing to fit.

        What is learned stands in plain fields of the merge that is returned, so that a run can keep it as JSON.
        """
        return self

    @abstractmethod
    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``."""


class FittedBaseline(ABC):
    """A baseline that has seen the training histories."""

    chosen: Baseline | None = None
    """The baseline with all that validation decided (sizes, rates, epochs) in its fields, so that its ``fit`` on the
    same histories gives the same and on others needs no validation; None: there was nothing to decide."""

    @abstractmethod
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """Rank the whole catalogue for each user; ``exclude_seen`` leaves out the items of the history."""


class Baseline(Component):
    """A method that every table shows beside the recipe's own."""

    @property
    def is_trained(self) -> bool:
        """Whether it validates, so that it may take as long as a model."""
        return type(self).fit_validated is not Baseline.fit_validated

    @abstractmethod
    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedBaseline:
        """Learn from training histories alone."""

    def fit_validated(
        self,
        catalog: Catalog,
        train: Histories,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> FittedBaseline:
        """As :meth:`fit`, for a baseline that is trained: it may stop early, choose its settings, and be interrupted.

        Args:
            catalog: as in :meth:`fit`.
            train: as in :meth:`fit`.
            context: as in :meth:`fit`; its folder keeps what is finished.
            validate: NDCG@10 of a baseline on validation users, whose items it is never shown; None: there are none,
                because their items are trained on too.

        By default there is nothing to stop, to choose or to store.
        """
        return self.fit(catalog, train, context=context)


class StartedLogger:
    """A logger during one training; by default each hook does nothing.

    With several processes the hooks are called in the main process only.
    """

    def log_step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Log an optimizer step; called every ``log_every`` steps.

        It must not draw from torch's global generator, which decides the dropout of the next batch.

        Args:
            step: from 1, counted over all epochs.
            losses: of this step's batch, by part.
            learning_rate: of this step.
        """

    def log_epoch(self, record: EpochRecord, step: int) -> None:
        """Log an epoch, after its validation and before its checkpoint is saved.

        Args:
            record: losses, validation score, time and throughput.
            step: the epoch's last step.
        """

    def finish(self, log: TrainingLog) -> None:
        """Write and close everything. Called once, after failures and interruptions too.

        Args:
            log: all epochs, those before a resumption included; ``stopped_by`` is empty where training did not end.
        """


class TrainingLogger(Component):
    """Follows a training and writes what it sees to files. It changes no result."""

    log_every: PositiveInt = 10
    """Steps between two steps that are logged."""

    def prepare(self) -> None:
        """Check for what :meth:`start` will need (packages, services), before any work begins.

        Raises:
            DataError: it is missing; the text says what to install. By default nothing is needed.
        """

    @abstractmethod
    def start(self, folder: Path, *, title: str, hyperparameters: Mapping[str, Any], step: int) -> StartedLogger:
        """Start to log one training.

        Args:
            folder: of this logger and this training; it may not exist. Nothing is written elsewhere.
            title: of the training.
            hyperparameters: the training settings and the seed, plain values by name.
            step: 0, or the step of the checkpoint from which training resumes. What ``folder`` has of later steps is
                from an interrupted attempt and will be logged again.
        """


datasets: Registry[DatasetSource] = Registry("datasets", "dataset")
item_encoders: Registry[ItemEncoder] = Registry("item_encoders", "item encoder")
tokenizers: Registry[Tokenizer] = Registry("tokenizers", "tokenizer")
history_encoders: Registry[HistoryEncoder] = Registry("history_encoders", "history encoder")
decoders: Registry[Decoder] = Registry("decoders", "decoder")
tasks: Registry[Task] = Registry("tasks", "task")
merges: Registry[Merge] = Registry("merges", "merge")
baselines: Registry[Baseline] = Registry("baselines", "baseline")
loggers: Registry[TrainingLogger] = Registry("loggers", "logger", folder="training/loggers")

FAMILIES: tuple[Registry[Any], ...] = (
    datasets,
    item_encoders,
    tokenizers,
    history_encoders,
    decoders,
    tasks,
    merges,
    baselines,
    loggers,
)
