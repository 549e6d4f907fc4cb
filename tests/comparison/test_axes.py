"""Recipes and ``--vary`` -> variants: names, settings, equivalent ``--set``s, and mistakes reported once."""

# ruff: noqa: E501 - messages are compared whole, one a line

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from varied_recipes import THREE, TWO, by_name, names, of, problems, write_recipes

from genrec.comparison.axes import variants
from genrec.errors import DataError, RecipeError
from genrec.experiment.run_folder import RunFolder
from genrec.recipe import load_recipe


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    """A working folder with the two recipes."""
    monkeypatch.chdir(tmp_path)
    write_recipes()


def test_a_recipe_alone_is_one_variant() -> None:
    [variant] = of("two.yaml")
    assert (variant.name, variant.setting, variant.overrides, variant.notes) == ("two", {}, (), ())
    assert variant.recipe == load_recipe("two.yaml")
    assert variant.command == "genrec run two.yaml --seed SEED"


def test_the_history_encoder_of_one_stream_is_an_axis() -> None:
    own = "streams.text.history_encoder"
    whole = of("two.yaml", f"{own}=null,{{type: item_ids, dim: 16, max_history: 5}}")
    assert [variant.recipe.max_history for variant in whole] == [20, 20]
    assert [list(variant.recipe.own_history_encoders) for variant in whole] == [[], ["text"]]
    lengths = of("two.yaml", f"{own}.max_history=5,50", overrides=(f"{own}={{type: item_ids, dim: 16}}",))
    assert names(lengths) == ["max_history=5", "max_history=50"]
    assert [variant.recipe.max_history for variant in lengths] == [20, 50]


def test_axes_are_multiplied_the_first_slowest() -> None:
    found = of("two.yaml", "merge=confidence,log_prob_sum", "training.learning_rate=1e-3,3e-3", overrides=("seed=7",))
    assert names(found) == [
        f"{merge}, learning_rate={rate}" for merge in ("confidence", "log_prob_sum") for rate in ("1e-3", "3e-3")
    ]
    last = found[-1]
    assert last.setting == {"merge": "log_prob_sum", "training.learning_rate": "3e-3"}
    assert last.overrides == ("seed=7", "merge=log_prob_sum", "training.learning_rate=3e-3")
    assert (last.recipe.seed, last.recipe.merge.type_name, last.recipe.training.learning_rate) == (
        7,
        "log_prob_sum",
        3e-3,
    )
    assert last.recipe.title == "Two streams"


def test_command_is_the_shells_and_runs_the_variant() -> None:
    variant = of("two.yaml", "streams.*.tokenizer=kmeans_tree,{type: kmeans_tree, branching: 4}")[1]
    words = shlex.split(variant.command)
    assert words[:3] == ["genrec", "run", "two.yaml"]
    assert words[-2:] == ["--seed", "SEED"]
    sets = [after for before, after in pairwise(words) if before == "--set"]
    assert load_recipe("two.yaml", sets) == variant.recipe


def test_a_bare_name_keeps_the_recipes_own_block_of_that_name() -> None:
    found = by_name(
        of("three.yaml", "streams.*.tokenizer=kmeans_tree,{type: kmeans_tree, branching: 64},residual_kmeans")
    )
    assert list(found) == ["kmeans_tree", "kmeans_tree(branching=64)", "residual_kmeans"]
    own = load_recipe("three.yaml")

    def tokenizers(name: str) -> list[Any]:
        return [stream.tokenizer for stream in found[name].recipe.streams.values()]

    assert [tokenizers("kmeans_tree")[i].branching for i in (0, 2)] == [32, 8]
    assert tokenizers("kmeans_tree")[1].type_name == "kmeans_tree"
    assert found["kmeans_tree"].overrides == ("streams.text.tokenizer=kmeans_tree",)
    assert [tokenizer.branching for tokenizer in tokenizers("kmeans_tree(branching=64)")] == [64] * 3
    assert tokenizers("residual_kmeans")[1] == own.streams["text"].tokenizer
    assert found["residual_kmeans"].overrides == (
        "streams.behavior.tokenizer=residual_kmeans", "streams.visual.tokenizer=residual_kmeans",
    )  # fmt: skip


def test_a_bare_name_keeps_what_set_has_made_of_the_block() -> None:
    found = of(
        "two.yaml", "streams.*.tokenizer=kmeans_tree,residual_kmeans", overrides=("streams.*.tokenizer.branching=9",)
    )
    assert [stream.tokenizer.branching for stream in found[0].recipe.streams.values()] == [9, 9]  # type: ignore[union-attr]


