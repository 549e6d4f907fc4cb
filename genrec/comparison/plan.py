"""The plan of a comparison: trials, shared stages, and estimated durations of unfinished stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path
from statistics import median
from typing import Any

from genrec.comparison._values import in_a_name
from genrec.comparison.axes import Variant
from genrec.errors import GenrecError, RecipeError
from genrec.evaluation import code_quality
from genrec.experiment.baselines import fitted_key, ranking_stage
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.finished_run import finished_fits
from genrec.experiment.fit import Fit, Fits, plan_fits
from genrec.experiment.keys import SplitName, Stage, make_key
from genrec.experiment.rankings import needs_fitting
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.source_code import source_hash
from genrec.families import Baseline
from genrec.recipe.schema import Recipe
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.types import Dataset


@dataclass
class Trial:
    """One variant with one seed."""

    variant: Variant
    seed: int
    recipe: Recipe
    """Recipe of the variant with this seed."""
    planned: Fits | None
    """None if a file that a component names is missing."""
    run: Path | None = None
    """Folder of the finished run, if it is one."""
    failure: str = ""
    """Why there is no result, in one line."""

    @property
    def fits(self) -> Fits:
        """The fits of its recipe."""
        assert self.planned is not None, self.failure
        return self.planned


@dataclass
class ModelJob:
    """A model and the searches that its trials need, trained and searched in one process."""

    trials: list[Trial]
    wanted: list[tuple[SplitName, bool]]
    """Splits to search, each with or without the scores of every stream."""

    @property
    def fits(self) -> Fits:
        """The fits of its trials, which differ only in their merge."""
        return self.trials[0].fits

    @property
    def recipe(self) -> Recipe:
        """The recipe of its first trial."""
        return self.trials[0].recipe

    @property
    def needed(self) -> list[Fit]:
        """The required fits: on train alone, and with ``final_fit`` also that for test users."""
        return list(dict.fromkeys(fit for split, _ in self.wanted for fit in self.fits.until(split)))

    @property
    def name(self) -> str:
        """The setting that its trials share, and the seed."""
        shared = shared_setting([trial.variant for trial in self.trials])
        return f"{', '.join(starmap(in_a_name, shared.items())) or 'model'}, seed {self.recipe.seed}"

    @property
    def failure(self) -> str:
        """Why none of its trials can have a result; empty if one can."""
        return next((trial.failure for trial in self.trials if trial.failure), "")

    @property
    def training_key(self) -> str:
        """The cache key of what it trains."""
        return self.fits.valid.keys.model

    def fail(self, why: str) -> None:
        """Record why there is no model."""
        for trial in self.trials:
            trial.failure = why

    @property
    def summary_stage(self) -> Stage:
        """The stage of the summary of the model."""
        return Stage("summary", self.recipe.title, self.summary_key)

    @property
    def summary_key(self) -> str:
        """The cache key of the summary of the model."""
        keys = [fit.keys.model for fit in self.needed]
        return make_key(
            models=keys, source=source_hash(Path(code_quality.__file__), Path(__file__).with_name("worker.py"))
        )

    def stages(self) -> list[Stage]:
        """Its stages, in the order of execution."""
        stages = (stage for fit in self.needed for stage in fit.stages())
        return [*dict.fromkeys(stages), *self.searches()]

    def searches(self) -> list[Stage]:
        """The stages of its searches."""
        return [
            Stage("candidates", split, self.fits.of(split).candidates_key(split, scores=scores))
            for split, scores in self.wanted
        ]

    def is_finished(self, cache: Cache) -> bool:
        """Whether all its stages are finished."""
        return all(map(cache.has, [self.summary_stage, *self.searches()]))


@dataclass
class BaselineJob:
    """A baseline with one seed; a trained baseline runs in a separate process, like a model."""

    trials: list[Trial]
    """The trials with this baseline."""
    baseline: Baseline
    fit: Fit
    """The fit that evaluates the users of the split."""
    split: SplitName
    top_n: int
    failure: str = ""
    """Why there is no ranking, in one line."""

    @property
    def seed(self) -> int:
        return self.trials[0].seed

    @property
    def name(self) -> str:
        """Its type and seed."""
        return f"{self.baseline.type_name}, seed {self.seed}"

    @property
    def is_final(self) -> bool:
        """Whether it is fitted on train + validation, like its model."""
        return self.fit.dataset.trains_on_validation

    @property
    def stage(self) -> Stage:
        """The stage of its ranking."""
        return ranking_stage(self.baseline, self.fit, self.split, top_n=self.top_n)

    @property
    def training_key(self) -> str:
        """The cache key of what it trains."""
        return fitted_key(self.baseline, self.fit)

    def is_finished(self, cache: Cache) -> bool:
        """Whether all its stages are finished."""
        return cache.has(self.stage)

    def fail(self, why: str) -> None:
        """Record why there is no ranking."""
        self.failure = why


@dataclass(frozen=True)
class PlannedStage:
    """A stage that one or more trials need."""

    stage: Stage
    trials: int
    """Number of trials that need it."""
    like: tuple[str, ...]
    """What its duration depends on."""
    finished: bool
    seconds: float | None
    """Median seconds of finished stages that are like it; None if there are none, 0 if it is finished."""
    basis: str = ""
    """Where the seconds come from, if they were measured: see :mod:`genrec.comparison.measuring`."""


@dataclass
class Plan:
    """All work of a comparison before ranking."""

    dataset: Dataset
    cache: Cache
    trials: list[Trial]
    jobs: list[ModelJob] = field(default_factory=list)
    baselines: list[BaselineJob] = field(default_factory=list)

    def planned(self) -> list[PlannedStage]:
        """Every stage that takes time, once, by kind in the order of execution."""
        wanted: dict[tuple[str, str], tuple[Stage, ModelJob, int]] = {}
        for job in self.jobs:
            for stage in job.stages():
                first, owner, count = wanted.get((stage.kind, stage.key), (stage, job, 0))
                wanted[stage.kind, stage.key] = first, owner, count + len(job.trials)
        kinds = ("vectors", "ids", "model", "candidates")
        times = {kind: self.cache.all_facts(kind) for kind in (*kinds, "baseline")}
        found = []
        for stage, job, count in sorted(wanted.values(), key=lambda part: kinds.index(part[0].kind)):
            is_of_run = job.trials[0].run is not None and stage.kind == "model"
            found.append(self._planned(stage, job.fits.valid.like(stage), count, times[stage.kind], is_of_run))
        for job in self.baselines:
            if job.baseline.is_trained:
                like = job.fit.like(job.stage)
                found.append(self._planned(job.stage, like, len(job.trials), times["baseline"]))
        return found

    def _planned(
        self, stage: Stage, like: tuple[str, ...], count: int, times: Sequence[dict[str, Any]], known: bool = False
    ) -> PlannedStage:
        if known or self.cache.has(stage):
            return PlannedStage(stage, count, like, True, 0.0)
        took = [facts["seconds"] for facts in times if facts.get("like") == list(like)]
        return PlannedStage(stage, count, like, False, median(took) if took else None)


def make_plan(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    cache: Cache,
    *,
    split: SplitName,
    environment: Environment = THIS_MACHINE,
) -> Plan:
    """Plan the trials of some variants; encodes and trains nothing.

    Args:
        variants: variants on one dataset.
        seeds: seeds of every variant that is not a finished run; empty: the seed of each recipe.
        cache: finished stages.
        split: the users to evaluate.
        environment: device and folders; its recipe folder is replaced by that of each recipe.

    Raises:
        GenrecError: the dataset cannot be read, a run is not finished, or runs used different data.
    """
    _require_one_holdout(variants, seeds)
    first_recipe = variants[0].recipe
    environment = _located(variants[0], environment).for_dataset(first_recipe.dataset.block())
    dataset = load_dataset(first_recipe, environment)
    trials: list[Trial] = []
    runs: dict[str, Variant] = {}
    """Finished runs that differ only in their seed are one variant: the first of them."""
    for variant in variants:
        here = _located(variant, environment)
        if variant.run is None:
            trials += [_trial(variant, seed, dataset, here) for seed in seeds or (variant.recipe.seed,)]
        else:
            fits = finished_fits(RunFolder.open(variant.run), variant.recipe, dataset, here)
            first = runs.setdefault(_block(variant, without=("title", "seed")), variant)
            if any(trial.variant is first and trial.seed == variant.recipe.seed for trial in trials):
                first = variant  # the same recipe and seed again, perhaps from other source code: a separate row
            trials.append(Trial(first, variant.recipe.seed, variant.recipe, fits, variant.run))
    return Plan(dataset, cache, trials, _jobs(trials, split), _baseline_jobs(trials, split))


def _require_one_holdout(variants: Sequence[Variant], seeds: Sequence[int]) -> None:
    """Check that all trials hold out the same cold items, which the seed decides.

    Raises:
        RecipeError: they do not.
    """
    held_out = {
        (ratio, seed if ratio else 0)
        for variant in variants
        for ratio in [variant.recipe.evaluation.cold_items]
        for seed in (seeds if seeds and variant.run is None else (variant.recipe.seed,))
    }
    if len(held_out) > 1:
        raise RecipeError(
            "evaluation.cold_items: found several shares or seeds, which hold out different items, so that variants "
            "would be evaluated on different data; expected one of each: one seed, or evaluation.cold_items=0"
        )


def _located(variant: Variant, environment: Environment) -> Environment:
    """The environment with the folder of the variant's recipe, for files that the recipe names."""
    if variant.run is not None:
        return RunFolder.open(variant.run).located(environment)
    return replace(environment, recipe=variant.source.resolve().parent)


