"""The controls that a comparison finds among its variants."""

from __future__ import annotations

from pathlib import Path

import pytest
from varied_recipes import of, write_recipes

from genrec.comparison._controls import control_kinds, find_controls
from genrec.comparison.axes import variants
from genrec.comparison.results import Control
from genrec.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    """A working folder with the two recipes."""
    monkeypatch.chdir(tmp_path)
    write_recipes()


def test_controls_of_streams_have_variants_of_several_streams_as_counterparts() -> None:
    found = variants([Path("two.yaml")], ["streams=behavior,behavior+text"], controls=True)
    assert find_controls(found) == [
        Control("repeated stream", "behavior+behavior", ("behavior+text",)),
        Control("repeated stream", "text+text", ("behavior+text",)),
        Control("concatenated vectors", "behavior~text", ("behavior+text",)),
    ]


def test_one_stream_is_no_counterpart_of_a_control_of_several() -> None:
    assert find_controls(of("two.yaml", "streams=behavior,text+text,behavior~text")) == []


def test_streams_with_history_encoders_of_their_kind_are_not_repeated() -> None:
    dense = "streams={one: {decoder: {type: dense, items: own}}, two: {decoder: {type: dense, items: own}%s}}"
    base = ("tasks=[]", "history_encoder.start_from=[]")
    other = ", history_encoder: {type: gru, dim: 16}"
    assert control_kinds(load_recipe(Path("two.yaml"), (*base, dense % ""))) == {"repeated stream"}
    assert control_kinds(load_recipe(Path("two.yaml"), (*base, dense % other))) == set()


def test_counterparts_differ_in_the_fewest_axes() -> None:
    found = of("two.yaml", "streams.*.tokenizer=kmeans_tree,rqvae,random_codes", "merge=confidence,log_prob_sum")
    assert find_controls(found) == [
        Control("random codes", f"random_codes, {merge}", (f"kmeans_tree, {merge}", f"rqvae, {merge}"))
        for merge in ("confidence", "log_prob_sum")
    ]


def test_a_variant_can_be_a_control_of_two_kinds() -> None:
    found = of("two.yaml", "streams.*.tokenizer=kmeans_tree,random_codes", "streams=behavior+text,behavior~text")
    assert find_controls(found) == [
        Control("concatenated vectors", "kmeans_tree, behavior~text", ("kmeans_tree, behavior+text",)),
        Control("random codes", "random_codes, behavior+text", ("kmeans_tree, behavior+text",)),
        Control("concatenated vectors", "random_codes, behavior~text", ("random_codes, behavior+text",)),
        Control("random codes", "random_codes, behavior~text", ("kmeans_tree, behavior~text",)),
    ]


def test_random_codes_of_one_stream_are_a_control() -> None:
    [control] = find_controls(of("two.yaml", "streams.text.tokenizer=kmeans_tree,random_codes"))
    assert control == Control("random codes", "random_codes", ("kmeans_tree",))
    same = ("streams.*.tokenizer=random_codes",)
    assert find_controls(of("two.yaml", "merge=confidence,log_prob_sum", overrides=same)) == []


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        ("quickstart", set()),
        ("best_beauty", set()),
        ("best_beauty_thrice", {"repeated stream"}),
        ("best_beauty_concatenated", {"concatenated vectors"}),
        ("eager_beauty_minilm_concatenated", {"concatenated vectors"}),
    ],
)
def test_the_controls_among_the_recipes(recipe: str, kinds: set[str]) -> None:
    assert control_kinds(load_recipe(RECIPES / f"{recipe}.yaml")) == kinds
