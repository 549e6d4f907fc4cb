"""The speed study: seconds for one user at a time, of models with initial weights and of rankers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genrec.comparison.axes import Variant
from genrec.errors import GenrecError
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.untrained_model import untrained_model
from genrec.experiment.vectors import encode_items
from genrec.families import Baseline, baselines
from genrec.reproduction.rows import PlannedRow
from genrec.runtime.environment import Environment, WorkContext
from genrec.throughput.decoding import time_decoding
from genrec.types import Dataset

_USERS, _REPETITIONS = 32, 5
_LIST_LENGTH = 5
_HISTORIES = 512
"""Training histories of a ranker whose weights do not matter."""


def speed_rows(planned: Sequence[PlannedRow], cache: Cache, environment: Environment) -> list[dict[str, Any]]:
    """Each row with the seconds per user of every repetition, and its number of parameters.

    Args:
        planned: all rows of the study.
        cache: finished vectors and semantic IDs.
        environment: device and folders.
    """
    dataset: Dataset | None = None
    rows = []
    for row in planned:
        said: dict[str, Any] = {"name": row.name, "label": row.row.label}
        try:
            if row.missing:
                said |= {"status": "missing", "reason": row.missing}
            elif row.variant is not None:
                dataset = dataset or load_dataset(row.variant.recipe, environment)
                said |= {"status": "finished", **_decoding(row.variant, dataset, cache, environment)}
            else:
                some = next(p.variant for p in planned if p.variant is not None)
                dataset = dataset or load_dataset(some.recipe, environment)
                said |= {"status": "finished", **_ranking(json.loads(row.baseline), dataset, environment)}
        except GenrecError as error:
            said |= {"status": "failed", "reason": " ".join(str(error).split())}
        rows.append(said)
    return rows


def _decoding(variant: Variant, dataset: Dataset, cache: Cache, environment: Environment) -> dict[str, Any]:
    recipe = variant.recipe
    fit = plan_fit(recipe, dataset, environment)
    vectors = encode_items(fit, cache)
    streams = tokenize_items(fit, vectors, cache)
    model = untrained_model(recipe, streams, dataset.num_items, dataset.train).to(environment.torch_device).eval()
    (timing,) = time_decoding(
        model,
        {name: context.trie for name, context in streams.items()},
        dataset.valid.sample(_USERS, seed=0).histories,
        recipe,
        batch_sizes=[1],
        repetitions=_REPETITIONS,
    )
    return {
        "repetitions": [taken.wall / timing.count for taken in timing.repetitions],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recipe": variant.source.name,
        "set": list(variant.overrides),
    }


def _ranking(block: Mapping[str, Any], dataset: Dataset, environment: Environment) -> dict[str, Any]:
    """A baseline that was fitted briefly: its weights do not change its speed."""
    fields = {key: value for key, value in block.items() if key != "type"}
    cls = baselines.get(block["type"])
    if "max_epochs" in cls.model_fields:
        fields["max_epochs"] = 1
    baseline: Baseline = cls(**fields)
    train = dataset.train.take(np.arange(min(_HISTORIES, len(dataset.train))))
    context = WorkContext(environment=environment)
    fitted = (
        baseline.fit_validated(dataset.catalog, train, context=context, validate=lambda _: 0.0)
        if baseline.is_trained
        else baseline.fit(dataset.catalog, train, context=context)
    )
    users = dataset.valid.sample(_USERS, seed=0).histories
    repetitions = []
    for repetition in range(_REPETITIONS + 1):
        began = time.perf_counter()
        for user in range(len(users)):
            fitted.rank(users.take(np.array([user])), top_n=_LIST_LENGTH, exclude_seen=False)
        if repetition:  # the first one is a warm-up
            repetitions.append((time.perf_counter() - began) / len(users))
    return {"repetitions": repetitions, "parameters": None, "baseline": json.dumps(block)}
