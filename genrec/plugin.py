"""Everything that a plugin imports from genrec. Torch is imported only when a contract of a module is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS
from genrec.families import (
    Baseline,
    DatasetSource,
    Decoder,
    EmbeddingHistoryEncoder,
    FittedBaseline,
    HistoryEncoder,
    ItemEncoder,
    Merge,
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
    tasks,
    tokenizers,
)
from genrec.runtime.environment import Environment, InputFile, WorkContext
from genrec.runtime.progress import track
from genrec.runtime.seeds import derive
from genrec.training.log import EpochRecord, TrainingLog
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
)

if TYPE_CHECKING:
    from genrec.model.contracts import (
        BuildContext,
        DecoderModule,
        Encoded,
        HistoryEncoderModule,
        Outputs,
        TaskModule,
    )
    from genrec.model.item_embeddings import EmbeddingHistoryEncoderModule

metrics = METRICS
"""The registry of metrics; metrics are functions."""

_MODULES = {
    **dict.fromkeys(
        ("BuildContext", "DecoderModule", "Encoded", "HistoryEncoderModule", "Outputs", "TaskModule"),
        "genrec.model.contracts",
    ),
    "EmbeddingHistoryEncoderModule": "genrec.model.item_embeddings",
}
"""Names that need torch -> module."""

__all__ = [
    "ABSENT",
    "Baseline",
    "BuildContext",
    "Candidates",
    "Catalog",
    "Column",
    "DataError",
    "Dataset",
    "DatasetSource",
    "Decoder",
    "DecoderModule",
    "EmbeddingHistoryEncoder",
    "EmbeddingHistoryEncoderModule",
    "Encoded",
    "Environment",
    "EpochRecord",
    "FittedBaseline",
    "Histories",
    "HistoryEncoder",
    "HistoryEncoderModule",
    "Images",
    "InputFile",
    "ItemEncoder",
    "ItemVectors",
    "Merge",
    "Outputs",
    "Ranking",
    "SemanticIds",
    "StartedLogger",
    "Task",
    "TaskModule",
    "Tokenizer",
    "TrainingLog",
    "TrainingLogger",
    "WorkContext",
    "baselines",
    "datasets",
    "decoders",
    "derive",
    "history_encoders",
    "item_encoders",
    "loggers",
    "merges",
    "metrics",
    "tasks",
    "tokenizers",
    "track",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'genrec.plugin' has no attribute {name!r}")
