"""Baselines as stages: what decides an address, what is found again, and what validation and a final fit may see."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from clockwork_runs import longer, recipe

from genrec.baselines.popularity import Popularity
from genrec.baselines.transition import Transition
from genrec.experiment import Experiment
from genrec.families import Baseline
from genrec.runtime.environment import WorkContext
from genrec.stages import Stages
from genrec.yardsticks import Yardstick


class Learning(Baseline):
    """Popularity that pretends to learn, and notes what it was given."""

    type_name: ClassVar[str] = "learning"
    is_random: ClassVar[bool] = True
    told: ClassVar[list] = []

    epochs: int = 9
    """Decided by validation."""

    def fit(self, catalog, train, *, context):
        raise AssertionError("fit_validated is asked")

    def fit_validated(self, catalog, train, *, context, validate):
        fitted, folder = Popularity().fit(catalog, train, context=context), context.folder
        if (folder / "finished").is_file():
            self.told.append(("found", self.epochs))
        else:
            score = None if validate is None else validate(fitted)
            self.told.append((train.items.size, context.seed, self.epochs, score))
            folder.mkdir(parents=True)
            (folder / "finished").touch()
        fitted.chosen = Learning(epochs=3)
        return fitted


@pytest.fixture(autouse=True)
def told():
    Learning.told.clear()
    return Learning.told


def yardstick(folder: Path, baseline=None, **changes) -> Yardstick:
    return Yardstick(baseline or Learning(), Experiment(recipe(**changes), Stages(folder, quiet=True)))


def test_a_ranking_is_found_again_and_another_split_needs_no_fit(tmp_path, told):
    first = yardstick(tmp_path).rank("valid", top_n=5)
    again = yardstick(tmp_path).rank("valid", top_n=5)
    np.testing.assert_array_equal(again.items_BN, first.items_BN)
    np.testing.assert_array_equal(again.scores_BN, first.scores_BN)
    assert (again.items_BN.dtype, again.scores_BN.dtype) == (np.int64, np.float32)
    assert len(told) == 1, "fitted once"
    experiment = yardstick(tmp_path).experiment
    test = yardstick(tmp_path).rank("test", top_n=7)
    assert told[1:] == [("found", 9)]
    expected = Popularity().fit(experiment.dataset.catalog, experiment.dataset.train, context=WorkContext(seed=0))
    expected = expected.rank(experiment.dataset.test.histories, top_n=7, exclude_seen=False)
    np.testing.assert_array_equal(test.items_BN, expected.items_BN)
    assert yardstick(tmp_path).note("test") == "baseline learning: epochs 3; learning stopped where validation was best"
    assert yardstick(tmp_path, Transition()).note("test") == ""


def test_validation_is_by_all_validation_users(tmp_path, told, monkeypatch):
    one = yardstick(tmp_path)
    asked = []
    fitted_rank = type(
        Popularity().fit(one.experiment.dataset.catalog, one.experiment.dataset.train, context=WorkContext(seed=0))
    ).rank

    def rank(self, histories, **options):
        asked.append(histories)
        return fitted_rank(self, histories, **options)

    monkeypatch.setattr("genrec.baselines.popularity.FittedPopularity.rank", rank)
    one.fitted()
    (histories,) = asked
    np.testing.assert_array_equal(histories.items, one.experiment.dataset.valid.histories.items)
    assert 0 <= told[0][3] <= 1


def test_an_address_holds_all_that_decides_a_ranking_and_nothing_else(tmp_path):
    def key(baseline=None, split="test", top_n=5, **changes):
        return yardstick(tmp_path, baseline, **changes).ranking_key(split, top_n=top_n)

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
    one = yardstick(tmp_path, training=final)
    size, asked = one.experiment.dataset.train.items.size, len(one.experiment.dataset.valid)
    one.rank("test", top_n=5)
    (on_train, seed, epochs, score), again = told
    assert (on_train, epochs) == (size, 9)
    assert score is not None
    assert again == (size + asked, seed, 3, None)
    one.rank("valid", top_n=5)
    assert told[2:] == [("found", 9)], "validation users are asked of the fit on train alone"
