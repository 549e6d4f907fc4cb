"""A baseline that is trained is planned, worked out by a process of its own, and has a row with all of its seeds."""

import time

import numpy as np
import pytest
from small_comparison import small_plan, small_recipe

from genrec.comparison.ranking import make_rows
from genrec.comparison.runner import Runner
from genrec.experiment.run_folder import RunFolder
from genrec.pipeline import run

pytestmark = pytest.mark.slow

SASREC = "baselines=[popularity, {type: sasrec, dim: 8, max_epochs: 2, warmup_steps: 1}]"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def work(plan, folder, **settings):
    Runner(logs=folder / "logs", at_once=2, **settings).run(plan)


def planned(plan):
    return [stage for stage in plan.planned() if stage.stage.kind == "baseline"]


def test_it_is_trained_once_a_seed_for_all_variants(tmp_path, monkeypatch):
    def small():
        return small_plan(tmp_path, ["merge=confidence,log_prob_sum"], (1, 2), split="test", overrides=[SASREC])

    plan = small()
    assert [(stage.stage.name, stage.trials, stage.finished) for stage in planned(plan)] == [("sasrec", 2, False)] * 2
    work(plan, tmp_path)
    assert len(list((tmp_path / "logs").glob("sasrec_seed_*.log"))) == 2
    monkeypatch.setattr("genrec.baselines.sasrec.Sasrec.fit_validated", None)  # this process has nothing to fit
    rows = {row.name: row for row in make_rows(plan, "test", 10)}
    assert (rows["popularity"].seeds, rows["sasrec"].seeds) == ((1,), (1, 2))
    assert all(stage.finished for stage in planned(small()))
    monkeypatch.undo()

    trial = next(trial for trial in plan.trials if trial.seed == 2)
    report = run(trial.recipe, RunFolder.create(tmp_path / "run", small_recipe(tmp_path)))
    (row,) = (row for row in report.rows if row.name == "sasrec")
    np.testing.assert_array_equal(rows["sasrec"].ranks_SU[1], row.ranks_U)
    (note,) = (note for note in report.notes if note.startswith("baseline sasrec: "))
    assert "dim 8" in note
    assert "dropout 0.5" in note


def test_why_it_has_no_result_is_said(tmp_path):
    plan = small_plan(tmp_path, overrides=[SASREC])
    work(plan, tmp_path, deadline=time.monotonic())
    plan.jobs.clear()
    (row,) = (row for row in make_rows(plan, "valid", 10) if row.name == "sasrec")
    assert row.failures == {1: "not finished within the budget; the same command resumes from here"}

    plan = small_plan(tmp_path, overrides=[SASREC.replace("dim: 8", "dim: 8, learning_rate: 1e30")])
    work(plan, tmp_path)
    (row,) = (row for row in make_rows(plan, "valid", 10) if row.name == "sasrec")
    assert "is not finite" in row.failures[1]