def test_a_key_that_the_recipe_does_not_write_can_vary() -> None:
    found = of("two.yaml", "search.method=beam,exact", "tasks=[],[{type: global_contrastive}]")
    assert names(found)[0] == "beam, tasks=[]"
    assert [variant.recipe.search.method for variant in found] == ["beam", "beam", "exact", "exact"]
    assert [len(variant.recipe.tasks) for variant in found] == [0, 1, 0, 1]


def test_equal_labels_are_made_unique() -> None:
    """``{type: kmeans_tree}`` goes back to the defaults, the bare name does not."""
    found = of(
        "two.yaml", "streams.behavior.tokenizer={type: kmeans_tree},kmeans_tree,{type: kmeans_tree, branching: 4}"
    )
    assert names(found) == ["{type: kmeans_tree}", "kmeans_tree", "kmeans_tree(branching=4)"]
    assert [v.recipe.streams["behavior"].tokenizer.branching for v in found] == [256, 32, 4]  # type: ignore[union-attr]
    long = "{type: global_contrastive, metric: cosine, num_negatives: 100, weight: %s}"
    found = of("two.yaml", f"tasks=[{long % 1}],[{long % 2}]")
    assert names(found) == [
        "tasks=[{type: global_contrastive, metric: cosine, num_negatives...",
        f"{names(found)[0]} (2)",
    ]


def test_an_axis_that_makes_no_difference_makes_no_second_variant() -> None:
    found = of("two.yaml", "streams=behavior,behavior+text", "streams.text.tokenizer.branching=8,16")
    assert names(found) == ["behavior", "behavior+text, branching=8", "behavior+text, branching=16"]
    assert found[0].setting == {"streams": "behavior"}
    assert found[0].notes[-1] == "streams.text.tokenizer.branching: 8 and 16 are the same here"


# --- recipes


def test_recipes_stand_side_by_side() -> None:
    found = variants([Path("two.yaml"), Path("three.yaml")])
    assert [(v.name, v.setting, v.source) for v in found] == [
        ("two", {"recipe": "two"}, Path("two.yaml")), ("three", {"recipe": "three"}, Path("three.yaml")),
    ]  # fmt: skip
    crossed = variants([Path("two.yaml"), Path("three.yaml")], ["merge=confidence,reciprocal_rank"])
    assert names(crossed) == [
        "two, confidence", "two, reciprocal_rank", "three, confidence", "three, reciprocal_rank",
    ]  # fmt: skip
    assert crossed[0].setting == {"recipe": "two", "merge": "confidence"}


def test_recipes_of_one_name_are_distinguished_by_their_folders() -> None:
    Path("other").mkdir()
    Path("other/two.yaml").write_text(THREE, encoding="utf-8")
    assert names(variants([Path("two.yaml"), Path("other/two.yaml")])) == ["two.yaml", "other/two.yaml"]


def test_equal_recipes_are_refused() -> None:
    Path("again.yaml").write_text(TWO.replace("Two streams", "Another title") + "seed: 4\n", encoding="utf-8")
    assert problems(lambda: variants([Path("two.yaml"), Path("again.yaml")]), RecipeError) == [
        "again.yaml: is the same recipe as two.yaml except for title, seed or baselines, expected another recipe; --seeds 1,2,3 compares several seeds"
    ]
    assert problems(lambda: variants([Path("two.yaml"), Path("../") / Path.cwd().name / "two.yaml"]), RecipeError)[
        0
    ].endswith("two.yaml: is given twice, expected each recipe once")


def test_recipes_that_differ_in_what_varies_alone_are_refused() -> None:
    Path("again.yaml").write_text(TWO.replace("merge: confidence", "merge: log_prob_sum"), encoding="utf-8")
    assert problems(lambda: variants([Path("two.yaml"), Path("again.yaml")], ["merge=confidence,log_prob_sum"])) == [
        "recipes: recipe: two and again give the same variants, expected values that differ"
    ]


