"""Cold items end to end: a new item is recommended where its original is, and the report of held-out items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.evaluation.protocol import EvaluationSettings
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import plan_fit
from genrec.growth.grow import grow
from genrec.recipe.loading import recipe_of
from genrec.reporting.cold_items import cold_lines, cold_sentence
from genrec.reporting.report import ColdItems, Estimate
from genrec.reporting.report_files import read_report
from genrec.runtime.environment import Environment
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams
from genrec.testing.worlds import clockwork
from genrec.types import Histories, ItemVectors
from tests.clockwork_runs import NUM_ITEMS, longer, opened, recipe, rows_of, run_in
from tests.conftest import SMALL_RECIPE

SMALL = {"type": "showroom", "items": 60, "users": 120}


@pytest.mark.slow
def test_a_copy_of_an_item_is_recommended_beside_it(tmp_path: Path) -> None:
    asked = recipe(training=longer(25))
    run_in(tmp_path / "run", asked)
    model, streams = opened(asked, tmp_path / "run")
    world = clockwork(NUM_ITEMS)
    originals = np.array([3, 11, 25])
    new = {
        name: ItemVectors(vectors.vectors_IE[originals], vectors.present_I[originals])
        for name, vectors in world.vectors.items()
    }
    grown = grow(asked, world.vectors, streams, model, new, len(originals))
    before = np.array([int(np.flatnonzero(world.successor_I == item)[0]) for item in originals])
    first = np.array([int(np.flatnonzero(world.successor_I == item)[0]) for item in before])
    found = search_streams(
        grown.model,
        {name: context.trie for name, context in grown.contexts().items()},
        Histories.of([list(pair) for pair in zip(first, before, strict=True)]),
        SearchSettings(method="exact", list_length=5),
        num_items=NUM_ITEMS + len(originals),
        max_history=asked.max_history,
    )
    for stream in range(2):
        for user, original in enumerate(originals):
            ranks = {
                int(item): int(rank)
                for item, rank in zip(found.items_BC[user], found.ranks_BCS[user, :, stream], strict=True)
                if rank >= 0
            }
            assert ranks[int(original)] <= 1
            assert ranks[NUM_ITEMS + user] <= 2, "the copy is beside its original"


def small(tmp_path: Path, **evaluation: object):
    import yaml

    block = yaml.safe_load(SMALL_RECIPE)
    block["evaluation"] = {**block["evaluation"], **evaluation}
    return recipe_of(block)


def test_without_cold_items_keys_are_those_of_the_whole_dataset(tmp_path: Path) -> None:
    environment = Environment("cpu", 1)

    def keys(asked):
        return plan_fit(asked, load_dataset(asked, environment), environment).keys

    plain, none, some = (small(tmp_path, **e) for e in ({}, {"cold_items": 0}, {"cold_items": 0.1}))
    assert load_dataset(none, environment).whole is None
    assert keys(plain) == keys(none)
    cold = keys(some)
    assert cold.model != keys(plain).model
    assert not set(cold.vectors.values()) & set(keys(plain).vectors.values())
    other = keys(some.model_copy(update={"seed": 2}))
    assert other.vectors["text"] != cold.vectors["text"], "tfidf is not random, but the held-out items are"


@pytest.mark.slow
def test_the_report_has_results_of_cold_items(tmp_path: Path, clean_registry: None) -> None:
    asked = small(tmp_path, cold_items=0.15, seen_items="filter")
    report = run_in(tmp_path / "run", asked)
    cold = report.cold_items
    assert cold is not None
    assert (cold.items, cold.all_items) == (9, 60)
    assert report.protocol.items == 51
    assert cold.problem == ""
    names = ["merge: confidence", "stream: behavior", "stream: text", "stream: visual", "popularity", "random"]
    assert list(cold.among_all) == list(cold.among_cold) == names
    assert cold.codes["behavior"] == {"nearest in text": 9}
    assert cold.codes["text"] == {"encoded": 9}
    assert cold.among_all["popularity"]["recall"][10].mean == 0, "51 known items come first"
    assert all(metrics["recall"][10].mean == 1 for metrics in cold.among_cold.values()), "9 candidates"
    again = read_report(tmp_path / "run").cold_items
    assert again == cold
    text = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "## Cold items" in text
    assert "- behavior: 9 nearest in text" in text


@pytest.mark.slow
def test_without_cold_items_nothing_of_a_run_changes(tmp_path: Path) -> None:
    report = run_in(tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert report.cold_items is None
    assert "cold_items" not in metrics
    assert "cold items" not in metrics["stage_seconds"]
    assert len(rows_of(tmp_path / "run")[0]) == len(report.rows)
    assert "## Cold items" not in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_encoder_that_cannot_leaves_the_rest_of_the_run(tmp_path: Path) -> None:
    asked = recipe(evaluation=EvaluationSettings(cutoffs=(1, 5), bootstrap_samples=20, cold_items=0.1))
    given = replace_dataset_width(asked)
    report = run_in(tmp_path / "run", given)
    assert report.cold_items is not None
    assert report.cold_items.codes["text"] == {"encoded": 4}
    assert report.cold_items.codes["behavior"] == {"nearest in text": 4}


def replace_dataset_width(asked):
    """The clockwork with a text stream of real texts: its own encoder knows vectors of all items alone."""
    from genrec.item_encoders.cooccurrence import Cooccurrence
    from genrec.item_encoders.tfidf import Tfidf

    streams = {
        "behavior": asked.streams["behavior"].model_copy(update={"item_encoder": Cooccurrence(dim=8)}),
        "text": asked.streams["text"].model_copy(update={"item_encoder": Tfidf(dim=8, terms="characters")}),
    }
    return asked.model_copy(update={"streams": streams})


def test_the_section_of_the_report() -> None:
    def metrics(mean: float):
        return {"recall": {10: Estimate(mean, mean, mean)}, "ndcg": {10: Estimate(mean / 2, 0.0, mean)}}

    cold = ColdItems(
        items=5,
        all_items=50,
        users=1,
        among_all={"stream: text": metrics(0.5), "random": metrics(0.1)},
        among_cold={"stream: text": metrics(0.75), "random": metrics(0.2)},
        codes={"text": {"encoded": 4, "left out": 1}},
    )
    assert list(cold_lines(cold)) == [
        "5 of 50 items were held out before anything was fitted, and added as new items after training. They are the "
        "last item of 1 user, whose other items are the history. All other results are those of the data without the "
        "held-out items.",
        "",
        "Ranked among all 50 items:",
        "",
        "| method | Recall@10 | NDCG@10 |",
        "| --- | --- | --- |",
        "| stream: text | **0.5000** [0.5000, 0.5000] | **0.2500** [0.0000, 0.5000] |",
        "| random | 0.1000 [0.1000, 0.1000] | 0.0500 [0.0000, 0.1000] |",
        "",
        "Ranked among the held-out items:",
        "",
        "| method | Recall@10 | NDCG@10 |",
        "| --- | --- | --- |",
        "| stream: text | **0.7500** [0.7500, 0.7500] | **0.3750** [0.0000, 0.7500] |",
        "| random | 0.2000 [0.2000, 0.2000] | 0.1000 [0.0000, 0.2000] |",
        "",
        "Popularity counts training interactions; a held-out item has none. Equal counts are in the order of the "
        "catalog, held-out items last. Random is one random order for each user.",
        "",
        "- text: 4 encoded, 1 left out",
    ]
    assert cold_sentence(cold) == (
        "Cold items: 5 held-out items, 1 user; NDCG@10 among all items (among the held-out ones): stream: text 0.2500 "
        "(0.3750), random 0.0500 (0.1000)"
    )
    nothing = replace(cold, among_all={}, among_cold={}, codes={}, problem="no free code")
    assert list(cold_lines(nothing))[-1] == "Not measured: no free code"
    assert cold_sentence(nothing) == "Cold items: 5 held-out items, 1 user; not measured: no free code"
    assert ColdItems.of_dict(json.loads(json.dumps(cold.to_dict()))) == cold