def _trial(variant: Variant, seed: int, dataset: Dataset, environment: Environment) -> Trial:
    recipe = variant.recipe.model_copy(update={"seed": seed})
    try:
        return Trial(variant, seed, recipe, plan_fits(recipe, dataset, environment))
    except GenrecError as error:  # a file that a component names is missing
        return Trial(variant, seed, recipe, None, failure=str(error))


def _jobs(trials: Sequence[Trial], split: SplitName) -> list[ModelJob]:
    """Trials that differ only in their merge share a job; candidates with scores also serve merges that need none."""
    shared: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.planned is not None:
            shared.setdefault(trial.fits.of(split).candidates_key(split, scores=False), []).append(trial)
    jobs = []
    for group in shared.values():
        merges = [trial.recipe.merge for trial in group]
        scores = any(merge.needs_scores for merge in merges)
        fits = any(map(needs_fitting, merges))
        splits: tuple[SplitName, ...] = ("valid", "test") if fits and split == "test" else (split,)
        jobs.append(ModelJob(group, [(name, scores) for name in splits]))
    return jobs


def _baseline_jobs(trials: Sequence[Trial], split: SplitName) -> list[BaselineJob]:
    """Every baseline of the trials, once per training data of the model; random baselines once per seed."""
    planned = [trial for trial in trials if trial.planned is not None]
    wanted: dict[tuple[str, bool], dict[int, BaselineJob]] = {}
    for trial in planned:
        top_n = max(planned[0].recipe.evaluation.cutoffs)
        for baseline in trial.recipe.baselines:
            job = BaselineJob([], baseline, trial.fits.of(split), split, top_n)
            seeds = wanted.setdefault((json.dumps(baseline.block()), job.is_final), {})
            seeds.setdefault(trial.seed, job).trials.append(trial)
    jobs = []
    for seeds in wanted.values():
        first, *others = (seeds[seed] for seed in sorted(seeds))
        if not first.baseline.is_random:
            first.trials, others = [trial for job in (first, *others) for trial in job.trials], []
        jobs += [first, *others]
    return jobs


def shared_setting(variants: Sequence[Variant]) -> dict[str, str]:
    """The axes with equal values in all variants, without those of the merge, which do not change the model."""
    return {
        axis: value
        for axis, value in variants[0].setting.items()
        if axis.partition(".")[0] != "merge" and all(variant.setting.get(axis) == value for variant in variants)
    }


def block_without_merge(variant: Variant) -> str:
    """What determines the models of a variant except the seed, as text; finished runs never share models."""
    return f"{variant.run} {_block(variant, without=('merge', 'title', 'seed', 'baselines'))}"


def _block(variant: Variant, *, without: tuple[str, ...]) -> str:
    return json.dumps({key: part for key, part in variant.recipe.block().items() if key not in without})
