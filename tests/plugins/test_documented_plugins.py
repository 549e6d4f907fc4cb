"""The plugins in docs/plugins.md work together in a run from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from genrec.cli import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"

RECIPE = """\
title: Documented plugins
dataset: DATASET
history_encoder: {type: running_mean, dim: 16, max_history: 10}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: principal_order, branching: 8}, decoder: additive}
  other: {item_encoder: ENCODER, tokenizer: {type: principal_order, branching: 8}, decoder: additive}
tasks: [{type: summary_agreement, first: behavior, second: other, weight: 0.1}]
training: {learning_rate: 1e-2, warmup_steps: 1, batch_size: 32, max_epochs: 2, loggers: [epoch_table]}
search: {beam_width: 20, list_length: 20}
merge: hit_weighted
evaluation: {cutoffs: [5, 10], bootstrap_samples: 20, metrics: [ndcg, first_place], seen_items: filter}
baselines: [recent_popularity, shared_users]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> Path:
    """The working folder, with every example of the page as a plugin, and data for the one that reads them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)):
        (tmp_path / "plugins" / f"example_{number}.py").write_text(code, encoding="utf-8")
    (tmp_path / "data" / "baskets").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = [f"user-{user}: {' '.join(f'item-{item}' for item in random.permutation(50)[:8])}" for user in range(80)]
    (tmp_path / "data" / "baskets" / "baskets.txt").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "encoder"), [("baskets", "tfidf"), ("{type: showroom, items: 60, users: 120}", "numeric_column")]
)
def test_run_of_documented_plugins(folder: Path, dataset: str, encoder: str) -> None:
    recipe = RECIPE.replace("DATASET", dataset).replace("ENCODER", encoder)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    assert main(["run", "recipe.yaml", "--data", "data", "--output", "run", "--device", "cpu"]) == 0
    methods = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["methods"]
    names = {method["name"] for method in methods}
    assert {"merge: hit_weighted", "recent_popularity", "shared_users"} <= names
    [table] = (folder / "run").rglob("epochs.csv")
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3
    assert set(json.loads((folder / "run" / "merge.json").read_text())["weights"]) == {"behavior", "other"}
