"""The controls that a comparison finds among its variants."""

from __future__ import annotations

from pathlib import Path

import pytest
from varied_recipes import of, write_recipes

from genrec.comparison._controls import control_kind, find_controls
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
        Control("repeated stream", ("behavior+behavior", "text+text"), ("behavior+text",)),
        Control("concatenated vectors", ("behavior~text",), ("behavior+text",)),
    ]


def test_one_stream_is_no_counterpart_of_a_control_of_several() -> None:
    assert find_controls(of("two.yaml", "streams=behavior,text+text,behavior~text")) == []


def test_random_codes_have_every_other_variant_as_counterpart() -> None:
    found = of("two.yaml", "streams.*.tokenizer=kmeans_tree,rqvae,random_codes", "merge=confidence,log_prob_sum")
    [control] = find_controls(found)
    assert control.kind == "random codes"
    assert control.variants == ("random_codes, confidence", "random_codes, log_prob_sum")
    assert control.counterparts == tuple(
        f"{tokenizer}, {merge}" for tokenizer in ("kmeans_tree", "rqvae") for merge in ("confidence", "log_prob_sum")
    )


def test_random_codes_of_one_stream_are_a_control() -> None:
    [control] = find_controls(of("two.yaml", "streams.text.tokenizer=kmeans_tree,random_codes"))
    assert (control.variants, control.counterparts) == (("random_codes",), ("kmeans_tree",))
    assert (
        find_controls(of("two.yaml", "merge=confidence,log_prob_sum", overrides=("streams.*.tokenizer=random_codes",)))
        == []
    )


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("quickstart", None),
        ("best_beauty", None),
        ("best_beauty_thrice", "repeated stream"),
        ("best_beauty_concatenated", "concatenated vectors"),
        ("eager_beauty_minilm_concatenated", "concatenated vectors"),
    ],
)
def test_the_controls_among_the_recipes(recipe: str, kind: str | None) -> None:
    assert control_kind(load_recipe(RECIPES / f"{recipe}.yaml")) == kind
