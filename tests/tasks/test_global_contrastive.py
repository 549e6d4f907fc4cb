"""EAGER, eq. 3 against NumPy, for each metric."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec.model.contracts import BuildContext, Outputs, StreamContext
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.tasks.global_contrastive import GlobalContrastive, scaled_vectors
from genrec.testing import tiny_vectors
from genrec.types import ItemVectors

DIM, NUM_ITEMS = 5, 24
TARGETS = torch.tensor([3, 8, 0, 15])
"""Item 3 is absent in the first stream, item 4 in the second."""


def context(names=("text", "visual")):
    streams = {}
    for number, name in enumerate(names):
        vectors = tiny_vectors(width=6 + number, absent=(3 + number, 23), seed=number)
        ids = item_numbers(vectors)
        streams[name] = StreamContext(ids, Trie.of(ids), vectors)
    return BuildContext(NUM_ITEMS, DIM, 6, streams)


def outputs(streams, targets=TARGETS):
    torch.manual_seed(5)
    made = {}
    for name, stream in streams.items():
        summary_ND = torch.randn(len(targets), DIM, requires_grad=True)
        present_N = torch.from_numpy(stream.ids.present_I)[targets]
        made[name] = Outputs(
            torch.zeros(len(targets), 1), torch.zeros(len(targets), 1, DIM), summary_ND, present_N, targets
        )
    return made


def built(names=("text", "visual"), **settings):
    torch.manual_seed(1)
    where = context(names)
    task = GlobalContrastive(**settings).build(where)
    with torch.no_grad():
        for weight in task.parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
    return task, where


def guesses(task, name, output):
    layer = task.projections[f"stream {name}"]
    summary = output.summary_ND.detach().double().numpy()[output.present_N]
    return summary @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def expected_vectors(vectors):
    present = vectors.vectors_IE[vectors.present_I].astype(np.float64)
    centered = vectors.vectors_IE - present.mean(0)
    return centered / np.sqrt(np.square(present - present.mean(0)).sum(1).mean())


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def smooth_l1(guess, vector):
    gap = np.abs(guess - vector)
    return np.where(gap < 1, 0.5 * gap**2, gap - 0.5).sum(1)


def cosine(guess, vector):
    return 1 - (unit(guess) * unit(vector)).sum(1)


@pytest.mark.parametrize(("metric", "formula"), [("smooth_l1", smooth_l1), ("cosine", cosine)])
def test_positive_only_metrics(metric, formula):
    task, where = built(metric=metric)
    made = outputs(where.streams)
    expected = 0.0
    for name, stream in where.streams.items():
        kept = TARGETS.numpy()[made[name].present_N]
        expected += formula(guesses(task, name, made[name]), expected_vectors(stream.vectors)[kept]).mean()
    assert task(made).item() == pytest.approx(expected, abs=1e-5)


def test_infonce_tells_the_target_from_random_items(monkeypatch):
    task, where = built(metric="infonce", num_negatives=40, temperature=0.3)
    made = outputs(where.streams)
    drawn = []
    randint = torch.randint

    def remembered(*args, **kwargs):
        drawn.append(randint(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(torch, "randint", remembered)
    torch.manual_seed(9)
    loss = task(made).item()
    assert len(drawn) == 2
    expected, hits = 0.0, 0
    for (name, stream), places in zip(where.streams.items(), drawn, strict=True):
        vectors = unit(expected_vectors(stream.vectors))
        negatives = np.flatnonzero(stream.vectors.present_I)[places.numpy()]
        kept = TARGETS.numpy()[made[name].present_N]
        losses = []
        for guess, target in zip(unit(guesses(task, name, made[name])), kept, strict=True):
            others = negatives[negatives != target]
            hits += len(negatives) - len(others)
            logits = np.concatenate([[guess @ vectors[target]], vectors[others] @ guess]) / 0.3
            losses.append(-logits[0] + np.log(np.exp(logits).sum()))
        expected += np.mean(losses)
    assert hits > 0, "the target was drawn, so leaving it out is tested"
    assert loss == pytest.approx(expected, abs=1e-5)


def test_absent_items_are_nobodys_negatives():
    task, where = built(names=("text",), metric="infonce", num_negatives=500)
    made = outputs(where.streams)
    torch.manual_seed(1)
    before = task(made).item()
    absent = ~where.streams["text"].vectors.present_I
    task.vectors_text[torch.from_numpy(absent)] = 100.0
    torch.manual_seed(1)
    assert task(made).item() == before


def test_vectors_are_centered_and_of_mean_squared_norm_one():
    vectors = tiny_vectors(absent=(3, 23))
    scaled = scaled_vectors(vectors)
    present = scaled[vectors.present_I]
    np.testing.assert_allclose(present.mean(0), 0, atol=1e-6)
    assert np.square(present).sum(1).mean() == pytest.approx(1.0, abs=1e-6)
    assert not scaled[~vectors.present_I].any()
    np.testing.assert_allclose(scaled[vectors.present_I], expected_vectors(vectors)[vectors.present_I], atol=1e-6)
    moved = ItemVectors(vectors.vectors_IE * 7 + 3, vectors.present_I)
    np.testing.assert_allclose(scaled_vectors(moved), scaled, atol=1e-5)


def test_knowing_nothing_costs_what_the_docstring_says():
    for metric, cost in (("smooth_l1", 0.5), ("cosine", 1.0)):
        task, where = built(names=("text",), metric=metric)
        with torch.no_grad():
            for weight in task.parameters():
                weight.zero_()
        present = torch.from_numpy(np.flatnonzero(where.streams["text"].ids.present_I))
        assert task(outputs(where.streams, present)).item() == pytest.approx(cost, rel=0.1)


def test_the_gradient_reaches_the_summary_of_present_targets_alone():
    task, where = built()
    made = outputs(where.streams)
    task(made).backward()
    for output in made.values():
        assert torch.equal(output.summary_ND.grad.abs().sum(1) > 0, output.present_N)


@pytest.mark.parametrize("metric", ["smooth_l1", "cosine", "infonce"])
def test_copied_vectors_are_neither_targets_nor_negatives_nor_part_of_the_mean(metric):
    """Under ``absent_items: nearest`` every item has a vector, and some have that of another item."""
    whole = tiny_vectors(width=6)
    is_own_I = whole.present_I & (np.arange(NUM_ITEMS) % 3 > 0)
    copied = replace(whole, vectors_IE=np.where(is_own_I[:, None], whole.vectors_IE, whole.vectors_IE[1]))
    left_out = replace(whole, present_I=is_own_I)
    ids, losses = item_numbers(whole), []
    for vectors, encoded_I in ((copied, is_own_I), (left_out, None)):
        stream = StreamContext(ids, Trie.of(ids), vectors, encoded_I)
        torch.manual_seed(1)
        task = GlobalContrastive(metric=metric).build(BuildContext(NUM_ITEMS, DIM, 6, {"text": stream}))
        with torch.no_grad():
            for weight in task.parameters():
                weight.copy_(torch.randn_like(weight))
        made = outputs({"text": stream})
        torch.manual_seed(2)
        loss = task(made)
        loss.backward()
        assert torch.equal(made["text"].summary_ND.grad.abs().sum(1) > 0, torch.from_numpy(is_own_I)[TARGETS])
        losses.append(loss.item())
    assert losses[0] == losses[1]


def test_named_streams_alone_learn():
    task, where = built(streams=("visual",))
    made = outputs(where.streams)
    task(made).backward()
    assert made["text"].summary_ND.grad is None
    assert made["visual"].summary_ND.grad is not None
    assert list(task.projections) == ["stream visual"]


def test_no_target_with_codes_is_no_loss():
    task, where = built(names=("text",))
    made = outputs(where.streams, torch.tensor([3, 23]))
    assert task(made).item() == 0
    task(made).backward()


@pytest.mark.parametrize("metric", ["smooth_l1", "cosine", "infonce"])
def test_fresh_projections_have_a_gradient_of_reasonable_size(metric):
    where = context()
    torch.manual_seed(1)
    task, made = GlobalContrastive(metric=metric).build(where), outputs(where.streams)
    loss = task(made)
    loss.backward()
    for projection in task.projections.values():
        assert 0.01 < projection.weight.grad.norm().item() < 1000
    if metric == "smooth_l1":
        assert loss.item() == pytest.approx(1.0, rel=0.3), "half for each of two streams"


def test_streams_may_have_any_name():
    names = ("items", "keys", "train", "a-b_c")
    task, where = built(names=names)
    assert task(outputs(where.streams)).item() > 0
