"""The axis ``streams``: subsets and controls, and what they take along."""

# ruff: noqa: E501 - messages are compared whole, one a line

from __future__ import annotations

from pathlib import Path

import pytest
from varied_recipes import THREE, TWO, by_name, names, of, problems, write_recipes

from genrec.comparison.axes import variants
from genrec.errors import RecipeError
from genrec.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    """A working folder with the two recipes."""
    monkeypatch.chdir(tmp_path)
    write_recipes()


def same_but_for_title(one: Recipe, other: Recipe) -> bool:
    return one.model_copy(update={"title": other.title}) == other


def test_subsets_leave_out_what_names_a_stream_that_is_gone() -> None:
    found = by_name(of("two.yaml", "streams=behavior,text,text + behavior"))
    assert list(found) == ["behavior", "text", "behavior+text"]
    whole = load_recipe("two.yaml")
    assert found["behavior+text"].recipe == whole
    assert (found["behavior+text"].overrides, found["behavior+text"].notes) == ((), ())
    behavior, text = found["behavior"], found["text"]
    assert behavior.recipe.streams == {"behavior": whole.streams["behavior"]}
    assert behavior.recipe.tasks == whole.tasks[:1]
    assert behavior.recipe.history_encoder == whole.history_encoder
    assert behavior.recipe.merge == whole.merge
    assert behavior.notes == ("semantic_transfer(text -> behavior) left out: stream text is removed",)
    assert text.recipe.history_encoder.start_from == ()  # type: ignore[attr-defined]
    assert text.notes == (
        "semantic_transfer(text -> behavior) left out: stream behavior is removed",
        "history_encoder.start_from: [] instead of [behavior]: stream behavior removed",
    )
    assert [override.partition("=")[0] for override in text.overrides] == [
        "streams",
        "tasks",
        "history_encoder.start_from",
    ]


def test_a_streams_own_history_encoder_goes_with_it() -> None:
    own = "{type: item_ids, dim: 16, share: none, start_from: [behavior], add_vectors: [text]}"
    sets = (f"streams.text.history_encoder={own}", "streams.behavior.history_encoder={type: item_ids, dim: 16}")
    found = by_name(of("two.yaml", "streams=text,text+text,behavior~text", overrides=sets))
    [alone] = found["text"].recipe.own_history_encoders.values()
    assert (alone.start_from, alone.add_vectors) == ((), ("text",))  # type: ignore[attr-defined]
    assert len(found["text+text"].recipe.own_history_encoders) == 2
    assert list(found["behavior~text"].recipe.own_history_encoders) == ["behavior_text"]


def test_subsets_of_three() -> None:
    found = by_name(of("three.yaml", "streams=behavior+visual,text+visual,visual,behavior"))
    pair = found["behavior+visual"]
    assert list(pair.recipe.streams) == ["behavior", "visual"]
    assert pair.recipe.streams["visual"].absent_items == "own_branch"
    assert pair.recipe.streams["visual"].nearest_in is None
    assert [task.streams_used() for task in pair.recipe.tasks] == [("visual",), ("visual", "behavior")]
    assert pair.notes == (
        "visual: absent_items own_branch instead of nearest: stream text is removed",
        "global_contrastive(text, visual) becomes global_contrastive(visual)",
        "semantic_transfer(text -> behavior) left out: stream text is removed",
        "history_encoder.start_from: [behavior] instead of [text, behavior]: stream text removed",
    )
    assert found["text+visual"].recipe.streams["visual"].nearest_in == "text"
    assert [task.type_name for task in found["text+visual"].recipe.tasks] == ["global_contrastive"]
    # global_contrastive without names would mean all streams
    assert found["behavior"].recipe.tasks == ()
    assert found["behavior"].notes[0] == "global_contrastive(text, visual) left out: stream text is removed"


def test_a_stream_without_codes_leaves_its_absent_items_out() -> None:
    text = THREE.replace("tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp", "decoder: codeless")
    Path("plugins").mkdir()
    Path("plugins/codeless.py").write_text(
        '"""Scores items."""\n'
        "from genrec.families import Decoder, decoders\n\n"
        '@decoders.register("codeless")\n'
        "class Codeless(Decoder):\n"
        '    """Writes no codes."""\n'
        "    writes_codes = False\n"
        "    def build(self, context): ...\n",
        encoding="utf-8",
    )
    Path("three.yaml").write_text(
        text.replace("source: visual, target: behavior", "source: behavior, target: text"), encoding="utf-8"
    )
    [visual, _] = of("three.yaml", "streams=visual,behavior+visual")
    assert visual.recipe.streams["visual"].absent_items == "leave_out"


