"""The ten families of components: their interfaces and registries.

A component is a frozen pydantic model: its fields are the keys of its recipe block, and their docstrings are the help.
Abstract methods must be implemented; methods with a body are optional defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt

from genrec.registry import Registry
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.runtime.limits import Length, Width
from genrec.semantic_ids.new_items import with_new_items
from genrec.types import Candidates, Catalog, Dataset, Histories, ItemVectors, Ranking, SemanticIds, Splits

if TYPE_CHECKING:
    from genrec.model.contracts import BuildContext, DecoderModule, HistoryEncoderModule, TaskModule
    from genrec.training.log import EpochRecord, TrainingLog


class Component(BaseModel, ABC):
    """Base class of all components."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    type_name: ClassVar[str] = ""
    """Its registered name, the ``type`` of its recipe block."""
    is_random: ClassVar[bool] = False
    """Whether the result depends on the seed; if not, all seeds share the stage."""
    speed_only: ClassVar[frozenset[str]] = frozenset()
    """Fields that change speed and memory but not the result (the batch size of inference); not part of cache keys."""

    def block(self) -> dict[str, Any]:
        """Its recipe block with all defaults, as plain data."""
        return plain(self)

    def streams_used(self) -> tuple[str, ...]:
        """Names of the streams of the recipe that it refers to, for ``validate``."""
        return ()

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The files and folders that it reads; their content is part of the cache key of its result.

        By default those of its fields of type :class:`InputFile`.

        Raises:
            DataError: one is missing; the text lists the searched places.
        """
        values = [getattr(self, name) for name in type(self).model_fields]
        return tuple(environment.find(name) for name in _input_files(values))


def _input_files(value: Any) -> Iterator[InputFile]:
    """The input files in a value, except those of nested components."""
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
    """Components and settings as mappings, tuples as lists, paths as text; scalars unchanged."""
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
    """Files, or settings of generated data -> a :class:`Dataset`."""

    @abstractmethod
    def load(self, data: Path | None) -> Dataset:
        """Load the data.

        Args:
            data: the data folder (``--data`` or ``GENREC_DATA``); :func:`genrec.datasets.readers.folder.find` finds the
                ``folder`` of the component in it.

        Raises:
            DataError: a file is missing (the text says what to put where) or malformed (file and line).
        """


class SplitRule(Component):
    """A dataset -> training histories, validation users and test users."""

    @abstractmethod
    def split(self, dataset: Dataset) -> Splits | None:
        """The parts of a dataset, of which ``train`` must not depend on what is held out; None: leave-one-out.

        Raises: DataError, if the dataset lacks what the rule needs, such as times.
        """


@dataclass(frozen=True)
class KnownItems:
    """The items that an item encoder encoded, for encoding new ones in the same space."""

    vectors: ItemVectors
    """As the encoder gave them."""
    read_catalog: Callable[[], Catalog]
    """Reads their catalog from the data folder, in the same order; raises a DataError if it is not there."""


class ItemEncoder(Component):
    """Catalog and training histories -> item vectors. It gets no other data, so that no target can leak."""

    reads_histories: ClassVar[bool] = True
    """Whether its vectors depend on the training histories; if not, a final fit reuses them."""
    gives_vectors: ClassVar[bool] = True
    """Whether it gives vectors for tokenizers and components that refer to the stream."""

    @abstractmethod
    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        """Encode every item.

        Args:
            catalog: all items, including items without training interactions.
            train: training histories only.
            context: seed (for encoders with ``is_random``), device, files, and a folder for finished parts of a long
                computation.

        Raises:
            DataError: weights or files are missing; the text says what to put where.
        """

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors | None:
        """Encode items that were added after :meth:`encode`, in the space of the vectors that it gave.

        By default None: the encoder cannot, because its vectors come from histories, or because nothing is known of it.
        An encoder that reads each item alone returns ``self.encode(new, ...)``. One that fits something to the catalog
        fits that again to ``known.read_catalog()``.

        Args:
            new: the new items.
            known: the vectors of the known items and, if needed, their catalog.
            context: as in :meth:`encode`.

        Returns:
            Vectors of the new items, as wide as the known ones; items that cannot be encoded are absent.

        Raises:
            DataError: as in :meth:`encode`; or what was fitted again gives other vectors of the known items.
        """
        return None

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Check for what :meth:`encode` needs (weights, packages, images), before the work of any stream begins.

        Raises:
            DataError: something is missing; the text says what to put where. By default nothing is needed.
        """


