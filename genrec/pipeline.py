"""The whole system on one page: a recipe and a folder in, a report out; finished stages are reused.

Read :func:`run` first: files -> vectors -> codes -> model -> candidates -> ranking -> report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from itertools import combinations
from typing import Any

import torch

from genrec import __version__
from genrec.evaluation.audit import Audit, audit
from genrec.evaluation.report import Epoch, Kind, Protocol, Report, evaluate, paired_tests
from genrec.experiment import Experiment
from genrec.families import Merge
from genrec.merges.single import Single
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe, Stream
from genrec.run_folder import RunFolder
from genrec.runtime.environment import Environment
from genrec.runtime.threads import threads
from genrec.stages import Stages
from genrec.training.trainer import TrainingLog
from genrec.types import Candidates, ItemVectors, Ranking
from genrec.yardsticks import Yardstick


def run(recipe: Recipe, folder: RunFolder, *, environment: Environment | None = None) -> Report:
    """Run a recipe from its files to its report.

    Args:
        recipe: what to do.
        folder: where the run writes; an interrupted run goes on from what its stages hold.
        environment: device, threads and folders; by default what this machine has, and no data folder.

    Raises:
        GenrecError: files, weights or components are not as they must be.
    """
    environment = environment or Environment()
    with threads(environment.threads):
        return _run(recipe, folder, environment)


def _run(recipe: Recipe, folder: RunFolder, environment: Environment) -> Report:
    experiment = Experiment(recipe, Stages(folder.stages), environment=environment, keep=folder.keep)
    dataset = experiment.dataset
    folder.write_catalog(dataset.catalog)
    audited = audit(dataset)
    folder.write_json("audit.json", audited.to_dict())
    final = experiment.asked_of("test")
    for part in dict.fromkeys([experiment, final]):
        folder.write_json(part.kept_as("training.json"), part.training_log.as_json())

    @cache
    def fitted(*names: str) -> Merge:
        """The recipe's merge; if it has anything to fit, on what these streams found for the validation users."""
        if type(recipe.merge).fit is Merge.fit:
            return recipe.merge
        found = experiment.candidates("valid", scores=recipe.merge.needs_scores)
        return recipe.merge.fit(found.of_streams(names), dataset.valid.targets)

    folder.write_json("merge.json", fitted(*recipe.streams).block())
    rankings = _rankings(final, fitted, final.candidates("test", scores=recipe.merge.needs_scores))
    with experiment.timed("evaluation"):
        rows = evaluate(rankings, dataset.test, recipe.evaluation, recipe.seed)
        tests = paired_tests(rows, recipe.evaluation, recipe.seed)
    report = Report(
        title=recipe.title,
        protocol=Protocol.of(
            dataset, recipe.evaluation, recipe.seed, selection=selection(experiment), final_fit=final_fit(experiment)
        ),
        split=dataset.test,
        rows=rows,
        tests=tests,
        curve=curve(experiment.training_log),
        stage_seconds=experiment.seconds,
        parameters=_parameters(final.model),
        notes=tuple(_notes(experiment, audited)),
    )
    report.write(folder.path)
    seconds = round(sum(experiment.seconds.values()), 1)
    models = {part.kept_as("model"): part.model_key for part in dict.fromkeys([final, experiment])}
    made = {"genrec": __version__, "date": date.today().isoformat(), **_machine(final.model)}
    folder.finish({**models, **made, "stages": experiment.stages.log, "seconds": seconds})
    return report


def selection(experiment: Experiment) -> str:
    """How the checkpoint was chosen, in words."""
    users = len(experiment.validation_users)
    other = experiment.validated_under != experiment.recipe.evaluation.seen_items
    rule = f", under seen_items: {experiment.validated_under}" if other else ""
    return f"best mean NDCG@10 of the streams alone on {users:,} random validation users{rule}, before any merge"


def final_fit(experiment: Experiment) -> str:
    """What the model that test users are asked of was fitted on, in words."""
    if not experiment.recipe.training.final_fit:
        return "train only"
    epochs = experiment.asked_of("valid").training_log.best_epoch
    return f"train + validation, {epochs} epoch{'s' * (epochs != 1)}, chosen on validation by a fit on train only"


