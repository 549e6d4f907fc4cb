"""What a comparison has to do: its trials, the stages they share, and how long what is missing may take."""

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
from genrec.errors import GenrecError
from genrec.evaluation import code_quality
from genrec.experiment import Address, Experiment, SplitName
from genrec.families import Merge
from genrec.finished_run import FinishedExperiment
from genrec.run_folder import RunFolder
from genrec.runtime.environment import Environment
from genrec.sources import source_hash
from genrec.stages import Stages, address
from genrec.types import Dataset
from genrec.yardsticks import Yardstick


@dataclass
class Trial:
    """One variant under one seed."""

    variant: Variant
    seed: int
    experiment: Experiment
    run: Path | None = None
    """Folder of the finished run that it is."""
    failure: str = ""
    """Why there is no result, in a line."""


@dataclass
class ModelJob:
    """A model, and the searches that some trials want of it: trained and searched by one process."""

    trials: list[Trial]
    wanted: list[tuple[SplitName, bool]]
    """Splits to be searched, each with or without every stream's scores."""

    @property
    def experiment(self) -> Experiment:
        """Of any of its trials: they differ in their merge alone."""
        return self.trials[0].experiment

    @property
    def experiments(self) -> list[Experiment]:
        """The experiment, and with ``final_fit`` the one that test users are asked of, if they are."""
        asked = (self.experiment.asked_of(split) for split, _ in self.wanted)
        return list(dict.fromkeys([self.experiment, *asked]))

    @property
    def name(self) -> str:
        """What its trials have in common, and the seed."""
        shared = shared_setting([trial.variant for trial in self.trials])
        return f"{', '.join(starmap(in_a_name, shared.items())) or 'model'}, seed {self.experiment.recipe.seed}"

    @property
    def failure(self) -> str:
        """Why none of its trials can have a result; empty where one can."""
        return next((trial.failure for trial in self.trials if trial.failure), "")

    @property
    def training_key(self) -> str:
        """Address of what it trains."""
        return self.experiment.model_key

    def fail(self, why: str) -> None:
        """Note why there is no model."""
        for trial in self.trials:
            trial.failure = why

    @property
    def summary_key(self) -> str:
        """Address of what its process says of the model."""
        keys = [experiment.model_key for experiment in self.experiments]
        return address(models=keys, source=source_hash(Path(code_quality.__file__)))

    def addresses(self) -> list[Address]:
        """Its stages, in the order of the work."""
        found = [
            Address("candidates", split, self.experiment.candidates_key(split, scores=scores))
            for split, scores in self.wanted
        ]
        made = (address for experiment in self.experiments for address in experiment.addresses())
        return [*dict.fromkeys(made), *found]

    def is_finished(self, stages: Stages) -> bool:
        """Whether there is nothing left for a process to do."""
        searched = [address for address in self.addresses() if address.kind == "candidates"]
        return stages.path("summary", self.summary_key).is_file() and all(
            stages.path(*key_of(address)).is_file() for address in searched
        )


@dataclass
class BaselineJob:
    """A baseline under one seed; one that is trained has a process of its own, as a model has."""

    trials: list[Trial]
    """That name it."""
    yardstick: Yardstick
    split: SplitName
    top_n: int
    failure: str = ""
    """Why there is no ranking, in a line."""

    @property
    def seed(self) -> int:
        return self.trials[0].seed

    @property
    def name(self) -> str:
        """Its type, and the seed."""
        return f"{self.yardstick.baseline.type_name}, seed {self.seed}"

    @property
    def is_final(self) -> bool:
        """Whether it learns from validation items, as the model beside it does."""
        return self.yardstick.of(self.split).experiment.dataset.trains_on_validation

    @property
    def address(self) -> Address:
        """Of its ranking."""
        key = self.yardstick.ranking_key(self.split, top_n=self.top_n)
        return Address("baseline", self.yardstick.baseline.type_name, key)

    @property
    def training_key(self) -> str:
        """Address of what it trains."""
        return self.yardstick.of(self.split).key

    def is_finished(self, stages: Stages) -> bool:
        """Whether there is nothing left for a process to do."""
        return stages.path(*key_of(self.address)).is_file()

    def fail(self, why: str) -> None:
        """Note why there is no ranking."""
        self.failure = why


@dataclass(frozen=True)
class PlannedStage:
    """One stage, wanted by one trial or more."""

    address: Address
    trials: int
    """How many want it."""
    like: tuple[str, ...]
    """What its time depends on, in words."""
    finished: bool
    seconds: float | None
    """Median time of finished stages that are like it; None where there are none, 0 for a finished one."""


