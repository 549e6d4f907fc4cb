from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from genrec.errors import DataError
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.absent_items import with_own_branch
from genrec.tokenizers.rqvae import RqVae, RqVaeNetwork
from genrec.types import ABSENT, ItemVectors, SemanticIds

SMALL = {"levels": 2, "codes": 16, "hidden": (32,), "latent_dim": 8, "epochs": 5, "batch_size": 64}


def vectors_of(points: np.ndarray, absent: tuple[int, ...] = ()) -> ItemVectors:
    return ItemVectors(points.astype(np.float32), ~np.isin(np.arange(len(points)), absent))


def fit(tokenizer: RqVae, points: np.ndarray, seed: int = 1) -> SemanticIds:
    return tokenizer.fit(vectors_of(points), keys=(), context=WorkContext(seed=seed))


def families(num_points: int, width: int = 24, seed: int = 0) -> np.ndarray:
    """Points about 12 centers on a curved sheet of 4 dimensions, away from zero."""
    generator = np.random.default_rng(seed)
    inner = 2 * generator.normal(size=(12, 4))[generator.integers(12, size=num_points)]
    inner += 0.4 * generator.normal(size=(num_points, 4))
    mix = np.random.default_rng(100).normal(size=(8, width))
    return (np.concatenate([inner, np.sin(inner)], axis=1) @ mix + 3.0).astype(np.float32)


def error(points: np.ndarray, said: np.ndarray) -> float:
    """Squared error as a share of the variance."""
    return float(((points - said) ** 2).sum() / ((points - points.mean(axis=0)) ** 2).sum())


def used(ids: SemanticIds, levels: int = 2) -> list[int]:
    return [len(np.unique(ids.codes_IL[:, level])) for level in range(levels)]


def network(points: np.ndarray, codes: int = 32, levels: int = 2) -> tuple[RqVaeNetwork, torch.Tensor]:
    torch.manual_seed(0)
    return RqVaeNetwork(points.shape[1], (16,), 4, levels, codes, 0.25), torch.from_numpy(points)


def codes_of(trained: RqVaeNetwork, points: torch.Tensor) -> np.ndarray:
    """The codes by the definition: one level after another, all distances written out."""
    left = trained.encoder(points).detach().numpy()
    codes = []
    for table in trained.tensors()["codebooks"]:
        codes.append(((left[:, None] - table) ** 2).sum(-1).argmin(1))
        left = left - table[codes[-1]]
    return np.column_stack(codes)


def test_it_describes_what_it_has_learned_and_what_it_has_not_seen():
    points, unseen = np.split(families(500), [400])
    tokenizer = RqVae(**SMALL | {"epochs": 15})
    ids = fit(tokenizer, points)
    errors = [error(points, tokenizer.reconstruct(ids, levels=levels)) for levels in (1, 2, 3)]
    assert errors[1] < errors[0] < 0.6
    assert errors[2] == errors[1] < 0.3
    wider = tokenizer.assign(ids, vectors_of(points), vectors_of(unseen))
    assert error(unseen, tokenizer.reconstruct(wider)[400:]) < 0.4


def test_the_codes_are_those_of_the_codebook():
    points = families(300)
    ids = fit(RqVae(**SMALL), points)
    book = ids.codebook
    latent = (points - book["mean"]) / book["scale"]
    latent = np.maximum(latent @ book["encoder_weight_0"].T + book["encoder_bias_0"], 0)
    left = latent @ book["encoder_weight_1"].T + book["encoder_bias_1"]
    for level in range(2):
        nearest = ((left[:, None] - book["codebooks"][level]) ** 2).sum(-1).argmin(1)
        assert (nearest == ids.codes_IL[:, level]).mean() > 0.99
        left = left - book["codebooks"][level][ids.codes_IL[:, level]]


def test_the_start_uses_every_code_and_random_numbers_do_not():
    points = families(600)
    started, tensor = network(points)
    at_random = [len(np.unique(level)) for level in codes_of(started, tensor).T]
    started.start(tensor, np.random.default_rng(0))
    at_means = [len(np.unique(level)) for level in codes_of(started, tensor).T]
    assert at_means[0] == 32
    assert at_means[1] >= 30
    assert max(at_random) < 20