def curve(log: TrainingLog) -> list[Epoch]:
    """The epochs of a training, for a report."""
    return [Epoch(e.epoch, e.losses, e.validation, e.seconds, e.learning_rate) for e in log.epochs]


def _rankings(
    experiment: Experiment, fitted: Callable[..., Merge], found: Candidates
) -> dict[str, tuple[Kind, Ranking]]:
    """Every method's lists for the test users: the merge, that of each pair of streams, each stream, each baseline."""
    recipe = experiment.recipe
    top_n = max(recipe.evaluation.cutoffs)
    rankings: dict[str, tuple[Kind, Ranking]] = {}
    with experiment.timed("merge"):
        if len(found.streams) > 1:
            name = f"merge: {recipe.merge.type_name}"
            rankings[name] = "merge", fitted(*found.streams).merge(found, top_n=top_n)
        if len(found.streams) > 2:
            for pair in combinations(found.streams, 2):
                if set(recipe.merge.streams_used()) <= set(pair):
                    ranking = fitted(*pair).merge(found.of_streams(pair), top_n=top_n)
                    rankings[f"pair: {' + '.join(pair)}"] = "pair", ranking
        for name in found.streams:
            rankings[f"stream: {name}"] = "stream", Single(stream=name).merge(found, top_n=top_n)
    for baseline in recipe.baselines:
        with experiment.timed(f"baseline {baseline.type_name}"):
            ranking = Yardstick(baseline, experiment).rank("test", top_n=top_n)
        rankings[baseline.type_name] = "baseline", ranking
    return rankings


def _machine(model: Retriever) -> dict[str, Any]:
    """What a run's last digits depend on beside recipe and data."""
    return {"device": str(next(model.parameters()).device), "threads": torch.get_num_threads()}


def _parameters(model: Retriever) -> dict[str, int]:
    """Trainable numbers by part; what parts share counts once, where it is first."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0].strip("_").replace("_", " ")
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def _notes(experiment: Experiment, audited: Audit) -> Iterator[str]:
    yield from (f"data: {note}" for note in audited.notes)
    yield from (f"audit: {line}" for line in audited.lines())
    log, final = experiment.training_log, experiment.asked_of("test")
    for name, context in final.streams.items():
        yield from (f"stream {name}: {note}" for note in (*context.vectors.notes, *context.ids.notes))
        stream, vectors = experiment.recipe.streams[name], final.vectors[name]
        yield from (f"stream {name}: {note}" for note in _absent(stream, vectors, context))
        if context.ids.collisions:
            yield f"stream {name}: {context.ids.collisions:,} items shared a code before repair"
    machine = _machine(final.model)
    yield (
        f"training: best of {len(log.epochs)} epochs was {log.best_epoch}, stopped by {log.stopped_by}, "
        f"{log.seconds / 60:.1f} minutes on {machine['device']} with {machine['threads']} "
        f"thread{'s' if machine['threads'] > 1 else ''}"
    )
    if final is not experiment:
        yield (
            f"final fit: vectors, codes and model again on train + validation, {final.training_log.seconds / 60:.1f} "
            "minutes; the curve and whatever is said of validation are of the fit on train only"
        )
    yield from (note for baseline in experiment.recipe.baselines if (note := Yardstick(baseline, final).note("test")))


def _absent(stream: Stream, vectors: ItemVectors, context: StreamContext) -> Iterator[str]:
    """How many items the encoder could not read, and what became of them."""
    num_items, ids = len(vectors.present_I), context.ids
    if near := int((context.vectors.present_I & ~vectors.present_I).sum()):
        guide = stream.nearest_in
        yield f"{near:,} of {num_items:,} items have nothing to encode and are coded as the nearest in {guide}"
    if apart := int((~context.vectors.present_I & ids.present_I).sum()):
        yield f"{apart:,} of {num_items:,} items have nothing to encode and have codes in a branch of their own"
    if absent := int((~ids.present_I).sum()):
        yield (
            f"{absent:,} of {num_items:,} items have no code and are never proposed; a merge by confidence or rank "
            "favours the rest"
        )
