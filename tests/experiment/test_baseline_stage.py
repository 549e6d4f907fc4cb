"""Baselines as stages: what decides a key, what is found again, and what validation and a final fit may see."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from clockwork_runs import longer, recipe

from genrec.baselines.popularity import Popularity
from genrec.baselines.transition import Transition
from genrec.experiment.baselines import chosen_settings, fit_baseline, rank_baseline, ranking_stage
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import Fits, plan_fits
from genrec.families import Baseline
from genrec.runtime.environment import Environment, WorkContext


class Learning(Baseline):
    """Popularity that pretends to learn, and notes what it was given."""

    type_name: ClassVar[str] = "learning"
    is_random: ClassVar[bool] = True
    told: ClassVar[list] = []

    epochs: int = 9
    """Decided by validation."""

    def fit(self, catalog, train, *, context):
        raise AssertionError("fit_validated is called")

    def fit_validated(self, catalog, train, *, context, validate):
        seed, folder = context.seed, context.folder
        fitted = Popularity().fit(catalog, train, context=context)
        if (folder / "finished").is_file():
            self.told.append(("found", self.epochs))
        else:
            score = None if validate is None else validate(fitted)
            self.told.append((train.items.size, seed, self.epochs, score))
            folder.mkdir(parents=True)
            (folder / "finished").touch()
        fitted.chosen = Learning(epochs=3)
        return fitted


@pytest.fixture(autouse=True)
def told():
    Learning.told.clear()
    return Learning.told


class Asked:
    """One baseline of a recipe."""

    def __init__(self, folder: Path, baseline=None, **changes) -> None:
        changed = recipe(**changes)
        dataset = load_dataset(changed, Environment())
        self.baseline, self.cache = baseline or Learning(), Cache(folder, quiet=True)
        self.fits: Fits = plan_fits(changed, dataset, Environment())
        self.dataset = dataset

    def rank(self, split, *, top_n):
        return rank_baseline(self.baseline, self.fits.of(split), split, self.cache, top_n=top_n)

    def key(self, split, *, top_n):
        return ranking_stage(self.baseline, self.fits.of(split), split, top_n=top_n).key


def test_a_ranking_is_found_again_and_another_split_needs_no_fit(tmp_path, told):
    first = Asked(tmp_path).rank("valid", top_n=5)
    again = Asked(tmp_path).rank("valid", top_n=5)
    np.testing.assert_array_equal(again.items_BN, first.items_BN)
    np.testing.assert_array_equal(again.scores_BN, first.scores_BN)
    assert (again.items_BN.dtype, again.scores_BN.dtype) == (np.int64, np.float32)
    assert len(told) == 1, "fitted once"
    one = Asked(tmp_path)
    test = one.rank("test", top_n=7)
    assert told[1:] == [("found", 9)]
    expected = Popularity().fit(one.dataset.catalog, one.dataset.train, context=WorkContext())
    expected = expected.rank(one.dataset.test.histories, top_n=7, exclude_seen=False)
    np.testing.assert_array_equal(test.items_BN, expected.items_BN)
    said = "baseline learning: epochs 3; epoch with the best validation score"
    assert chosen_settings(one.baseline, one.fits.test, one.cache) == said
    assert chosen_settings(Transition(), one.fits.test, one.cache) == ""


def test_validation_is_by_all_validation_users(tmp_path, told, monkeypatch):
    one = Asked(tmp_path)
    asked = []
    fitted_rank = type(Popularity().fit(one.dataset.catalog, one.dataset.train, context=WorkContext())).rank

    def rank(self, histories, **options):
        asked.append(histories)
        return fitted_rank(self, histories, **options)

    monkeypatch.setattr("genrec.baselines.popularity.FittedPopularity.rank", rank)
    fit_baseline(one.baseline, one.fits.test, one.cache)
    (histories,) = asked
    np.testing.assert_array_equal(histories.items, one.dataset.valid.histories.items)
    assert 0 <= told[0][3] <= 1


def test_a_key_holds_all_that_decides_a_ranking_and_nothing_else(tmp_path):
    def key(baseline=None, split="test", top_n=5, **changes):
        return Asked(tmp_path, baseline, **changes).key(split, top_n=top_n)

    filtered = recipe().evaluation.model_copy(update={"seen_items": "filter"})
    own = [
        key(),
        key(Learning(epochs=8)),
        key(split="valid"),
        key(top_n=6),
        key(evaluation=filtered),
        key(seed=2),
        key(dataset=recipe().dataset.model_copy(update={"history_length": 9})),
    ]
    assert len(set(own)) == len(own)
    assert key(training=longer(5), streams={"text": recipe().streams["text"]}, baselines=()) == key()
    plain = key(Popularity())
    assert key(Popularity(), seed=2) == plain, "nothing is drawn, nobody validates"
    assert key(Popularity(), evaluation=filtered) != plain


def test_a_final_fit_learns_validation_items_and_follows_what_was_chosen(tmp_path, told):
    final = recipe().training.model_copy(update={"final_fit": True})
    one = Asked(tmp_path, training=final)
    size, users = one.dataset.train.items.size, len(one.dataset.valid)
    one.rank("test", top_n=5)
    (on_train, seed, epochs, score), again = told
    assert (on_train, epochs) == (size, 9)
    assert score is not None
    assert again == (size + users, seed, 3, None)
    one.rank("valid", top_n=5)
    assert told[2:] == [("found", 9)], "validation users are evaluated with the fit on train alone"
