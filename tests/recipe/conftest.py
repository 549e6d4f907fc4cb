"""A working folder with a plugin file that brings one tiny component of every family, and a registry left clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrec import registry

PARTS = '''
"""One tiny component of each family."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from genrec.families import (
    Baseline, DatasetSource, Decoder, HistoryEncoder, ItemEncoder, Merge, Task, Tokenizer,
    baselines, datasets, decoders, history_encoders, item_encoders, merges, tasks, tokenizers,
)
from genrec.training.settings import OptimizationSettings


@datasets.register("shelf")
class Shelf(DatasetSource):
    """Reads nothing."""

    folder: str = "some-shelf"
    file: Path = Path("a/b.csv")

    def load(self, data): ...


@item_encoders.register("hashing")
class Hashing(ItemEncoder):
    """Hashes."""

    dim: PositiveInt = 8
    scale: float | Literal["auto"] = "auto"
    training: OptimizationSettings = OptimizationSettings(learning_rate=0.5, max_epochs=3)

    def encode(self, catalog, train, *, context): ...


@item_encoders.register("stack")
class Stack(ItemEncoder):
    """Several encoders side by side."""

    encoders: Annotated[tuple[ItemEncoder, ...], Field(min_length=1)]
    by_name: dict[str, ItemEncoder] = {}
    reducer: Tokenizer | None = None

    def encode(self, catalog, train, *, context): ...


@tokenizers.register("grid")
class Grid(Tokenizer):
    """Cuts."""

    branching: PositiveInt = 4
    shuffled: bool = False

    def fit(self, vectors, *, keys, context): ...


@tokenizers.register("verbless")
class Verbless(Tokenizer):
    """Has no fit."""


@history_encoders.register("bag")
class Bag(HistoryEncoder):
    """Adds up."""

    num_heads: PositiveInt = 2

    @model_validator(mode="after")
    def _divisible(self):
        if self.dim % self.num_heads:
            raise ValueError(f"found dim {self.dim} and num_heads {self.num_heads}, expected dim to be a multiple")
        return self

    def build(self, context): ...


@decoders.register("writer")
class Writer(Decoder):
    """Writes codes."""

    num_layers: PositiveInt = 1

    def build(self, context): ...


@decoders.register("codeless")
class Codeless(Decoder):
    """Writes no codes."""

    writes_codes: ClassVar[bool] = False

    def build(self, context): ...


@tasks.register("guide")
class Guide(Task):
    """One stream guides another."""

    source: str
    target: str
    others: tuple[str, ...] = ()

    def streams_used(self):
        return (self.source, self.target, *self.others)

    def build(self, context): ...


@merges.register("first")
class First(Merge):
    """Takes the first."""

    depth: PositiveInt = 3

    def merge(self, candidates, *, top_n): ...


@baselines.register("nothing")
class Nothing(Baseline):
    """Ranks nothing."""

    def fit(self, catalog, train, *, context): ...
'''

RECIPE = """\
title: A recipe
dataset: shelf
history_encoder: {type: bag, dim: 16}
streams:
  left: {item_encoder: hashing, tokenizer: grid, decoder: writer}
  right:
    item_encoder: {type: hashing, dim: 4}
    tokenizer: {type: grid, branching: 8}
    decoder: {type: writer, num_layers: 2}
tasks:
  - {type: guide, source: left, target: right, weight: 0.5}
training: {learning_rate: 1e-3, batch_size: 32}
merge: first
evaluation: {cutoffs: [5, 10]}
baselines: [nothing]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> Path:
    """The working folder, with ``plugins/parts.py`` and ``recipe.yaml``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "parts.py").write_text(PARTS, encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def recipe_text(folder: Path) -> str:
    """The text of ``recipe.yaml``, with the plugins it needs already known."""
    registry.add_plugin_folder(folder / "plugins")
    return RECIPE
