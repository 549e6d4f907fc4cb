"""Cache keys: a pure function of recipe, data and the keys of the stages before.

A key covers what determines the content of a stage and nothing else: the block of the component, the source code that
computes it (:mod:`genrec.experiment.source_code`), the files that it reads, the seed if it is random, and the upstream
keys.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from genrec.experiment.source_code import source_files, source_hash
from genrec.families import Baseline, Component, plain
from genrec.recipe.schema import Recipe
from genrec.runtime import seeds
from genrec.runtime.environment import Environment
from genrec.runtime.files import fingerprint
from genrec.runtime.seeds import derive
from genrec.types import Dataset

FORMAT = 1
"""Version of the stored files; a change invalidates all stored stages."""

SplitName = Literal["valid", "test"]
Kind = Literal["vectors", "ids", "model", "candidates", "baseline", "summary"]

_NOT_IN_A_MODEL = {"final_fit", "loggers"}
"""Training settings that do not change the model of one fit."""


LEFT_OUT: dict[str, dict[str, str]] = {
    "ids": {
        "semantic_ids.trie": "the trie is built from the codes and is not stored",
        "model.contracts": "holds codes, trie and vectors",
    },
    "model": {
        "search.methods": "looks up a method by its name; validation searches by bound",
        "search.beam": "gives bound an initial list, which changes its speed and not its result",
        "search.exact": "validation does not use it",
    },
    "baselines": {
        "search.streams": "validates models; baselines do not use it",
        "search.bound": "validates models; baselines do not use it",
    },
}
"""By stage: imported modules that do not determine the stored content, each with the reason."""


class Stage(NamedTuple):
    """A stage in the cache."""

    kind: Kind
    name: str
    """Name of the stream, of all streams, of the split, or of the baseline."""
    key: str


@dataclass(frozen=True)
class Keys:
    """The cache keys of one fit."""

    vectors: dict[str, str]
    """By stream."""
    ids: dict[str, str]
    """By stream."""
    model: str


def make_key(**parts: Any) -> str:
    """A hash of plain data."""
    text = json.dumps({"format": FORMAT, **parts}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def component_key(component: Component | None, environment: Environment) -> Any:
    """What determines the result of a component, as plain data: block, source code and the content of input files.

    Nested components are included (the encoders of ``concatenation``).

    Raises:
        DataError: a file that it reads is missing.
    """
    if component is None:
        return None
    parts = list(_with_nested(component))
    return {
        "block": _deciding(component),
        "source": source_hash(*dict.fromkeys(Path(inspect.getfile(type(part))) for part in parts)),
        "files": [fingerprint(file) for part in parts for file in part.input_files(environment)],
    }


def fit_keys(
    recipe: Recipe,
    dataset: Dataset,
    environment: Environment,
    *,
    seen_items: str,
    first: Dataset,
    selection: str | None,
) -> Keys:
    """The keys of vectors, semantic IDs and model.

    Args:
        recipe: the recipe.
        dataset: the data to fit on.
        environment: finds the input files of components.
        seen_items: the rule under which checkpoints are selected.
        first: the dataset of the fit on train alone, for encoders that read no histories.
        selection: of a final fit, the key of the model that selected the number of epochs.

    Raises:
        DataError: a file that a component reads is missing.
    """
    source = component_key(recipe.dataset, environment)
    vectors, ids = {}, {}
    for name, stream in recipe.streams.items():
        encoder = stream.item_encoder
        vectors[name] = make_key(
            component=component_key(encoder, environment),
            stage=_stage_source("vectors"),
            data=(source, (dataset if encoder.reads_histories else first).fingerprint),
            seed=derive(recipe.seed, "item encoder", name) if encoder.is_random else None,
        )
    for name, stream in recipe.streams.items():
        tokenizer = stream.tokenizer
        ids[name] = make_key(
            component=component_key(tokenizer, environment),
            stage=_stage_source("ids"),
            vectors=vectors[name],
            absent_items=stream.absent_items,
            nearest_in=vectors[stream.nearest_in] if stream.nearest_in else None,
            seed=derive(recipe.seed, "tokenizer", name) if tokenizer and tokenizer.is_random else None,
        )
    model = make_key(
        stage=_stage_source("model"),
        streams=[(name, ids[name], component_key(s.decoder, environment)) for name, s in recipe.streams.items()],
        history_encoder=component_key(recipe.history_encoder, environment),
        own_history_encoders={
            name: component_key(own, environment) for name, own in recipe.own_history_encoders.items()
        },
        tasks=[component_key(task, environment) for task in recipe.tasks],
        training=recipe.training.model_dump(exclude=_NOT_IN_A_MODEL),
        selection=(seen_items, selection),
        seed=recipe.seed,
    )
    return Keys(vectors, ids, model)


def candidates_key(model: str, recipe: Recipe, dataset: Dataset, split: SplitName, *, scores: bool) -> str:
    """The key of the candidates for the users of a split; the model of a finished run may read other histories."""
    return make_key(
        model=model,
        data=dataset.fingerprint,
        stage=_stage_source("candidates"),
        search=recipe.search.model_dump(),
        seen_items=recipe.evaluation.seen_items,
        scores=scores,
        split=split,
    )


def baseline_key(
    baseline: Baseline, recipe: Recipe, dataset: Dataset, environment: Environment, *, seen_items: str
) -> str:
    """The key of a fitted baseline."""
    return make_key(
        component=component_key(baseline, environment),
        stage=_stage_source("baselines"),
        data=(component_key(recipe.dataset, environment), dataset.fingerprint),
        seed=recipe.seed if baseline.is_random else None,
        selection=seen_items if baseline.is_trained else None,
    )


def ranking_key(fitted: str, recipe: Recipe, split: SplitName, *, top_n: int) -> str:
    """The key of the ranking of a fitted baseline for the users of a split."""
    return make_key(baseline=fitted, seen_items=recipe.evaluation.seen_items, split=split, top_n=top_n)


def stage_files(stage: str) -> set[Path]:
    """The modules of a stage's key: the one that runs it, what this imports, and the one that derives its seeds."""
    files = Path(__file__).with_name(f"{stage}.py"), Path(seeds.__file__)
    return source_files(*files, without=tuple(LEFT_OUT.get(stage, ())))


def _stage_source(stage: str) -> str:
    return source_hash(*stage_files(stage), without=tuple(LEFT_OUT.get(stage, ())))


def _with_nested(value: Any) -> Iterator[Component]:
    """A component and the components nested in its fields."""
    if isinstance(value, Component):
        yield value
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _with_nested(part)


def _deciding(value: Any) -> Any:
    """The block of a component without the fields that only change its speed."""
    if isinstance(value, Component):
        fields = [name for name in type(value).model_fields if name not in value.speed_only]
        return {"type": value.type_name, **{name: _deciding(getattr(value, name)) for name in fields}}
    if isinstance(value, list | tuple):
        return [_deciding(part) for part in value]
    return plain(value)