def test_dead_codes_come_back_to_life():
    started, tensor = network(families(600))
    started.start(tensor, np.random.default_rng(0))
    tables = list(started._tables())
    with torch.no_grad():
        for table in tables:
            table[3:] = 1e4  # nobody is near
    assert [len(np.unique(level)) for level in codes_of(started, tensor).T] == [3, 3]
    alive = tables[0][:3].detach().clone()
    latent = started.encoder(tensor).detach()
    # Once the first level has come back to life, the second has other residuals, of which 3 codes serve at most.
    assert 58 <= started.revive(tensor, np.random.default_rng(0)) <= 60
    assert torch.equal(tables[0][:3], alive)
    assert ((tables[0][3:, None].detach() - latent).abs().amax(dim=2).amin(dim=1) < 1e-5).all()
    assert min(len(np.unique(level)) for level in codes_of(started, tensor).T) >= 29
    assert started.revive(tensor, np.random.default_rng(1)) <= 4


def test_start_and_revival_keep_codes_from_collapse():
    points = families(600)
    many = SMALL | {"codes": 64, "epochs": 10}
    bare = fit(RqVae(**many, kmeans_start=False, revive=False), points)
    revived = fit(RqVae(**many, kmeans_start=False), points)
    both = fit(RqVae(**many), points)
    assert max(used(bare)) < 50
    assert min(used(revived)) > max(used(bare))
    assert min(used(both)) >= 60
    assert both.collisions < 0.6 * bare.collisions
    assert error(points, RqVae(**many).reconstruct(both)) < 0.8 * error(points, RqVae(**many).reconstruct(bare))


def test_gradients_reach_encoder_codebooks_and_decoder_as_the_losses_say():
    points = families(50)
    fresh, tensor = network(points, codes=8)
    fresh.start(tensor, np.random.default_rng(0))
    tables = list(fresh._tables())

    def reached(part: str) -> list[bool]:
        fresh.zero_grad()
        fresh.losses(tensor)[part].backward()
        groups = [fresh.encoder.parameters(), tables, fresh.decoder.parameters()]
        return [any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in group) for group in groups]

    assert reached("reconstruction") == [True, False, True]
    assert reached("codebook") == [False, True, False]
    assert reached("commitment") == [True, False, False]


def test_losses_are_the_equation():
    points = families(40)
    fresh, tensor = network(points, codes=8)
    latent, codes = fresh.encoder(tensor).detach(), codes_of(fresh, tensor)
    tables = fresh.tensors()["codebooks"]
    first, second = tables[0][codes[:, 0]], tables[1][codes[:, 1]]
    left = latent.numpy()
    distance = float(((left - first) ** 2).mean() + ((left - first - second) ** 2).mean())
    said = fresh.decoder(torch.from_numpy(first + second)).detach().numpy()
    losses = {name: value.item() for name, value in fresh.losses(tensor).items()}
    assert losses["reconstruction"] == pytest.approx(float(((said - points) ** 2).mean()), rel=1e-4)
    assert losses["codebook"] == pytest.approx(distance, rel=1e-4)
    assert losses["commitment"] == pytest.approx(0.25 * distance, rel=1e-4)


def test_place_and_scale_of_the_vectors_do_not_matter():
    points = families(300).astype(np.float64)
    first, second = fit(RqVae(**SMALL), points), fit(RqVae(**SMALL), 1000 * points - 500)
    tokenizer = RqVae(**SMALL)
    errors = [error(points, tokenizer.reconstruct(first)), error(1000 * points - 500, tokenizer.reconstruct(second))]
    assert errors[0] == pytest.approx(errors[1], rel=0.15)


