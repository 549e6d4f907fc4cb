"""Durations of stages without an estimate: a few steps are timed and extrapolated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from genrec.comparison.plan import BaselineJob, ModelJob, Plan, PlannedStage, block_without_merge
from genrec.errors import GenrecError
from genrec.experiment.fit import Fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.keys import SplitName, Stage
from genrec.experiment.model import validation_users
from genrec.experiment.selection import mean_stream_ndcg
from genrec.experiment.untrained_model import untrained_model
from genrec.experiment.vectors import encode_items
from genrec.families import FittedBaseline
from genrec.model.retriever import Retriever
from genrec.reporting.texts import count_text
from genrec.runtime.progress import log_detail
from genrec.runtime.threads import Threads, cores, threads, threads_for
from genrec.search.streams import search_streams
from genrec.semantic_ids.trie import Trie
from genrec.throughput.training import time_training
from genrec.training.batches import HistoryBatches
from genrec.types import Split

_STEPS, _REPETITIONS = 8, 2
_USERS, _WARM_UP_USERS = 512, 64
_HISTORIES = 2048
"""Training histories of the one epoch of a baseline that is timed."""


class Measured(NamedTuple):
    """The extrapolated duration of a stage."""

    seconds: float
    basis: str


def measure(plan: Plan, *, num_threads: Threads = None, at_once: int = 1) -> list[PlannedStage]:
    """The stages of a plan, where those of unknown duration are timed: training, search, trained baselines.

    Models are built as the comparison would build them. That needs their vectors and semantic IDs, which are computed
    and stay in the cache. Variants that differ only in their seed are timed once. Early stopping is unknown, so the
    seconds are those of all epochs.

    Args:
        plan: the plan; its stages of known duration are not timed.
        num_threads: threads of each model (``--threads``).
        at_once: number of models that the comparison trains in parallel, which share the cores.
    """
    unknown = {planned.stage for planned in plan.planned() if not planned.finished and planned.seconds is None}
    found: dict[Stage, Measured] = {}
    samples: dict[tuple[object, ...], Measured] = {}
    num_cores = max(1, cores() // at_once)
    for job in plan.jobs:
        wanted = [stage for stage in job.stages() if stage in unknown and stage.kind in ("model", "candidates")]
        if job.failure or job.trials[0].run is not None or not wanted:
            continue
        with _computing(num_threads, job, num_cores), _explained(job):
            found |= _measure_job(job, plan, wanted, samples)
    for job in plan.baselines:
        if job.stage in unknown and job.stage not in found:
            key = (job.stage.name, str(job.baseline.block()), job.is_final)
            with _computing(num_threads, job, num_cores), _explained(job):
                if key not in samples and (measured := _measure_baseline(job)):
                    samples[key] = measured
                if key in samples:
                    found[job.stage] = samples[key]
    return [
        replace(planned, seconds=found[planned.stage].seconds, basis=found[planned.stage].basis)
        if planned.stage in found and not planned.finished
        else planned
        for planned in plan.planned()
    ]


@contextmanager
def _computing(requested: Threads, job: ModelJob | BaselineJob, num_cores: int) -> Iterator[None]:
    """On as many threads as the process of the job will have."""
    with threads(threads_for(requested, job.trials[0].recipe.block(), num_cores)):
        yield


@contextmanager
def _explained(job: ModelJob | BaselineJob) -> Iterator[None]:
    """What cannot be measured stays unknown; the comparison itself reports why it fails."""
    try:
        yield
    except GenrecError as error:
        log_detail(f"{job.name} is not measured: {error}")


def _measure_job(
    job: ModelJob, plan: Plan, wanted: list[Stage], samples: dict[tuple[object, ...], Measured]
) -> dict[Stage, Measured]:
    """The model and the searches of a job; those of an equal job with another seed are in ``samples``."""
    block = block_without_merge(job.trials[0].variant)
    found: dict[Stage, Measured] = {}
    for fit in job.needed:
        searches: list[tuple[SplitName, bool]] = [(s, scores) for s, scores in job.wanted if job.fits.of(s) is fit]
        stages = {
            **{Stage("candidates", s, fit.candidates_key(s, scores=scores)): (s, scores) for s, scores in searches},
            Stage("model", fit.title, fit.keys.model): None,  # last: it changes the weights
        }
        sample: _Sample | None = None
        for stage, search in stages.items():
            key = (block, fit.selection is None, search)
            if stage in wanted and key not in samples:
                sample = sample or _Sample.of(fit, plan)
                samples[key] = sample.training() if search is None else sample.search(*search)
            if stage in wanted:
                found[stage] = samples[key]
    return found


@dataclass(frozen=True)
class _Sample:
    """A model with its initial weights, to be timed."""

    fit: Fit
    model: Retriever
    tries: Mapping[str, Trie]

    @classmethod
    def of(cls, fit: Fit, plan: Plan) -> _Sample:
        vectors = encode_items(fit, plan.cache)
        streams = tokenize_items(fit, vectors, plan.cache)
        model = untrained_model(fit.recipe, streams, fit.dataset.num_items, fit.dataset.train)
        tries = {name: context.trie for name, context in streams.items()}
        return cls(fit, model.to(fit.environment.torch_device), tries)

    def search(self, split: SplitName, scores: bool) -> Measured:
        """The search of all users of a split, from some of them."""
        recipe, dataset = self.fit.recipe, self.fit.dataset

        def search(users: Split) -> None:
            search_streams(
                self.model,
                self.tries,
                users.histories,
                recipe.search,
                num_items=dataset.num_items,
                max_history=recipe.max_history,
                with_scores=scores,
                seen=recipe.evaluation.seen_items,
                title=f"timing the search of {split}",
            )

        users = self.fit.users(split)
        seconds, some = _timed_on_some(search, users)
        untrained = ", which take longer with the untrained model" if recipe.search.method == "bound" else ""
        return Measured(seconds, f"{some:,} of {len(users):,} users{untrained}")

    def training(self) -> Measured:
        """All epochs, from a few steps and the validation of some users."""
        recipe, dataset, settings = self.fit.recipe, self.fit.dataset, self.fit.recipe.training
        timing = time_training(self.model, dataset.train, recipe, steps=_STEPS, repetitions=_REPETITIONS)
        assert timing.milliseconds_a_step is not None
        batches = HistoryBatches(
            dataset.train,
            num_items=dataset.num_items,
            max_history=recipe.max_history,
            batch_size=settings.batch_size,
            all_positions=recipe.training.all_positions(is_causal=self.model.is_causal),
            seed=0,
            device=self.fit.environment.torch_device,
        )
        seconds = len(batches) * timing.milliseconds_a_step / 1e3
        epochs, steps = count_text(settings.max_epochs, "epoch"), count_text(len(batches), "step")
        basis = f"{epochs} x {steps} of {timing.milliseconds_a_step:.0f} ms"
        if self.fit.selection is None:
            validation, _ = _timed_on_some(self._validate, validation_users(self.fit))
            seconds, basis = seconds + validation, f"{basis} and validation of {validation:.1f} s"
        seconds *= settings.max_epochs
        if settings.max_minutes is not None and seconds > 60 * settings.max_minutes:
            return Measured(60 * settings.max_minutes, f"max_minutes; {basis}")
        return Measured(seconds, f"{basis}, less if it stops early")

    def _validate(self, users: Split) -> None:
        mean_stream_ndcg(
            self.model,
            self.tries,
            users,
            num_items=self.fit.dataset.num_items,
            max_history=self.fit.recipe.max_history,
            seen_items=self.fit.selected_under,
        )


def _timed_on_some(work: Callable[[Split], object], users: Split) -> tuple[float, int]:
    """Seconds for all users, from a random sample of them after a warm-up; and the size of the sample."""
    sample = users.sample(_USERS, seed=0)
    work(sample.sample(_WARM_UP_USERS, seed=0))
    began = time.monotonic()
    work(sample)
    return (time.monotonic() - began) * len(users) / len(sample), len(sample)


def _measure_baseline(job: BaselineJob) -> Measured | None:
    """All epochs of a trained baseline, from one on some histories; None if it has no ``max_epochs``."""
    fit, fixed = job.fit, getattr(job.baseline, "epochs", None)
    epochs = fixed or getattr(job.baseline, "max_epochs", None)
    if epochs is None:
        return None
    short = job.baseline.model_copy(update={"max_epochs": 1, **({"epochs": 1} if fixed else {})})
    train, validating = fit.dataset.train, 0.0

    def validate(fitted: FittedBaseline) -> float:
        nonlocal validating

        def rank(users: Split) -> None:
            fitted.rank(users.histories, top_n=job.top_n, exclude_seen=False)

        began = time.monotonic()
        seconds, _ = _timed_on_some(rank, fit.dataset.valid)
        excluded.append(time.monotonic() - began)
        validating += seconds
        return 0.0

    for size in (_HISTORIES // 8, _HISTORIES):  # the first one warms up
        some = train.take(np.arange(min(size, len(train))))
        excluded: list[float] = []
        validating, began = 0.0, time.monotonic()
        short.fit_validated(fit.dataset.catalog, some, context=fit.context("timing"), validate=validate)
        seconds = time.monotonic() - began - sum(excluded)
    share = len(some.items) / len(train.items)
    seconds = epochs * (seconds / share + validating)
    return Measured(seconds, f"{epochs} epochs, from one on {share:.0%} of the interactions")
