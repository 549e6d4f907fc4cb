"""The steps of a comparison: a plan -> rows and statistics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from genrec.comparison._beyond_accuracy import shared_facts
from genrec.comparison._controls import find_controls
from genrec.comparison.plan import Plan, PlannedStage, Trial
from genrec.comparison.ranking import make_rows
from genrec.comparison.results import Comparison, ComparisonRow
from genrec.comparison.runner import Runner
from genrec.comparison.statistics import statistics_of
from genrec.dataset_audit.dates import period
from genrec.errors import GenrecError
from genrec.experiment.keys import SplitName
from genrec.reporting.report import Protocol
from genrec.reporting.run_report import selection
from genrec.reporting.texts import named
from genrec.types import Dataset


def compare(plan: Plan, runner: Runner, *, title: str, split: SplitName) -> Comparison:
    """Execute a plan and compare its results.

    Args:
        plan: trials and their shared stages.
        runner: runs the jobs.
        title: title of the comparison.
        split: the users to evaluate.

    Raises:
        GenrecError: no trial has a result; the text says why each failed.
    """
    began = time.monotonic()
    planned = plan.planned()
    runner.run(plan)
    settings = plan.trials[0].recipe.evaluation
    fitted_on = _fitted_on(plan, split)
    facts = shared_facts(plan, split, fitted_on)
    rows = make_rows(plan, split, max(settings.cutoffs), facts)
    if not any(len(row.seeds) for row in rows if row.kind == "variant"):
        reasons = dict.fromkeys(f"- {trial.variant.name}, seed {trial.seed}: {trial.failure}" for trial in plan.trials)
        raise GenrecError("nothing to compare, no variant has a result:\n" + "\n".join(reasons))
    users = getattr(plan.dataset, split)
    protocol = Protocol.of(
        plan.dataset,
        settings,
        plan.trials[0].seed,
        selection=selection(_first(plan).fits.valid),
        final_fit=_final_fit(plan.trials, split),
        part=split,
    )
    return Comparison(
        title=title,
        split="validation" if split == "valid" else "test",
        protocol=protocol,
        axes=_axes(plan.trials),
        seeds=tuple(sorted({trial.seed for trial in plan.trials})),
        rows=rows,
        **statistics_of(rows, users, fitted_on, settings),
        distances_in="" if facts is None else facts.stream,
        stages=_stages(plan, planned),
        seconds=time.monotonic() - began,
        notes=(*notes_of(plan, split), *model_notes(rows)),
        controls=find_controls(list({trial.variant.name: trial.variant for trial in plan.trials}.values())),
    )


def _first(plan: Plan) -> Trial:
    return next(trial for trial in plan.trials if trial.planned is not None)


def _fitted_on(plan: Plan, split: SplitName) -> Dataset:
    """The data that the evaluated models were fitted on; if they differ, what all of them were fitted on."""
    datasets = [trial.fits.of(split).dataset for trial in plan.trials if trial.planned is not None]
    return next((dataset for dataset in datasets if not dataset.trains_on_validation), datasets[0])


def _final_fit(trials: Sequence[Trial], split: SplitName) -> str:
    """The training data of the evaluated models; if variants differ, those with a final fit are named."""
    final = {
        trial.variant.name: trial.fits.of(split).dataset.trains_on_validation
        for trial in trials
        if trial.planned is not None
    }
    if not any(final.values()):
        return "train only"
    epochs = "train + validation, for the number of epochs that a fit on train only selected on validation"
    if all(final.values()):
        return epochs
    more = ", ".join(name for name, is_final in final.items() if is_final)
    return f"differs: {epochs}, for {more}; train only for the others"


def _axes(trials: Sequence[Trial]) -> dict[str, tuple[str, ...]]:
    values: dict[str, dict[str, None]] = {}
    for trial in trials:
        for axis, value in trial.variant.setting.items():
            values.setdefault(axis, {})[value] = None
    return {axis: tuple(found) for axis, found in values.items()}


def _stages(plan: Plan, before: Sequence[PlannedStage]) -> Mapping[str, Mapping[str, int]]:
    """For each kind, the number of computed and reused stages."""
    counts: dict[str, dict[str, int]] = {}
    now = {stage.stage for stage in plan.planned() if stage.finished}
    for stage in before:
        kind = counts.setdefault(stage.stage.kind, {"made": 0, "reused": 0, "missing": 0, "wanted": 0})
        state = "reused" if stage.finished else "made" if stage.stage in now else "missing"
        kind[state] += 1
        kind["wanted"] += stage.trials
    return counts


def notes_of(plan: Plan, split: SplitName) -> Iterator[str]:
    """The notes on the data and the trials of an executed plan."""
    if dates := period(plan.dataset):
        yield f"data: {dates}"
    yield from (f"data: {note}" for note in plan.dataset.notes)
    if split == "valid":
        yield (
            "Evaluated on validation users. Checkpoints were selected on a sample of them; fitted merges are "
            "cross-fitted. Use --test for the test split (once)."
        )
    for trial in plan.trials:
        if trial.run != trial.variant.run:
            yield f"{named(trial.variant.name)}, seed {trial.seed}: {trial.run}, a run that differs only in its seed"
    yield from plan.cache.machine_notes(stage.stage for stage in plan.planned() if stage.finished)
    failed = [trial for trial in plan.trials if trial.failure]
    if failed:
        yield (
            f"{len(failed)} of {len(plan.trials)} trials have no result; rows with missing seeds are averaged over and "
            "tested with the seeds that they have"
        )


def model_notes(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """The notes on training, vectors and codes, each once; with the names of its variants unless all have it."""
    owners: dict[str, list[str]] = {}
    variants = [row for row in rows if row.kind == "variant" and row.models]
    for row in variants:
        notes = {
            f"stream {stream}: {note}"
            for model in row.models
            for stream, codes in model.codes.items()
            for note in codes.get("notes", ())
        } | {f"training: {warning}" for model in row.models for warning in model.warnings}
        for note in sorted(notes):
            owners.setdefault(note, []).append(row.name)
    for note, (first, *others) in owners.items():
        more = f" and {len(others)} more" if others else ""
        yield note if len(others) + 1 == len(variants) else f"{named(first)}{more}, {note}"
