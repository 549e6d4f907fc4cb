"""What a recipe is made of: the top-level keys and a stream, with their defaults."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt

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
from genrec.search.settings import SearchSettings
from genrec.semantic_ids.absent_items import AbsentItems
from genrec.training.settings import TrainingSettings


def _stream_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ValueError(f"found the stream name {name!r}, expected a letter, then letters, digits, _ and -")
    return name


class Stream(BaseModel):
    """One view of the items, and the codes it is retrieved by."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    item_encoder: ItemEncoder = Field(default_factory=lambda: item_encoders.get("none")())
    """Catalog and training histories -> one vector an item; left out where nothing reads this stream's vectors."""
    tokenizer: Tokenizer | None = None
    """Vectors -> semantic IDs; left out where the decoder writes no codes."""
    history_encoder: HistoryEncoder | None = None
    """Reads a user's items for this stream alone, with layers of its own; left out, that of the recipe does. Its
    ``share`` says whether it has the item table in common with others of the same ``dim``."""
    decoder: Decoder
    """Writes this stream's codes."""
    absent_items: AbsentItems = "own_branch"
    """Items that the encoder cannot read (no photo, no text). ``own_branch``: codes below one more code of the first
    level. ``nearest``: coded as the item nearest to them in the vectors of the stream ``nearest_in``; those that it
    does not know either in a branch of their own. ``leave_out``: no code, so that only other streams propose them.
    Where a decoder writes no codes, such items are left out."""
    nearest_in: str | None = None
    """For ``nearest``: the stream that says which items are near."""


class Recipe(BaseModel):
    """One experiment, complete. From plain data: :func:`genrec.recipe.recipe_of`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: str
    """What it is, in a line; it heads every table."""
    seed: NonNegativeInt = 1
    """All randomness derives from it."""
    dataset: DatasetSource
    """Where items and histories come from."""
    history_encoder: HistoryEncoder
    """Reads a user's items, for all streams that have no history encoder of their own."""
    streams: Annotated[dict[Annotated[str, AfterValidator(_stream_name)], Stream], Field(min_length=1)]
    """One or more streams by name; the name is free."""
    tasks: tuple[Task, ...] = ()
    """Auxiliary losses."""
    training: TrainingSettings = TrainingSettings()
    """Optimisation, stopping and validation."""
    search: SearchSettings = SearchSettings()
    """How each stream is searched."""
    merge: Merge = Field(default_factory=lambda: merges.get("confidence")())
    """Fuses the streams' lists into one ranking."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """What is measured and under which rules."""
    baselines: tuple[Baseline, ...] = Field(
        default_factory=lambda: (baselines.get("popularity")(), baselines.get("transition")())
    )
    """Yardsticks that every table shows beside the recipe."""

    @property
    def own_history_encoders(self) -> dict[str, HistoryEncoder]:
        """By stream: the history encoders of streams that have their own."""
        own = ((name, stream.history_encoder) for name, stream in self.streams.items())
        return {name: encoder for name, encoder in own if encoder is not None}

    @property
    def max_history(self) -> int:
        """Most recent items that the model reads: those of the history encoder that reads most."""
        return max(encoder.max_history for encoder in (self.history_encoder, *self.own_history_encoders.values()))

    def block(self) -> dict[str, Any]:
        """The whole recipe with every default written out: plain data, fit for YAML and JSON."""
        return plain(self)
