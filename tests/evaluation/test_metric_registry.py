"""The registry of metrics: plugins extend it, recipes name what it holds, and what a metric must not do is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from genrec import registry
from genrec.errors import PluginError
from genrec.evaluation.metric_registry import Metric, MetricKind, MetricRegistry
from genrec.evaluation.metrics import METRICS, column_name, main_metric
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.top_lists import ItemFacts, TopLists
from genrec.recipe import load_recipe
from genrec.recipe.problems import InvalidRecipeError
from genrec.types import ABSENT, ItemVectors

PLUGIN = '''
"""Two metrics."""

import numpy as np

from genrec.plugin import metrics


@metrics.register("mean_rank", "Mean rank", higher_is_better=False)
def mean_rank(ranks_U, cutoff):
    """The place of the target, K where it is not among the first K."""
    return np.where((ranks_U >= 0) & (ranks_U < cutoff), ranks_U, cutoff).astype(float)


@metrics.register("broken", "Broken")
def broken(ranks_U, cutoff):
    return BODY
'''

RANKS = np.array([0, 1, 4, ABSENT], dtype=np.int32)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None, small_recipe: str) -> Path:
    """A plugin's file beside ``recipe.yaml`` in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "recipe.yaml").write_text(small_recipe, encoding="utf-8")
    file = tmp_path / "plugins" / "places.py"
    file.write_text(PLUGIN.replace("BODY", "1 / 0"), encoding="utf-8")
    return file


