"""Recommendations of a finished run are those that its report measured, and say which stream they come from."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

from genrec.cli import main
from genrec.comparison.axes import variants
from genrec.datasets.showroom import Showroom
from genrec.errors import DataError, RecipeError, TrainingError
from genrec.evaluation.metrics import target_ranks
from genrec.evaluation.rank_file import RankFile
from genrec.families import merges
from genrec.merges.confidence import Confidence
from genrec.recipe import load_recipe
from genrec.search.candidates import load_candidates
from genrec.serving.recommender import Recommender
from genrec.types import ABSENT, Dataset, Histories
from tests.damaged_files import forget_checksums


@pytest.fixture(scope="module", name="shop")
def _shop() -> Dataset:
    """What the small run was run on."""
    return Showroom(items=60, users=120).load()


@pytest.fixture(scope="module", name="recommender")
def _recommender(small_run: Path) -> Recommender:
    return Recommender(small_run)


def keys_of(dataset: Dataset, histories: Histories) -> list[list[str]]:
    return [[dataset.catalog.keys[item] for item in histories[user]] for user in range(len(histories))]


def copied(run: Path, folder: Path, *overrides: str, titles: Sequence[str] = (), keys: Sequence[str] = ()) -> Path:
    """A copy of a run, with changes of its recipe and other titles or keys of the first items."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".stages"))
    forget_checksums(folder)
    recipe = load_recipe(folder / "recipe.yaml", overrides)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    (folder / "merge.json").write_text(json.dumps(recipe.merge.block()), encoding="utf-8")
    items = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    items["titles"][: len(titles)], items["keys"][: len(keys)] = titles, keys
    (folder / "items.json").write_text(json.dumps(items), encoding="utf-8")
    return folder


def message(recommender: Recommender, name: str) -> str:
    with pytest.raises(DataError) as caught:
        recommender.row(name)
    return str(caught.value)


def test_a_model_that_is_not_finite_names_its_file(small_run: Path, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path / "run")
    weights = {name: np.full_like(weight, np.nan) for name, weight in load_file(run / "model.safetensors").items()}
    save_file(weights, run / "model.safetensors")
    with pytest.raises(TrainingError, match=rf"^{re.escape(str(run / 'model.safetensors'))}: stream 'behavior': "):
        Recommender(run).recommend([["item-1"]])


