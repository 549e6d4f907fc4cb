"""The audit: every finding on data made to have it, none where it is not, and the figures that are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.dataset_audit.audit import Audit, Finding, audit
from genrec.dataset_audit.finding import percent
from genrec.dataset_audit.history_order import order_agreement, order_finding, rising_steps
from genrec.datasets.amazon_reviews import AmazonReviews
from genrec.datasets.movielens import MovieLens
from genrec.datasets.sequences import Sequences
from genrec.datasets.showroom import Showroom
from genrec.types import Catalog, Dataset, Histories

START = 1_577_836_800
"""The year 2020: times of tests are seconds from here."""
SHARED = Path(__file__).parents[2] / "../shared/data"


def made(
    histories: Sequence[Sequence[int]],
    *,
    num_items: int | None = None,
    texts: Sequence[str] = (),
    titles: Sequence[str] = (),
    keys: Sequence[str] = (),
    times: Sequence[int] | None = None,
    order: str = "by time",
) -> Dataset:
    count = num_items or 1 + max(max(history) for history in histories)
    blank = ("",) * count
    catalog = Catalog(
        tuple(keys) or tuple(map(str, range(count))), tuple(titles) or blank, tuple(texts) or blank, ((),) * count
    )
    return Dataset(
        "made",
        catalog,
        tuple(f"u{user}" for user in range(len(histories))),
        Histories.of([list(history) for history in histories]),
        "fingerprint",
        order=order,
        times=None if times is None else np.array(times, dtype=np.int64) + START,
    )


def finding(found: Audit, check: str) -> Finding:
    [hit] = [finding for finding in found.findings if finding.check == check]
    return hit


def reordered(dataset: Dataset, rank_I: np.ndarray) -> Dataset:
    """Each history in the order of an item's rank: a file that is grouped by item, read row by row."""
    histories = dataset.histories
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    items = histories.items[np.lexsort((rank_I[histories.items], user))]
    return dataclasses.replace(dataset, histories=Histories(items, histories.offsets), times=None)


def in_order_of_appearance(dataset: Dataset) -> Dataset:
    """Items numbered as S3-Rec numbers them: when they first appear, user after user."""
    _, first = np.unique(dataset.histories.items, return_index=True)
    number_I = np.zeros(dataset.num_items, dtype=np.int32)
    number_I[dataset.histories.items[np.sort(first)]] = np.arange(len(first))
    return dataclasses.replace(
        dataset, histories=Histories(number_I[dataset.histories.items], dataset.histories.offsets), times=None
    )


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return Showroom(items=200, users=1500).load()


def test_figures() -> None:
    found = audit(
        made(
            [[0, 1, 2], [0, 0, 1, 0], [3, 0]],
            num_items=200,
            titles=["a", "b", *[""] * 198],
            texts=["a", *[""] * 199],
        )
    )
    assert dataclasses.asdict(found.figures) == {
        "users": 3,
        "evaluation_users": 2,
        "items": 200,
        "interactions": 9,
        "density": 9 / 600,
        "shortest": 2,
        "median": 3.0,
        "mean": 3.0,
        "longest": 4,
        "titled": 0.01,
        "described": 0.005,
        "with_image": 0.0,
        "images": 0,
        "untrained_items": 198,
        "untrained_valid": 1.0,
        "untrained_test": 0.5,
        "repeats": 2,
        "repeated_test": 0.5,
        "top_percent": 7 / 9,
        "first": None,
        "last": None,
    }
    assert finding(found, "cold items").severity == "warning"
    assert finding(found, "short histories").text == (
        "1 of 3 users have fewer than three items: they are trained on, not evaluated"
    )
    assert finding(found, "repeats").severity == "warning"
    assert finding(found, "text and images").text == "items with a title 1.0 %, a text 0.5 %, an image 0 %"
    assert finding(found, "order").severity == "warning"  # too little to judge


def test_histories_in_the_order_of_time_are_not_flagged(shop: Dataset) -> None:
    for dataset in (shop, in_order_of_appearance(shop)):
        assert finding(audit(dataset), "order").severity == "ok"


