"""Run a recipe, load a finished run, list runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec.api.inputs import (
    ONE_AT_A_TIME,
    Overrides,
    RecipeLike,
    environment_of,
    load_recipe,
    name_of,
    override_texts,
)
from genrec.errors import DataError
from genrec.evaluation.metrics import METRICS, column_name, main_cutoff, main_metric
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.schema import Recipe
from genrec.registry import plugin_errors
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.report import Report
from genrec.reporting.report_files import read_report
from genrec.reporting.tables import Table
from genrec.runtime.checksums import MARK, is_export, parsing, read_mark, verify
from genrec.runtime.files import read_json
from genrec.runtime.progress import console
from genrec.serving.hub import run_folder

if TYPE_CHECKING:
    from genrec.serving.recommender import Recommender


_COLUMNS = ("path", "command", "title", "dataset", "date", "state", "metric", "value")
"""Of the list of runs."""


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run: its results, and its model to recommend with. Returned by :func:`run` and :func:`load_run`."""

    path: Path
    """The folder of the run."""
    recipe: Recipe
    """The recipe as it was run, with all overrides."""
    report: Report
    """Results, tests, protocol and notes; ``report.md`` in the folder is its text."""
    metrics: Table
    """A row for each method, metric and cutoff: the mean over users and its bootstrap interval."""
    ranks: Table
    """A row for each test user and target: user and target by key, and the rank of the target by method, from 1; null
    stands for a target that is not in the list, which has ``max(cutoffs)`` items. An export has no users and therefore
    no rows."""

    @property
    def title(self) -> str:
        """The title of the recipe."""
        return self.report.title

    @property
    def conclusion(self) -> str:
        """The first sentence of the report: what the merge beats, by paired tests."""
        return run_conclusion(self.report)

    @property
    def report_html(self) -> Path:
        """The page of this run, for a browser: results, codes and example users; runs of version 0.1.0 have none."""
        return self.path / "report.html"

    def recommender(self, *, device: str = "auto") -> Recommender:
        """The model of this run, ready to recommend.

        Args:
            device: auto, cpu, cuda, cuda:1 or mps.

        Raises:
            DataError: a file of the run is missing or damaged.
            PluginError: a plugin of its recipe is missing.
        """
        from genrec.serving.recommender import Recommender

        return Recommender.load(self.path, device=device)

    @plugin_errors()
    def measure(self, metrics: Sequence[str] | None = None, cutoffs: Sequence[int] | None = None) -> Table:
        """Metrics at any cutoff from the stored ranks and lists of the test users, without the model and the data.

        Args:
            metrics: names of metrics of any kind (``genrec list metrics``); default: those of the recipe.
            cutoffs: values of K up to the largest one of the recipe; default: those of the recipe.

        Returns:
            A row for each method, metric and cutoff: the value and its interval over users. The oracle has no metrics
            beyond accuracy.

        Raises:
            DataError: a cutoff is larger than the stored lists, or the run has no lists; an export has none.
            PluginError: unknown metric.
        """
        from genrec.experiment.measured_run import Measured, measure_run

        settings = self.recipe.evaluation
        names = (*settings.metrics, *settings.beyond_accuracy) if metrics is None else metrics
        ks = sorted(set(settings.cutoffs)) if cutoffs is None else cutoffs
        found = list(measure_run(RunFolder.open(self.path), self.recipe, names, ks))
        return Table({name: [row[place] for row in found] for place, name in enumerate(Measured._fields)})

    @plugin_errors()
    def export(
        self, folder: str | Path, *, images: bool = False, onnx: bool = False, data: str | Path | None = None
    ) -> Path:
        """Export this run for serving and for model hubs: :func:`genrec.export`."""
        from genrec.serving.export import export_run

        return export_run(self.path, Path(folder), images=images, onnx=onnx, data=None if data is None else Path(data))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.title}; {_main_result(self.report)})"

    def _repr_html_(self) -> str:
        from genrec.api.notebook import report_html

        return report_html(self.report)


@plugin_errors()
def run(
    recipe: RecipeLike,
    output: str | Path | None = None,
    overrides: Overrides = None,
    *,
    data: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    threads: int | str | None = None,
    force: bool = False,
    trust_plugins: bool = False,
) -> Run:
    """Run a recipe: encode, tokenize, train, search, merge, evaluate and report.

    Finished stages are cached: an interrupted run resumes with the same call, and a change of the merge retrains
    nothing. Calls from several threads take turns; processes run at the same time.

    Args:
        recipe: a YAML file, a mapping with the keys of a recipe, or a recipe (see :func:`load_recipe`).
        output: folder of the run; default ``runs/<recipe>-<time>``. A run writes to it and its cache only. A finished
            run of the same recipe in it is replaced when the new one is finished.
        overrides: values by dotted key, such as ``{"training.max_epochs": 3}``.
        data: data folder: ``<data>/<folder of the dataset>`` if it exists, else ``data`` itself.
        seed: random seed; default: the recipe's.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: number of threads of the model; default ``auto`` unless OMP_NUM_THREADS is set.
        force: also replace a finished run of another recipe.
        trust_plugins: also load plugins beside a recipe in the folder of a run, which may come from someone else.

    Returns:
        The finished run.

    Raises:
        RecipeError: the recipe is not valid.
        DataError: files or weights are missing or malformed.
        PluginError: a plugin is missing, fails or breaks its contract.
        TrainingError: the training diverged.
    """
    changes = override_texts(overrides, seed)
    checked = load_recipe(recipe, changes, trust_plugins=trust_plugins)
    environment = environment_of(recipe, checked, data=data, device=device, threads=threads)
    path = None if output is None else Path(output)
    created = RunFolder.create(path, name_of(recipe, checked), recipe=checked, force=force)
    with created as folder, ONE_AT_A_TIME, plugin_errors():
        folder.write_recipe(checked.to_yaml(), changes)
        console.print(f"{checked.title} -> {folder.path}", markup=False)

        from genrec.pipeline import run as run_pipeline  # imports torch, which takes seconds

        report = run_pipeline(checked, folder, environment=environment)
    return _run(folder, checked, report)


