"""Working a plan off: models in processes of their own, what fails stops nobody, what is finished is not done again."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_comparison import small_plan, small_recipe

from genrec.comparison.ranking import make_rows
from genrec.comparison.work import Workshop
from genrec.errors import GenrecError
from genrec.experiment import Experiment
from genrec.pipeline import run
from genrec.run_folder import RunFolder


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def work(plan, folder, **settings):
    Workshop(logs=folder / "logs", at_once=2, **settings).do(plan)


def test_rows_are_what_runs_of_the_variants_give(tmp_path):
    plan = small_plan(tmp_path, ["merge=confidence,log_prob_sum"], (1, 2), split="test")
    work(plan, tmp_path)
    rows = {row.name: row for row in make_rows(plan, "test", 10)}
    kinds = [row.kind for row in rows.values()]
    assert kinds == ["variant", "variant", "stream", "stream", "oracle", "baseline", "baseline"]
    trial = next(t for t in plan.trials if t.variant.name == "log_prob_sum" and t.seed == 2)
    alone = RunFolder.create(tmp_path / "alone", small_recipe(tmp_path))
    report = run(trial.experiment.recipe, alone)
    ranks = {row.name: row.ranks_U for row in report.rows}
    np.testing.assert_array_equal(rows["log_prob_sum"].ranks_SU[1], ranks["merge: log_prob_sum"])
    np.testing.assert_array_equal(rows["model: text alone"].ranks_SU[1], ranks["stream: text"])
    np.testing.assert_array_equal(rows["model: oracle"].ranks_SU[1], ranks["oracle"])
    np.testing.assert_array_equal(rows["popularity"].ranks_SU[0], ranks["popularity"])
    model = rows["confidence"].models[1]
    assert model == rows["log_prob_sum"].models[1]
    assert model.parameters == sum(report.parameters.values())
    assert model.peak_bytes is None or model.peak_bytes > 10_000_000
    assert len(model.curve) == 1
    assert set(model.codes) == {"behavior", "text"}

    again = small_plan(tmp_path, ["merge=confidence,log_prob_sum"], (1, 2), split="test")
    assert all(stage.finished for stage in again.planned())
    began = time.monotonic()
    work(again, tmp_path)
    assert time.monotonic() - began < 1, "no process is started for what is finished"




def test_what_fails_is_said_and_stops_nobody(tmp_path, monkeypatch):
    plan = small_plan(tmp_path, ["training.learning_rate=3e-3,1e30", "streams=text,behavior"])
    monkeypatch.setattr(Experiment, "_encode", _failing_for("behavior", Experiment._encode))
    work(plan, tmp_path)
    rows = {row.name: row for row in make_rows(plan, "valid", 10) if row.kind == "variant"}
    assert rows["3e-3, text"].seeds == (1,)
    assert rows["3e-3, text"].failures == {}
    for name in ("3e-3, behavior", "1e30, behavior"):
        assert rows[name].failures == {1: "the vectors are out"}
    (why,) = rows["1e30, text"].failures.values()
    assert "is not finite" in why


def _failing_for(broken, encode):
    def encode_or_fail(self, name, stream):
        if name == broken:
            raise GenrecError("the vectors are out")
        return encode(self, name, stream)

    return encode_or_fail


def test_a_process_that_is_killed_is_a_failure_of_its_trials(tmp_path, monkeypatch):
    plan = small_plan(tmp_path)
    dies = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(dies, **options))
    work(plan, tmp_path)
    assert plan.trials[0].failure.startswith("the process was killed by signal 9, perhaps for want of memory (see ")


def test_a_spent_budget_begins_nothing(tmp_path):
    plan = small_plan(tmp_path)
    work(plan, tmp_path, deadline=time.monotonic())
    assert plan.trials[0].failure == "not finished within the budget; the same command goes on from here"
    assert not (tmp_path / ".stages").exists()


def test_an_interrupted_comparison_goes_on(tmp_path):
    small_recipe(tmp_path)
    command = [sys.executable, "-m", "genrec.cli", "compare", "small.yaml", "--vary", "merge=confidence,learned"]
    command += ["--set", "training.max_epochs=4", "--set", "training.patience=9", "--output", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    training = tmp_path / "out" / ".stages"
    until = time.monotonic() + 60
    while not list(training.glob("training-*/training.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.rstrip().endswith("interrupted; finished parts are kept, and the same command goes on from there")
    assert not list(training.glob("model-*")), "interrupted too late for this test to say anything"
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out" / "logs").glob("*.log")
    assert "going on after epoch" in log.read_text()
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["name"] for row in told["rows"]][:2] == ["confidence", "learned"]