def test_the_same_stream_twice() -> None:
    found = by_name(of("two.yaml", "streams=behavior+behavior,text+text,behavior+text+text"))
    whole = load_recipe("two.yaml")
    twice = found["behavior+behavior"]
    assert twice.recipe.streams == dict.fromkeys(("behavior", "behavior_again"), whole.streams["behavior"])
    assert twice.recipe.history_encoder == whole.history_encoder
    assert [task.streams_used() for task in twice.recipe.tasks] == [(), ("behavior_again", "behavior")]
    assert twice.notes == ("semantic_transfer(text -> behavior) becomes semantic_transfer(behavior_again -> behavior)",)
    assert found["text+text"].recipe.tasks[1].streams_used() == ("text", "text_again")
    third = found["behavior+text+text"]
    assert list(third.recipe.streams) == ["behavior", "text", "text_again"]
    assert third.recipe.tasks == whole.tasks
    assert third.notes == ()


def test_a_stream_three_times_takes_the_parts_of_those_that_are_gone() -> None:
    [variant, _] = of("three.yaml", "streams=visual+visual+visual,text")
    assert list(variant.recipe.streams) == ["visual", "visual_again", "visual_again2"]
    assert [task.streams_used() for task in variant.recipe.tasks] == [
        ("visual_again2", "visual"), ("visual_again2", "visual_again"), ("visual", "visual_again"),
    ]  # fmt: skip
    assert {stream.absent_items for stream in variant.recipe.streams.values()} == {"own_branch"}


def test_a_name_that_is_taken_is_not_given_to_a_copy() -> None:
    Path("two.yaml").write_text(
        TWO.replace("text:", "behavior_again:").replace("text,", "behavior_again,"), encoding="utf-8"
    )
    found = of("two.yaml", "streams=behavior+behavior,behavior+behavior+behavior_again")
    assert [list(variant.recipe.streams) for variant in found] == [
        ["behavior", "behavior_again2"], ["behavior", "behavior_again2", "behavior_again"],
    ]  # fmt: skip


def test_several_streams_as_one() -> None:
    found = by_name(of("three.yaml", "streams=behavior~text~visual,behavior~text+visual,visual~text+behavior"))
    whole = load_recipe("three.yaml")
    one = found["behavior~text~visual"]
    assert list(one.recipe.streams) == ["behavior_text_visual"]
    stream = one.recipe.streams["behavior_text_visual"]
    assert stream.item_encoder.encoders == tuple(s.item_encoder for s in whole.streams.values())  # type: ignore[attr-defined]
    assert (stream.tokenizer, stream.decoder) == (
        whole.streams["behavior"].tokenizer,
        whole.streams["behavior"].decoder,
    )
    assert one.recipe.history_encoder.start_from == ("behavior_text_visual",)  # type: ignore[attr-defined]
    assert [task.streams_used() for task in one.recipe.tasks] == [("behavior_text_visual",)]
    assert "semantic_transfer(text -> behavior) left out: text and behavior are one stream here" in one.notes

    beside = found["behavior~text+visual"].recipe
    assert list(beside.streams) == ["behavior_text", "visual"]
    assert beside.streams["visual"].nearest_in == "behavior_text"
    assert [task.streams_used() for task in beside.tasks] == [("behavior_text", "visual"), ("visual", "behavior_text")]

    own_guide = found["behavior+visual~text"]
    assert own_guide.recipe.streams["visual_text"].absent_items == "own_branch"
    assert "visual_text: absent_items own_branch instead of nearest: text is part of it" in own_guide.notes
    assert [task.streams_used() for task in own_guide.recipe.tasks] == [("visual_text",), ("visual_text", "behavior")]
    assert own_guide.notes[-2].endswith("-> behavior) here")


def test_a_merge_follows_a_joined_stream_and_cannot_lose_one() -> None:
    single = ("merge={type: single, stream: text}",)
    joined = by_name(of("two.yaml", "streams=behavior~text,behavior+text", overrides=single))["behavior~text"]
    assert joined.recipe.merge.streams_used() == ("behavior_text",)
    assert problems(lambda: of("two.yaml", "streams=behavior,behavior+text", overrides=single)) == [
        "--vary streams=behavior,behavior+text: streams: the merge 'single' needs the stream 'text', which is removed here; expected a merge that does not need it, such as --set merge=confidence (in: behavior)"
    ]


def test_other_axes_reach_the_streams_of_a_subset() -> None:
    found = by_name(
        of("two.yaml", "streams=text+text,behavior~text", "streams.*.tokenizer=kmeans_tree,residual_kmeans")
    )
    assert list(found) == [
        "text+text, kmeans_tree", "text+text, residual_kmeans", "behavior~text, kmeans_tree", "behavior~text, residual_kmeans",
    ]  # fmt: skip
    twice = found["text+text, residual_kmeans"]
    assert [stream.tokenizer.type_name for stream in twice.recipe.streams.values()] == ["residual_kmeans"] * 2  # type: ignore[union-attr]
    assert not [override for override in twice.overrides if override.startswith("streams.")]
    kept = found["behavior~text, kmeans_tree"].recipe.streams["behavior_text"].tokenizer
    assert kept.branching == 32  # type: ignore[union-attr]