@plugin_errors()
def load_run(path: str | Path) -> Run:
    """Load a finished run or an export of one: its recipe and results. Nothing in its folder is executed.

    Args:
        path: folder of the run, or ``hf://user/name`` (with ``@revision``) for an export on the Hugging Face Hub, which
            is downloaded and cached.

    Raises:
        DataError: the folder is not that of a finished run, or a file is missing or damaged.
        GenrecError: the path is on the hub, and ``huggingface_hub`` is not installed.
        PluginError: its recipe names a plugin that is not in ``plugins/`` of the working folder.
    """
    from genrec.experiment.saved_model import recipe_of_run

    folder = RunFolder.open(run_folder(path))
    return _run(folder, recipe_of_run(folder), read_report(folder.path))


def list_runs(folder: str | Path = "runs") -> Table:
    """The runs and comparisons of a folder, newest first.

    Args:
        folder: the folder that contains them.

    Returns:
        By run: path, command, title, dataset, date, state (finished, not finished or damaged), and the merge's (or the
        only stream's) main metric with its value; null where a run has none.

    Raises:
        DataError: there is no such folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected the folder of runs, by default runs/ of the working folder")
    runs = [path, *path.iterdir()] if (path / "run.json").is_file() else path.iterdir()
    rows = [row for place in sorted(runs) if (row := _listed(place)) is not None]
    rows.sort(key=lambda row: (row["date"] or "", row["path"]), reverse=True)
    return Table({name: [row[name] for row in rows] for name in _COLUMNS})


def _run(folder: RunFolder, recipe: Recipe, report: Report) -> Run:
    names = ("method", "kind", "metric", "cutoff", "mean", "low", "high")
    keys = folder.read_items().keys
    users = {"keys": []} if is_export(folder.path) else folder.read_json("users.json")
    with parsing(folder.path, "results, users and items that belong together"):
        metrics: dict[str, Any] = dict(zip(names, zip(*_metric_rows(report), strict=True), strict=True))
        ranks = {
            "user": _of_each_target(users["keys"], report),
            "target": [keys[item] for item in report.targets_U],
            **{row.name: np.ma.masked_less(row.ranks_U.astype(np.int64) + 1, 1) for row in report.rows},
        }
        _main_result(report)  # fails if the results lack the main metric
        return Run(folder.path, recipe, report, Table(metrics), Table(ranks))


def _of_each_target(users: Sequence[str], report: Report) -> Sequence[str]:
    """The user of each row of the ranks: users with several targets have several."""
    offsets = report.rows[0].target_offsets if report.rows else None
    return users if offsets is None else np.repeat(np.array(users, dtype=object), np.diff(offsets)).tolist()


def _metric_rows(report: Report) -> Iterator[tuple[Any, ...]]:
    for row in report.rows:
        for metric, by_cutoff in row.metrics.items():
            for cutoff, estimate in by_cutoff.items():
                yield row.name, row.kind, metric, cutoff, estimate.mean, estimate.low, estimate.high


def _main_result(report: Report) -> str:
    """The main metric of the merge, or of the only stream: ``confidence NDCG@10 0.1234``."""
    metric, cutoff = main_metric(report.metrics), main_cutoff(report.protocol.cutoffs)
    first = report.rows[0]
    return f"{first.name} {column_name(metric, cutoff)} {first.metrics[metric][cutoff].mean:.4f}"


def _listed(place: Path) -> dict[str, Any] | None:
    """The line of a run in the list; None for folders that are no runs."""
    if not (place / MARK).is_file():
        return None
    row: dict[str, Any] = {"path": str(place), **dict.fromkeys(_COLUMNS[1:])}
    try:
        mark = read_mark(place)
        row |= {"command": mark.get("verb", "run"), "date": mark.get("date"), "state": "not finished"}
        if mark.get("finished"):
            row |= {**_result(place), "state": "finished"}
    except DataError:
        row["state"] = "damaged"
    return row


def _result(place: Path) -> dict[str, Any]:
    """Title and dataset of a finished run or comparison, and the main metric of a run; empty if unknown."""
    found: dict[str, Any] = {}
    file = next((place / name for name in ("metrics.json", "comparison.json") if (place / name).is_file()), None)
    if file is not None:
        results = read_json(verify(file))
        with suppress(KeyError, IndexError, TypeError, ValueError):  # files of other versions
            found |= {"title": results["title"], "dataset": results["protocol"]["dataset"]}
            first, cutoff = results["methods"][0], main_cutoff(results["protocol"]["cutoffs"])
            metric = main_metric([key for key in first if key in METRICS.names()])
            found |= {"metric": column_name(metric, cutoff), "value": float(first[metric][str(cutoff)]["mean"])}
    return found
