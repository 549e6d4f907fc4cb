"""SIGKILL while a model is trained: the next run ends with the same bytes as one that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_a_killed_process_goes_on_where_it_was(tmp_path):
    recipe, killed = tmp_path / "shop.yaml", tmp_path / "killed"
    recipe.write_text(SHOWROOM)
    command = [sys.executable, "-m", "genrec.cli", "run", str(recipe), "--device", "cpu", "--output", str(killed)]
    # As many threads as this process has: sums depend on it.
    same = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | same, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
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
