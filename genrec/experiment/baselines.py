"""The stage ``baselines``: each baseline fitted on what the model was fitted on, and its lists for the same users."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit, Fits
from genrec.experiment.keys import SplitName, Stage, baseline_key, ranking_key
from genrec.experiment.selection import ranking_ndcg
from genrec.experiment.storage import load_ranking, save_ranking
from genrec.families import Baseline, FittedBaseline
from genrec.training.checkpoint import save_json
from genrec.types import Ranking

if TYPE_CHECKING:
    from genrec.reporting.report import Kind


def rank_baselines(fits: Fits, split: SplitName, cache: Cache, *, top_n: int) -> dict[str, tuple[Kind, Ranking]]:
    """What each baseline of the recipe recommends to the users of a split, by name."""
    rankings: dict[str, tuple[Kind, Ranking]] = {}
    for baseline in fits.valid.recipe.baselines:
        with cache.timer.measure(f"baseline {baseline.type_name}"):
            ranking = rank_baseline(baseline, fits.of(split), split, cache, top_n=top_n)
        rankings[baseline.type_name] = "baseline", ranking
    return rankings


def rank_baseline(baseline: Baseline, fit: Fit, split: SplitName, cache: Cache, *, top_n: int) -> Ranking:
    """What a baseline recommends to the users of a split.

    The folder of its fit stays in the cache, so that the users of the other split are ranked without another training.

    Raises:
        GenrecError: whatever the baseline raises.
    """
    stage = ranking_stage(baseline, fit, split, top_n=top_n)

    def work() -> Ranking:
        fitted = fit_baseline(baseline, fit, cache)
        exclude_seen = fit.recipe.evaluation.seen_items == "filter"
        return fitted.rank(fit.users(split).histories, top_n=top_n, exclude_seen=exclude_seen)

    return cache.get(stage, work=work, save=save_ranking, load=load_ranking, like=fit.like(stage))


def fit_baseline(baseline: Baseline, fit: Fit, cache: Cache) -> FittedBaseline:
    """A baseline fitted on the training histories, or found in its folder.

    A final fit has no validation: it follows what was chosen by the one on train alone.
    """
    followed = baseline
    if baseline.is_trained and fit.selection is not None:
        followed = fit_baseline(baseline, fit.selection, cache).chosen or baseline
    key = fitted_key(baseline, fit)
    folder = cache.path("fitted", key)
    with cache.lock("fitted", key):
        fitted = followed.fit_validated(
            fit.dataset.catalog,
            fit.dataset.train,
            context=fit.context("baseline", baseline.type_name, folder=folder),
            validate=None if fit.selection else partial(_validate, fit),
        )
        if fitted.chosen is not None and folder.is_dir():
            save_json(fitted.chosen.block(), _chosen_file(folder))
    return fitted


def chosen_settings(baseline: Baseline, fit: Fit, cache: Cache) -> str:
    """What validation decided of a baseline, in words; empty where it had nothing to decide."""
    file = _chosen_file(cache.path("fitted", fitted_key(baseline, fit)))
    if not file.is_file():
        return ""
    block = json.loads(file.read_text(encoding="utf-8"))
    settings = ", ".join(f"{name} {value}" for name, value in block.items() if name != "type")
    return f"baseline {baseline.type_name}: {settings}; learning stopped where validation was best"


def fitted_key(baseline: Baseline, fit: Fit) -> str:
    """The key of a baseline's fit."""
    return baseline_key(baseline, fit.recipe, fit.dataset, fit.environment, seen_items=fit.selected_under)


def ranking_stage(baseline: Baseline, fit: Fit, split: SplitName, *, top_n: int) -> Stage:
    """The stage of its ranking."""
    key = ranking_key(fitted_key(baseline, fit), fit.recipe, split, top_n=top_n)
    return Stage("baseline", baseline.type_name, key)


def _validate(fit: Fit, fitted: FittedBaseline) -> float:
    """NDCG@10 on all validation users: a baseline is ranked in no time, and must not depend on a sample."""
    users = fit.dataset.valid
    ranking = fitted.rank(users.histories, top_n=10, exclude_seen=fit.selected_under == "filter")
    return ranking_ndcg(ranking, users.targets)


def _chosen_file(folder: Path) -> Path:
    return folder / "chosen.json"
