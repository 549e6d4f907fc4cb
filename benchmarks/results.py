"""Accuracy on real data: stores results of finished runs in ``docs/results/*.json`` and writes the page from them.

``python benchmarks/results.py add RUN... [--against RUN...]`` evaluates the runs of one recipe, all seeds together,
under both rules about seen items, on validation and on test, and tests their merge against streams, baselines and other
runs.
``python benchmarks/results.py page`` writes ``docs/results.md`` and the curves.
``python benchmarks/results.py leaderboard`` writes ``docs/leaderboard.md``: results beside published figures.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from _leaderboard import write_leaderboard
from _results_page import write_page

from genrec.comparison.axes import Variant, variants
from genrec.comparison.comparing import compare
from genrec.comparison.plan import Plan, make_plan
from genrec.comparison.results import Comparison, ComparisonRow
from genrec.comparison.runner import Runner
from genrec.comparison.statistics import main_cutoff, pairs_with
from genrec.errors import GenrecError, RecipeError
from genrec.evaluation.metrics import DEFAULT_METRICS
from genrec.evaluation.slices import MEMORIZATION, groups_by_length, groups_by_memorization, groups_by_popularity
from genrec.experiment.cache import Cache
from genrec.experiment.fit import TRAIN_ONLY
from genrec.experiment.keys import SplitName
from genrec.experiment.run_folder import RunFolder
from genrec.recipe.schema import Recipe
from genrec.reporting.comparison_texts import models_of
from genrec.reporting.report import finite, read_metrics
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.training.trainer import TrainingLog

RULES: Sequence[Literal["keep", "filter"]] = ("keep", "filter")
FITS: Sequence[str] = ("train only", "train + validation")
ON_BOTH = " on train + validation"
"""How a comparison calls baselines of a final fit where there are others as well."""
_FREE = ("title", "seed", "training.final_fit", "evaluation.seen_items", "evaluation.metrics")
"""Settings that may differ between the entries of one file; the default metrics of each are stored."""


@dataclass(frozen=True)
class Evaluated:
    """Runs of one recipe and of its controls, evaluated under one rule on one split."""

    plan: Plan
    comparison: Comparison
    methods: Mapping[str, tuple[str, str, ComparisonRow]]
    """By row: name on the page, kind, and the row; the merge is the first."""


def evaluate(
    runs: Sequence[Path], against: Sequence[Path], rule: str, split: SplitName, cache: Cache, environment: Environment
) -> Evaluated:
    """Run the missing searches, and rank.

    Raises:
        RecipeError: the runs differ in more than their seed.
        GenrecError: a run is not finished, or cannot be evaluated.
    """
    compared = variants([*runs, *against], overrides=[f"evaluation.seen_items={rule}"])
    plan = make_plan(compared, (), cache, split=split, environment=environment)
    own = {trial.variant.name for trial in plan.trials if trial.run in runs}
    if len(own) > 1:
        raise RecipeError(
            f"{', '.join(map(str, runs))}: differ in more than their seed, or a seed is there twice; expected the runs "
            "of one recipe, each seed once (other recipes: --against)"
        )
    comparison = compare(plan, Runner(cache.root / "logs", at_once=1), title="results", split=split)
    if failed := [trial for trial in plan.trials if trial.failure]:
        raise GenrecError(f"{failed[0].run}: {failed[0].failure}")
    return Evaluated(plan, comparison, _methods(comparison, compared))


def _methods(comparison: Comparison, compared: Sequence[Variant]) -> dict[str, tuple[str, str, ComparisonRow]]:
    """The recipe's merge, its streams and their oracle, baselines, controls; the streams of controls are left out."""
    rows, own = {row.name: row for row in comparison.table_rows}, compared[0]
    is_final = own.recipe.training.final_fit and comparison.split == "test"
    is_mixed = len({variant.recipe.training.final_fit for variant in compared}) > 1
    controls = _control_names(
        [variant for variant in compared if variant.name in rows and variant is not own], is_mixed
    )
    subject, streams = rows.pop(own.name), list(own.recipe.streams)
    kind = "merge" if len(streams) > 1 else "stream"
    found = {subject.name: (f"{kind}: {own.recipe.merge.type_name if kind == 'merge' else streams[0]}", kind, subject)}
    for row in rows.values():
        match row.kind:
            case "baseline":
                name = row.name
                if is_final and is_mixed:
                    name = name.removesuffix(ON_BOTH) if name.endswith(ON_BOTH) else f"{name} on train only"
                found[row.name] = name, "baseline", row
            case "variant":
                found[row.name] = controls[row.name], "control", row
            case _ if models_of(row) == models_of(subject):
                stream = row.name.rpartition(": ")[2].removesuffix(" alone")
                found[row.name] = "oracle" if row.kind == "oracle" else f"stream: {stream}", row.kind, row
            case _:
                pass
    return found