def test_a_merge_that_was_fitted_to_other_streams_names_its_file(small_run: Path, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path / "run", "merge=learned")
    fitted = {"type": "learned", "features": ["found"], "streams": ["a", "b"], "weights": {"found": [1.0, 2.0]}}
    (run / "merge.json").write_text(json.dumps(fitted), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        Recommender(run).recommend([["item-1"]])
    assert str(caught.value) == (
        f"{run / 'merge.json'}: merge learned: found candidates of the streams behavior, text, visual, expected a, b, "
        "to which it was fitted: fit it to these"
    )


def test_what_is_recommended_is_what_was_measured(recommender: Recommender, shop: Dataset, small_run: Path) -> None:
    found = recommender.recommend(keys_of(shop, shop.test.histories), k=10, seen=None)
    ranking = Confidence().merge(load_candidates(small_run / "candidates" / "test.safetensors"), top_n=10)
    rows = np.array([[recommender.row(item.key) for item in items] for items in found])
    np.testing.assert_array_equal(rows, ranking.items_BN)
    np.testing.assert_allclose([[item.score for item in items] for items in found], ranking.scores_BN, rtol=1e-5)
    measured = RankFile.read(small_run).ranks["merge: confidence"]
    np.testing.assert_array_equal(target_ranks(ranking, shop.test.targets), measured)


def test_votes_are_the_streams_own_words(recommender: Recommender, shop: Dataset, small_run: Path) -> None:
    stored = load_candidates(small_run / "candidates" / "test.safetensors")
    found = recommender.recommend(keys_of(shop, shop.test.histories), k=10, seen=None)
    for user, items in enumerate(found):
        for item in items:
            column = stored.items_BC[user].tolist().index(recommender.row(item.key))
            proposed = stored.ranks_BCS[user, column] != ABSENT
            probabilities = np.where(proposed, np.exp(stored.log_probs_BCS[user, column].astype(np.float64)), 0.0)
            for s, name in enumerate(stored.streams):
                vote = item.streams[name]
                assert vote.rank == (stored.ranks_BCS[user, column, s] + 1 if proposed[s] else None)
                assert vote.share == pytest.approx(probabilities[s] / probabilities.sum(), rel=1e-4)
                assert (vote.log_prob is None) == (not proposed[s])


def test_a_merge_with_scores_hears_every_stream(small_run: Path, tmp_path: Path) -> None:
    recommender = Recommender(copied(small_run, tmp_path / "run", "merge=log_prob_sum"))
    for item in recommender.recommend([["item-1", "item-2"]])[0]:
        known = [vote.log_prob for vote in item.streams.values() if vote.log_prob is not None]
        assert len(known) >= 2, "all streams but one without an image of it"
        assert item.score == pytest.approx(sum(known) / len(known) * 3, rel=1e-4)


def test_histories_are_answered_one_by_one_and_in_order(recommender: Recommender) -> None:
    first, second = ["item-3", "item-9"], ["item-20"]
    together = recommender.recommend([first, second, first], k=5, seen=None)
    alone = [recommender.recommend([history], k=5, seen=None)[0] for history in (first, second)]
    keys = [[item.key for item in items] for items in together]
    assert keys == [[item.key for item in alone[place]] for place in (0, 1, 0)]
    assert keys[0] != keys[1]


def test_no_history_no_answer(recommender: Recommender) -> None:
    assert len(recommender.recommend([])) == 0


def test_unknown_items_are_skipped_and_counted(recommender: Recommender) -> None:
    found = recommender.recommend([["item-1", "no such item", "item-3"], ["item-1", "item-3"]])
    assert found[0] == found[1]
    assert (found.unknown, found.is_fallback) == ((1, 0), (False, False))


def test_a_history_without_known_items_gets_the_popular_items(recommender: Recommender, shop: Dataset) -> None:
    found = recommender.recommend([[], ["item-3"], ["?", "!"]], k=5)
    assert (found.unknown, found.is_fallback) == ((0, 0, 2), (True, False, True))
    counts = np.bincount(shop.train.items, minlength=60)
    popular = np.argsort(-counts, kind="stable")[:5]
    assert found.item_keys()[0] == found.item_keys()[2] == [shop.catalog.keys[item] for item in popular]
    assert [item.score for item in found[0]] == pytest.approx(counts[popular] / counts.sum())
    assert all(item.streams == {} for item in found[0])
    assert found[1] == recommender.recommend(["item-3"], k=5)[0]
    assert found.table()["fallback"].to_list() == [True] * 5 + [False] * 5 + [True] * 5


def test_a_run_without_counts_has_no_popular_items(small_run: Path, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path / "run")
    items = json.loads((run / "items.json").read_text(encoding="utf-8"))
    del items["counts"]
    (run / "items.json").write_text(json.dumps(items), encoding="utf-8")
    recommender = Recommender(run)
    assert len(recommender.recommend(["item-3"])[0]) == 10
    with pytest.raises(DataError) as caught:
        recommender.recommend([[]])
    assert str(caught.value) == (
        f"{run}: a history has no known item, and this run of an earlier version has no counts of purchases for a list "
        "of popular items; run its recipe again"
    )


def test_a_history_of_commas_is_empty(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(small_run), "--history", ",", "--device", "cpu"]) == 2
    assert capsys.readouterr() == ("", "--history: found no item, expected at least one key or title\n")


def test_excluded_items_are_in_no_list_and_lists_stay_full(recommender: Recommender) -> None:
    free = recommender.recommend([["item-3"], []], k=10)
    excluded = free.item_keys()[0][:3] + free.item_keys()[1][:2]
    found = recommender.recommend([["item-3"], []], k=10, exclude=[*excluded, "no such item"])
    assert [len(keys) for keys in found.item_keys()] == [10, 10]
    assert not {key for keys in found.item_keys() for key in keys} & set(excluded)
    assert len(recommender.recommend(["item-3"], exclude=recommender.keys)[0]) == 0
    for wrong in ([3], [None], None, 3):
        with pytest.raises(DataError, match=r"^exclude: found .*, expected keys or titles as texts$"):
            recommender.recommend(["item-3"], exclude=wrong)  # type: ignore[arg-type]