def refusals(*overrides: str) -> str:
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe("recipe.yaml", overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", METRICS.names_of_targets())
def test_every_metric_keeps_the_contract(name: str) -> None:
    """A target at the top has the best value, one that is not found the same as one beyond the cutoff."""
    metric = METRICS.get(name)
    METRICS.find(name)
    assert metric.name == name
    assert metric.title
    rng = np.random.default_rng(0)
    ranks_SU = rng.integers(-1, 30, (3, 50)).astype(np.int32)
    values_SU = metric(ranks_SU, 10)
    assert values_SU.dtype == np.float64
    assert values_SU.shape == ranks_SU.shape
    assert values_SU[1].tolist() == metric(ranks_SU[1], 10).tolist()
    merits = [metric.merit(value) for value in metric(np.arange(12, dtype=np.int32), 10).tolist()]
    assert merits == sorted(merits, reverse=True)
    assert merits[0] > merits[-1]
    assert metric(np.array([ABSENT]), 10) == metric(np.array([10]), 10)


@pytest.mark.parametrize("name", METRICS.names_of_lists())
def test_every_metric_of_lists_keeps_the_contract(name: str) -> None:
    """It works on lists that are empty or end early, and takes nothing but the lists."""
    metric = METRICS.find(name)
    assert metric.title
    facts = ItemFacts(np.array([3, 0, 1]), ItemVectors(np.eye(3, 2, dtype=np.float32), np.ones(3, dtype=bool)))
    items_UK = np.array([[0, 1], [2, 0], [1, ABSENT], [ABSENT, ABSENT]])
    values = metric.of_lists(TopLists(items_UK, items_UK == 1, facts))
    assert values.dtype == np.float64
    assert values.shape == ((4,) if metric.kind == "lists" else ())


def test_a_plugin_may_measure_lists_and_systems(plugin: Path) -> None:
    plugin.write_text(
        PLUGIN.replace('"broken", "Broken"', '"broken", "Length", kind="lists", higher_is_better=None').replace(
            "ranks_U, cutoff):\n    return BODY", "lists):\n    return lists.is_present_UK.sum(axis=1)"
        ),
        encoding="utf-8",
    )
    recipe = load_recipe("recipe.yaml", ["evaluation.beyond_accuracy=[broken, gini]"])
    assert recipe.evaluation.beyond_accuracy == ("broken", "gini")
    assert load_recipe("recipe.yaml", ["evaluation.beyond_accuracy=[]"]).evaluation.beyond_accuracy == ()
    message = refusals("evaluation.beyond_accuracy=[mean_rank]")
    assert "found 'mean_rank', a metric of accuracy; expected it under evaluation.metrics" in message


@pytest.mark.parametrize(
    ("kind", "result", "message"),
    [
        (
            "lists",
            np.ones(3),
            r"returned values of shape \(3,\) for users of shape \(4,\); expected one value for each",
        ),
        ("lists", np.full(4, np.inf), "returned a value that is not finite; expected a number for each user"),
        ("system", np.ones(4), r"returned values of shape \(4,\); expected one number"),
        ("system", np.nan, "returned a value that is not finite; expected a number"),
        ("hits", np.ones(3), r"for users of shape \(4,\)"),
    ],
)
def test_invalid_values_of_every_kind_are_refused(kind: MetricKind, result: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Metric("odd", "Odd", lambda *_: result, kind=kind).check()


def test_a_plugins_metric_is_found_as_text_and_imported_when_named(plugin: Path) -> None:
    registry.add_plugin_folder(plugin.parent)
    assert METRICS.names()[-2:] == ["mean_rank", "broken"]
    [entry] = [entry for entry in METRICS.entries() if entry.name == "mean_rank"]
    assert entry.summary == "The place of the target, K where it is not among the first K."
    assert entry.origin == str(Path("plugins/places.py"))
    assert "mean_rank" not in METRICS._known
    assert METRICS.get("mean_rank")(RANKS, 3).tolist() == [0, 1, 3, 3]
    assert column_name("mean_rank", 3) == "Mean rank@3"


def test_a_recipe_names_its_metrics(plugin: Path) -> None:
    assert load_recipe("recipe.yaml").evaluation.metrics == ("recall", "ndcg")
    recipe = load_recipe("recipe.yaml", ["evaluation.metrics=[ndcg, mean_rank, ndcg]"])
    assert recipe.evaluation.metrics == ("ndcg", "mean_rank")
    assert recipe.block()["evaluation"]["metrics"] == ["ndcg", "mean_rank"]


def test_what_a_recipe_cannot_report_is_an_error_before_any_work(plugin: Path) -> None:
    option = "--set evaluation.metrics=[ndgc]"
    known = " or ".join(map(repr, METRICS.names_of_targets()))
    assert "'mean_rank'" not in known
    message = refusals("evaluation.metrics=[ndgc]")
    known = " or ".join(map(repr, METRICS.names_of_targets()))
    assert "'mean_rank'" in known
    assert message == f"{option}: evaluation.metrics.0: found 'ndgc', expected {known}; did you mean 'ndcg'?"
    message = refusals("evaluation.metrics=[broken]")
    assert message == (
        "--set evaluation.metrics=[broken]: evaluation.metrics.0: plugins/places.py:17: metric 'broken' "
        "cannot be computed: ZeroDivisionError: division by zero"
    )
    with pytest.raises(ValidationError, match="Input should be 'recall' or 'ndcg'"):
        EvaluationSettings.model_validate({"metrics": ["ndgc"]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ranks_U[:2].astype(float)", "returned values of shape (2,) for ranks of shape (4,)"),
        ("np.where(ranks_U < 0, np.nan, 1.0)", "returned a value that is not finite"),
    ],
)
def test_values_that_are_none_are_refused(plugin: Path, body: str, message: str) -> None:
    plugin.write_text(PLUGIN.replace("BODY", body), encoding="utf-8")
    found = refusals("evaluation.metrics=[broken]")
    assert f"evaluation.metrics.0: plugins/places.py:15: metric 'broken' {message}" in found


def test_plugins_that_cannot_be_loaded_are_named(plugin: Path) -> None:
    plugin.write_text("1 / 0\n" + PLUGIN, encoding="utf-8")
    (plugin.parent / "worse.py").write_text("def (", encoding="utf-8")
    assert "places.py:1: the plugin 'mean_rank' cannot be loaded" in refusals("evaluation.metrics=[mean_rank]")
    assert "worse.py:1: not valid Python" in refusals("evaluation.metrics=[nothing_like_it]")
    (plugin.parent / "again.py").write_text(PLUGIN, encoding="utf-8")
    assert "metric 'mean_rank' exists twice: " in refusals("evaluation.metrics=[mean_rank]")


def test_a_plugin_cannot_take_a_name_of_the_core(plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace('"broken"', '"recall"'), encoding="utf-8")
    assert "metric 'recall' exists twice: " in refusals("evaluation.metrics=[recall]")
    with pytest.raises(PluginError, match="metric 'recall' is registered twice"):
        METRICS.get("mean_rank")


def test_names_that_no_metric_can_have() -> None:
    own = MetricRegistry()
    for name in ("", "MRR", "a@b", "name", "kind"):
        with pytest.raises(PluginError, match="found the metric name"):
            own.register(name, "Title")
    with pytest.raises(PluginError, match="metric 'mine': found the kind 'users', expected 'ranks' or 'hits' or"):
        own.register("mine", "Mine", kind="users")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="unknown metric 'mine'; expected one of"):
        own.find("mine")


def test_the_best_is_the_lowest_where_lower_is_better() -> None:
    gain = Metric("gain", "Gain", lambda ranks_U, cutoff: ranks_U * 1.0)
    loss = Metric("loss", "Loss", lambda ranks_U, cutoff: ranks_U * 1.0, higher_is_better=False)
    assert (gain.best([0.2, 0.5]), loss.best([0.2, 0.5])) == (0.5, 0.2)
    assert np.isnan(gain.best([]))
    neither = Metric("neither", "Neither", lambda ranks_U, cutoff: ranks_U * 1.0, higher_is_better=None)
    assert np.isnan(neither.best([0.2, 0.5]))
    assert not neither.is_best(0.5, neither.best([0.2, 0.5]))
    assert (gain.is_best(0.0, 0.0), loss.is_best(0.0, 0.0)) == (False, True)
    assert sorted([1, 3, 2], key=loss.merit, reverse=True) == [1, 2, 3]


def test_the_main_metric_is_ndcg_or_the_first() -> None:
    assert main_metric(("recall", "ndcg")) == "ndcg"
    assert main_metric(("mean_rank", "recall")) == "mean_rank"
