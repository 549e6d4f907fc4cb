"""What variants share: vectors, codes, models and searches, from keys only."""

from collections import Counter

from small_comparison import small_plan

from genrec.experiment.ids import tokenize_items
from genrec.experiment.vectors import encode_items

TOKENIZERS = "streams.*.tokenizer=kmeans_tree,{type: residual_kmeans, codes: 8}"


def distinct(plan):
    return Counter(stage.stage.kind for stage in plan.planned())


def test_what_variants_share_is_planned_once(tmp_path):
    plan = small_plan(tmp_path, [TOKENIZERS, "merge=confidence,reciprocal_rank,learned"], (1, 2))
    assert len(plan.trials) == 12
    assert distinct(plan) == {"vectors": 2, "ids": 8, "model": 4, "candidates": 4}
    assert all(stage.trials == 12 for stage in plan.planned() if stage.stage.kind == "vectors")
    assert [len(job.trials) for job in plan.jobs] == [3] * 4
    assert not any(stage.finished or stage.seconds for stage in plan.planned())


def test_one_search_serves_merges_that_need_scores_and_merges_that_do_not(tmp_path):
    (job,) = small_plan(tmp_path, ["merge=confidence,log_prob_sum"]).jobs
    assert job.wanted == [("valid", True)]
    (job,) = small_plan(tmp_path, ["merge=confidence,reciprocal_rank"]).jobs
    assert job.wanted == [("valid", False)]
    (job,) = small_plan(tmp_path, ["merge=confidence,learned"], split="test").jobs
    assert job.wanted == [("valid", True), ("test", True)], "a learned merge is fitted on validation"


def test_finished_stages_are_reported_and_give_the_estimate(tmp_path):
    first = small_plan(tmp_path, seeds=(1,))
    fit = first.trials[0].fits.valid
    assert len(tokenize_items(fit, encode_items(fit, first.cache), first.cache)) == 2
    (tmp_path / ".stages" / "made-model-x.json").write_text(
        '{"like": ["showroom", "item_ids", "kmeans_tree mlp", "kmeans_tree mlp", "max_epochs 1"], '
        '"seconds": 7.0, "peak_bytes": null}'
    )
    later = {stage.stage: stage for stage in small_plan(tmp_path, seeds=(1, 2)).planned()}
    finished = [stage.stage.kind for stage in later.values() if stage.finished]
    assert finished == ["vectors", "vectors", "ids", "ids"]
    assert [stage.seconds for stage in later.values() if stage.stage.kind == "model"] == [7.0, 7.0]
    new_codes = [stage for stage in later.values() if stage.stage.kind == "ids" and not stage.finished]
    assert all(stage.seconds is not None and stage.seconds > 0 for stage in new_codes)


def test_a_variant_that_has_no_key_fails_alone(tmp_path):
    plan = small_plan(tmp_path, ["streams.*.tokenizer=kmeans_tree,{type: precomputed, file: nowhere.json}"])
    assert [trial.failure[:13] for trial in plan.trials] == ["", "nowhere.json:"]
    assert len(plan.jobs) == 1