@pytest.mark.parametrize("numbering", ["of the key", "of the source, by first appearance"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_file_that_is_grouped_by_item_is_flagged(shop: Dataset, numbering: str, direction: str) -> None:
    rank_I = np.arange(shop.num_items) if numbering == "of the key" else np.random.default_rng(1).permutation(200)
    dataset = reordered(shop, rank_I if direction == "up" else -rank_I)
    if numbering != "of the key":
        dataset = in_order_of_appearance(dataset)
        assert 0.3 < rising_steps(dataset.histories)[0] < 0.7  # numbers alone do not show it
    hit = finding(audit(dataset), "order")
    assert hit.severity == "error"
    assert (
        "users who have the same two items have them in the same order in 100 % of cases (by chance: half)" in hit.text
    )
    assert ("to a higher item number" in hit.text) == (numbering == "of the key" and direction == "up")
    assert ("to a lower item number" in hit.text) == (numbering == "of the key" and direction == "down")
    assert "sort each history by time" in hit.advice


def test_histories_of_which_half_are_in_the_order_of_the_items_are_reported(shop: Dataset) -> None:
    whole = reordered(shop, np.arange(shop.num_items)).histories
    half = [(whole if user % 2 else shop.histories)[user] for user in range(len(whole))]
    hit = finding(audit(dataclasses.replace(shop, histories=Histories.of(half), times=None)), "order")
    assert hit.severity == "warning"
    assert "steps between known items go to a higher item number (by chance: half)" in hit.text
    assert "part of the histories follows the item order" in hit.advice


def test_order_is_seen_without_any_two_users_with_two_items_in_common() -> None:
    sorted_up = [[user, 400 + user, 800 + user] for user in range(400)]
    popular = [[0 + user % 2, *history, 2000 + user % 2] for user, history in enumerate([*sorted_up, *sorted_up])]
    rises, steps = rising_steps(Histories.of(popular))
    assert (rises, steps) == (1.0, pytest.approx(1600, abs=10))


def test_agreement_is_one_half_by_chance_and_counts_pairs_of_users() -> None:
    assert order_agreement(Histories.of([[0, 1], [0, 1], [1, 0]])) == (1 / 3, 3)
    assert order_agreement(Histories.of([[0, 0, 1], [2, 1]])) == (1.0, 1)
    assert order_agreement(Histories.of([[0], [1]])) == (0.0, 0)
    random = np.random.default_rng(0)
    agreement, pairs = order_agreement(Histories.of([random.permutation(30)[:10] for _ in range(500)]))
    assert pairs > 10_000
    assert agreement == pytest.approx(0.5, abs=0.02)


def test_steps_to_new_items_do_not_count() -> None:
    assert rising_steps(Histories.of([[0, 1, 2], [3, 4, 5]])) == (0.0, 0)
    assert rising_steps(Histories.of([[0, 1, 2], [2, 0, 1, 1, 9]])) == (0.5, 2)


def test_order_against_times() -> None:
    sorted_well = made([[0, 1, 2], [2, 1, 0]], times=[1, 2, 3, 1, 1, 2])
    assert finding(audit(sorted_well), "order").text == "every history is in chronological order (4 steps)"
    hit = finding(audit(made([[0, 1, 2], [2, 1, 0]], times=[3, 1, 2, 1, 2, 3])), "order")
    assert hit.severity == "error"
    assert hit.text == (
        "1 of 4 steps in the histories (25 %) go back in time: the order is not chronological, so the last item is "
        "not the next item"
    )
    few = made([[0, 1] * 1000, [0, 1, 2]], times=[*range(1000), 998, *range(1000, 1999), 1, 2, 3])
    assert finding(audit(few), "order").severity == "warning"


def test_times_that_are_all_the_same_order_nothing(shop: Dataset) -> None:
    grouped = reordered(shop, np.random.default_rng(1).permutation(200))
    dataset = dataclasses.replace(grouped, times=np.zeros(len(grouped.histories.items), dtype=np.int64))
    assert finding(audit(dataset), "order").severity == "error"


def test_ties_and_how_they_are_broken() -> None:
    hit = finding(
        audit(made([[0, 1, 2], [2, 1, 0]], times=[1, 2, 2, 1, 1, 2], order="by time; equal times by x")), "ties"
    )
    assert hit.severity == "warning"
    assert hit.text == (
        "2 of 4 consecutive items in the histories (50 %) and 1 of 2 test targets with the item before them (50 %) "
        "share a timestamp: there the target is arbitrary; the order is by time; equal times by x"
    )
    assert finding(audit(made([[0, 1, 2], [2, 1, 0]], times=[1, 1, 2, 1, 1, 2])), "ties").severity == "ok"
    assert "ties" not in {hit.check for hit in audit(made([[0, 1, 2]])).findings}


def test_training_from_the_future() -> None:
    hit = finding(audit(made([[0, 1, 2], [2, 1, 0, 1], [0, 1]], times=[1, 2, 3, 4, 5, 6, 7, 2, 9])), "future")
    assert hit.severity == "warning"
    assert hit.text.startswith(
        "3 of 5 training interactions are later than the earliest test target, 40 % later than the average one"
    )
    apart = made([[0, 1, 2], [2, 1, 0]], times=[1, 12, 13, 1, 11, 12])
    assert finding(audit(apart), "future").severity == "ok"


def test_keys_of_other_items_in_texts() -> None:
    keys = ["B00AAAAAA1", "B00AAAAAA2", "B00AAAAAA3"]
    texts = ["Lamp B00AAAAAA1", "Chair, with B00AAAAAA3, B00AAAAAA9", "Desk"]
    hit = finding(audit(made([[0, 1, 2]], keys=keys, texts=texts)), "keys in texts")
    assert (hit.severity, hit.text) == (
        "error",
        "1 texts (33 % of items) name the key of another item",
    )
    hit = finding(audit(made([[0, 1, 2]], keys=keys, texts=["Lamp B00AAAAAA1", "", ""])), "keys in texts")
    assert (hit.severity, hit.text) == (
        "ok",
        "no text names the key of another item (3 unambiguous keys)",
    )


def test_behavior_in_texts() -> None:
    texts = ["Lamp", "also_bought: chair; salesRank: 3", "Customers who bought this item also bought: desk"]
    hit = finding(audit(made([[0, 1, 2]], texts=texts)), "behavior in texts")
    assert hit.severity == "error"
    assert "also_bought (1), salesrank (1)" in hit.text
    rare = ["salesrank", *["Lamp"] * 200]
    assert finding(audit(made([range(201)], texts=rare)), "behavior in texts").severity == "warning"


def test_reviews_in_texts() -> None:
    texts = ["A lamp of oak", "I bought this for my wife. I highly recommend it", "Five stars", ""]
    hit = finding(audit(made([[0, 1, 2, 3]], texts=texts)), "reviews in texts")
    assert hit.severity == "warning"
    assert hit.text.startswith("2 of 3 texts (67 %) read as written by a buyer ('I bought'")


def test_titles_of_the_next_item_in_texts(shop: Dataset) -> None:
    assert finding(audit(shop), "titles in texts").severity == "ok"
    texts = list(shop.catalog.texts)
    last = shop.test.histories.items[shop.test.histories.offsets[1:] - 1].tolist()
    for item, target in list(zip(last, shop.test.targets.tolist(), strict=True))[::2]:
        if item != target:
            texts[item] += f"\nGoes well with: {shop.catalog.titles[target].upper()}!"
    leaking = dataclasses.replace(shop, catalog=dataclasses.replace(shop.catalog, texts=tuple(texts)))
    hit = finding(audit(leaking), "titles in texts")
    assert (hit.severity, "texts leak the target" in hit.text) == ("error", True)


def test_text_that_names_every_title_is_no_leak(shop: Dataset) -> None:
    """What is true of shuffled targets too tells nothing of the next item."""
    everything = " ".join(f"{title}." for title in shop.catalog.titles)
    same = dataclasses.replace(shop.catalog, texts=(everything,) * len(shop.catalog))
    assert finding(audit(dataclasses.replace(shop, catalog=same)), "titles in texts").severity == "ok"


def test_twins() -> None:
    titles = ["Oak desk", "oak  desk!", "Oak desk", "Lamp", "", ""]
    hit = finding(audit(made([[0, 1, 2], [3, 4, 5], [0, 1, 3]], titles=titles)), "same title")
    assert hit.severity == "warning"
    assert hit.text == (
        "3 items (50 %) share their title with another, 2 more than there are titles, 1 of them exactly; among them "
        "are 1 test targets (33 %)"
    )
    found = audit(made([[0, 1, 2]], titles=["a", "b", "c"], texts=["x", "x", "y"]))
    assert finding(found, "same title").text == "no two items have the same title"
    assert finding(found, "same text").severity == "warning"


def test_no_user_can_be_evaluated() -> None:
    found = audit(made([[0, 1], [1]]))
    assert finding(found, "short histories").severity == "error"
    assert found.figures.repeated_test == 0.0
    found = audit(made([[0, 1], [1]], times=[1, 2, 3], titles=["red lamp", "oak desk"], texts=["red lamp", "oak desk"]))
    assert found.figures.evaluation_users == 0


def test_errors_come_first_and_lines_cite_them() -> None:
    found = audit(made([[0, 1, 2], [2, 1, 0]], times=[3, 1, 2, 1, 2, 3]))
    ranks = [("error", "warning", "ok").index(hit.severity) for hit in found.findings]
    assert ranks == sorted(ranks)
    size, counts, error = found.lines()
    assert size == (
        "2 users, 3 items, 6 interactions (density 100 %), histories of 3 to 3 items, median 3, dates 2020-01-01 to "
        "2020-01-01"
    )
    checks = ", ".join(hit.check for hit in found.of("warning"))
    assert checks.startswith("future, cold items")
    assert counts == f"{len(ranks)} checks: 1 error (order), {ranks.count(1)} warnings ({checks})"
    assert error.startswith("error: 1 of 4 steps")
    data = json.loads(json.dumps(found.to_dict()))
    assert data["findings"][0]["severity"] == "error"
    assert data["figures"]["users"] == 2


def test_shares_in_words() -> None:
    values = [0.0, 0.0004, 0.006, 0.0664, 0.0996, 0.123, 0.9951, 0.9996, 1.0]
    assert [percent(value) for value in values] == [
        "0 %",
        "< 0.1 %",
        "0.6 %",
        "6.6 %",
        "10 %",
        "12 %",
        "99.5 %",
        "> 99.9 %",
        "100 %",
    ]


def write_amazon(folder: Path, dataset: Dataset) -> None:
    """Reviews of 2014 as they are published: item after item, times in days."""
    histories = dataset.histories
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    place = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], histories.lengths)
    rows = sorted(zip(histories.items.tolist(), user.tolist(), place.tolist(), strict=True))
    lines = [
        {
            "reviewerID": f"A{who}",
            "asin": f"B{what:09d}",
            "overall": 5.0,
            "unixReviewTime": 86_400 * (9_000 + 3 * when + who),
        }
        for what, who, when in rows
    ]
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "reviews_Desks_5.json").write_text(text, encoding="utf-8")