def test_a_title_of_several_items_excludes_all_of_them(small_run: Path, tmp_path: Path) -> None:
    recommender = Recommender(copied(small_run, tmp_path / "run", titles=["Cup", "cup"]))
    found = recommender.recommend(["item-3"], k=60, seen="keep", exclude=["CUP"]).item_keys()[0]
    assert set(recommender.keys) - set(found) == set(recommender.keys[:2])


@pytest.mark.parametrize("explain", [True, False])
def test_a_user_who_has_seen_everything_gets_an_empty_list(recommender: Recommender, *, explain: bool) -> None:
    assert list(recommender.recommend(recommender.keys, explain=explain)) == [[]]
    found = recommender.recommend([recommender.keys, ["item-3"], recommender.keys[1:]], explain=explain)
    assert [len(items) for items in found] == [0, 10, 1]


def test_votes_do_not_depend_on_how_many_are_looked_up_at_once(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = [["item-3"], ["item-9"], ["item-5", "item-7"]]
    whole = recommender.recommend(histories).to_polars()
    monkeypatch.setattr("genrec.serving.recommendations._CELLS", 1)
    assert_frame_equal(recommender.recommend(histories).to_polars(), whole)


def test_another_merge_may_rank_the_same_candidates(recommender: Recommender) -> None:
    names = recommender.merge_names()
    assert names[0] == "confidence"
    assert {"entropy_weighted", "log_prob_sum", "reciprocal_rank", "round_robin"} <= set(names)
    assert not {"learned", "single"} & set(names)
    lists = {name: recommender.recommend(["item-3", "item-9"], merge=name)[0] for name in names}
    assert lists["confidence"] == recommender.recommend(["item-3", "item-9"])[0]
    assert len({tuple(item.key for item in items) for items in lists.values()}) > 1
    alone = recommender.recommend(["item-3", "item-9"], merge="text")[0]
    assert [item.streams["text"].rank for item in alone] == list(range(1, 11))
    assert recommender.recommend(["item-3", "item-9"], merge=Confidence())[0] == lists["confidence"]
    for wrong in ("learned", "single", "best", ["text"]):
        with pytest.raises(DataError, match=rf"^merge: found {re.escape(repr(wrong))}, expected one of confi.*, vis"):
            recommender.recommend(["item-3"], merge=wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^merge learned: it has no weights"):
        recommender.recommend(["item-3"], merge=merges.get("learned")())


def test_an_explanation_has_the_semantic_id_and_who_shares_its_prefix(recommender: Recommender) -> None:
    for item in recommender.recommend(["item-3", "item-9"])[0]:
        for name, vote in item.streams.items():
            codes_IL = recommender.streams[name].ids.codes_IL
            codes = codes_IL[recommender.row(item.key)]
            assert vote.semantic_id == (None if codes[0] == ABSENT else tuple(codes))
            near = [recommender.row(key) for key in vote.neighbors]
            assert recommender.row(item.key) not in near
            assert (codes_IL[near, :-1] == codes[:-1]).all()
            others = (codes_IL[:, :-1] == codes[:-1]).all(axis=1).sum() - 1
            assert len(near) == (0 if codes[0] == ABSENT else min(5, others))


def test_without_explanation_the_lists_are_the_same(recommender: Recommender) -> None:
    found, plain = (recommender.recommend([["item-3"], ["item-9"]], explain=explain) for explain in (True, False))
    assert plain.item_keys() == found.item_keys()
    assert all(item.streams == {} for items in plain for item in items)
    assert plain.table().columns == ["history", "rank", "item", "title", "score", "fallback"]


def test_many_histories_are_searched_in_parts(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [["item-3"], [], ["item-9"], ["item-5", "item-7"], ["item-12"]]
    whole = recommender.recommend(histories)
    monkeypatch.setattr("genrec.serving.recommender._MOST_AT_ONCE", 2)
    parts = recommender.recommend(histories)
    assert parts.item_keys() == whole.item_keys()
    assert_frame_equal(parts.to_polars(), whole.to_polars(), check_exact=False)
    monkeypatch.setattr("genrec.serving.recommender._ITEMS_AT_ONCE", 5)  # less than one list
    assert_frame_equal(recommender.recommend(histories).to_polars(), whole.to_polars(), check_exact=False)


def test_no_training_code_is_imported(small_run: Path) -> None:
    script = (
        "import sys\nfrom genrec import Recommender\n"
        f"Recommender.load({str(small_run)!r}, device='cpu').recommend(['item-3']).table()\n"
        "names = ('genrec.training.trainer', 'genrec.experiment.model', 'genrec.pipeline', 'genrec.comparison',\n"
        "    'faiss', 'sklearn', 'matplotlib', 'scipy')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_lists_may_be_longer_than_the_recipes(recommender: Recommender) -> None:
    assert recommender.recipe.search.list_length == 20
    [items] = recommender.recommend([["item-3"]], k=30, seen=None)
    assert len({item.key for item in items}) == len(items)
    assert 20 < len(items) <= 30


@pytest.mark.parametrize("rule", ["keep", "filter"])
def test_the_runs_rule_about_seen_items_holds(rule: str, small_run: Path, shop: Dataset, tmp_path: Path) -> None:
    folder = copied(small_run, tmp_path / "run", f"evaluation.seen_items={rule}")
    histories = keys_of(shop, shop.test.histories)
    found = Recommender(folder).recommend(histories, seen=None)
    again = [{item.key for item in items} & set(history) for items, history in zip(found, histories, strict=True)]
    assert any(again) == (rule == "keep")


def test_seen_items_are_filtered_unless_requested(recommender: Recommender, shop: Dataset) -> None:
    assert recommender.recipe.evaluation.seen_items == "keep"
    histories = keys_of(shop, shop.test.histories)
    for seen, repeats in (({}, False), ({"seen": "filter"}, False), ({"seen": "keep"}, True)):
        found = recommender.recommend(histories, **seen)  # type: ignore[arg-type]
        assert repeats == any(
            {item.key for item in items} & set(history) for items, history in zip(found, histories, strict=True)
        )


def test_a_flat_list_of_names_is_one_history(recommender: Recommender) -> None:
    [flat], [nested] = recommender.recommend(["item-3", "item-9"]), recommender.recommend([["item-3", "item-9"]])
    assert flat == nested


@pytest.mark.parametrize(
    "histories",
    [
        np.array(["item-3", "item-9"]),
        pd.Series(["item-3", "item-9"]),
        ("item-3", "item-9"),
        iter(["item-3", "item-9"]),
        pd.Series([["item-3", "item-9"]]),
        np.array([["item-3", "item-9"]]),
    ],
    ids=lambda histories: type(histories).__name__,
)
def test_histories_may_be_arrays_and_series(recommender: Recommender, histories: Any) -> None:
    [found], [expected] = recommender.recommend(histories), recommender.recommend(["item-3", "item-9"])
    assert found == expected


def test_one_text_is_a_history_of_one_item(recommender: Recommender) -> None:
    assert recommender.recommend("item-3")[0] == recommender.recommend(["item-3"])[0]


@pytest.mark.parametrize(
    "histories",
    [
        *(None, 3, [3], [["item-3", 4]], [None], b"item-3", {"item-3"}, np.array([1, 2])),
        *({"user": ["item-3"]}, pd.DataFrame({"item": ["item-3"]}), pl.DataFrame({"item": ["item-3"]})),
        set(map(str, range(10_000))),
    ],
    ids=lambda histories: type(histories).__name__,
)
def test_other_histories_are_one_error(recommender: Recommender, histories: Any) -> None:
    with pytest.raises(DataError, match=r"^histories: found (?s:.){,60} \(\w+\), expected keys or titles as texts,"):
        recommender.recommend(histories)


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None])
def test_a_list_has_at_least_one_item(recommender: Recommender, k: Any) -> None:
    with pytest.raises(DataError) as caught:
        recommender.recommend(["item-3"], k=k)
    assert str(caught.value) == f"k: found {k!r}, expected a whole number of at least 1"


def test_a_list_has_at_most_the_catalog(recommender: Recommender) -> None:
    [items] = recommender.recommend(["item-3"], k=10**9, seen="keep")
    assert 30 < len(items) <= len(recommender.keys)


def test_the_rule_for_seen_items_is_one_of_two(recommender: Recommender) -> None:
    with pytest.raises(DataError, match=r"^seen: found 'drop', expected 'keep', 'filter' or None$"):
        recommender.recommend(["item-3"], seen="drop")  # type: ignore[arg-type]


def test_a_recommender_describes_itself(recommender: Recommender) -> None:
    streams = ", ".join(recommender.recipe.streams)
    assert repr(recommender) == f"Recommender({recommender.recipe.title}: 60 items, streams {streams})"


def test_recommendations_are_a_table(recommender: Recommender) -> None:
    found = recommender.recommend([["item-3"], ["item-9"]], k=4)
    frame = found.to_pandas()
    assert frame["history"].tolist() == [0] * 4 + [1] * 4
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 2
    assert frame["item"].tolist() == [item.key for items in found for item in items]
    assert list(frame.columns[6:9]) == ["behavior rank", "behavior log_prob", "behavior share"]
    shares = frame[[name for name in frame.columns if name.endswith(" share")]].sum(axis=1)
    np.testing.assert_allclose(shares, 1.0)
    assert found.to_polars()["item"].to_list() == frame["item"].tolist()
    assert frame["item"].iloc[0] in found._repr_html_()
    assert repr(found[1:]).startswith("Recommendations(1 history: ")


def test_a_plugin_that_is_missing_is_named_with_its_family_and_its_place(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copied(small_run, tmp_path / "run")
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    line = text[: text.index("merge:")].count("\n") + 2
    recipe.write_text(text.replace("type: confidence", "type: my_votes"), encoding="utf-8")
    expected = (
        f"{recipe}:{line}: merge.type: unknown merge 'my_votes', expected a merge that exists (see: genrec list "
        f"merges); the run had it from a plugin: put the file that registers it into {tmp_path / 'plugins'}"
    )
    for load in (Recommender, lambda run: variants([run])):
        with pytest.raises(RecipeError) as caught:
            load(folder)
        assert expected in str(caught.value).splitlines()


def test_items_without_a_title_go_by_their_key(small_run: Path, tmp_path: Path) -> None:
    recommender = Recommender(copied(small_run, tmp_path / "run", titles=[""] * 60))
    assert recommender.row("item-60") == 59
    assert message(recommender, "") == "'': no item has this key or title, expected one of 60 items"
    assert "; did you mean 'item-" in message(recommender, "item-61")


def test_near_misses_are_offered(recommender: Recommender) -> None:
    title = recommender.titles[4]
    name, rest = title.split(" ", 1)
    assert f"did you mean {title!r}" in message(recommender, f"{name}s {rest}")
    assert repr(title) in message(recommender, name), "part of a title"
    assert "'item-5'" in message(recommender, "item_5")


def test_the_merge_is_the_one_that_was_fitted(small_run: Path, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path / "run")
    (run / "merge.json").write_text('{"type": "confidence", "length_normalized": true}', encoding="utf-8")
    assert Recommender(run).recipe.merge == Confidence(length_normalized=True)


def test_files_of_the_run_alone_are_read(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns(".stages", "candidates", "*.md"))
    monkeypatch.setattr(Showroom, "load", lambda *_: pytest.fail("the data set was read"))
    assert len(Recommender(tmp_path / "run").recommend([["item-3"]])[0]) == 10


@pytest.mark.parametrize("file", ["items.json", "recipe.yaml", "merge.json"])
def test_a_file_that_is_missing_is_named(file: str, small_run: Path, tmp_path: Path) -> None:
    folder = copied(small_run, tmp_path / "run")
    (folder / file).unlink()
    with pytest.raises(DataError) as caught:
        Recommender(folder)
    assert str(caught.value) == f"{folder / file}: missing; the run is not complete"


def test_threads_share_a_recommender(recommender: Recommender, shop: Dataset) -> None:
    asked = [keys_of(shop, shop.test.histories.take(np.arange(user, user + 8))) for user in range(0, 96, 8)]
    alone = [recommender.recommend(histories).item_keys() for histories in asked]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = pool.map(lambda histories: recommender.recommend(histories).item_keys(), asked)
            assert list(together) == alone
    assert not recommender.model.training