def test_recipes_of_other_data_or_rules_are_refused() -> None:
    Path("other.yaml").write_text(
        THREE.replace("users: 120", "users: 99") + "evaluation: {cutoffs: [5], seen_items: filter}\n", encoding="utf-8"
    )
    why = "as in two.yaml: a comparison uses one dataset and one evaluation protocol"
    both = [Path("two.yaml"), Path("other.yaml")]
    assert problems(lambda: variants(both)) == [
        f"other.yaml: dataset.users: found 99, expected 120 {why}",
        f"other.yaml: evaluation.cutoffs: found [5], expected [5, 10, 20] {why}",
        f"other.yaml: evaluation.seen_items: found filter, expected keep {why}",
    ]
    alike = ["dataset.users=50", "evaluation.cutoffs=[5]", "evaluation.seen_items=keep"]
    assert len(variants(both, overrides=alike)) == 2
    Path("sequences.yaml").write_text(
        THREE.replace("{type: showroom, items: 60, users: 120}", "{type: sequences, folder: x}"), encoding="utf-8"
    )
    assert problems(lambda: variants([Path("two.yaml"), Path("sequences.yaml")])) == [
        f"sequences.yaml: dataset.type: found sequences, expected showroom {why}"
    ]


@pytest.mark.parametrize(
    ("split", "found"),
    [
        ("by_user", "evaluation.split.type: found by_user, expected leave_one_out"),
        ("{type: by_user, test_users: 0.2}", "evaluation.split.test_users: found 0.2, expected 0.1"),
    ],
)
def test_recipes_of_other_splits_are_refused(split: str, found: str) -> None:
    first = TWO if split == "by_user" else f"{TWO}evaluation: {{split: by_user}}\n"
    Path("two.yaml").write_text(first, encoding="utf-8")
    Path("other.yaml").write_text(f"{THREE}evaluation: {{split: {split}}}\n", encoding="utf-8")
    why = "as in two.yaml: a comparison uses one dataset and one evaluation protocol"
    assert problems(lambda: variants([Path("two.yaml"), Path("other.yaml")])) == [f"other.yaml: {found} {why}"]
    assert problems(lambda: variants([Path("two.yaml")], ["evaluation.split=by_user,leave_one_out"]))[0].endswith(
        "expected another key: they must be equal for all variants (use --set)"
    )


def test_a_missing_recipe_is_reported() -> None:
    assert problems(lambda: variants([]), RecipeError) == ["expected a recipe, or the folder of a finished run"]


# --- finished runs


@pytest.fixture
def finished_run() -> Path:
    """A run as far as variants look at it."""
    folder = RunFolder.create(Path("run"), Path("small.yaml"))
    Path("three.yaml").replace("small.yaml")
    folder.write_recipe(load_recipe("small.yaml").to_yaml(), [])
    folder.finish({})
    return folder.path


def test_a_finished_run_varies_in_its_merge(finished_run: Path) -> None:
    found = variants([finished_run], ["merge=confidence,{type: single, stream: text}"])
    assert names(found) == ["confidence", "single(stream=text)"]
    assert {variant.run for variant in found} == {finished_run}
    assert found[1].source == finished_run / "recipe.yaml"
    assert found[1].recipe.merge.block() == {"type": "single", "stream": "text"}
    assert found[1].command == f"genrec run {finished_run / 'recipe.yaml'} --set 'merge={{type: single, stream: text}}'"


def test_a_finished_run_stands_beside_its_recipe(finished_run: Path) -> None:
    found = variants([finished_run, Path("small.yaml")])
    assert [(variant.name, variant.run) for variant in found] == [("run", finished_run), ("small", None)]


@pytest.mark.parametrize(
    ("vary", "overrides", "message"),
    [
        (["training.batch_size=1,2"], [], "--vary training.batch_size=1"),
        (["streams=behavior+text+visual,text"], [], "--vary streams=text"),
        ([], ["training.batch_size=1"], "--set training.batch_size=1"),
    ],
)
def test_the_model_of_a_finished_run_stays(
    finished_run: Path, vary: list[str], overrides: list[str], message: str
) -> None:
    assert problems(lambda: variants([finished_run], vary, overrides=overrides), RecipeError) == [
        f"{message}: {finished_run} is a finished run, whose model cannot change; expected an override of its merge or search, or a recipe in place of the run"
    ]


def test_a_folder_that_is_no_run_is_reported() -> None:
    Path("folder").mkdir()
    assert "not the folder of a run" in problems(lambda: variants([Path("folder")]), DataError)[0]


