"""Compare recipes, runs and variants of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genrec.api.inputs import (
    ONE_AT_A_TIME,
    Overrides,
    RecipeLike,
    environment_of,
    listed_texts,
    load_recipe,
    name_of,
    override_texts,
    parse_threads,
    value_text,
)
from genrec.api.runs import Run
from genrec.comparison.axes import parse_budget, parse_seeds
from genrec.comparison.axes import variants as variants_of
from genrec.comparison.comparing import compare as compare_variants
from genrec.comparison.measuring import measure
from genrec.comparison.plan import Plan, PlannedStage, make_plan
from genrec.comparison.results import Comparison
from genrec.comparison.runner import Runner, default_jobs
from genrec.errors import RecipeError
from genrec.experiment.cache import Cache
from genrec.experiment.keys import SplitName
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.schema import Recipe
from genrec.registry import plugin_errors
from genrec.reporting.comparison_files import write
from genrec.reporting.conclusion import comparison_conclusion
from genrec.reporting.tables import Table
from genrec.runtime.environment import Environment
from genrec.runtime.progress import console

Vary = Sequence[str] | Mapping[str, Sequence[Any]]
"""Axes: ``{"merge": ["confidence", "learned"]}``, or texts ``merge=confidence,learned`` as for ``--vary``."""
Recipes = RecipeLike | Run | Sequence[RecipeLike | Run]
"""A recipe or finished run (or its folder), or several."""


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """A finished comparison. Returned by :func:`compare`."""

    path: Path
    """The folder with ``comparison.html``, ``.md``, ``.csv``, ``.json`` and the ranks."""
    comparison: Comparison
    """All rows, tests and slices."""
    metrics: Table
    """A row for each variant, stream and baseline, metric and cutoff: mean over users and seeds, its standard deviation
    over seeds (null with one seed) and its bootstrap interval over users."""
    tests: Table
    """A row for each pair of variants and baselines and each metric, at the main cutoff: difference, interval, p-value
    with Holm correction, and the verdict on the first. Tests of accuracy are corrected apart from those beyond it."""

    @property
    def conclusion(self) -> str:
        """The first sentence of the report: which variant is better, by paired tests."""
        return comparison_conclusion(self.comparison)

    def __repr__(self) -> str:
        return f"ComparisonResult({str(self.path)!r}: {len(self.comparison.table_rows)} rows; {self.conclusion})"

    def _repr_html_(self) -> str:
        from genrec.api.notebook import comparison_html

        return comparison_html(self.comparison)


@plugin_errors()
def compare(
    recipes: Recipes,
    vary: Vary = (),
    *,
    seeds: Sequence[int] | int | str = (),
    controls: bool = False,
    split: Literal["validation", "test"] = "validation",
    output: str | Path | None = None,
    overrides: Overrides = None,
    data: str | Path | None = None,
    budget: str | None = None,
    jobs: int | None = None,
    device: str = "auto",
    threads: int | str | None = None,
) -> ComparisonResult:
    """Compare recipes, tokenizers, merges, streams and seeds in one table; shared stages run once.

    Finished stages are cached: the same call resumes a comparison that was interrupted, failed or over budget. A script
    that calls this needs no ``if __name__ == "__main__"``: models are trained in processes of their own.

    Args:
        recipes: a recipe (file, mapping or Recipe), a finished run or its folder, or several of these.
        vary: values by key, all combinations are compared: ``{"merge": ["confidence", "learned"]}``,
            ``{"streams": ["text", "behavior+text"]}``.
        seeds: seeds of every variant; default: the recipe's.
        controls: add the controls of the streams: each stream several times, and one stream on concatenated vectors.
        split: the users to evaluate. Evaluate on the test split once, at the end.
        output: folder of the comparison; default ``runs/compare-<recipe>-<time>``.
        overrides: changes for all variants.
        data: data folder.
        budget: time limit (90s, 30m, 2h); what is finished by then is reported.
        jobs: models trained at the same time; default: one per processor, at most 4; one on a GPU.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: number of threads of each model; default ``auto`` unless OMP_NUM_THREADS is set.

    Raises:
        GenrecError: recipes or options are not valid, data is missing, or no variant has a result.
    """
    began = time.monotonic()
    seconds = None if budget is None else parse_budget(str(budget))
    thread_count = parse_threads(threads)
    if jobs is not None and jobs < 1:
        raise RecipeError(f"jobs: found {jobs}, expected at least 1, or None for one per processor")
    plan = plan_comparison(
        recipes,
        vary,
        seeds=seeds,
        controls=controls,
        split=split,
        output=output,
        overrides=overrides,
        data=data,
        device=device,
    )
    variants = {trial.variant.name: trial.variant for trial in plan.trials}
    first = plan.trials[0].variant
    with RunFolder.create(
        _path(output), Path(f"compare-{(first.run or first.source).resolve().stem}"), verb="compare"
    ) as folder:
        console.print(f"{len(plan.trials)} trials of {len(variants)} variants -> {folder.path}", markup=False)
        runner = Runner(
            logs=folder.path / "logs",
            at_once=jobs or default_jobs(Environment(device)),
            threads=thread_count,
            deadline=None if seconds is None else began + seconds,
        )
        title = " and ".join(dict.fromkeys(variant.recipe.title for variant in variants.values()))
        with ONE_AT_A_TIME:
            comparison = compare_variants(plan, runner, title=title, split=_SPLITS[split])
        users = plan.dataset.valid if split == "validation" else plan.dataset.test
        write(comparison, users, folder.path, draft=folder.draft)
        keys = {planned.stage.key for planned in plan.planned()} | {job.summary_key for job in plan.jobs}
        facts = {"split": comparison.split, "stages": comparison.stages, "keys": sorted(keys)}
        folder.finish({**facts, "seconds": round(comparison.seconds, 1)})
    return ComparisonResult(folder.path, comparison, _metrics(comparison), _tests(comparison))


@plugin_errors()
def plan_comparison(
    recipes: Recipes,
    vary: Vary = (),
    *,
    seeds: Sequence[int] | int | str = (),
    controls: bool = False,
    split: Literal["validation", "test"] = "validation",
    output: str | Path | None = None,
    overrides: Overrides = None,
    data: str | Path | None = None,
    device: str = "auto",
) -> Plan:
    """The trials and stages of a comparison, without computing them; arguments as :func:`compare`."""
    if split not in _SPLITS:
        raise RecipeError(f"split: found {split!r}, expected {' or '.join(map(repr, _SPLITS))}")
    text = str(seeds) if isinstance(seeds, str | int) else ",".join(map(str, seeds))
    seed_list = parse_seeds(text) if text else ()
    environment = environment_of(data=data, device=device)
    files = recipe_files(recipes, output)
    compared = variants_of(files, axis_texts(vary), overrides=override_texts(overrides), controls=controls)
    cache = Cache(RunFolder.cache_of(_path(output)), quiet=True)
    return make_plan(compared, seed_list, cache, split=_SPLITS[split], environment=environment)


def measured_stages(plan: Plan, *, jobs: int = 1, threads: int | str | None = None) -> list[PlannedStage]:
    """The stages of a plan, those without an estimate timed by a few steps; computes vectors and semantic IDs.

    Args:
        plan: from :func:`plan_comparison`.
        jobs: number of models that the comparison trains at the same time, which share the cores.
        threads: as in :func:`compare`.
    """
    return measure(plan, num_threads=parse_threads(threads), at_once=jobs)


_SPLITS: dict[str, SplitName] = {"validation": "valid", "test": "test"}


def axis_texts(vary: Vary) -> list[str]:
    """Axes as texts ``key=value,value``.

    Raises:
        RecipeError: the values of a key are not a list, or the axes are neither a mapping nor texts.
    """
    example = '{"merge": ["confidence", "learned"]}'
    if not isinstance(vary, Mapping):
        return listed_texts("vary", vary, example)
    for key, values in vary.items():
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise RecipeError(f"vary: {key}: found {values!r}, expected a list of values, such as {example}")
    return [f"{key}={','.join(map(value_text, values))}" for key, values in vary.items()]


def recipe_files(recipes: Recipes, output: str | Path | None) -> list[Path]:
    """The files of recipes and folders of runs; recipes built in Python are written as files beside the cache."""
    if isinstance(recipes, str | Path | Mapping | Recipe | Run) or not isinstance(recipes, Iterable):
        recipes = [recipes]
    folder = RunFolder.cache_of(_path(output)) / "recipes"
    files: list[Path] = []
    for recipe in recipes:
        if isinstance(recipe, Run):
            files.append(recipe.path)
        elif isinstance(recipe, str | Path):
            files.append(Path(recipe))
        else:
            checked = load_recipe(recipe)
            file = folder / name_of(recipe, checked)
            if file in files:
                file = file.with_stem(f"{file.stem}_{len(files) + 1}")
            file.parent.mkdir(parents=True, exist_ok=True)
            checked.save(file)
            files.append(file)
    return files


def _path(output: str | Path | None) -> Path | None:
    return None if output is None else Path(output)


def _metrics(comparison: Comparison) -> Table:
    rows = [
        (row.name, row.kind, metric, cutoff, cell.mean, cell.std, cell.low, cell.high)
        for row in comparison.table_rows
        for metric in (*comparison.metrics, *comparison.beyond_accuracy)
        for cutoff, cell in comparison.cells[row.name].get(metric, {}).items()
    ]
    return _table(("name", "kind", "metric", "cutoff", "mean", "std", "low", "high"), rows)


def _tests(comparison: Comparison) -> Table:
    rows = [
        (t.first, t.second, t.metric, t.cutoff, t.difference, t.low, t.high, t.p, t.p_holm, t.verdict)
        for t in (*comparison.pairs, *comparison.beyond_pairs)
    ]
    names = ("first", "second", "metric", "cutoff", "difference", "low", "high", "p", "p_holm", "verdict")
    return _table(names, rows)


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Table:
    return Table({name: [row[place] for row in rows] for place, name in enumerate(names)})
