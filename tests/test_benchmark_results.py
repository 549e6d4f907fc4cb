"""Finished runs of several seeds, asked under both rules, and the page that is made of them."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import _results_page
import results

from genrec.errors import GenrecError, RecipeError
from genrec.evaluation.metrics import ndcg
from genrec.evaluation.rank_file import RankFile
from genrec.evaluation.slices import groups_by_popularity
from genrec.experiment.cache import Cache
from genrec.experiment.run_folder import RunFolder
from genrec.pipeline import run
from genrec.recipe import load_recipe
from genrec.reporting.report import read_metrics

pytestmark = pytest.mark.slow

RECIPE = """
title: A small shop
dataset: {type: showroom, items: 60, users: 150}
history_encoder: {type: item_ids, num_layers: 1, dim: 16, num_heads: 2, max_history: 8, attention: causal}
streams:
  behavior: {item_encoder: {type: cooccurrence, dim: 8}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text:     {item_encoder: {type: tfidf, dim: 8}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
training: {learning_rate: 3e-3, warmup_steps: 1, batch_size: 64, max_epochs: 2, validation_users: 50, final_fit: true}
search: {method: exact, list_length: 20}
merge: learned
evaluation: {cutoffs: [5, 10], bootstrap_samples: 100}
baselines: [popularity]
"""


def finished(folder, *overrides):
    file = folder.parent / "recipe.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    recipe = load_recipe(file, overrides)
    with RunFolder.create(folder, file) as made:
        made.cache = folder.parent / "stages"
        made.write_recipe(recipe.to_yaml(), ())
        run(recipe, made)
    return folder


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory):
    """Two seeds of a recipe with a final fit, a control without, and what was added of them."""
    root = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        runs = [finished(root / "one"), finished(root / "two", "seed=2")]
        control = finished(root / "control", "title=One merge less", "merge=confidence", "training.final_fit=false")
        stages = Cache(root / "stages", quiet=True)
        for rule, others in (("filter", []), ("keep", [control])):
            file = results.add(runs, others, root / "docs" / "results", stages, rules=[rule])
        yield root, runs, control, stages, file


def test_an_entry_has_the_figures_of_its_run(shop):
    _, runs, _, _, file = shop
    content = json.loads(file.read_text(encoding="utf-8"))
    assert file.name == "a-small-shop.json"
    keys = [(entry["fit"], entry["seed"], entry["seen_items"]) for entry in content["entries"]]
    assert keys == [("train + validation", seed, rule) for rule in ("keep", "filter") for seed in (1, 2)]
    for seed, folder in enumerate(runs, start=1):
        [entry] = [e for e in content["entries"] if (e["seed"], e["seen_items"]) == (seed, "keep")]
        told = {row["name"]: row for row in entry["rows"]}
        control = "control: One merge less, train only"
        own = {"merge: learned", "stream: behavior", "stream: text", "oracle", "popularity"}
        # Baselines are fitted on what each model has learned, and the control has learned less.
        assert (
            own | ({control, "popularity on train only"} if seed == 1 else {"popularity on train only"}) == told.keys()
        )
        ranks = RankFile.read(folder).ranks
        for name in ("merge: learned", "stream: behavior", "stream: text", "oracle"):
            assert told[name]["test"]["ndcg"]["10"] == pytest.approx(ndcg(ranks[name], 10).mean(), abs=1e-12)
        last = told["popularity"]["test"]["ndcg"]["10"]
        assert last == pytest.approx(ndcg(ranks["popularity"], 10).mean(), abs=1e-12)
        assert [name for name, row in told.items() if "validation" not in row] == ["popularity on train only"]
        assert entry["protocol"]["final_fit"] == read_metrics(folder)["protocol"]["final_fit"]
        parameters = read_metrics(folder)["parameters"]
        assert entry["parameters"] == sum(parameters.values())
        assert [point["epoch"] for point in entry["curve"]] == [1, 2]
        for axis in ("history length", "memorization", "item popularity"):
            parts = [part for part in entry["slices"] if part["axis"] == axis]
            users = np.array([part["users"] for part in parts])
            assert users.sum() == 150
            mean = users @ [part["ndcg@10"]["stream: text"] for part in parts] / 150
            assert mean == pytest.approx(told["stream: text"]["test"]["ndcg"]["10"])
            assert {part["counted_in"] for part in parts} == {"train + validation"}
        dataset = load_recipe(folder / "recipe.yaml").dataset.load(None)
        groups = groups_by_popularity(dataset.test, dataset.with_validation().train)
        counts = [(part["label"], part["users"]) for part in parts]
        assert counts == [(group.label, len(group.rows)) for group in groups]


def test_seen_items_are_filtered_from_the_same_model(shop):
    _, _, _, _, file = shop
    entries = json.loads(file.read_text(encoding="utf-8"))["entries"]
    keep, filtered = (next(e for e in entries if e["seen_items"] == rule) for rule in ("keep", "filter"))
    assert (keep["curve"], keep["epochs"], keep["parameters"]) == (
        filtered["curve"],
        filtered["epochs"],
        filtered["parameters"],
    )
    assert keep["rows"] != filtered["rows"]
    assert "under seen_items: keep" in filtered["protocol"]["selection"]
    assert "under seen_items" not in keep["protocol"]["selection"]
    assert filtered["protocol"]["seen_items"] == "filter"


def test_the_merge_is_tested_against_all_others_over_both_seeds(shop):
    _, _, _, _, file = shop
    for tested in json.loads(file.read_text(encoding="utf-8"))["tests"]:
        assert (tested["method"], tested["seeds"]) == ("merge: learned", [1, 2])
        kinds = {pair["kind"] for pair in tested["against"]}
        assert kinds == {"stream", "baseline"} | ({"control"} if tested["seen_items"] == "keep" else set())
        p = sorted(pair["p"] for pair in tested["against"])
        assert min(pair["p_holm"] for pair in tested["against"]) == pytest.approx(min(1, p[0] * len(p)))


def test_no_path_is_kept_and_adding_again_replaces(shop):
    root, runs, control, stages, file = shop
    before = file.read_text(encoding="utf-8")
    assert str(root) not in before
    results.add(runs, [control], file.parent, stages, rules=["keep"])
    assert file.read_text(encoding="utf-8") == before
    results.add(runs[:1], [], file.parent, stages, rules=["keep"])
    content = json.loads(file.read_text(encoding="utf-8"))
    assert len(content["entries"]) == 4
    assert {(t["seen_items"], len(t["seeds"])) for t in content["tests"]} == {("filter", 2), ("keep", 1)}
    file.write_text(before, encoding="utf-8")


def test_runs_that_do_not_belong_together_are_refused(shop):
    root, runs, control, stages, file = shop
    with pytest.raises(RecipeError, match="differ in more than their seed"):
        results.add([runs[0], control], [], root / "elsewhere", stages)
    with pytest.raises(RecipeError, match=r"holds another recipe, which differs in merge\.features"):
        results.add([control], [], file.parent, stages, name=file.stem)
    broken = Path(shutil.copytree(runs[0], root / "broken"))
    (broken / "run.json").write_text('{"verb": "run", "finished": false}')
    with pytest.raises(GenrecError, match="has not finished"):
        results.add([broken], [], root / "elsewhere", stages)


def test_the_page_is_made_of_the_files(shop):
    _, _, _, _, file = shop
    page = _results_page.write_page(file.parent)
    text = page.read_text(encoding="utf-8")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert page.name == "results.md"
    values = [
        row["test"]["ndcg"]["10"]
        for entry in content["entries"]
        for row in entry["rows"]
        if entry["seen_items"] == "keep" and row["name"] == "merge: learned"
    ]
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in text
    assert "| A small shop | train + validation | kept | 2 |" in text
    assert "by item popularity in train + validation |" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links == ["results/a-small-shop.svg"]
    svg = (page.parent / links[0]).read_text(encoding="utf-8")
    assert "seed 1" in svg
    assert "seed 2" in svg
    again = text
    _results_page.write_page(file.parent)
    assert page.read_text(encoding="utf-8") == again
    assert (page.parent / links[0]).read_text(encoding="utf-8") == svg


def test_the_baseline_of_a_recipe_is_selected_on_validation_and_the_best_of_each_column_is_named():
    """``a`` wins validation, ``b`` test NDCG and ``c``, which was fitted on less and has no validation, test Recall."""
    figures = {
        "merge": {"validation": (0.5, 0.5), "test": (0.5, 0.5)},
        "a": {"validation": (0.4, 0.4), "test": (0.1, 0.1)},
        "b": {"validation": (0.3, 0.3), "test": (0.2, 0.3)},
        "c": {"test": (0.3, 0.2)},
    }
    rows = [
        {"name": name, "kind": "merge" if name == "merge" else "baseline"}
        | {split: {"recall": {"10": recall}, "ndcg": {"10": ndcg}} for split, (recall, ndcg) in splits.items()}
        for name, splits in figures.items()
    ]
    entry = {"fit": "train only", "seen_items": "keep", "seed": 1, "rows": rows}
    *_, method, selected, best = _results_page._summary({"x": {"title": "X", "cutoff": 10, "entries": [entry]}})
    lead = "train only | kept | 1"
    assert method == f"| X | {lead} | 0.5000 | 0.5000 | 0.5000 |"
    assert selected == f"| baseline selected on validation: a | {lead} | 0.4000 | 0.1000 | 0.1000 |"
    assert best == f"| best baseline of each column | {lead} | 0.4000 (a) | 0.3000 (c) | 0.3000 (b) |"