def test_amazon_files_in_file_order_are_flagged(tmp_path: Path, shop: Dataset) -> None:
    write_amazon(tmp_path / "amazon", shop)
    settings: dict[str, Any] = {"category": "Desks", "metadata": False, "core": 0}
    by_file = AmazonReviews(**settings, order="file").load(tmp_path)
    hit = finding(audit(by_file), "order")
    assert hit.severity == "error"
    assert "go back in time" in hit.text
    without_times = finding(audit(dataclasses.replace(by_file, times=None)), "order")
    assert without_times.severity == "error"
    assert "go to a higher item number" in without_times.text
    assert finding(audit(AmazonReviews(**settings).load(tmp_path)), "order").severity == "ok"


def test_amazon_file_order_is_seen_after_numbering_by_appearance(tmp_path: Path, shop: Dataset) -> None:
    """What S3-Rec's numbering makes of such a file: no keys, no times, and numbers that look random."""
    write_amazon(tmp_path / "amazon", shop)
    dataset = AmazonReviews(category="Desks", metadata=False, core=0, order="file").load(tmp_path)
    hit = finding(audit(in_order_of_appearance(dataset)), "order")
    assert hit.severity == "error"


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which is not part of the project")

STATED: dict[str, tuple[Any, tuple[int, int, int], dict[str, Any]]] = {
    "amazon-beauty": (Sequences(folder="amazon-beauty"), (22_363, 12_101, 198_502), {"repeats": 0, "titled": 1.0}),
    "amazon-sports": (Sequences(folder="amazon-sports"), (35_598, 18_357, 296_337), {"repeats": 0, "titled": 0.0}),
    "yelp-2019": (Sequences(folder="yelp-2019"), (30_431, 20_033, 316_354), {"repeats": 11_830, "titled": 1.0}),
    "movielens, all": (MovieLens(folder="movielens-posters", core=0), (610, 9_724, 100_836), {"titled": 1.0}),
    "movielens, 5-core": (MovieLens(folder="movielens-posters"), (610, 3_650, 90_274), {"images": 3_159}),
}
"""Figures of ../shared/data/README.md: users, items, interactions, and more."""


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("name", STATED)
def test_figures_of_real_data_are_those_of_its_readme(name: str) -> None:
    source, counts, more = STATED[name]
    dataset = source.load(SHARED)
    found = audit(dataset)
    figures = found.figures
    assert (figures.users, figures.items, figures.interactions) == counts
    assert {key: getattr(figures, key) for key in more} == more
    assert found.of("error") == ()
    if name == "yelp-2019":
        assert percent(figures.repeated_test) == "6.7 %"
        assert "6.7 % of test targets are in their own history" in finding(found, "repeats").text
    if name == "amazon-beauty":
        assert ", 28 of them exactly;" in finding(found, "same title").text
    if name == "movielens, 5-core":
        assert percent(figures.with_image) == "87 %"
        assert finding(found, "ties").severity == "warning"
    # the same data in an order of the items: one that their numbers show, and one that only the users' agreement does
    for rank_I in (np.arange(dataset.num_items), np.random.default_rng(0).permutation(dataset.num_items)):
        assert order_finding(reordered(dataset, rank_I)).severity == "error"
