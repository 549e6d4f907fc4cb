"""Builds the report of a run: results, protocol, and notes on data and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from genrec.dataset_audit.audit import Audit
from genrec.evaluation.slices import user_slices
from genrec.experiment.baselines import chosen_settings
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit, Fits
from genrec.experiment.keys import Stage
from genrec.experiment.model import Trained, validation_users
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Stream
from genrec.reporting.report import ColdItems, MethodResult, PairedTest, Protocol, Report
from genrec.reporting.texts import plain
from genrec.training.trainer import TrainingLog
from genrec.types import Dataset, ItemVectors


def make_report(
    fits: Fits,
    selected: Trained,
    trained: Trained,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    rows: Sequence[MethodResult],
    tests: Sequence[PairedTest],
    beyond: Sequence[PairedTest],
    audited: Audit,
    cold: ColdItems | None,
    cache: Cache,
) -> Report:
    """The report of a run.

    Args:
        fits: the fits for validation and for test users.
        selected: the model fitted on train only, whose curve is shown.
        trained: the model that evaluates test users.
        vectors: item vectors of its streams, as encoded.
        streams: its streams.
        rows: the result of each method.
        tests: between methods.
        beyond: between methods, in metrics of lists.
        audited: the audit of the dataset.
        cold: results on cold items.
        cache: has the time of each stage.
    """
    fit = fits.valid
    recipe, dataset = fit.recipe, fit.dataset
    ranks = {row.name: row.ranks_U for row in rows if row.kind in ("merge", "stream", "baseline")}
    return Report(
        title=recipe.title,
        protocol=Protocol.of(
            dataset, recipe.evaluation, recipe.seed, selection=selection(fit), final_fit=final_fit(fit, selected.log)
        ),
        users_U=dataset.test.users,
        targets_U=dataset.test.target_lists.items.astype(np.int64),
        rows=rows,
        tests=tests,
        slices=user_slices(ranks, dataset.test, fits.test.dataset.train, recipe.evaluation),
        beyond_tests=beyond,
        distances_in=(recipe.distance_stream or "") if recipe.evaluation.beyond_accuracy else "",
        curve=selected.log.epochs,
        stage_seconds=cache.timer.seconds,
        parameters=_parameters(trained.model),
        notes=tuple(map(plain, _notes(fits, selected, trained, vectors, streams, audited, cache))),
        example_history=_example_history(dataset),
        cold_items=cold,
        data_folder=fit.environment.data,
    )


def selection(fit: Fit) -> str:
    """How the checkpoint was selected, for the protocol."""
    users = len(validation_users(fit))
    other = fit.selected_under != fit.recipe.evaluation.seen_items
    rule = f", under seen_items: {fit.selected_under}" if other else ""
    return f"best mean NDCG@10 of the single streams on {users:,} random validation users{rule}, before any merge"


def final_fit(fit: Fit, selected: TrainingLog) -> str:
    """Data that the model for test users was fitted on, for the protocol."""
    if not fit.recipe.training.final_fit:
        return "train only"
    epochs = selected.best_epoch
    return f"train + validation, {epochs} epoch{'s' * (epochs != 1)}, selected on validation by a fit on train only"


def machine_of(model: Retriever) -> dict[str, Any]:
    """Device and number of threads of a run; a model from the cache may have been trained with others."""
    return {"device": str(next(model.parameters()).device), "threads": torch.get_num_threads()}


def _example_history(dataset: Dataset) -> tuple[str, ...]:
    """Keys of the last two items of the first test user; none where they cannot be shown in a command."""
    test = dataset.test
    keys = tuple(dataset.catalog.keys[item] for item in test.histories[0][-2:]) if len(test) else ()
    return keys if all(key.isprintable() for key in keys) else ()


def _parameters(model: Retriever) -> dict[str, int]:
    """Trainable parameters by part; shared parameters count once, in the first part."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0].strip("_").replace("_", " ")
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def _notes(
    fits: Fits,
    selected: Trained,
    trained: Trained,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    audited: Audit,
    cache: Cache,
) -> Iterator[str]:
    recipe = fits.valid.recipe
    yield from recipe.notes()
    yield from (f"data: {note}" for note in audited.notes)
    yield from (f"audit: {line}" for line in audited.lines())
    for name, context in streams.items():
        yield from (f"stream {name}: {note}" for note in (*context.vectors.notes, *context.ids.notes))
        yield from (f"stream {name}: {note}" for note in _absent(recipe.streams[name], vectors[name], context))
        if context.ids.collisions:
            yield f"stream {name}: {context.ids.collisions:,} items shared a code before repair"
    log = selected.log
    yield (
        f"training: best of {len(log.epochs)} epochs was {log.best_epoch}, stopped by {log.stopped_by}, "
        f"{log.seconds / 60:.1f} minutes" + (f" on {log.machine}" if log.machine else "")
    )
    yield from (f"training: {warning}" for warning in log.warnings)
    if fits.test is not fits.valid:
        yield from (f"final fit: {warning}" for warning in trained.log.warnings)
        yield (
            f"final fit: vectors, codes and model on train + validation, {trained.log.seconds / 60:.1f} minutes; the "
            "curve and all validation results are of the fit on train only"
        )
    yield from cache.machine_notes(Stage(part["kind"], part["name"], part["key"]) for part in cache.log)
    yield from (note for baseline in recipe.baselines if (note := chosen_settings(baseline, fits.test, cache)))


def _absent(stream: Stream, vectors: ItemVectors, context: StreamContext) -> Iterator[str]:
    """Notes on items without encodable content."""
    num_items, ids = len(vectors.present_I), context.ids
    if near := int((context.vectors.present_I & ~vectors.present_I).sum()):
        guide = stream.nearest_in
        yield f"{near:,} of {num_items:,} items have nothing to encode and are coded like their nearest item in {guide}"
    if apart := int((~context.vectors.present_I & ids.present_I).sum()):
        yield f"{apart:,} of {num_items:,} items have nothing to encode and get codes in a separate branch of the tree"
    if absent := int((~ids.present_I).sum()):
        yield (
            f"{absent:,} of {num_items:,} items have no codes and are never recommended; merges by confidence or "
            "rank favor the others"
        )