def test_variants_without_a_title_have_that_of_their_recipe() -> None:
    """Else the title of a comparison would be a list of all subsets."""
    file = Path("untitled.yaml")
    file.write_text(TWO.partition("\n")[2], encoding="utf-8")
    found = variants([file], ["streams=behavior,behavior+text"])
    assert [variant.recipe.title for variant in found] == ["showroom: behavior + text"] * 2


def test_controls_of_the_recipe() -> None:
    assert names(of("two.yaml", controls=True)) == ["behavior+text", "behavior+behavior", "text+text", "behavior~text"]
    crossed = of("two.yaml", "merge=confidence,log_prob_sum", controls=True)
    assert names(crossed)[:2] == ["confidence, behavior+text", "confidence, behavior+behavior"]
    assert len(crossed) == 8


def test_controls_of_the_largest_subset() -> None:
    found = of("three.yaml", "streams=behavior,behavior+visual,visual+visual", controls=True)
    assert names(found) == ["behavior", "behavior+visual", "visual+visual", "behavior+behavior", "behavior~visual"]
    assert len(of("three.yaml", "streams=behavior+text", controls=True)) == 4


def test_controls_want_two_streams() -> None:
    Path("one.yaml").write_text(TWO.split("  text:")[0] + "merge: confidence\n", encoding="utf-8")
    assert problems(lambda: of("one.yaml", controls=True), RecipeError) == [
        "--controls: expected a recipe with two streams or more that is not a finished run"
    ]
    both = variants([Path("one.yaml"), Path("two.yaml")], controls=True)
    assert names(both) == [
        "one, behavior",
        "two, behavior+text",
        "two, behavior+behavior",
        "two, text+text",
        "two, behavior~text",
    ]


@pytest.mark.parametrize("name", ["eager_beauty_minilm", "light_beauty"])
def test_controls_differ_from_their_recipe_in_the_streams_alone(name: str) -> None:
    file = RECIPES / f"{name}.yaml"
    found = by_name(variants([file], controls=True))
    assert list(found) == ["behavior+text", "behavior+behavior", "text+text", "behavior~text"]
    whole = load_recipe(file)
    twice = found["behavior+behavior"].recipe
    assert twice.streams == dict.fromkeys(("behavior", "behavior_again"), whole.streams["behavior"])
    rest = {"title": whole.title, "streams": whole.streams, "tasks": whole.tasks}
    assert twice.model_copy(update=rest) == whole
    assert [task.type_name for task in twice.tasks] == [task.type_name for task in whole.tasks]


def test_streams_without_vectors_are_not_joined() -> None:
    file = RECIPES / "best_beauty.yaml"
    found = by_name(variants([file], controls=True))
    assert list(found)[1:] == [
        "behavior+behavior+behavior",
        "text+text+text",
        "transition+transition+transition",
        "behavior~text",
    ]
    joined, control = found["behavior~text"].recipe, load_recipe(RECIPES / "best_beauty_concatenated.yaml")
    [ours], [theirs] = joined.streams.values(), control.streams.values()
    assert ours == theirs
    assert problems(lambda: variants([file], ["streams=behavior,behavior~transition"])) == [
        "--vary streams=behavior,behavior~transition: streams: the stream transition has no vectors to join, expected streams with an item encoder on both sides of ~ (in: behavior~transition)"
    ]
    two = TWO.replace(
        "  text:", "  counts: {decoder: {type: transition}}\n  more: {decoder: {type: transition}}\n  text:"
    )
    Path("two.yaml").write_text(two, encoding="utf-8")
    counts = names(of("two.yaml", "streams=text,counts+more", controls=True, overrides=("tasks=[]",)))
    assert counts == ["text", "counts+more", "counts+counts", "more+more"]


def test_one_on_both_vectors_is_what_the_recipe_says() -> None:
    [_, joined] = variants([RECIPES / "eager_beauty_minilm.yaml"], ["streams=behavior+text,behavior~text"])
    written = load_recipe(RECIPES / "eager_beauty_minilm_concatenated.yaml")
    [ours], [theirs] = joined.recipe.streams.values(), written.streams.values()
    assert ours.item_encoder == theirs.item_encoder
    assert ours.tokenizer == theirs.tokenizer
    assert joined.recipe.tasks == written.tasks
    assert joined.recipe.history_encoder.start_from == ("behavior_text",)  # type: ignore[attr-defined]