class Tokenizer(Component):
    """Item vectors -> semantic IDs."""

    reads_vectors: ClassVar[bool] = True
    """Whether the codes depend on the vectors, or only on the item keys."""

    @abstractmethod
    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Compute a unique semantic ID for every present item.

        Args:
            vectors: item vectors; absent items get no semantic ID.
            keys: key of each item in the source, for tokenizers that read codes from a file.
            context: seed (for tokenizers with ``is_random``), device and files.
        """

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Semantic IDs for items added after :meth:`fit`, without refitting, so that a trained model can use them.

        By default a new item gets the prefix of the nearest known item (squared Euclidean distance) that has an unused
        last code, and the lowest such code.

        Args:
            ids: from :meth:`fit`, for I items, with or without a branch for absent items.
            vectors: the vectors passed to :meth:`fit`.
            new: vectors of J new items, of the same width; absent ones get no semantic ID.

        Returns:
            Unique semantic IDs of I + J items, first the known ones, unchanged; vocabulary sizes and codebook are
            unchanged.

        Raises:
            DataError: the widths differ, or no code is unused below any known prefix.
        """
        return with_new_items(ids, vectors, new, tokenizer=self.type_name)

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray | None:
        """Decode semantic IDs to vectors.

        Args:
            ids: from :meth:`fit`, with or without a branch for absent items.
            levels: use only the first codes of each item, this many; by default all. Codes that only make semantic IDs
                unique (a suffix, the leaves of a tree) are ignored.

        Returns:
            float32 (I, E) in the quantized space (vectors of length 1 if ``ids.codebook["normalized"]``), NaN in the
            rows of items that are not in the codebook. By default None: the codes represent no vectors.
        """
        return None


class HistoryEncoder(Component):
    """Builds the module that encodes the history of a user."""

    reads_vectors: ClassVar[bool] = True
    """Whether it reads the item vectors of the streams that it names."""
    dim: Width = 128
    """Width D of the model: of item embeddings, states and decoders."""
    max_history: Length = 20
    """Number of most recent items that are read."""
    share: Literal["all", "items", "none"] = "all"
    """``all``: one history encoder for all streams (the paper). ``items``: a shared item table, separate layers.
    ``none``: a separate history encoder for each stream. The history encoder of a single stream always has separate
    layers; with ``all`` and ``items`` it shares the item table with other history encoders of the same ``dim`` that
    share theirs."""

    @abstractmethod
    def build(self, context: BuildContext) -> HistoryEncoderModule:
        """The module, with initial weights from torch's global generator, which the caller seeds."""


class EmbeddingHistoryEncoder(HistoryEncoder):
    """A history encoder with item embeddings; see :mod:`genrec.model.item_embeddings` for its module."""

    start_from: tuple[str, ...] = ()
    """Streams whose item vectors (concatenated, reduced to ``dim`` by PCA) initialize the item embeddings; none: random
    initialization."""
    add_vectors: tuple[str, ...] = ()
    """Streams whose item vectors (concatenated) are added to the item embeddings through a linear map, which helps
    items with few interactions; none: only the embedding (the paper)."""

    def streams_used(self) -> tuple[str, ...]:
        """The streams of ``start_from`` and ``add_vectors``."""
        return (*self.start_from, *self.add_vectors)


class Decoder(Component):
    """Builds the module that generates the codes of one stream."""

    writes_codes: ClassVar[bool] = True
    """Whether it generates codes and needs a tokenizer; a decoder that scores items directly needs none."""
    reads_states: ClassVar[bool] = True
    """Whether it reads states of the history encoder; no history encoder is built for a decoder that does not."""
    bounds_descendants: ClassVar[bool] = True
    """Whether no item scores higher than a prefix of its code; if not, ``bound`` is refused."""

    @abstractmethod
    def build(self, context: BuildContext) -> DecoderModule:
        """The module for the stream ``context.stream``, with initial weights from torch's global generator."""


class Task(Component):
    """Builds the module of one auxiliary loss."""

    reads_vectors: ClassVar[bool] = False
    """Whether it reads the item vectors of the streams that it names."""
    needs_equal_dims: ClassVar[bool] = True
    """Whether the streams that it reads must have states of one width, ``context.dim``. A task that projects each
    stream from its own width (``context.dim_of``) does not need this."""
    weight: NonNegativeFloat = 1.0
    """Weight of this loss in the total; tasks of one type share it (EAGER, eq. 6), so that a third stream does not
    double it."""

    @abstractmethod
    def build(self, context: BuildContext) -> TaskModule:
        """The module, with initial weights from torch's global generator."""


class Merge(Component):
    """The candidates of all streams -> one ranking."""

    needs_scores: ClassVar[bool] = False
    """Whether it needs the exact log-probability of every candidate in every stream."""

    def fit(self, candidates: Candidates, targets: np.ndarray) -> Merge:
        """A merge fitted on validation candidates and targets (B,); by default there is nothing to fit.

        Fitted parameters are plain fields of the returned merge, so that a run can store them as JSON.
        """
        return self

    @abstractmethod
    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        """Rank each user's candidates, at most ``top_n``."""