@dataclass
class Plan:
    """Everything that a comparison does before it ranks."""

    dataset: Dataset
    stages: Stages
    trials: list[Trial]
    jobs: list[ModelJob] = field(default_factory=list)
    baselines: list[BaselineJob] = field(default_factory=list)

    def planned(self) -> list[PlannedStage]:
        """Every stage that takes time, once, kind by kind in the order of the work."""
        wanted: dict[tuple[str, str], tuple[Address, Experiment, int]] = {}
        for job in self.jobs:
            for stage in job.addresses():
                first, experiment, count = wanted.get(key_of(stage), (stage, job.experiment, 0))
                wanted[key_of(stage)] = first, experiment, count + len(job.trials)
        kinds = ("vectors", "ids", "model", "candidates")
        times = {kind: self.stages.all_made(kind) for kind in (*kinds, "baseline")}
        found = []
        for stage, experiment, count in sorted(wanted.values(), key=lambda part: kinds.index(part[0].kind)):
            known_run = isinstance(experiment, FinishedExperiment) and stage.kind == "model"
            found.append(self._planned(stage, experiment.like(stage), count, times[stage.kind], known_run))
        for job in self.baselines:
            if job.yardstick.is_trained:
                like = job.yardstick.like(job.split)
                found.append(self._planned(job.address, like, len(job.trials), times["baseline"]))
        return found

    def _planned(
        self, stage: Address, like: tuple[str, ...], count: int, times: Sequence[dict[str, Any]], known: bool = False
    ) -> PlannedStage:
        if known or self.stages.path(*key_of(stage)).is_file():
            return PlannedStage(stage, count, like, True, 0.0)
        took = [made["seconds"] for made in times if made.get("like") == list(like)]
        return PlannedStage(stage, count, like, False, median(took) if took else None)


def make_plan(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    stages: Stages,
    *,
    split: SplitName,
    environment: Environment | None = None,
) -> Plan:
    """Lay out the trials of some variants.

    Args:
        variants: on one dataset.
        seeds: of every variant that is not a finished run; empty: each recipe's own.
        stages: where finished stages are kept.
        split: whose users will be asked.
        environment: device and folders; the folder of each recipe takes the place of its own.

    Raises:
        GenrecError: the dataset cannot be read, a run is not finished, or runs of other data stand beside it.
    """
    environment = environment or Environment()
    dataset = Experiment(variants[0].recipe, stages, environment=environment).dataset
    trials: list[Trial] = []
    runs: dict[str, Variant] = {}
    """Finished runs that differ in their seed alone are one variant: the first of them."""
    for variant in variants:
        here = replace(environment, recipe=variant.source.resolve().parent)
        if variant.run is None:
            for seed in seeds or (variant.recipe.seed,):
                recipe = variant.recipe.model_copy(update={"seed": seed})
                trials.append(Trial(variant, seed, Experiment(recipe, stages, environment=here, dataset=dataset)))
        else:
            folder = RunFolder.open(variant.run)
            experiment = FinishedExperiment(folder, variant.recipe, stages, environment=here, dataset=dataset)
            first = runs.setdefault(_block(variant, without=("title", "seed")), variant)
            if any(trial.variant is first and trial.seed == variant.recipe.seed for trial in trials):
                first = variant  # the same once more, from other sources perhaps: a row of its own
            trials.append(Trial(first, variant.recipe.seed, experiment, variant.run))
    return Plan(dataset, stages, trials, _jobs(trials, split), _baseline_jobs(trials, split))


def _jobs(trials: Sequence[Trial], split: SplitName) -> list[ModelJob]:
    """Trials that differ in their merge alone share a job, and a search with scores serves those that need none."""
    shared: dict[str, list[Trial]] = {}
    for trial in trials:
        try:
            shared.setdefault(trial.experiment.candidates_key(split, scores=False), []).append(trial)
        except GenrecError as error:  # a file that a component names is not there
            trial.failure = str(error)
    jobs = []
    for group in shared.values():
        merges = [trial.experiment.recipe.merge for trial in group]
        scores = any(merge.needs_scores for merge in merges)
        fits = any(type(merge).fit is not Merge.fit for merge in merges)
        splits: tuple[SplitName, ...] = ("valid", "test") if fits and split == "test" else (split,)
        jobs.append(ModelJob(group, [(name, scores) for name in splits]))
    return jobs


def _baseline_jobs(trials: Sequence[Trial], split: SplitName) -> list[BaselineJob]:
    """Every baseline that some trial names, once for what its model has learned from; a random one by seed."""
    top_n = max(trials[0].experiment.recipe.evaluation.cutoffs)
    wanted: dict[tuple[str, bool], dict[int, BaselineJob]] = {}
    for trial in trials:
        for baseline in trial.experiment.recipe.baselines:
            job = BaselineJob([], Yardstick(baseline, trial.experiment), split, top_n)
            seeds = wanted.setdefault((json.dumps(baseline.block()), job.is_final), {})
            seeds.setdefault(trial.seed, job).trials.append(trial)
    jobs = []
    for seeds in wanted.values():
        first, *others = (seeds[seed] for seed in sorted(seeds))
        if not first.yardstick.baseline.is_random:
            first.trials, others = [trial for job in (first, *others) for trial in job.trials], []
        jobs += [first, *others]
    return jobs


def key_of(stage: Address) -> tuple[str, str]:
    """Kind and key: what a stage is kept by."""
    return stage.kind, stage.key


def shared_setting(variants: Sequence[Variant]) -> dict[str, str]:
    """The axes on which all of some variants agree, with their value; those of the merge decide no model."""
    return {
        axis: value
        for axis, value in variants[0].setting.items()
        if axis.partition(".")[0] != "merge" and all(variant.setting.get(axis) == value for variant in variants)
    }


def block_without_merge(variant: Variant) -> str:
    """What decides a variant's models up to the seed, as text; a finished run has models of its own."""
    return f"{variant.run} {_block(variant, without=('merge', 'title', 'seed', 'baselines'))}"


def _block(variant: Variant, *, without: tuple[str, ...]) -> str:
    return json.dumps({key: part for key, part in variant.recipe.block().items() if key not in without})