def _control_names(controls: Sequence[Variant], is_mixed: bool) -> dict[str, str]:
    """By variant: its title, what it was fitted on where that differs, and its own name where titles are the same."""
    titles = [variant.recipe.title for variant in controls]
    names = {}
    for variant in controls:
        title, is_final = variant.recipe.title, variant.recipe.training.final_fit
        fit = f", {FITS[is_final]}" * is_mixed
        names[variant.name] = f"control: {title}{fit}{f' ({variant.name})' * (titles.count(title) > 1)}"
    return names


def entries(runs: Mapping[int, Path], rule: str, evaluated: Mapping[SplitName, Evaluated]) -> Iterator[dict[str, Any]]:
    """One for each seed: where its figures come from, and the figures.

    Args:
        runs: folder by seed.
        rule: about seen items.
        evaluated: both splits.
    """
    test, own = evaluated["test"].comparison, next(iter(evaluated["test"].methods.values()))[2]
    for seed, trained in zip(own.seeds, own.models, strict=True):
        mark = RunFolder.open(runs[seed]).read_json("run.json")
        files = [runs[seed] / TRAIN_ONLY / "training.json", runs[seed] / "training.json"]
        logs = [TrainingLog.from_file(file) for file in files if file.is_file()]
        chosen = logs[0]
        yield {
            "seed": seed,
            "fit": FITS[len(logs) > 1],
            "seen_items": rule,
            "date": (mark.get("date") or "")[:10] or None,
            "genrec": mark.get("genrec"),
            "epochs": chosen.best_epoch,
            "parameters": trained.parameters,
            "minutes": {
                "training": sum(log.seconds for log in logs) / 60,
                "all": mark["seconds"] / 60,
                "found finished": sorted(
                    {f"{stage['kind']} of {stage['name']}" for stage in mark["stages"] if stage["reused"]}
                ),
            },
            "protocol": {
                **{key: part for key, part in asdict(test.protocol).items() if key != "seed"},
                "final_fit": read_metrics(runs[seed])["protocol"]["final_fit"],
            },
            "curve": [
                {"epoch": epoch.epoch, "minutes": minutes, "validation": epoch.validation}
                for epoch, minutes in zip(
                    chosen.epochs, np.cumsum([epoch.seconds / 60 for epoch in chosen.epochs]).tolist(), strict=True
                )
            ],
            "rows": _figures(evaluated, seed),
            "slices": list(_slices(evaluated["test"], seed)),
        }


def _of_seed(row: ComparisonRow, seed: int) -> ComparisonRow | None:
    """A row under one seed; a baseline without randomness is the same under each."""
    if seed in row.seeds:
        place = row.seeds.index(seed)
    elif row.kind == "baseline" and len(row.seeds) == 1:
        place = 0
    else:
        return None
    return ComparisonRow(row.name, row.kind, row.setting, (seed,), row.ranks_SU[place : place + 1])


def _figures(evaluated: Mapping[SplitName, Evaluated], seed: int) -> list[dict[str, Any]]:
    """Every method's metrics on both splits."""
    figures: dict[str, dict[str, Any]] = {}
    words: Mapping[SplitName, str] = {"test": "test", "valid": "validation"}
    for split, word in words.items():
        comparison = evaluated[split].comparison
        for name, kind, whole in evaluated[split].methods.values():
            if row := _of_seed(whole, seed):
                figures.setdefault(name, {"name": name, "kind": kind})[word] = {
                    metric: {str(k): float(row.values_SU(metric, k).mean()) for k in comparison.protocol.cutoffs}
                    for metric in DEFAULT_METRICS
                }
    return list(figures.values())


def _slices(evaluated: Evaluated, seed: int) -> Iterator[dict[str, Any]]:
    """NDCG and Recall at the main cutoff among some of the test users.

    Popularity and transitions are counted in the data that the recipe's model was fitted on.
    """
    trial, cutoff = evaluated.plan.trials[0], evaluated.comparison.cutoff
    dataset = trial.fits.test.dataset
    rows = {name: row for name, _, whole in evaluated.methods.values() if (row := _of_seed(whole, seed))}
    for axis, groups in (
        ("history length", groups_by_length(dataset.test)),
        ("item popularity", groups_by_popularity(dataset.test, dataset.train)),
        (MEMORIZATION, groups_by_memorization(dataset.test, dataset.train)),
    ):
        for group in groups:
            yield {
                "axis": axis,
                "counted_in": FITS[dataset.trains_on_validation],
                "label": group.label,
                "users": len(group.rows),
                **{
                    f"{metric}@{cutoff}": {
                        name: float(row.values_SU(metric, cutoff)[:, group.rows].mean()) for name, row in rows.items()
                    }
                    for metric in ("ndcg", "recall")
                },
            }