class FittedBaseline(ABC):
    """A baseline fitted on training histories."""

    chosen: Baseline | None = None
    """The baseline with the settings that validation selected (sizes, rates, epochs) in its fields; its ``fit`` on the
    same histories gives an equal result, and on other histories needs no validation. None: nothing was selected."""

    @abstractmethod
    def rank(self, histories: Histories, *, top_n: int, exclude_seen: bool) -> Ranking:
        """Rank the whole catalog for each user; ``exclude_seen`` leaves out the items of the history."""


class Baseline(Component):
    """A baseline, reported in every table beside the recipe."""

    @property
    def is_trained(self) -> bool:
        """Whether it is trained with validation and may take as long as a model."""
        return type(self).fit_validated is not Baseline.fit_validated

    @abstractmethod
    def fit(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> FittedBaseline:
        """Fit on training histories alone."""

    def fit_validated(
        self,
        catalog: Catalog,
        train: Histories,
        *,
        context: WorkContext,
        validate: Callable[[FittedBaseline], float] | None,
    ) -> FittedBaseline:
        """As :meth:`fit`, for trained baselines, which stop early, select settings and resume after an interruption.

        Args:
            catalog: as in :meth:`fit`.
            train: as in :meth:`fit`.
            context: as in :meth:`fit`; finished work is stored in its folder.
            validate: computes NDCG@10 on validation users, whose targets are not in ``train``; None: no validation,
                because ``train`` includes their targets.

        By default this is :meth:`fit`.
        """
        return self.fit(catalog, train, context=context)


class StartedLogger:
    """A logger during one training; by default all hooks do nothing.

    With several processes the hooks are called in the main process only.
    """

    def log_step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Log an optimizer step; called every ``log_every`` steps.

        It must not draw from torch's global generator, which decides the dropout of the next batch.

        Args:
            step: from 1, counted over all epochs.
            losses: losses of the batch, by part.
            learning_rate: learning rate of this step.
        """

    def log_epoch(self, record: EpochRecord, step: int) -> None:
        """Log an epoch, after its validation and before its checkpoint is saved.

        Args:
            record: losses, validation score, time and throughput.
            step: the last step of the epoch.
        """

    def finish(self, log: TrainingLog) -> None:
        """Flush and close all files. Called once, also after failures and interruptions.

        Args:
            log: all epochs, including those before a resumption; ``stopped_by`` is empty if training was interrupted.
        """


class TrainingLogger(Component):
    """Logs a training to files; changes no result."""

    log_every: PositiveInt = 10
    """Number of steps between logged steps."""

    def prepare(self) -> None:
        """Check for what :meth:`start` needs (packages, services), before any work begins.

        Raises:
            DataError: something is missing; the text says what to install. By default nothing is needed.
        """

    @abstractmethod
    def start(self, folder: Path, *, title: str, hyperparameters: Mapping[str, Any], step: int) -> StartedLogger:
        """Start logging one training.

        Args:
            folder: folder of this logger and this training; it may not exist. The logger writes only there.
            title: title of the training.
            hyperparameters: training settings and seed, plain values by name.
            step: 0, or the step of the checkpoint from which training resumes. Later steps in ``folder`` are from an
                interrupted attempt and will be logged again.
        """


datasets: Registry[DatasetSource] = Registry("datasets", "dataset")
splits: Registry[SplitRule] = Registry("splits", "split")
item_encoders: Registry[ItemEncoder] = Registry("item_encoders", "item encoder")
tokenizers: Registry[Tokenizer] = Registry("tokenizers", "tokenizer")
history_encoders: Registry[HistoryEncoder] = Registry("history_encoders", "history encoder")
decoders: Registry[Decoder] = Registry("decoders", "decoder")
tasks: Registry[Task] = Registry("tasks", "task")
merges: Registry[Merge] = Registry("merges", "merge")
baselines: Registry[Baseline] = Registry("baselines", "baseline")
loggers: Registry[TrainingLogger] = Registry("loggers", "logger", folder="training/loggers")

REGISTRIES: dict[type[Component], Registry[Any]] = {
    DatasetSource: datasets,
    SplitRule: splits,
    ItemEncoder: item_encoders,
    Tokenizer: tokenizers,
    HistoryEncoder: history_encoders,
    Decoder: decoders,
    Task: tasks,
    Merge: merges,
    Baseline: baselines,
    TrainingLogger: loggers,
}
"""Base class of a family -> registry of its components."""

FAMILIES: tuple[Registry[Any], ...] = tuple(REGISTRIES.values())


def registry_of(cls: type[Component]) -> Registry[Any]:
    """The registry of a component's family, found through its base classes."""
    return next(REGISTRIES[ancestor] for ancestor in cls.__mro__ if ancestor in REGISTRIES)
