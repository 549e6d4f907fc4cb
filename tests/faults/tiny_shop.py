"""A recipe that runs in a second and has every kind of stage; its results; and a process that is killed at a moment."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from genrec.experiment.run_folder import RunFolder
from genrec.pipeline import run
from genrec.recipe import load_recipe
from genrec.recipe.source import write
from genrec.runtime.environment import Environment

ROOT = Path(__file__).parents[2]

RECIPE = """
title: a tiny shop
dataset: {type: showroom, items: 40, users: 60}
history_encoder: {type: item_ids, dim: 8, num_heads: 2, max_history: 5, feedforward_dim: 16, attention: causal}
streams:
  behavior: {item_encoder: {type: cooccurrence, dim: 4}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text: {item_encoder: {type: tfidf, dim: 4}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
training: {warmup_steps: 2, batch_size: 32, max_epochs: 3, patience: 3, final_fit: true, validation_users: 20}
search: {beam_width: 8, list_length: 10}
merge: learned
evaluation: {cutoffs: [5, 10], bootstrap_samples: 20}
baselines: [popularity]
"""

_CHILD = """
import os, signal, sys
from pathlib import Path
from genrec.experiment.run_folder import RunFolder
from genrec.pipeline import run
from genrec.recipe import load_recipe
from genrec.recipe.source import write
from genrec.runtime.environment import Environment

recipe, folder, seed, last, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), 0
checked = load_recipe(recipe, [f"seed={seed}"])

def kill(event, arguments):
    global count
    if event == "open":
        changes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
    if changes and str(folder) in str(arguments[0]):
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
made = RunFolder.create(folder, recipe, recipe=checked, force=True)
made.write_recipe(write(checked.block()), ())
run(checked, made, environment=Environment("cpu", threads=1))
print(count)
"""
"""Kills itself before a call that changes the file system in the folder of the run, given by its number."""


def recipe_file(folder: Path) -> Path:
    """The recipe as a file."""
    file = folder / "shop.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def run_in(folder: Path, recipe: Path, *, seed: int = 1) -> Path:
    """Run the recipe in this process; returns the folder."""
    checked = load_recipe(recipe, [f"seed={seed}"])
    made = RunFolder.create(folder, recipe, recipe=checked, force=True)
    made.write_recipe(write(checked.block()), ())
    run(checked, made, environment=Environment("cpu", threads=1))
    return folder


def run_killed(folder: Path, recipe: Path, *, moment: int, seed: int = 1) -> int | None:
    """Run the recipe in a process that is killed at a moment.

    Returns:
        The number of moments, or None if the process was killed.
    """
    command = [sys.executable, "-c", _CHILD, str(recipe), str(folder), str(seed), str(moment)]
    same = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=os.environ | same, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return None if done.returncode else int(done.stdout)


def results(folder: Path) -> dict[str, Any]:
    """All results of a run, without times."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    files = ("model.safetensors", "candidates/test.safetensors", "ranks.safetensors", "recipe.yaml", "merge.json")
    return {
        "metrics": [metrics[key] for key in ("methods", "tests", "protocol")],
        "curve": [epoch["losses"] for epoch in log["epochs"]],
        **{name: (folder / name).read_bytes() for name in files},
    }


def files(folder: Path) -> set[str]:
    """The names of all files below a folder, and of folders that are empty."""
    return {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() or (file.is_dir() and not any(file.iterdir()))
    }
