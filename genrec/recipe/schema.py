"""The schema of a recipe: top-level keys and streams, with their defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from genrec.evaluation.protocol import EvaluationSettings
from genrec.families import (
    Baseline,
    DatasetSource,
    Decoder,
    HistoryEncoder,
    ItemEncoder,
    Merge,
    Task,
    Tokenizer,
    baselines,
    item_encoders,
    merges,
    plain,
)
from genrec.recipe.source import write
from genrec.runtime.files import write_text
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.absent_items import AbsentItems
from genrec.training.settings import TrainingSettings

_LONGEST_NAME = 100


_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
"""Control characters, line breaks, changes of the direction of writing, and halves of characters."""


def _title(title: str) -> str:
    if found := _CONTROLS.search(title):
        raise ValueError(f"found the control character U+{ord(found[0]):04X}, expected one line of text")
    return title


def _stream_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError(
            f"found a stream name of {len(name)} characters, expected at most {_LONGEST_NAME}: it names a folder"
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ValueError(f"found the stream name {name!r}, expected a letter, then letters, digits, _ and -")
    return name


class Stream(BaseModel):
    """One view of the items: its vectors, its semantic IDs and the decoder that generates them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    item_encoder: ItemEncoder = Field(default_factory=lambda: item_encoders.get("none")())
    """Catalog and training histories -> item vectors; optional if nothing reads the vectors of this stream."""
    tokenizer: Tokenizer | None = None
    """Vectors -> semantic IDs; left out if the decoder generates no codes."""
    history_encoder: HistoryEncoder | None = None
    """History encoder of this stream alone, with separate layers; default: that of the recipe. Its ``share`` determines
    whether it shares the item table with other history encoders of the same ``dim``."""
    decoder: Decoder
    """Generates the codes of this stream."""
    absent_items: AbsentItems = "own_branch"
    """Items without a vector (no photo, no text). ``own_branch``: codes in a separate branch of the tree, with an extra
    code of the first level. ``nearest``: the vector of the most similar item by the vectors of the stream
    ``nearest_in``; a separate branch for items without a vector there. ``leave_out``: no code, so that only other
    streams propose them. If the decoder generates no codes, such items are left out."""
    nearest_in: str | None = None
    """For ``nearest``: the stream whose vectors determine the most similar item."""


class Recipe(BaseModel):
    """The complete configuration of one experiment. From plain data: :func:`genrec.recipe.recipe_of`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    title: Annotated[str, AfterValidator(_title)] = ""
    """One line that describes the recipe; the title of every table. Default: the dataset and the streams."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Random seed; all random numbers derive from it."""
    dataset: DatasetSource
    """Source of items and histories."""
    history_encoder: HistoryEncoder
    """Encodes the history of a user, for all streams without a separate history encoder."""
    streams: Annotated[dict[Annotated[str, AfterValidator(_stream_name)], Stream], Field(min_length=1)]
    """One or more streams by name; names are free to choose."""
    tasks: tuple[Task, ...] = ()
    """Auxiliary losses."""
    training: TrainingSettings = TrainingSettings()
    """Optimization, stopping and validation."""
    search: SearchSettings = SearchSettings()
    """Search of every stream."""
    merge: Merge = Field(default_factory=lambda: merges.get("confidence")())
    """Merges the candidates of all streams into one ranking."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Metrics, cutoffs and the treatment of seen items."""
    baselines: tuple[Baseline, ...] = Field(
        default_factory=lambda: (baselines.get("popularity")(), baselines.get("transition")())
    )
    """Baselines in every table."""

    @model_validator(mode="before")
    @classmethod
    def _with_title(cls, given: Any) -> Any:
        """Fill in the title, unless what it is made of is not valid either."""
        if not isinstance(given, dict) or given.get("title", "") != "":
            return given
        dataset, streams = given.get("dataset"), given.get("streams")
        if not (isinstance(dataset, DatasetSource) and isinstance(streams, dict)):
            return given
        name = getattr(dataset, "folder", None) or dataset.type_name
        return {**given, "title": f"{name}: {' + '.join(map(str, streams))}"}

    @property
    def own_history_encoders(self) -> dict[str, HistoryEncoder]:
        """The separate history encoders of streams, by stream."""
        own = ((name, stream.history_encoder) for name, stream in self.streams.items())
        return {name: encoder for name, encoder in own if encoder is not None}

    @property
    def max_history(self) -> int:
        """Number of most recent items that the model reads: the maximum over its history encoders."""
        return max(encoder.max_history for encoder in (self.history_encoder, *self.own_history_encoders.values()))

    @property
    def distance_stream(self) -> str | None:
        """The stream whose item vectors measure distances within a list; None if no stream has vectors."""
        with_vectors = (name for name, stream in self.streams.items() if stream.item_encoder.gives_vectors)
        return self.evaluation.distances_in or next(with_vectors, None)

    def notes(self) -> tuple[str, ...]:
        """What of the recipe has no effect, in one line each."""
        is_ignored = len(self.streams) == 1 and "merge" in self.model_fields_set and self.merge.type_name != "single"
        return (f"one stream: the merge {self.merge.type_name!r} is ignored",) if is_ignored else ()

    def block(self) -> dict[str, Any]:
        """The recipe with all defaults as plain data, for YAML and JSON."""
        return plain(self)

    def to_yaml(self) -> str:
        """The recipe with all defaults, as YAML that loads as an equal recipe."""
        return write(self.block())

    def save(self, path: str | Path) -> None:
        """Write the recipe with all defaults to a YAML file.

        Raises:
            StorageError: the file cannot be written.
        """
        write_text(Path(path), self.to_yaml())
