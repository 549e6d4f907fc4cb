"""The synthetic shop: each option controls its own signal only, and the same seed gives the same shop."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.datasets.showroom import Showroom
from genrec.datasets.synthetic import images as drawings
from genrec.datasets.synthetic.histories import draw_histories, draw_latents
from genrec.errors import DataError

KNOBS = ("behavior", "text", "visual")


@pytest.fixture(scope="module")
def shop():
    return Showroom().load(None)


def consecutive(histories):
    """Pairs of neighbors in the histories."""
    inside = np.ones(len(histories.items), dtype=bool)
    inside[histories.offsets[1:] - 1] = False
    first = np.flatnonzero(inside)
    return histories.items[first], histories.items[first + 1]


def lift(histories, group_I):
    """How much more often neighbors share a group than the same items do when paired at random."""
    first, second = consecutive(histories)

    def share(one, other):
        return np.mean(group_I[one] == group_I[other])

    return share(first, second) / by_chance(first, second, share)


def by_chance(first, second, measure):
    """A measure of shuffled pairs; an item beside itself does not count, as nobody buys one twice."""
    random, values = np.random.default_rng(0), []
    for _ in range(20):
        other = random.permutation(second)
        values.append(measure(first[first != other], other[first != other]))
    return np.mean(values)


def kit_lift(histories, followers_IM):
    """How much more often the next item is a follower of the one before than when paired at random."""
    first, second = consecutive(histories)

    def follows(one, other):
        return np.mean((followers_IM[one] == other[:, None]).any(axis=1))

    return follows(first, second) / by_chance(first, second, follows)


@pytest.mark.parametrize("off", [*KNOBS, None])
def test_a_knob_at_zero_takes_its_signal_away_and_no_other(off):
    weights = tuple(0.0 if knob == off else 1.0 for knob in KNOBS)
    latents = draw_latents(600, 30, 30, seed=0)
    histories = draw_histories(latents, 4000, weights, seed=0)
    lifts = {
        "behavior": kit_lift(histories, latents.followers_IM),
        "text": lift(histories, latents.style_I),
        "visual": lift(histories, latents.look_I),
    }
    for knob, value in lifts.items():
        assert (0.75 < value < 1.35) if knob == off else value > 3, lifts


@pytest.mark.parametrize("knob", KNOBS)
def test_a_latent_without_weight_can_be_anything(knob):
    latents = draw_latents(200, 8, 8, seed=1)
    other = draw_latents(200, 8, 8, seed=2)
    field = {"behavior": "followers_IM", "text": "style_I", "visual": "look_I"}[knob]
    swapped = replace(latents, **{field: getattr(other, field)})
    off = tuple(0.0 if name == knob else 1.0 for name in KNOBS)
    same = draw_histories(latents, 300, off, seed=3), draw_histories(swapped, 300, off, seed=3)
    assert np.array_equal(same[0].items, same[1].items)
    on = draw_histories(latents, 300, (1, 1, 1), seed=3), draw_histories(swapped, 300, (1, 1, 1), seed=3)
    assert not np.array_equal(on[0].items, on[1].items)


def test_all_knobs_at_zero_leave_popularity_alone():
    latents = draw_latents(600, 30, 30, seed=0)
    histories = draw_histories(latents, 4000, (0, 0, 0), seed=0)
    assert 0.75 < lift(histories, latents.style_I) < 1.35
    bought = np.bincount(histories.items, minlength=600)
    on_sale = ~latents.is_arrival_I
    assert np.corrcoef(np.log(bought + 1)[on_sale], np.log(latents.popularity_I)[on_sale])[0, 1] > 0.9


def test_texts_express_the_style_and_images_the_look(shop):
    """Each kind of content recovers its own latent far above chance, and says nothing of the others."""
    pytest.importorskip("sklearn")
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.text import TfidfVectorizer

    latents = draw_latents(600, 30, 30, seed=0)
    images = shop.catalog.images
    shown = np.flatnonzero(images.counts_I)
    thumbnails = np.stack([np.asarray(images.open(i).resize((16, 16)), dtype=np.float32).ravel() for i in shown])
    seen = PCA(32, random_state=0).fit_transform(thumbnails)
    read = PCA(64, random_state=0).fit_transform(TfidfVectorizer().fit_transform(shop.catalog.texts).toarray())[shown]

    def agreement(vectors, group):
        distance = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
        np.fill_diagonal(distance, np.inf)
        return np.mean(group[distance.argsort(axis=1)[:, :5]] == group[:, None])

    style, look = latents.style_I[shown], latents.look_I[shown]
    assert agreement(seen, look) > 0.7
    assert agreement(read, style) > 0.7
    assert agreement(seen, style) < 0.07
    assert agreement(read, look) < 0.07


def test_the_shop_is_as_documented(shop):
    assert (shop.num_items, len(shop.histories)) == (600, 4000)
    assert len(set(shop.catalog.titles)) == 600
    assert all(shop.catalog.texts)
    assert {len(attributes) for attributes in shop.catalog.attributes} == {4}
    lengths = shop.histories.lengths
    assert (lengths.min(), lengths.max()) == (5, 20)
    assert 7 < lengths.mean() < 7.7
    for user in range(len(shop.histories)):
        assert len(set(shop.histories[user].tolist())) == lengths[user]
    trained = np.bincount(shop.train.items, minlength=600)
    assert trained.max() > 10 * np.median(trained)
    arrivals = draw_latents(600, 30, 30, seed=0).is_arrival_I
    assert (trained[arrivals] == 0).all()
    assert np.isin(shop.test.targets, np.flatnonzero(arrivals)).mean() > 0.02


def test_prices_follow_kind_and_material_and_brands_are_those_of_the_texts(shop):
    columns = shop.catalog.columns
    price_I, known_I = columns["price"].values_I, columns["price"].present_I
    assert 0 < (~known_I).sum() < 30
    assert 4 < price_I[known_I].min() < price_I[known_I].max() < 150
    materials, kinds = (np.array([of_item[part] for of_item in shop.catalog.attributes]) for part in (0, 2))
    explained = np.zeros(600)
    log_price_I = np.log(np.where(known_I, price_I, 1.0))
    for group in set(zip(materials[known_I], kinds[known_I], strict=True)):
        rows = known_I & (materials == group[0]) & (kinds == group[1])
        explained[rows] = log_price_I[rows].mean()
    assert np.var((log_price_I - explained)[known_I]) < 0.25 * np.var(log_price_I[known_I])
    assert columns["brand"].values_I.tolist() == [(of_item[3],) for of_item in shop.catalog.attributes]


def test_images_are_drawn_the_same_each_time_and_absent_ones_refused(shop):
    images = shop.catalog.images
    present, absent = np.flatnonzero(images.counts_I), np.flatnonzero(images.counts_I == 0)
    image = images.open(int(present[0]))
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert np.array_equal(np.asarray(image), np.asarray(images.open(int(present[0]))))
    assert not np.array_equal(np.asarray(image), np.asarray(images.open(int(present[1]))))
    assert 0 < len(absent) < 30
    with pytest.raises(DataError, match=f"item {absent[0]} has no image"):
        images.open(int(absent[0]))


@pytest.mark.slow
def test_another_process_makes_the_same_shop(shop):
    code = "from genrec.datasets.showroom import Showroom; print(Showroom().load().fingerprint)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == shop.fingerprint


def test_another_seed_or_knob_makes_another_shop():
    shops = [Showroom(items=60, users=50, **other).load() for other in ({}, {"data_seed": 1}, {"text": 0.5})]
    assert len({shop.fingerprint for shop in shops}) == 3
    assert shops[0].catalog.titles != shops[1].catalog.titles
    assert shops[0].catalog.titles == shops[2].catalog.titles


def test_a_shop_is_known_by_its_images_and_not_by_comments_in_the_code_that_draws_them(tmp_path, monkeypatch):
    small = Showroom(items=60, users=50)
    before = small.load().fingerprint
    (tmp_path / "images.py").write_text(Path(drawings.__file__).read_text(encoding="utf-8") + "# a comment\n")
    monkeypatch.setattr(drawings, "__file__", str(tmp_path / "images.py"))
    assert small.load().fingerprint == before
    monkeypatch.setattr(drawings, "_GRAIN", 11.0)
    assert small.load().fingerprint != before


@pytest.mark.parametrize("weights", [{}, {"text": 0, "visual": 0}, {"behavior": 0, "text": 0, "visual": 0}])
def test_small_and_one_sided_shops_work(weights):
    shop = Showroom(items=40, users=100, **weights).load()
    assert shop.histories.lengths.min() >= 5
    assert shop.histories.items.max() < 40


def test_it_is_quick_and_needs_no_data():
    start = time.process_time()
    Showroom().load(None)
    assert time.process_time() - start < 5