def test_seeds():
    points = families(200)
    first, again, other = (fit(RqVae(**SMALL), points, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.codes_IL, again.codes_IL)
    assert all(np.array_equal(first.codebook[name], again.codebook[name]) for name in first.codebook)
    assert not np.array_equal(first.codes_IL, other.codes_IL)


def test_identical_items_are_told_apart_by_a_suffix():
    points = np.concatenate([families(60), np.repeat(families(1, seed=3), 5, axis=0)])
    ids = fit(RqVae(**SMALL), points)
    assert len(np.unique(ids.codes_IL[-5:, :2], axis=0)) == 1
    assert ids.vocabulary_sizes[:2] == (16, 16)
    assert ids.vocabulary_sizes[2] >= 5
    assert ids.collisions >= 5


def test_nearest_free_keeps_the_length():
    points = np.concatenate([families(60), np.repeat(families(1, seed=3), 5, axis=0)])
    ids = fit(RqVae(**SMALL | {"collisions": "nearest_free", "codes": 32}), points)
    assert ids.codes_IL.shape == (65, 2)
    assert ids.collisions >= 5


@pytest.mark.parametrize("collisions", ["suffix", "nearest_free"])
def test_a_new_item_goes_where_its_twin_is(collisions):
    points = np.concatenate([families(100), np.repeat(families(1, seed=3), 5, axis=0)])
    tokenizer = RqVae(**SMALL | {"collisions": collisions, "codes": 32, "normalize": True})
    ids = with_own_branch(tokenizer.fit(vectors_of(points, absent=(7, 8)), keys=(), context=WorkContext(seed=1)))
    twins = np.array([0, 20, 60])
    wider = tokenizer.assign(ids, vectors_of(points, absent=(7, 8)), vectors_of(2 * points[twins], absent=(1,)))
    assert np.array_equal(wider.codes_IL[:105], ids.codes_IL)
    assert (wider.codes_IL[106] == ABSENT).all()
    levels = ids.num_levels - 1
    assert np.array_equal(wider.codes_IL[[105, 107], :levels], ids.codes_IL[twins[[0, 2]], :levels])


def test_new_items_get_no_code_that_no_known_item_has():
    points = families(12)
    tokenizer = RqVae(**SMALL | {"codes": 64})
    ids = fit(tokenizer, points)
    wider = tokenizer.assign(ids, vectors_of(points), vectors_of(families(12, seed=5) * 3))
    assert set(wider.codes_IL[12:, 0]) <= set(ids.codes_IL[:, 0])
    assert len(np.unique(ids.codes_IL[:, 0])) < 64


def test_another_width_is_refused():
    points = families(30)
    tokenizer = RqVae(**SMALL)
    with pytest.raises(DataError, match="rqvae: the vectors of the new items have 5 numbers each"):
        tokenizer.assign(fit(tokenizer, points), vectors_of(points), vectors_of(np.ones((2, 5))))


def test_the_number_of_threads_decides_nothing():
    points = np.random.default_rng(3).normal(size=(300, 24)).astype(np.float32)
    vectors = ItemVectors(points, np.ones(300, dtype=bool))
    tokenizer, found = RqVae(codes=16, levels=2, hidden=(32,), latent_dim=8, epochs=3), []
    threads = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(tokenizer.fit(vectors, keys=(), context=WorkContext(seed=1)).codes_IL)
        assert torch.get_num_threads() == number
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0], found[1])


ONE_THREAD = """
import numpy as np
from threadpoolctl import threadpool_info
from genrec.runtime.environment import WorkContext
from genrec.tokenizers.rqvae import RqVae, RqVaeNetwork
from genrec.types import ItemVectors

start = RqVaeNetwork.start

def started(*arguments):
    start(*arguments)
    print(sorted({library["num_threads"] for library in threadpool_info()}))

RqVaeNetwork.start = started
vectors = ItemVectors(np.eye(40, 8, dtype=np.float32), np.ones(40, dtype=bool))
RqVae(levels=1, codes=4, hidden=(4,), latent_dim=2, epochs=1).fit(vectors, keys=(), context=WorkContext())
"""


@pytest.mark.slow
def test_the_codes_start_on_one_thread() -> None:
    """Libraries that are loaded after the limit was set know nothing of it, and k-means is then another one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.splitlines()[:1] == ["[1]"], done.stdout + done.stderr