def tests(evaluated: Evaluated, fit: str, rule: str) -> dict[str, Any]:
    """The merge against each other method over the test users, each user's seeds averaged first."""
    (name, _, own), *others = evaluated.methods.values()
    others = [other for other in others if other[1] != "oracle"]
    named = {row.name: (shown, kind) for shown, kind, row in others}
    found = pairs_with(
        own,
        [row for _, _, row in others],
        evaluated.comparison.cutoff,
        DEFAULT_METRICS,
        confidence=evaluated.comparison.protocol.confidence,
    )
    return {
        "fit": fit,
        "seen_items": rule,
        "seeds": list(own.seeds),
        "method": name,
        "against": [
            {
                **{key: part for key, part in asdict(pair).items() if key not in ("first", "second")},
                "other": named[pair.second][0],
                "kind": named[pair.second][1],
                "verdict": pair.verdict,
            }
            for pair in found
        ],
    }


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Settings that determine a recipe's results except seed, fit and rule, by dotted key; of files only the name."""
    return {key: value for key, value in _leaves(recipe.block(), "") if not {key, key.rpartition(".")[0]} & set(_FREE)}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        yield from chain.from_iterable(_leaves(part, f"{key}.{name}".lstrip(".")) for name, part in parts)
    elif isinstance(value, str) and os.path.isabs(value):
        yield key, Path(value).name
    else:
        yield key, value


def add(
    runs: Sequence[Path],
    against: Sequence[Path],
    folder: Path,
    cache: Cache,
    *,
    environment: Environment = THIS_MACHINE,
    name: str = "",
    rules: Sequence[str] = RULES,
) -> Path:
    """Evaluate finished runs of one recipe and store the results; entries of the same seed, fit and rule are replaced.

    Args:
        runs: folders, one for each seed.
        against: folders of runs of other recipes on the same data.
        folder: of the JSON files.
        cache: finished searches.
        environment: device, threads and the data folder.
        name: of the file; by default from the recipe's title.
        rules: about seen items.

    Raises:
        RecipeError: the file holds another recipe under that name.
        GenrecError: as :func:`evaluate`.
    """
    recipes = {run: variants([run])[0].recipe for run in runs}
    recipe = recipes[runs[0]]
    seeds = {recipes[run].seed: run for run in runs}
    file = folder / f"{name or re.sub('[^a-z0-9]+', '-', recipe.title.lower()).strip('-')}.json"
    content: dict[str, Any] = {"entries": [], "tests": []}
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
    settings = settings_of(recipe)
    known = content.get("settings", settings)
    if different := sorted(key for key in known | settings if known.get(key) != settings.get(key)):
        raise RecipeError(
            f"{file}: holds another recipe, which differs in {', '.join(different[:8])}; expected the same, or --name"
        )
    for rule in rules:
        splits: tuple[SplitName, ...] = ("valid", "test")
        evaluated: dict[SplitName, Evaluated] = {
            split: evaluate(runs, against, rule, split, cache, environment) for split in splits
        }
        new = list(entries(seeds, rule, evaluated))
        tested = tests(evaluated["test"], new[0]["fit"], rule)
        _replace(content["entries"], new, ("seed", "fit", "seen_items"))
        _replace(content["tests"], [tested], ("fit", "seen_items"))
    dataset = content["entries"][0]["protocol"]["dataset"]
    cutoff = main_cutoff(recipe.evaluation.cutoffs)
    content = {"title": recipe.title, "dataset": dataset, "cutoff": cutoff, **content, "settings": settings}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def _replace(stored: list[dict[str, Any]], new: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
    """Put what is new in the place of what has the same keys."""

    def key(entry: Mapping[str, Any]) -> list[Any]:
        return [entry[name] for name in keys]

    taken = [key(entry) for entry in new]
    left = [entry for entry in stored if key(entry) not in taken]
    stored[:] = sorted([*left, *new], key=lambda e: (e["fit"], RULES.index(e["seen_items"]), e.get("seed", 0)))


def main() -> int:
    """Read the command line."""
    docs = Path(__file__).parents[1] / "docs"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=docs / "results", help="of the JSON files")
    verbs = parser.add_subparsers(dest="verb", required=True)
    adding = verbs.add_parser("add", help="evaluate finished runs of one recipe")
    adding.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders, one for each seed")
    adding.add_argument("--against", type=Path, nargs="+", default=[], metavar="RUN", help="runs of other recipes")
    adding.add_argument("--name", default="", help="of the file; default: from the title")
    adding.add_argument("--data", type=Path, help="where data sets lie")
    adding.add_argument("--stages", type=Path, default=RunFolder.cache_of(None), help="cache folder of searches")
    adding.add_argument("--rules", nargs="+", choices=RULES, default=RULES, help="about seen items; default: both")
    verbs.add_parser("page", help="write the page")
    ranking = verbs.add_parser("leaderboard", help="write the page with published figures")
    ranking.add_argument("--published", type=Path, default=docs / "published.json", help="file of published figures")
    arguments = parser.parse_args()
    if arguments.verb == "page":
        print(write_page(arguments.folder))
        return 0
    if arguments.verb == "leaderboard":
        print(write_leaderboard(arguments.folder, arguments.published))
        return 0
    cache = Cache(arguments.stages, quiet=True)
    try:
        print(
            add(
                arguments.runs,
                arguments.against,
                arguments.folder,
                cache,
                environment=Environment(data=arguments.data),
                name=arguments.name,
                rules=arguments.rules,
            )
        )
    except GenrecError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
