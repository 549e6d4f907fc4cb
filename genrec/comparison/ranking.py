"""From the candidates of a plan's models to rows: merges of all trials, single streams, oracles, baselines."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any

import numpy as np

from genrec.comparison._values import in_a_name
from genrec.comparison.axes import Variant
from genrec.comparison.plan import BaselineJob, ModelJob, Plan, Trial, block_without_merge, shared_setting
from genrec.comparison.results import ComparisonRow, RowKind, Trained
from genrec.contracts.results import checked_fit, checked_merge
from genrec.errors import GenrecError
from genrec.evaluation.beyond_accuracy import ListValues, measurable, measure_lists
from genrec.evaluation.cross_fitting import cross_fitted
from genrec.evaluation.metrics import best_ranks, main_cutoff, split_ranks, target_offsets
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.experiment.baselines import rank_baseline
from genrec.experiment.candidates import find_candidates
from genrec.experiment.keys import SplitName
from genrec.experiment.rankings import needs_fitting
from genrec.merges.single import Single
from genrec.registry import plugin_errors
from genrec.runtime.files import read_json
from genrec.runtime.progress import Bar
from genrec.runtime.seeds import derive
from genrec.training.log import TrainingLog
from genrec.types import Candidates, Ranking, Split


@dataclass
class _Gathering:
    """A row whose seeds are being collected."""

    kind: RowKind
    variants: list[Variant] = field(default_factory=list)
    setting: dict[str, str] = field(default_factory=dict)
    ranks: dict[int, np.ndarray] = field(default_factory=dict)
    models: dict[int, Trained] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    list_values: dict[int, ListValues] = field(default_factory=dict)

    def row(self, name: str, users: Split) -> ComparisonRow:
        seeds = tuple(sorted(self.ranks))
        ranks = [self.ranks[seed] for seed in seeds]
        first = self.variants[0] if self.variants else None
        return ComparisonRow(
            name=name,
            kind=self.kind,
            setting=self.setting,
            seeds=seeds,
            ranks_SU=np.stack(ranks) if ranks else np.zeros((0, 0), np.int32),
            models=tuple(self.models[seed] for seed in seeds if seed in self.models),
            failures=self.failures,
            notes=first.notes if first and self.kind == "variant" else (),
            command=first.command if first and self.kind == "variant" else "",
            list_values=tuple(self.list_values[seed] for seed in seeds if seed in self.list_values),
            target_offsets=target_offsets(users),
        )


def make_rows(plan: Plan, split: SplitName, top_n: int, facts: ItemFacts | None = None) -> list[ComparisonRow]:
    """Rank every user of a split by every trial with finished candidates.

    A merge with parameters is fitted on the validation users. On validation users it is cross-fitted: no user is ranked
    by a merge that was fitted on their target.

    Args:
        plan: after its runner has finished; failed jobs have a reason.
        split: the evaluation users.
        top_n: length of the lists.
        facts: about the items, for metrics beyond accuracy; None: those are not computed.

    Returns:
        Variants in the order given, then the streams and the oracle of each model, then the baselines.
    """
    ranker = _Ranker(plan, split, top_n, _Evaluator.of(plan, split, facts))
    with Bar("ranking", len(plan.jobs)) as bar:
        for job in plan.jobs:
            if not job.failure:
                ranker.rank(job)
            bar.advance(note=job.name)
    return [*ranker.rows(), *_baseline_rows(plan, ranker.evaluator)]


@dataclass(frozen=True)
class _Evaluator:
    """Stores what rankings are worth in rows: the ranks of the targets, and the metrics beyond accuracy."""

    users: Split
    facts: ItemFacts | None
    metrics: tuple[str, ...]
    cutoff: int

    @classmethod
    def of(cls, plan: Plan, split: SplitName, facts: ItemFacts | None) -> _Evaluator:
        settings = plan.trials[0].recipe.evaluation
        metrics = () if facts is None else tuple(measurable(settings.beyond_accuracy, facts))
        return cls(getattr(plan.dataset, split), facts, metrics, main_cutoff(settings.cutoffs))

    def best_of(self, ranks: Sequence[np.ndarray]) -> np.ndarray:
        return best_ranks(np.stack(ranks), target_offsets(self.users))

    def evaluate(self, ranking: Ranking, row: _Gathering, seed: int) -> None:
        ranks_U = split_ranks(ranking, self.users)
        if self.facts is not None and self.metrics:
            lists = TopLists.of(ranking, self.users.histories, self.facts)
            row.list_values[seed] = measure_lists(lists, self.metrics, self.cutoff)
        row.ranks[seed] = ranks_U


class _Ranker:
    """Collects the rows of variants and of their models' streams, job by job."""

    def __init__(self, plan: Plan, split: SplitName, top_n: int, evaluator: _Evaluator) -> None:
        self._plan, self._top_n, self.evaluator = plan, top_n, evaluator
        self._split: SplitName = split
        self._model_names = _model_names(plan)
        self._variants: dict[str, _Gathering] = {}
        self._models: dict[str, _Gathering] = {}
        for trial in plan.trials:
            row = _Gathering("variant", setting=dict(trial.variant.setting))
            self._variants.setdefault(trial.variant.name, row).variants.append(trial.variant)

    def rank(self, job: ModelJob) -> None:
        """Rank by every merge of this model and by each of its streams."""
        scores = any(scores for _, scores in job.wanted)
        found: dict[SplitName, Candidates] = {split: self._found(job, split, scores) for split, _ in job.wanted}
        trained = trained_model(job, self._plan, self._split, scores)
        for trial in job.trials:
            try:
                with plugin_errors():
                    self._note(self._variants[trial.variant.name], self._merged(trial, found), trained)
            except GenrecError as error:
                trial.failure = " ".join(str(error).split())
            except Exception as error:  # the other merges still have a result
                traceback.print_exc()
                trial.failure = " ".join(f"{type(error).__name__}: {error} (a bug in this merge)".split())
        if len(streams := found[self._split].streams) > 1:
            name = self._model_names[block_without_merge(job.trials[0].variant)]
            for stream in streams:
                ranking = Single(stream=stream).merge(found[self._split], top_n=self._top_n)
                self._note(self._row_of_model(job, f"{name}: {stream} alone", "stream"), ranking, trained)
            ranks = [self._models[f"{name}: {stream} alone"].ranks[trained.seed] for stream in streams]
            best = self._row_of_model(job, f"{name}: oracle", "oracle")
            best.ranks[trained.seed], best.models[trained.seed] = self.evaluator.best_of(ranks), trained

    def _found(self, job: ModelJob, split: SplitName, scores: bool) -> Candidates:
        found = find_candidates(job.fits.of(split), split, self._plan.cache, scores=scores)
        assert found is not None, "the job is finished"
        return found

    def _merged(self, trial: Trial, found: dict[SplitName, Candidates]) -> Ranking:
        if len(trial.recipe.streams) == 1:
            (stream,) = trial.recipe.streams
            return Single(stream=stream).merge(found[self._split], top_n=self._top_n)
        merge, targets = trial.recipe.merge, self._plan.dataset.valid.targets

        def seen(split: SplitName) -> Candidates:
            return found[split] if merge.needs_scores else found[split].without_scores()

        if not needs_fitting(merge):
            return checked_merge(merge, seen(self._split), top_n=self._top_n)
        if self._split == "valid":
            seed = derive(trial.seed, "cross-fitting")
            return cross_fitted(merge, seen("valid"), targets, top_n=self._top_n, seed=seed)
        fitted = checked_fit(merge, seen("valid"), targets)
        return checked_merge(fitted, seen("test"), top_n=self._top_n)

    def _row_of_model(self, job: ModelJob, name: str, kind: RowKind) -> _Gathering:
        setting = shared_setting([trial.variant for trial in job.trials])
        return self._models.setdefault(name, _Gathering(kind, setting=setting))

    def _note(self, row: _Gathering, ranking: Ranking, trained: Trained) -> None:
        self.evaluator.evaluate(ranking, row, trained.seed)
        row.models[trained.seed] = trained

    def rows(self) -> Iterator[ComparisonRow]:
        """Variants, then streams and oracles."""
        for trial in self._plan.trials:
            if trial.failure:
                self._variants[trial.variant.name].failures[trial.seed] = trial.failure
        for gathered in (self._variants, self._models):
            yield from (row.row(name, self.evaluator.users) for name, row in gathered.items())


