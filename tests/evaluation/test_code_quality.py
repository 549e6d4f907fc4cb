"""The measures of codes: by hand, on codes that are known to be good or bad, and against other implementations."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from genrec.evaluation.code_quality import measure_agreement, measure_codes
from genrec.reporting.code_tables import codes_table, markdown
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.tokenizers.residual_kmeans import ResidualKMeans
from genrec.types import Catalog, ItemVectors, SemanticIds


def all_present(points: np.ndarray) -> ItemVectors:
    return ItemVectors(points.astype(np.float32), np.ones(len(points), bool))


def catalog_of(attributes: Sequence[tuple[str, ...]]) -> Catalog:
    blank = ("",) * len(attributes)
    return Catalog(tuple(map(str, range(len(attributes)))), blank, blank, tuple(attributes))


def shuffled(ids: SemanticIds) -> SemanticIds:
    """The same codes, given to the items at random."""
    codes, present = ids.codes_IL.copy(), np.flatnonzero(ids.present_I)
    codes[present] = codes[np.random.default_rng(0).permutation(present)]
    return SemanticIds(codes, ids.vocabulary_sizes, ids.codebook)


@pytest.fixture(scope="module")
def vectors() -> ItemVectors:
    """Eight clouds, 240 items; item i lies in cloud i % 8, item 5 is absent."""
    generator = np.random.default_rng(0)
    centers = 5 * generator.normal(size=(8, 6))
    points = centers[np.arange(240) % 8] + generator.normal(size=(240, 6))
    return ItemVectors(points.astype(np.float32), np.arange(240) != 5)


@pytest.fixture(scope="module")
def tree(vectors: ItemVectors) -> SemanticIds:
    return KMeansTree(branching=8).fit(vectors, keys=(), context=WorkContext(seed=1))


def test_by_hand() -> None:
    points = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    ids = SemanticIds(np.array([[0, 0], [0, 1], [1, 0], [2, 0]], np.int32), (4, 2), {}, collisions=2)
    quality = measure_codes(ids, all_present(points), neighbors=1)
    assert (quality["items"], quality["absent"], quality["unread"]) == (4, 0, 0)
    assert (quality["collisions"], quality["collision_ratio"], quality["collisions_after_repair"]) == (2, 0.5, 0)
    first, second = quality["levels"]
    assert first == {
        "vocabulary": 4,
        "used": 3,
        "dead": 1,
        "entropy": 1.5,
        "balance": 0.75,
        "perplexity": pytest.approx(2**1.5),
        "counts": [2, 1, 1, 0],
    }
    assert second["entropy"] == pytest.approx(0.8113, abs=1e-4)
    assert quality["prefixes"] == [
        {
            "depth": 1,
            "nodes": 3,
            "largest": 2,
            "mean": pytest.approx(4 / 3),
            "neighbors_sharing": 0.5,
            "expected_sharing": pytest.approx(2 / 12),
            "lift": pytest.approx(3),
            "reconstruction_error": None,
        },
        {
            "depth": 2,
            "nodes": 4,
            "largest": 1,
            "mean": 1.0,
            "neighbors_sharing": 0.0,
            "expected_sharing": 0.0,
            "lift": None,
            "reconstruction_error": None,
        },
    ]
    assert (quality["neighbors"], quality["neighborhoods"]) == (1, 4)
    assert quality["reconstruction_error"] is None
    assert quality["categories"] is None


def test_good_codes_are_better_than_random_ones(vectors: ItemVectors, tree: SemanticIds) -> None:
    cloud = catalog_of([(f"cloud {item % 8}",) for item in range(240)])
    good = measure_codes(tree, vectors, cloud, tokenizer=KMeansTree(branching=8))
    bad = measure_codes(shuffled(tree), vectors, cloud, tokenizer=KMeansTree(branching=8))
    assert good["prefixes"][0]["lift"] > 6
    assert bad["prefixes"][0]["lift"] < 1.5
    assert good["reconstruction_error"] < 0.1 < 0.9 < bad["reconstruction_error"]
    assert good["categories"][0]["ami"][0] > 0.9
    assert abs(bad["categories"][0]["ami"][0]) < 0.1
    assert good["absent"] == 1
    assert good["levels"][0]["balance"] > 0.999


def test_all_neighbors_of_an_item_are_what_any_two_items_would_share(vectors: ItemVectors, tree: SemanticIds) -> None:
    for prefix in measure_codes(tree, vectors, neighbors=1000)["prefixes"]:
        assert prefix["neighbors_sharing"] == pytest.approx(prefix["expected_sharing"])


@pytest.mark.parametrize("normalize", [False, True])
def test_reconstruction_error_by_depth_is_that_of_fewer_levels(vectors: ItemVectors, normalize: bool) -> None:
    def measured(levels: int) -> list[float]:
        tokenizer = ResidualKMeans(levels=levels, codes=8, normalize=normalize)
        ids = tokenizer.fit(vectors, keys=(), context=WorkContext(seed=1))
        quality = measure_codes(ids, vectors, tokenizer=tokenizer)
        assert quality["reconstruction_error"] == quality["prefixes"][-1]["reconstruction_error"]
        return [prefix["reconstruction_error"] for prefix in quality["prefixes"]]

    errors = measured(3)
    assert 0.5 > errors[0] > errors[1] > errors[2] > 0
    assert errors[3:] == errors[2:3] * len(errors[3:]), "a suffix does not change the reconstruction"
    assert measured(2)[:2] == errors[:2]


def test_error_of_a_tree_is_the_variance_within_its_nodes(vectors: ItemVectors, tree: SemanticIds) -> None:
    points = vectors.vectors_IE[tree.present_I]
    quality = measure_codes(tree, vectors, tokenizer=KMeansTree(branching=8))
    for depth in range(1, tree.num_levels):
        within = 0.0
        codes = tree.codes_IL[tree.present_I, :depth]
        for node in np.unique(codes, axis=0):
            members = points[(codes == node).all(axis=1)]
            within += ((members - members.mean(axis=0)) ** 2).sum()
        share = within / ((points - points.mean(axis=0)) ** 2).sum()
        assert quality["prefixes"][depth - 1]["reconstruction_error"] == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("tokenizer", [KMeansTree(branching=8), ResidualKMeans(codes=8, levels=2)])
def test_a_branch_of_absent_items_is_counted_and_tells_nothing_of_neighbors(
    tokenizer: KMeansTree | ResidualKMeans, vectors: ItemVectors
) -> None:
    ids = tokenizer.fit(vectors, keys=(), context=WorkContext(seed=1))
    before = measure_codes(ids, vectors, tokenizer=tokenizer)
    after = measure_codes(with_own_branch(ids), vectors, tokenizer=tokenizer)
    assert (before["items"], before["absent"], before["unread"]) == (239, 1, 0)
    assert (after["items"], after["absent"], after["unread"]) == (240, 0, 1)
    assert after["levels"][0]["used"] == before["levels"][0]["used"] + 1
    for one, other in zip(before["prefixes"], after["prefixes"], strict=True):
        for measure in ("neighbors_sharing", "expected_sharing", "lift", "reconstruction_error"):
            assert one[measure] == other[measure]
    decoded = tokenizer.reconstruct(with_own_branch(ids))
    assert decoded is not None
    assert np.isnan(decoded[5]).all()
    assert np.isfinite(np.delete(decoded, 5, axis=0)).all()


def test_a_tree_of_one_level_stands_for_no_vectors() -> None:
    ids = KMeansTree(branching=8).fit(all_present(np.eye(4)), keys=(), context=WorkContext(seed=1))
    assert KMeansTree(branching=8).reconstruct(ids) is None
    assert measure_codes(ids, all_present(np.eye(4)), tokenizer=KMeansTree())["reconstruction_error"] is None


def test_attributes_are_identified_by_position_and_measured_as_scikit_learn_does(
    vectors: ItemVectors, tree: SemanticIds
) -> None:
    attributes = [("all", f"cloud {i % 8}", f"own {i}", *[f"half {i % 2}"] * (i < 20)) for i in range(240)]
    [found] = measure_codes(tree, vectors, catalog_of(attributes))["categories"]
    present = np.flatnonzero(tree.present_I)
    expected = adjusted_mutual_info_score(tree.codes_IL[present, 0], present % 8)
    assert found == {
        "attribute": 2,
        "values": 8,
        "examples": ["cloud 0", "cloud 1", "cloud 2"],
        "items": 239,
        "ami": [pytest.approx(expected), found["ami"][1]],
    }
    assert 0 < found["ami"][1] < found["ami"][0]
    assert measure_codes(tree, vectors, catalog_of([()] * 240))["categories"] is None


def test_streams_of_one_view_agree_and_of_two_views_do_not(vectors: ItemVectors, tree: SemanticIds) -> None:
    other = all_present(np.random.default_rng(7).normal(size=(240, 6)))
    ids = {"a": tree, "twice": tree, "b": KMeansTree(branching=8).fit(other, keys=(), context=WorkContext(seed=1))}
    same, apart, again = measure_agreement(ids, {"a": vectors, "twice": vectors, "b": other})
    assert [(pair["first"], pair["second"]) for pair in (same, apart, again)] == [
        ("a", "twice"),
        ("a", "b"),
        ("twice", "b"),
    ]
    assert same["items"] == apart["items"] == 239
    assert same["ami"] == pytest.approx([1, 1])
    assert same["neighbors_in_common"] == 1
    assert same["lift"] == pytest.approx(238 / 10)
    assert apart["ami"] == pytest.approx([0, 0], abs=0.05)
    assert apart["lift"] == pytest.approx(1, abs=0.3)
    assert {**again, "first": "a"} == apart


def test_an_unused_level_changes_no_agreement_but_codes_of_one_level_have_no_second(vectors: ItemVectors) -> None:
    codes = np.arange(240, dtype=np.int32)
    ids = {
        "two": SemanticIds(np.stack([codes % 8, codes // 8], 1), (8, 30)),
        "one": SemanticIds(codes[:, None], (240,)),
        "three": SemanticIds(np.stack([codes % 8, codes * 0, codes // 8], 1), (8, 1, 30)),
    }
    by_pair = {
        (pair["first"], pair["second"]): pair["ami"] for pair in measure_agreement(ids, dict.fromkeys(ids, vectors))
    }
    assert by_pair["two", "one"] == by_pair["one", "three"] == [None, None]
    assert by_pair["two", "three"] == [pytest.approx(1), None]


def test_streams_without_an_item_in_common() -> None:
    ids = SemanticIds(np.array([[0], [1]], np.int32), (2,))
    left, right = (ItemVectors(np.eye(2, dtype=np.float32), np.arange(2) == item) for item in (0, 1))
    assert measure_agreement({"left": ids, "right": ids}, {"left": left, "right": right}) == [
        {
            "first": "left",
            "second": "right",
            "items": 0,
            "ami_items": 0,
            "ami": [None, None],
            "neighbors_in_common": None,
            "expected_in_common": None,
            "lift": None,
        }
    ]


def test_one_item_alone() -> None:
    ids = SemanticIds(np.array([[0]], np.int32), (1,))
    quality = measure_codes(ids, all_present(np.ones((1, 2))))
    assert quality["prefixes"][0]["lift"] is None
    assert quality["levels"] == [
        {"vocabulary": 1, "used": 1, "dead": 0, "entropy": 0.0, "balance": 1.0, "perplexity": 1.0, "counts": [1]}
    ]


def test_counts_of_large_vocabularies_are_thinned_out() -> None:
    items = np.arange(3000, dtype=np.int32)
    ids = SemanticIds(np.stack([items // 3, items], axis=1), (2000, 3000))
    points = np.random.default_rng(0).normal(size=(3000, 3))
    first, second = measure_codes(ids, all_present(points), sample=50)["levels"]
    assert first["dead"] == 1000
    assert len(first["counts"]) == len(second["counts"]) == 512
    assert first["counts"] == [3] * 256 + [0] * 256


def test_a_report_can_hold_it(vectors: ItemVectors, tree: SemanticIds) -> None:
    cloud = catalog_of([(f"cloud {item % 8}",) for item in range(240)])
    quality = measure_codes(tree, vectors, cloud, tokenizer=KMeansTree(branching=8))
    assert json.loads(json.dumps(quality)) == quality
    pairs = measure_agreement({"a": tree, "b": tree}, {"a": vectors, "b": vectors})
    assert json.loads(json.dumps(pairs)) == pairs


def measured(tokenizer: str, **changes: object) -> dict[str, object]:
    """What the tables are made of: a suffix as third level, no two items alike in it."""
    levels = [(256, 256, 7.998), (256, 226, 7.1), (3, 3, 0.5)]
    prefixes = [(47, 0.5, 124.04, 0.6438), (12, 0.1, None, 0.5264), (1, 0.0, None, 0.5264)]
    return {
        "tokenizer": tokenizer,
        "seconds": 83.0,
        "items": 12_101,
        "absent": 0,
        "collisions": 1645,
        "collision_ratio": 0.1359,
        "levels": [
            {"vocabulary": size, "used": used, "dead": size - used, "entropy": bits} for size, used, bits in levels
        ],
        "prefixes": [
            {"largest": largest, "neighbors_sharing": share, "lift": lift, "reconstruction_error": error}
            for largest, share, lift, error in prefixes
        ],
        "neighbors": 10,
        "neighborhoods": 2000,
        "categories": [
            {"attribute": 1, "values": 220, "examples": ["a|b"], "items": 9, "ami": [0.1525, None]},
            {"attribute": 2, "values": 12, "examples": ["c"], "items": 9, "ami": [-0.001, None]},
        ],
        **changes,
    }


def test_tables_for_a_paper() -> None:
    pair = {"first": "a", "second": "b", "items": 9, "ami": [0.2, None], "neighbors_in_common": 0.083, "lift": 100.49}
    plain = measured("product", absent=7, collisions=0, categories=None, seconds=None)
    variants = [{"name": "one", "streams": {"a": measured("residual"), "b": plain}, "pairs": [pair]}]
    assert markdown("Shop", variants, ["a note"]).splitlines()[:9] == [
        "# Codes: Shop",
        "",
        "| stream | tokenizer | items | levels | entropy (bits) | collisions | error after each code "
        "| 10 neighbors with 1 code | with 2 codes | attributes | time |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| a | residual | 12,101 | 256 x 226/256 x 3 | 8.00, 7.10, 0.50 | 1,645 (13.6%) | 0.644, 0.526 "
        "| 50.0% (124x) | 10.0% | 0.15, 0.00 | 1 min 23 s |",
        "| b | product | 12,101 (7 absent) | 256 x 226/256 x 3 | 8.00, 7.10, 0.50 | 0 | 0.644, 0.526 "
        "| 50.0% (124x) | 10.0% | - | - |",
        "",
        "## Between streams",
        "",
    ]
    page = markdown("Shop", variants, ["a note"])
    assert "| a + b | 9 | 0.20 | - | 8.3% (100x) |" in page
    assert "1. 220 values such as a|b (9 items); 2. 12 values such as c (9 items)." in page
    assert page.endswith("## Notes\n\n- a note\n")


def test_variants_have_a_column_which_may_stand_for_that_of_the_tokenizer() -> None:
    named = [
        {"name": "rqvae(levels=4)", "streams": {"a": measured("rqvae")}, "pairs": []},
        {"name": "tree", "streams": {"a": measured("tree")}, "pairs": []},
    ]
    columns, rows = codes_table(named)
    assert columns[:3] == ("variant", "stream", "items")
    assert [row[0] for row in rows] == ["rqvae(levels=4)", "tree"]
    assert {len(row) for row in rows} == {len(columns)}
    named[1]["name"] = "branching=8"
    assert codes_table(named)[0][:4] == ("variant", "stream", "tokenizer", "items")
    assert "Between streams" not in markdown("Shop", named, [])
