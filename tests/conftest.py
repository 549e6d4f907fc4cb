"""What all tests share: profiles of hypothesis, limits of CPU time, a finished run, and this folder on the path."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from genrec import registry
from genrec.cli import main
from genrec.evaluation.metrics import METRICS
from genrec.families import FAMILIES

# A busy machine is slow: neither a deadline for one example nor a health check of the time that examples take.
settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("acceptance", settings.get_profile("default"), max_examples=3000)
settings.load_profile("default")

MAX_SECONDS = {"fast": 10.0, "slow": 120.0}
"""CPU time of one test: three times what its marker promises, because the same work costs more on a busy machine."""

SMALL_RECIPE = """\
title: Three views of a small shop [showroom]
dataset: {type: showroom, items: 60, users: 120}
history_encoder: {type: item_ids, dim: 16, num_heads: 2, feedforward_dim: 32, max_history: 10, attention: causal}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text: {item_encoder: tfidf, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  visual: {item_encoder: pixels, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
training: {learning_rate: 1e-2, warmup_steps: 1, batch_size: 32, max_epochs: 2, validation_users: 50}
search: {beam_width: 20, list_length: 20}
evaluation: {cutoffs: [5, 10], bootstrap_samples: 20}
"""
"""Runs in a second or two."""


@pytest.fixture(scope="session")
def small_recipe() -> str:
    """The text of a recipe that runs in a second or two and needs no files."""
    return SMALL_RECIPE


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the small recipe; look, do not write."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL_RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_plugin_folders", [])
        patch.chdir(folder)
        assert main(["run", "small.yaml", "--output", "run", "--device", "cpu"]) == 0
    return folder / "run"


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plugin folders to begin with, and no plugin left behind."""
    monkeypatch.setattr(registry, "_plugin_folders", [])
    yield
    for family in FAMILIES:
        for name, cls in list(family._classes.items()):
            if cls.__module__.startswith("genrec_plugin_"):
                del family._classes[name]
    for name, metric in list(METRICS._known.items()):
        if metric.measure.__module__.startswith("genrec_plugin_"):
            del METRICS._known[name]
    for module in [name for name in sys.modules if name.startswith("genrec_plugin_")]:
        del sys.modules[module]


def cpu_seconds() -> float:
    """CPU time of this process and of its finished child processes."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that takes more CPU time than its marker promises; fixtures do not count."""
    began = cpu_seconds()
    result = yield
    took = cpu_seconds() - began
    if item.get_closest_marker("acceptance") or item.config.getoption("hypothesis_profile") == "acceptance":
        return result
    speed, marker = ("slow", "acceptance") if item.get_closest_marker("slow") else ("fast", "slow")
    if took > MAX_SECONDS[speed]:
        reason = f"{took:.0f} s of CPU time, expected at most {MAX_SECONDS[speed]:.0f}: mark the test {marker}"
        pytest.fail(reason, pytrace=False)
    return result