def trained_model(job: ModelJob, plan: Plan, split_name: SplitName, scores: bool) -> Trained:
    """The trained model of a job, from the cache."""
    fit, cache = job.fits.of(split_name), plan.cache
    summary: dict[str, Any] = read_json(cache.path("summary", job.summary_key))
    log = TrainingLog.from_json(summary["log"])
    searched = cache.facts("candidates", fit.candidates_key(split_name, scores=scores))
    made = [cache.facts("model", part.keys.model) for part in job.needed]
    peaks = [peak for facts in (*made, searched) if (peak := facts.get("peak_bytes"))]
    return Trained(
        seed=fit.recipe.seed,
        model_key=fit.keys.model,
        parameters=summary["parameters"],
        training_seconds=summary["training_seconds"],
        search_seconds=searched.get("seconds"),
        peak_bytes=max(peaks, default=None),
        curve=tuple(log.epochs),
        warnings=tuple(log.warnings),
        codes=summary["codes"],
    )


def _model_names(plan: Plan) -> dict[str, str]:
    """The names of models, without the seed: the setting that their trials share."""
    groups: dict[str, list[Variant]] = {}
    for trial in plan.trials:
        groups.setdefault(block_without_merge(trial.variant), []).append(trial.variant)
    names = {
        block: ", ".join(starmap(in_a_name, shared_setting(group).items())) or "model"
        for block, group in groups.items()
    }
    if len(set(names.values())) < len(names):
        names = {block: group[0].name for block, group in groups.items()}
    return names


def _baseline_rows(plan: Plan, evaluator: _Evaluator) -> Iterator[ComparisonRow]:
    """The row of each baseline, with all its seeds."""
    groups: dict[tuple[str, bool], list[BaselineJob]] = {}
    for job in plan.baselines:
        groups.setdefault((json.dumps(job.baseline.block()), job.is_final), []).append(job)
    is_mixed = len({is_final for _, is_final in groups}) > 1
    taken: set[str] = {trial.variant.name for trial in plan.trials}
    for (_, is_final), jobs in groups.items():
        row = _Gathering("baseline")
        for job in jobs:
            try:
                if not job.failure:
                    with plugin_errors():
                        ranking = rank_baseline(job.baseline, job.fit, job.split, plan.cache, top_n=job.top_n)
                        evaluator.evaluate(ranking, row, job.seed)
            except GenrecError as error:
                job.fail(" ".join(str(error).split()))
            if job.failure:
                row.failures[job.seed] = job.failure
        name = jobs[0].baseline.type_name + " on train + validation" * (is_mixed and is_final)
        name = _free_name(name, taken)
        taken.add(name)
        yield row.row(name, evaluator.users)


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
