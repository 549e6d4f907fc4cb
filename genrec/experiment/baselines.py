"""The stage ``baselines``: fit each baseline on the same histories as the model and rank items for the same users."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrec.contracts.demands import Demands
from genrec.contracts.results import check_independent, checked_ranking
from genrec.errors import DataError
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit, Fits
from genrec.experiment.keys import SplitName, Stage, baseline_key, ranking_key
from genrec.experiment.selection import ranking_ndcg
from genrec.experiment.storage import load_ranking, save_ranking
from genrec.families import Baseline, FittedBaseline
from genrec.runtime.checksums import is_intact, seal
from genrec.runtime.files import read_json, write_json
from genrec.runtime.progress import console
from genrec.types import Ranking

if TYPE_CHECKING:
    from genrec.reporting.report import MethodKind


def rank_baselines(fits: Fits, split: SplitName, cache: Cache, *, top_n: int) -> dict[str, tuple[MethodKind, Ranking]]:
    """The rankings of all baselines of the recipe for the users of a split, by name."""
    rankings: dict[str, tuple[MethodKind, Ranking]] = {}
    for baseline in fits.valid.recipe.baselines:
        with cache.timer.measure(f"baseline {baseline.type_name}"):
            ranking = rank_baseline(baseline, fits.of(split), split, cache, top_n=top_n)
        rankings[baseline.type_name] = "baseline", ranking
    return rankings


def rank_baseline(baseline: Baseline, fit: Fit, split: SplitName, cache: Cache, *, top_n: int) -> Ranking:
    """The ranking of a baseline for the users of a split.

    The fitted baseline stays in the cache and also ranks for the users of the other split.

    Raises:
        GenrecError: raised by the baseline.
    """
    stage = ranking_stage(baseline, fit, split, top_n=top_n)

    def work() -> Ranking:
        fitted = fit_baseline(baseline, fit, cache)
        histories, exclude_seen = fit.users(split).histories, fit.recipe.evaluation.seen_items == "filter"

        def rank(rows: np.ndarray) -> Ranking:
            return fitted.rank(histories.take(rows), top_n=top_n, exclude_seen=exclude_seen)

        demand, num_items = Demands(baseline), fit.dataset.num_items
        with demand.blaming():
            ranking = checked_ranking(fitted, histories, num_items, demand, top_n=top_n, exclude_seen=exclude_seen)
            check_independent(ranking, rank, demand)
        return ranking

    return cache.get(stage, work=work, save=save_ranking, load=load_ranking, like=fit.like(stage))


def fit_baseline(baseline: Baseline, fit: Fit, cache: Cache) -> FittedBaseline:
    """A baseline fitted on the training histories, or loaded from its folder.

    A final fit has no validation; it uses the settings that the fit on train alone selected.
    """
    settings = baseline
    if baseline.is_trained and fit.selection is not None:
        settings = fit_baseline(baseline, fit.selection, cache).chosen or baseline
    key = fitted_key(baseline, fit)
    folder = cache.path("fitted", key)
    demand = Demands(baseline)
    with cache.lock("fitted", key):
        with demand.blaming():
            fitted = settings.fit_validated(
                fit.dataset.catalog,
                fit.dataset.train,
                context=fit.context("baseline", baseline.type_name, folder=folder),
                validate=None if fit.selection else partial(_validate, settings, fit),
            )
            demand(isinstance(fitted, FittedBaseline), "fit() gives a FittedBaseline", type(fitted).__name__)
        if fitted.chosen is not None and folder.is_dir():
            write_json(_chosen_file(folder), seal(fitted.chosen.block()))
    return fitted


def chosen_settings(baseline: Baseline, fit: Fit, cache: Cache) -> str:
    """The settings of a baseline that validation selected, as text; empty if it selected none."""
    file = _chosen_file(cache.path("fitted", fitted_key(baseline, fit)))
    if not file.is_file():
        return ""
    try:
        block = read_json(file)
    except DataError:
        block = None
    if not isinstance(block, dict) or not is_intact(block):
        console.print(f"{file}: damaged; the baseline is fitted again", markup=False)
        chosen = fit_baseline(baseline, fit, cache).chosen
        block = {} if chosen is None else chosen.block()
    settings = ", ".join(f"{name} {value}" for name, value in block.items() if name not in ("type", "checksum"))
    return f"baseline {baseline.type_name}: {settings}; epoch with the best validation score"


def fitted_key(baseline: Baseline, fit: Fit) -> str:
    """The key of a baseline's fit."""
    return baseline_key(baseline, fit.recipe, fit.dataset, fit.environment, seen_items=fit.selected_under)


def ranking_stage(baseline: Baseline, fit: Fit, split: SplitName, *, top_n: int) -> Stage:
    """The stage of the ranking of a baseline."""
    key = ranking_key(fitted_key(baseline, fit), fit.recipe, split, top_n=top_n)
    return Stage("baseline", baseline.type_name, key)


def _validate(baseline: Baseline, fit: Fit, fitted: FittedBaseline) -> float:
    """NDCG@10 on all validation users; ranking with a baseline is fast enough to need no sample."""
    users, demand, exclude_seen = fit.dataset.valid, Demands(baseline), fit.selected_under == "filter"
    num_items = fit.dataset.num_items
    ranking = checked_ranking(fitted, users.histories, num_items, demand, top_n=10, exclude_seen=exclude_seen)
    return ranking_ndcg(ranking, users.targets)


def _chosen_file(folder: Path) -> Path:
    return folder / "chosen.json"
