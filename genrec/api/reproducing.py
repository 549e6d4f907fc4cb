"""Run the tables and figures of the EAGER paper."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec.api.inputs import ONE_AT_A_TIME, Overrides, environment_of, override_texts, parse_threads
from genrec.comparison.axes import Variant, parse_budget
from genrec.comparison.comparing import compare
from genrec.comparison.plan import make_plan
from genrec.comparison.runner import Runner, default_jobs
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.run_folder import RunFolder
from genrec.registry import plugin_errors
from genrec.reproduction import files
from genrec.reproduction.definitions import Study, budgets, find_dataset, find_study
from genrec.reproduction.outcome import ranking_rows, speed_figures, with_figures
from genrec.reproduction.rows import Conditions, PlannedRow, planned_rows
from genrec.reproduction.speed import speed_rows
from genrec.reproduction.statistics_of_data import data_row
from genrec.reproduction.text import markdown
from genrec.runtime.environment import Environment
from genrec.runtime.files import write_text
from genrec.runtime.threads import Threads, threads_for
from genrec.runtime.threads import threads as computing_on
from genrec.throughput.machine import this_machine
from genrec.types import Dataset
from genrec.version import __version__

BudgetName = Literal["full", "light", "quick"]


@dataclass(frozen=True)
class Reproduced:
    """The outcome of a study. Returned by :func:`reproduce`."""

    path: Path
    """The folder with the outcome as JSON and Markdown, and the ranks of every user."""
    outcome: dict[str, Any]

    @property
    def text(self) -> str:
        """The table or figure, as Markdown."""
        return markdown(self.outcome)


@dataclass(frozen=True)
class _Work:
    """How a study is run."""

    study: Study
    planned: Sequence[PlannedRow]
    seeds: Sequence[int]
    split: Literal["valid", "test"]
    environment: Environment
    folder: RunFolder
    runner: Runner

    @property
    def variants(self) -> list[Variant]:
        return [row.variant for row in self.planned if row.variant is not None]


@plugin_errors()
def reproduce(
    study: str,
    *,
    dataset: str = "beauty",
    recipe: str | Path | None = None,
    seeds: int = 1,
    budget: BudgetName = "full",
    split: Literal["validation", "test"] = "test",
    time_limit: str | None = None,
    output: str | Path | None = None,
    overrides: Overrides = None,
    data: str | Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    threads: int | str | None = None,
) -> Reproduced:
    """Run one table or figure of the EAGER paper, and set its numbers beside the paper's.

    The rows are fixed before any is run and nothing is selected by the result, so test users are evaluated by default.
    Finished stages are cached: the same call resumes.

    Args:
        study: table1 to table7, section3_3, section4_5, figure4 to figure6.
        dataset: beauty, sports, toys, yelp, movielens or showroom.
        recipe: the EAGER recipe; default: ``recipes/`` in the working folder has that of each dataset.
        seeds: number of seeds: 1, 2, ...
        budget: ``full``: the recipes' settings; ``light``: smaller models; ``quick``: a test of the command.
        split: the users to evaluate.
        time_limit: 90s, 30m, 2h; rows that are not finished by then are marked.
        output: folder; default ``runs/reproduce-<study>-<time>``.
        overrides: changes of all recipes.
        data: data folder.
        jobs: models trained at the same time.
        device: as in :func:`genrec.compare`.
        threads: as in :func:`genrec.compare`.

    Raises:
        GenrecError: a name or option is not valid, data is missing, or no row has a result.
    """
    began = time.monotonic()
    chosen, source = find_study(study), find_dataset(dataset)
    seconds = None if time_limit is None else parse_budget(time_limit)
    changes = tuple(override_texts(overrides))
    file = Path(recipe) if recipe is not None else Path("recipes") / f"{source.recipe}.yaml"
    conditions = Conditions(dataset, file, budgets()[budget], changes)
    planned = planned_rows(chosen, conditions)
    thread_count = parse_threads(threads)
    environment = environment_of(data=data, device=device)
    environment = replace(environment, recipe=file.resolve().parent)
    with RunFolder.create(
        None if output is None else Path(output), Path(f"reproduce-{study}"), verb="reproduce"
    ) as folder:
        deadline = None if seconds is None else began + seconds
        runner = Runner(folder.path / "logs", jobs or default_jobs(environment), thread_count, deadline)
        work = _Work(
            chosen,
            planned,
            range(1, seeds + 1),
            "valid" if split == "validation" else "test",
            environment,
            folder,
            runner,
        )
        with ONE_AT_A_TIME:
            rows, claims, ranks, facts = _run(study, dataset, work)
        outcome = {
            "study": study,
            "dataset": dataset,
            "budget": budget,
            "split": split,
            "seeds": list(work.seeds),
            "recipe": file.name,
            "set": list(changes),
            **facts,
            "rows": rows,
            "claims": claims,
            "genrec": __version__,
            "date": date.today().isoformat(),
            "machine": _machine(environment, thread_count, work.variants),
            "minutes": round((time.monotonic() - began) / 60, 1),
        }
        files.write(outcome, ranks, folder.draft)
        write_text(folder.draft / "reproduction.md", markdown(outcome))
        folder.finish({"study": study, "dataset": dataset, "budget": budget})
    return Reproduced(folder.path, outcome)


_Results = tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, np.ndarray], dict[str, Any]]
"""Rows, claims, ranks of every user, and facts about the data."""


def _run(name: str, dataset: str, work: _Work) -> _Results:
    cache = Cache(work.folder.cache, quiet=True)
    if work.study.kind == "statistics":
        loaded = _loaded(work)
        return [data_row(loaded, next(iter(work.study.rows.values())).label)], [], {}, _data(loaded)
    if work.study.kind == "speed":
        loaded = _loaded(work)
        with computing_on(threads_for(work.runner.threads, work.variants[0].recipe.block())):
            rows = speed_rows(
                work.planned, cache, work.environment.for_dataset(work.variants[0].recipe.dataset.block())
            )
        return rows, speed_figures(rows, name, dataset), {}, _data(loaded)
    plan = make_plan(work.variants, work.seeds, cache, split=work.split, environment=work.environment)
    comparison = compare(plan, work.runner, title=work.study.title, split=work.split)
    rows = ranking_rows(work.planned, comparison)
    finished = {row["name"] for row in rows if row["status"] == "finished"}
    ranks = {row.name: row.ranks_SU for row in comparison.rows if row.kind == "variant" and row.name in finished}
    given = iter(row for row in comparison.rows if row.kind == "baseline")
    for row in work.planned:
        if row.baseline and (found := next(given, None)) is not None and row.name in finished:
            ranks[row.name] = found.ranks_SU
    rows, claims = with_figures(name, dataset, rows, ranks)
    return rows, claims, ranks, {**_data(plan.dataset), "protocol": asdict(comparison.protocol)}


def _loaded(work: _Work) -> Dataset:
    recipe = work.variants[0].recipe
    return load_dataset(recipe, work.environment.for_dataset(recipe.dataset.block()))


def _data(dataset: Dataset) -> dict[str, Any]:
    return {"data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "order": dataset.order}}


def _machine(environment: Environment, count: Threads, variants: Sequence[Variant]) -> Mapping[str, Any]:
    threads = threads_for(count, variants[0].recipe.block()) if variants else None
    machine = this_machine(environment.torch_device)
    return {**vars(machine), "threads": threads or machine.threads}
