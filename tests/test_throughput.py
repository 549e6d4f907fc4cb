"""What ``genrec bench`` measures: operations counted right, every user and target once, rates that follow from them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from clockwork_runs import recipe, stream
from torch.nn import functional

from genrec.decoders.transformer import Transformer
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.untrained_model import untrained_model
from genrec.experiment.vectors import encode_items
from genrec.history_encoders.item_ids import ItemIds
from genrec.merges.log_prob_sum import LogProbSum
from genrec.model.weights import weights_of
from genrec.runtime.environment import Environment
from genrec.runtime.threads import threads
from genrec.search.settings import SearchSettings
from genrec.throughput.decoding import time_decoding
from genrec.throughput.machine import higher, measure_peak
from genrec.throughput.measurement import measure
from genrec.throughput.timing import Peak, Seconds, Timing, counted_flops
from genrec.throughput.training import time_training

pytestmark = pytest.mark.slow

DIM, FEEDFORWARD, LAYERS, HISTORY, BEAMS, CODES = 32, 64, 2, 6, 20, 7


def of_transformers(**changes):
    decoder = Transformer(num_layers=LAYERS, num_heads=2, feedforward_dim=FEEDFORWARD)
    streams = {name: stream(name).model_copy(update={"decoder": decoder}) for name in ("behavior", "text")}
    return recipe(**{"streams": streams} | changes)


CPU = Environment("cpu", threads=1)


def coded(asked, folder: Path):
    """Dataset, streams and cache."""
    cache = Cache(folder, quiet=True)
    fit = plan_fit(asked, load_dataset(asked, CPU), CPU)
    return fit.dataset, tokenize_items(fit, encode_items(fit, cache), cache), cache


def parts(asked, folder: Path):
    """Model, tries and dataset."""
    dataset, streams, _ = coded(asked, folder)
    model = untrained_model(asked, streams, dataset.num_items).eval()
    return model, {name: context.trie for name, context in streams.items()}, dataset


def counted(work) -> int | None:
    with counted_flops() as flops:
        work()
    return flops()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_products_are_counted_dense_sparse_and_in_place():
    a, b, bias = torch.rand(3, 5), torch.rand(5, 7), torch.rand(7)
    assert counted(lambda: a @ b) == 2 * 3 * 5 * 7
    assert counted(lambda: a @ b[:, 0]) == 2 * 3 * 5
    assert counted(lambda: torch.mm(a, b, out=torch.empty(3, 7))) == 2 * 3 * 5 * 7
    assert counted(lambda: functional.linear(a, b.T, bias)) == 2 * 3 * 5 * 7
    assert counted(lambda: torch.zeros(3, 7).addmm_(a, b)) == 2 * 3 * 5 * 7
    batch = torch.rand(2, 3, 5), torch.rand(2, 5, 7)
    assert counted(lambda: torch.bmm(*batch)) == counted(lambda: torch.zeros(2, 3, 7).baddbmm_(*batch)) == 2 * 210
    sparse = torch.eye(5).to_sparse_csr()
    assert counted(lambda: sparse @ b) == 2 * 5 * 7, "five entries, not twenty-five"
    assert counted(lambda: torch.sparse.sampled_addmm(torch.eye(3).to_sparse_csr(), a, a.T)) == 2 * 3 * 5
    with torch.inference_mode():
        assert counted(lambda: functional.linear(a, b.T, bias)) == 2 * 3 * 5 * 7
    assert counted(lambda: a + 1) is None


def test_attention_is_counted_on_the_cpu():
    query = torch.rand(2, 4, 3, 8, requires_grad=True)
    key, value = (torch.rand(2, 4, 5, 8, requires_grad=True) for _ in range(2))
    products = 2 * 2 * 4 * 3 * 5 * 8

    def attend():
        return functional.scaled_dot_product_attention(query, key, value)

    assert counted(attend) == 2 * products
    mixed = attend()
    assert counted(lambda: mixed.sum().backward()) == 5 * products


def test_rates_and_shares_follow_from_what_was_counted():
    taken = (Seconds(2.0, 1.0), Seconds(1.0, 1.0), Seconds(4.0, 2.0))
    timing = Timing("a", 8, 100, 400, taken, steps=10)
    assert (timing.per_second.median, timing.per_second.min, timing.per_second.max) == (50, 25, 100)
    assert (timing.per_cpu_second.median, timing.per_cpu_second.min) == (100, 50)
    assert timing.flops_each == 4
    assert timing.milliseconds_a_step == 200
    peak = Peak(1000.0, 500.0, 64, "float32")
    assert timing.share_of(peak) == pytest.approx(0.2)
    assert timing.cpu_share_of(peak) == pytest.approx(0.8)
    assert timing.cpu_share_of(Peak(1000.0, None, 64, "bfloat16")) is None
    unseen = Timing("a", 8, 100, None, taken)
    assert (unseen.share_of(peak), unseen.flops_each, unseen.milliseconds_a_step) == (None, None, None)


def test_the_peak_is_higher_than_that_of_a_small_product(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genrec.throughput.machine._SIZES", (4, 256))
    with threads(1):
        peak = measure_peak(torch.device("cpu"))
    assert peak.size == 256, "a product of 4 x 4 is all overhead"
    assert peak.per_second > 1e8
    assert peak.per_cpu_second is not None
    assert peak.per_cpu_second > 0.5 * peak.per_second, "one thread has no more than the seconds on the wall"
    assert peak.dtype == "float32"
    assert higher(Peak(2.0, 5.0, 1, "a"), Peak(3.0, 4.0, 2, "b")) == Peak(3.0, 5.0, 2, "b")
    assert higher(Peak(3.0, None, 2, "b"), Peak(2.0, None, 1, "a")) == Peak(3.0, None, 2, "b")


def test_decoding_executes_what_the_formula_says(tmp_path: Path):
    """One start token and a beam of codes a stream, keys and values of the history once, the encoder once."""
    asked = of_transformers(search=SearchSettings(beam_width=BEAMS, list_length=10))
    model, tries, dataset = parts(asked, tmp_path)
    both, behavior, text = time_decoding(
        model, tries, dataset.valid.histories, asked, batch_sizes=[20], repetitions=1, each_stream=True
    )
    assert [timing.name for timing in (both, behavior, text)] == ["behavior + text", "behavior", "text"]
    read = HISTORY
    assert (np.minimum(dataset.valid.histories.lengths, HISTORY) == read).all()
    token = LAYERS * (8 * DIM**2 + 4 * DIM**2 + 4 * DIM * FEEDFORWARD + 4 * read * DIM) + 2 * DIM * CODES
    prefixes = [1, *(min(BEAMS, tries["behavior"].num_nodes(depth)) for depth in range(1, 2))]
    stream_alone = sum(prefixes) * token + LAYERS * 4 * read * DIM**2
    encoder = read * (8 * DIM**2 + 4 * DIM * 64 + 4 * read * DIM)
    assert 0.5 < behavior.flops_each / (stream_alone + encoder) < 2
    assert both.flops == pytest.approx(behavior.flops + text.flops - 40 * encoder, rel=0.05), "read once for both"


def test_every_batch_is_full_and_the_work_of_a_user_the_same(tmp_path: Path):
    asked = recipe()
    model, tries, dataset = parts(asked, tmp_path)
    model.train()
    users = dataset.valid.histories.take(np.arange(12))
    one, seven, ninety = time_decoding(model, tries, users, asked, batch_sizes=[1, 7, 90], repetitions=2)
    assert [timing.count for timing in (one, seven, ninety)] == [12, 14, 90]
    assert [timing.batch_size for timing in (one, seven, ninety)] == [1, 7, 90]
    assert one.flops_each == pytest.approx(seven.flops_each, rel=0.05)
    assert one.flops_each == pytest.approx(ninety.flops_each, rel=0.05)
    for timing in (one, seven, ninety):
        assert len(timing.repetitions) == 2
        assert all(taken.wall > 0 and taken.cpu > 0 for taken in timing.repetitions)
    assert one.per_cpu_second.median < ninety.per_cpu_second.median, "batching pays"
    assert model.training, "left as it was"


def test_a_merge_that_needs_scores_pays_for_them(tmp_path: Path):
    model, tries, dataset = parts(of_transformers(), tmp_path)
    cost = [
        time_decoding(model, tries, dataset.valid.histories, asked, batch_sizes=[40], repetitions=1)[0].flops
        for asked in (of_transformers(), of_transformers(merge=LogProbSum()))
    ]
    assert cost[1] > 1.2 * cost[0]


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_every_target_is_counted_once_a_repetition(attention, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    encoder = ItemIds(dim=DIM, max_history=HISTORY, feedforward_dim=64, dropout=0.0, attention=attention)
    training = recipe().training.model_copy(update={"batch_size": 20})
    asked = recipe(history_encoder=encoder, training=training)
    model, _, dataset = parts(asked, tmp_path)
    fresh = {name: weights.clone() for name, weights in weights_of(model).items()}
    whole = time_training(model, dataset.train, asked, steps=1000, repetitions=2)
    targets = int(np.maximum(dataset.train.lengths - 1, 0).sum())
    assert whole.count == targets == 40 * 5, "as many steps as there are batches"
    samples = len(dataset.train) if attention == "causal" else targets
    assert whole.steps == -(-samples // asked.training.batch_size)
    assert whole.batch_size == asked.training.batch_size
    assert len(whole.repetitions) == 2
    assert set(whole.phases) == {"forward", "backward", "optimizer", "rest"}
    assert sum(whole.phases.values()) == pytest.approx(1)
    assert min(whole.phases["forward"], whole.phases["backward"], whole.phases["optimizer"]) > 0
    assert any(not torch.equal(weights, fresh[name]) for name, weights in weights_of(model).items()), "it is trained"
    assert not model.training
    two = time_training(model, dataset.train, asked, steps=2, repetitions=1)  # the loop ends well before an epoch does
    assert two.steps == 2
    assert two.count == 2 * whole.count / whole.steps
    assert two.flops_each == pytest.approx(whole.flops_each, rel=0.3)


def test_training_costs_three_times_the_losses(tmp_path: Path):
    """A product has two gradients, each as dear as itself."""
    asked = of_transformers()
    model, _, dataset = parts(asked, tmp_path)
    forward = []
    forward_of = model.forward

    def counting(batch):
        with counted_flops() as flops:
            found = forward_of(batch)
        forward.append(flops())
        return found

    model.forward = counting  # type: ignore[method-assign]
    timing = time_training(model, dataset.train, asked, steps=4, repetitions=1)
    of_a_pass = sum(forward[-4:])
    assert 2.5 < timing.flops / of_a_pass < 3.2


def test_a_measurement_of_fresh_weights_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genrec.throughput.machine._SIZES", (64,))
    dataset, streams, cache = coded(recipe(), tmp_path)
    model = untrained_model(recipe(), streams, dataset.num_items, dataset.train).eval()
    timed = partial(measure, recipe(), dataset, streams, model, weights="random")
    found = timed(batch_sizes=[3, 50], users=20, steps=2, repetitions=1, num_threads=1)
    assert found.weights == "random"
    assert found.machine.threads == 1
    assert [timing.count for timing in found.decode] == [21, 50]
    assert found.train is not None
    assert not list(tmp_path.glob("model*"))
    assert {stage["kind"] for stage in cache.log} == {"vectors", "ids"}
    assert found.notes[0].startswith("weights are random: ")
    assert "decode: 20 validation users, 6.0 items of each are read on average" in found.notes
    assert "decode: 20 users do not fill the larger batches and are in them more than once" in found.notes
    assert "decode: search beam, beam width 20, lists of 10, seen items: keep" in found.notes
    assert any(note.startswith(f"train: {found.train.count} targets in 2 steps") for note in found.notes)
    only = timed(["train"], steps=1, repetitions=1)
    assert only.decode == ()
    assert only.train is not None
    assert timed(["decode"], batch_sizes=[8], users=8, repetitions=1).train is None