# --- mistakes


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("merge", "expected KEY=V1,V2, such as merge=confidence,log_prob_sum"),
        ("a..b=1,2", "expected KEY=V1,V2, such as merge=confidence,log_prob_sum"),
        ("seed=1,2", "seed: found seeds, expected --seeds 1,2,3: seeds are repetitions of every variant"),
        ("title=a,b", "title: found titles, expected a key that changes results: variants are named by what varies"),
        ("dataset.users=50,60", "dataset.users: found datasets, expected another key: a comparison uses one dataset, so that tests are paired by user"),
        ("evaluation.cutoffs=[5,10],[10]", "evaluation.cutoffs: found evaluation settings, expected another key: they must be equal for all variants (use --set)"),
        ("baselines=[],[popularity]", "baselines: found baselines, expected another key: baselines have separate rows (use --set)"),
        ("merge=", "merge: found an empty value, expected a value on each side of a comma (null is a value)"),
        ("merge=confidence,,single", "merge: found an empty value, expected a value on each side of a comma (null is a value)"),
        ("streams=behavior,", "streams: found an empty value, expected a value on each side of a comma (null is a value)"),
        ("merge=confidence", "merge: found one value, expected two or more (--set merge=confidence sets it for all)"),
        ("training.learning_rate=1e-3,0.001,1", "training.learning_rate: found 0.001 twice (as 1e-3), expected each value once"),
        ("merge=confidence,confidence", "merge: found confidence twice, expected each value once"),
        ("merge=confidence,{type: single", "merge: in {type: single: not valid YAML at column 14: expected ',' or '}', but got '<stream end>'"),
        ("merge=confidence,&a x", "merge: in &a x: found the anchor &a, expected the value alone"),
        ("merge=confidence,{type: confidence}", "merge: confidence and {type: confidence} give the same variants, expected values that differ"),
        ("streams.*.nothing.there=1,2", "streams.*.nothing.there matches nothing in this recipe"),
        ("streams=behavior", "streams: found one value, expected two or more, or --controls"),
        ("streams=behavior,txt", "streams: unknown stream 'txt', expected one of behavior, text; did you mean 'text'? (two.yaml)"),
        ("streams=text+behavior,behavior+text", "streams: found behavior+text twice (as text+behavior), expected each value once"),
        ("streams=text,behavior~behavior", "streams: found behavior~behavior, expected different streams on both sides of ~ (two.yaml)"),
        ("streams=text,{text: {}}", "streams: found '{text: {}}', expected names of streams joined by +, such as behavior+text (two.yaml)"),
        ("merge=confidence,frist", "merge: unknown merge 'frist', expected a merge that exists (see: genrec list merges) (in: frist)"),
    ],
)  # fmt: skip
def test_mistake_names_the_option(option: str, message: str) -> None:
    assert problems(lambda: of("two.yaml", option)) == [f"--vary {option}: {message}"]


def test_a_key_is_given_once() -> None:
    assert problems(lambda: of("two.yaml", "merge=confidence,single", "merge=log_prob_sum,confidence")) == [
        "--vary merge=log_prob_sum,confidence: merge: duplicate key, expected it once (first: --vary merge=confidence,single)"
    ]


def test_mistakes_of_all_options_come_at_once() -> None:
    assert len(problems(lambda: of("two.yaml", "seed=1,2", "merge=confidence", "x"))) == 3


def test_mistakes_of_variants_are_reported_once_with_the_variants_they_affect() -> None:
    found = problems(lambda: of("two.yaml", "merge=confidence,frist", "training.batch_size=8,-1,16"))
    assert sorted(found) == [
        "--vary merge=confidence,frist: merge: unknown merge 'frist', expected a merge that exists (see: genrec list merges) (in: frist, 8; frist, -1; frist, 16)",
        "--vary training.batch_size=8,-1,16: training.batch_size: found -1, expected at least 1 (in: confidence, -1; frist, -1)",
    ]


def test_a_long_list_of_hit_variants_is_cut() -> None:
    rates = ",".join(f"{n}e-4" for n in range(1, 11))
    [line] = problems(lambda: of("two.yaml", f"training.learning_rate={rates}", "merge=confidence,frist"))
    assert line.endswith("; 8e-4, frist; 2 more)")


def test_mistakes_of_the_file_are_the_files() -> None:
    Path("two.yaml").write_text(TWO + "extra: 1\n", encoding="utf-8")
    [line] = problems(lambda: of("two.yaml", "merge=confidence,frist"))
    assert line.startswith("two.yaml:11: extra: unknown key")
