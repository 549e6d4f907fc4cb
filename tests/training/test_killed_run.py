"""SIGKILL while a model is trained: the next run ends with the same bytes as one that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genrec.experiment.run_folder import RunFolder
from genrec.pipeline import run
from genrec.recipe import load_recipe

ROOT = Path(__file__).parents[2]

SHOWROOM = """
title: a shop to be interrupted
dataset: {type: showroom, items: 60, users: 120}
history_encoder: {type: item_ids, dim: 16, max_history: 6, feedforward_dim: 32, attention: causal}
streams:
  behavior:
    item_encoder: {type: cooccurrence, dim: 8}
    tokenizer: {type: kmeans_tree, branching: 8}
    decoder: {type: mlp, hidden_dim: 32}
  text:
    item_encoder: {type: tfidf, dim: 8}
    tokenizer: {type: kmeans_tree, branching: 8}
    decoder: {type: mlp, hidden_dim: 32}
training: {warmup_steps: 10, batch_size: 16, max_epochs: 40, patience: 40}
search: {beam_width: 10, list_length: 20}
evaluation: {bootstrap_samples: 20}
baselines: [popularity]
"""


def stored(folder):
    """All that a run found, without its times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    log = json.loads((folder / "training.json").read_text())
    return {
        "metrics": [metrics[key] for key in ("methods", "tests", "protocol")],
        "curve": [(epoch["losses"], epoch["validation"]) for epoch in log["epochs"]],
        "best": log["best_epoch"],
        "model": (folder / "model.safetensors").read_bytes(),
        "candidates": (folder / "candidates" / "test.safetensors").read_bytes(),
    }


def epochs_done(folder):
    """Epochs in the checkpoint of an unfinished training."""
    logs = list((folder / ".stages").glob("training-*/training.json"))
    return len(json.loads(logs[0].read_text())["log"]["epochs"]) if logs else 0


def start(recipe, folder):
    """A process that runs a recipe, with as many threads as this one has: sums depend on it."""
    command = [sys.executable, "-m", "genrec.cli", "run", str(recipe), "--device", "cpu", "--output", str(folder)]
    same = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=recipe.parent, env=os.environ | same, stdout=nothing, stderr=nothing)


@pytest.mark.slow
def test_a_killed_process_goes_on_where_it_was(tmp_path):
    recipe, killed = tmp_path / "shop.yaml", tmp_path / "killed"
    recipe.write_text(SHOWROOM)
    process = start(recipe, killed)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None and epochs_done(killed) < 3:
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = epochs_done(killed)
    assert 3 <= done < 40
    assert not (killed / "model.safetensors").exists()
    assert json.loads((killed / "run.json").read_text()) == {"verb": "run", "finished": False}
    for folder in (killed, tmp_path / "whole"):
        run(load_recipe(recipe), RunFolder.create(folder, recipe))
    stages = json.loads((killed / "run.json").read_text())["stages"]
    assert {stage["kind"] for stage in stages if stage["reused"]} == {"vectors", "ids"}
    assert stored(killed) == stored(tmp_path / "whole")
    assert len(stored(killed)["curve"]) == 40
    assert not list((killed / ".stages").glob("training-*"))


def files_of(folder):
    """Everything in a run's folder, half-written files and each epoch of the checkpoint included."""
    names = {str(file.relative_to(folder)) for file in folder.rglob("*")} if folder.is_dir() else set()
    return names | {f"epoch {epoch}" for epoch in range(epochs_done(folder))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never killed, and the number of files and epochs that it had in its folder, one after another."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = folder / "shop.yaml"
    recipe.write_text(SHOWROOM)
    process, seen = start(recipe, folder / "run"), set()
    while process.poll() is None:
        seen |= seen_now(folder / "run")
        time.sleep(0.002)
    assert process.returncode == 0
    return folder / "run", len(seen)


def seen_now(folder):
    """As :func:`files_of`; nothing where a file vanishes while it is looked at."""
    try:
        return files_of(folder)
    except (OSError, ValueError):
        return set()


@pytest.mark.acceptance
@pytest.mark.parametrize("twentieth", range(20))
def test_a_run_can_be_killed_at_any_moment(whole, tmp_path, twentieth):
    """Killed twice, soon after some of the files of the whole run are there, and once more on the way from there."""
    expected, steps = whole
    recipe, killed = tmp_path / "shop.yaml", tmp_path / "killed"
    recipe.write_text(SHOWROOM)
    seen = set()
    for share in (twentieth / 20, (twentieth + 1) / 20):
        process = start(recipe, killed)
        try:
            while process.poll() is None and len(seen) <= share * steps:
                seen |= seen_now(killed)
                time.sleep(0.001)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    run(load_recipe(recipe), RunFolder.create(killed, recipe))
    assert stored(killed) == stored(expected)
    assert json.loads((killed / "run.json").read_text())["finished"] is True
    assert not list((killed / ".stages").glob("training-*"))
    assert not list((killed / ".stages").glob("unfinished-*"))
