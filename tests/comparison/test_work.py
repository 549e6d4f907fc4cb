"""Running a plan: models in separate processes, failures stop no other job, finished stages are reused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from small_comparison import small_plan, small_recipe

from genrec.comparison.axes import variants
from genrec.comparison.comparing import compare, model_notes, notes_of
from genrec.comparison.plan import make_plan
from genrec.comparison.ranking import make_rows
from genrec.comparison.runner import Runner
from genrec.comparison.worker import Request
from genrec.errors import DataError, GenrecError
from genrec.evaluation.slices import target_popularity
from genrec.experiment.cache import Cache
from genrec.experiment.ids import tokenize_items
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.vectors import encode_items
from genrec.item_encoders.cooccurrence import Cooccurrence
from genrec.merges.log_prob_sum import LogProbSum
from genrec.pipeline import run
from genrec.recipe import load_recipe
from genrec.runtime.environment import Environment
from tests.damaged_files import forget_checksums

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def work(plan, folder, **settings):
    Runner(logs=folder / "logs", at_once=2, **settings).run(plan)


def test_rows_are_what_runs_of_the_variants_give(tmp_path, monkeypatch):
    plan = small_plan(tmp_path, ["merge=confidence,log_prob_sum"], (1, 2), split="test")
    work(plan, tmp_path)
    rows = {row.name: row for row in make_rows(plan, "test", 10)}
    kinds = [row.kind for row in rows.values()]
    assert kinds == ["variant", "variant", "stream", "stream", "oracle", "baseline", "baseline"]
    trial = next(t for t in plan.trials if t.variant.name == "log_prob_sum" and t.seed == 2)
    alone = RunFolder.create(tmp_path / "alone", small_recipe(tmp_path))
    report = run(trial.recipe, alone)
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
    found = notes_of_streams(trial.fits.test, plan.cache)
    assert {stream: codes["notes"] for stream, codes in model.codes.items()} == found
    assert any(found.values()), "the test needs notes"
    assert [note for note in model_notes(list(rows.values())) if note.startswith("stream ")] == [
        f"stream {stream}: {note}" for stream, notes in found.items() for note in notes
    ]
    hot = replace(rows["confidence"], models=[replace(model, warnings=("stopped early",))])
    assert "confidence, training: stopped early" in list(model_notes([hot, rows["log_prob_sum"]]))

    again = small_plan(tmp_path, ["merge=confidence,log_prob_sum"], (1, 2), split="test")
    assert all(stage.finished for stage in again.planned())
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started for finished work"))
        work(again, tmp_path)
    work(again, tmp_path, deadline=time.monotonic())
    assert not any(trial.failure for trial in again.trials), "a spent budget takes nothing away that is finished"

    monkeypatch.setattr(LogProbSum, "merge", lambda self, candidates, top_n: 1 / 0)
    rows = {row.name: row for row in make_rows(again, "test", 10)}
    why = "ZeroDivisionError: division by zero (a bug in this merge)"
    assert rows["log_prob_sum"].failures == {1: why, 2: why}
    assert rows["confidence"].seeds == (1, 2)


def notes_of_streams(fit, cache):
    streams = tokenize_items(fit, encode_items(fit, cache), cache)
    return {name: [*context.vectors.notes, *context.ids.notes] for name, context in streams.items()}


def test_jobs_of_one_model_wait_for_each_other(tmp_path, monkeypatch):
    plan = small_plan(tmp_path, ["search.list_length=10,20"])
    started, popen = [], subprocess.Popen

    def start(command, **options):
        assert all(process.poll() is not None for process in started), "both would train the same model"
        started.append(popen([sys.executable, "-c", "import time; time.sleep(0.3)"], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    work(plan, tmp_path)
    assert len(started) == len(plan.jobs) == 2


def test_finished_runs_stand_beside_each_other_on_their_own_data(tmp_path):
    recipe = small_recipe(tmp_path)
    first = RunFolder.create(tmp_path / "first", recipe)
    first.write_recipe(recipe.read_text(), ())
    run(load_recipe(recipe), first)
    shutil.copytree(first.path, tmp_path / "second")
    cache = Cache(tmp_path / "stages")
    both = make_plan(variants([first.path, tmp_path / "second"]), (), cache, split="valid", environment=Environment())
    assert [trial.variant.name for trial in both.trials] == ["first", "second"], "equal recipes and seeds, two runs"

    third = RunFolder(forget_checksums(shutil.copytree(first.path, tmp_path / "third")), cache.root)
    third.write_recipe(f"{recipe.read_text()}seed: 2\n", ())
    seeds = make_plan(variants([first.path, third.path]), (), cache, split="valid", environment=Environment())
    assert [(trial.variant.name, trial.seed) for trial in seeds.trials] == [("first", 1), ("first", 2)]
    assert f"first, seed 2: {third.path}, a run that differs only in its seed" in list(notes_of(seeds, "valid"))

    forget_checksums(first.path)
    first.write_recipe(recipe.read_text().replace("users: 150", "users: 140"), ())
    other = variants([first.path], ["merge=confidence,log_prob_sum"])
    why = r"the run was evaluated on 150 test users of showroom.* the model may have been trained on"
    with pytest.raises(DataError, match=why):
        make_plan(other, (), cache, split="valid", environment=Environment())


def test_failures_are_reported_and_stop_no_other_job(tmp_path, monkeypatch):
    plan = small_plan(tmp_path, ["training.learning_rate=3e-3,1e30", "streams=text,behavior"])
    monkeypatch.setattr(Cooccurrence, "encode", _out)
    work(plan, tmp_path)
    rows = {row.name: row for row in make_rows(plan, "valid", 10) if row.kind == "variant"}
    assert rows["learning_rate=3e-3, text"].seeds == (1,)
    assert rows["learning_rate=3e-3, text"].failures == {}
    for name in ("learning_rate=3e-3, behavior", "learning_rate=1e30, behavior"):
        assert rows[name].failures == {1: "the vectors are out"}
    (why,) = rows["learning_rate=1e30, text"].failures.values()
    assert "is not finite" in why


def _out(self, catalog, train, *, context):
    raise GenrecError("the vectors are out")


def test_a_process_that_is_killed_is_a_failure_of_its_trials(tmp_path, monkeypatch):
    plan = small_plan(tmp_path)
    dies = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen(dies, **options))
    work(plan, tmp_path)
    assert plan.trials[0].failure.startswith("the process was killed by signal 9, possibly out of memory (see ")


def test_a_spent_budget_begins_nothing(tmp_path):
    plan = small_plan(tmp_path)
    work(plan, tmp_path, deadline=time.monotonic())
    assert plan.trials[0].failure == "not finished within the budget; the same command resumes from here"
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
    _, output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert output.rstrip().endswith("interrupted; finished stages are stored, and the same command resumes from them")
    assert not list(training.glob("model-*")), "interrupted too late for this test"
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out" / "logs").glob("*.log")
    assert "resuming after epoch" in log.read_text()
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["name"] for row in found["rows"]][:2] == ["confidence", "learned"]


def test_a_worker_ends_with_its_comparison_where_interrupts_are_ignored(tmp_path):
    """As they are in what a shell has put in the background."""
    plan = small_plan(tmp_path, overrides=["training.max_epochs=2000", "training.patience=2000"])
    (job,) = plan.jobs
    request = Request(
        recipe=job.recipe.block(),
        cache=plan.cache.root,
        wanted=job.wanted,
        summary_key=job.summary_key,
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = subprocess.Popen(
            [sys.executable, "-m", "genrec.comparison.worker"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert worker.stdin is not None
    worker.stdin.write(request.model_dump_json().encode() + b"\n")
    worker.stdin.flush()
    until = time.monotonic() + 60
    while not list(plan.cache.root.glob("training-*/training.json")) and time.monotonic() < until:
        time.sleep(0.02)
    worker.stdin.close()
    try:
        assert worker.wait(20) == 130
    finally:
        worker.kill()


def test_a_comparison_says_what_each_model_learned_and_fits_baselines_accordingly(tmp_path):
    both = ["training.final_fit=false,true"]
    for split, learned in (("valid", [False, False]), ("test", [False, True])):
        plan = small_plan(tmp_path, both, split=split)
        assert [t.fits.of(split).dataset.trains_on_validation for t in plan.trials] == learned
        kinds = Counter(stage.stage.kind for stage in plan.planned())
        assert (kinds["model"], kinds["candidates"]) == (1 + any(learned), 1 + any(learned))
        assert kinds["vectors"] == 2 + any(learned), "co-occurrence alone reads histories"
        compared = compare(plan, Runner(logs=tmp_path / "logs", at_once=1), title="both", split=split)
        names = [row.name for row in compared.rows if row.kind == "baseline"]
        popularity = ["popularity", "popularity on train + validation"]
        assert [name for name in names if name.startswith("popularity")] == popularity[: 1 + any(learned)]
        variants = [row for row in compared.rows if row.kind == "variant"]
        model_keys = {row.models[0].model_key for row in variants}
        assert len(model_keys) == 1 + any(learned)
        if split == "valid":
            assert compared.protocol.final_fit == "train only"
        else:
            assert compared.protocol.final_fit == (
                "differs: train + validation, for the number of epochs that a fit on train only selected on "
                "validation, for final_fit=true; train only for the others"
            )
            assert variants[1].models[0].training_seconds > variants[0].models[0].training_seconds
        counted = target_popularity(plan.dataset.test if split == "test" else plan.dataset.valid, plan.dataset.train)
        assert np.array_equal(compared.target_popularity_U, counted), "what all of them were fitted on"
    only = small_plan(tmp_path, overrides=["training.final_fit=true"], split="test")
    assert all(stage.finished for stage in only.planned() if stage.stage.kind != "candidates")
    compared = compare(only, Runner(logs=tmp_path / "logs", at_once=1), title="only", split="test")
    counted = target_popularity(only.dataset.test, only.dataset.with_validation().train)
    assert np.array_equal(compared.target_popularity_U, counted)
