"""Everything that a plugin imports from genrec. Torch is imported only when a contract of a module is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import find as find_folder
from genrec.datasets.readers.folder import require as require_file
from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS
from genrec.evaluation.top_lists import TopLists
from genrec.families import (
    Baseline,
    DatasetSource,
    Decoder,
    EmbeddingHistoryEncoder,
    FittedBaseline,
    HistoryEncoder,
    ItemEncoder,
    KnownItems,
    Merge,
    SplitRule,
    StartedLogger,
    Task,
    Tokenizer,
    TrainingLogger,
    baselines,
    datasets,
    decoders,
    history_encoders,
    item_encoders,
    loggers,
    merges,
    splits,
    tasks,
    tokenizers,
)
from genrec.formats.finding import Finding
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.runtime.progress import track
from genrec.runtime.seeds import derive
from genrec.semantic_ids.trie import Trie
from genrec.training.log import EpochRecord, TrainingLog
from genrec.training.settings import OptimizationSettings
from genrec.types import (
    ABSENT,
    Candidates,
    Catalog,
    Column,
    Dataset,
    Histories,
    Images,
    ItemVectors,
    Ranking,
    SemanticIds,
    Split,
    Splits,
)

if TYPE_CHECKING:
    from genrec.model.contracts import (
        BuildContext,
        DecoderModule,
        DecodingState,
        Encoded,
        HistoryEncoderModule,
        Outputs,
        StreamContext,
        TaskModule,
        TensorState,
    )
    from genrec.model.growth import Growth
    from genrec.model.item_embeddings import EmbeddingHistoryEncoderModule
    from genrec.model.layers import Attention, DecoderLayer, Dropout, EncoderLayer, FeedForward, init_weights
    from genrec.model.vocabularies import Vocabulary, build_vocabulary
    from genrec.training.batches import HistoryBatch, HistoryBatches
    from genrec.training.trainer import train

metrics = METRICS
"""The registry of metrics; metrics are functions."""

_NEEDS_TORCH = {
    "genrec.model.contracts": (
        "BuildContext",
        "DecoderModule",
        "DecodingState",
        "Encoded",
        "HistoryEncoderModule",
        "Outputs",
        "StreamContext",
        "TaskModule",
        "TensorState",
    ),
    "genrec.model.growth": ("Growth",),
    "genrec.model.item_embeddings": ("EmbeddingHistoryEncoderModule",),
    "genrec.model.layers": (
        "Attention",
        "DecoderLayer",
        "Dropout",
        "EncoderLayer",
        "FeedForward",
        "init_weights",
    ),
    "genrec.model.vocabularies": (
        "Vocabulary",
        "build_vocabulary",
    ),
    "genrec.training.batches": (
        "HistoryBatch",
        "HistoryBatches",
    ),
    "genrec.training.trainer": ("train",),
}
"""Modules that import torch -> the names that are loaded from them on first use."""

_MODULES = {name: module for module, names in _NEEDS_TORCH.items() for name in names}

__all__ = [
    "ABSENT",
    "Attention",
    "Baseline",
    "BuildContext",
    "Candidates",
    "Catalog",
    "Column",
    "DataError",
    "Dataset",
    "DatasetSource",
    "Decoder",
    "DecoderLayer",
    "DecoderModule",
    "DecodingState",
    "Dropout",
    "EmbeddingHistoryEncoder",
    "EmbeddingHistoryEncoderModule",
    "Encoded",
    "EncoderLayer",
    "Environment",
    "EpochRecord",
    "FeedForward",
    "Finding",
    "Fingerprint",
    "FittedBaseline",
    "Growth",
    "Histories",
    "HistoryBatch",
    "HistoryBatches",
    "HistoryEncoder",
    "HistoryEncoderModule",
    "Images",
    "InputFile",
    "ItemEncoder",
    "ItemVectors",
    "KnownItems",
    "Merge",
    "OptimizationSettings",
    "Outputs",
    "Ranking",
    "SemanticIds",
    "Split",
    "SplitRule",
    "Splits",
    "StartedLogger",
    "StreamContext",
    "Task",
    "TaskModule",
    "TensorState",
    "Tokenizer",
    "TopLists",
    "TrainingLog",
    "TrainingLogger",
    "Trie",
    "Vocabulary",
    "WorkContext",
    "baselines",
    "build_vocabulary",
    "datasets",
    "decoders",
    "derive",
    "find_folder",
    "history_encoders",
    "init_weights",
    "item_encoders",
    "loggers",
    "merges",
    "metrics",
    "require_file",
    "splits",
    "tasks",
    "tokenizers",
    "track",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'genrec.plugin' has no attribute {name!r}")
