import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from walk_decoder import DIM, WalkDecoder, random_ids

from genrec.errors import DataError
from genrec.model.contracts import Encoded
from genrec.runtime import progress
from genrec.search.methods import METHODS
from genrec.search.settings import SearchSettings
from genrec.search.streams import log_expanded, search_streams
from genrec.semantic_ids.trie import Trie
from genrec.types import Histories

NUM_ITEMS = 40
MAX_HISTORY = 6


class MeanRetriever(nn.Module):
    """A user is the mean of the item vectors of the history; two streams with codes of different length."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(2 * torch.randn(NUM_ITEMS + 1, DIM, generator=generator))
        ids = {
            "behavior": random_ids(1, num_items=NUM_ITEMS, num_levels=2, num_codes=8),
            "text": random_ids(2, num_items=NUM_ITEMS, num_levels=3, num_codes=4, absent=6),
        }
        self.tries = {name: Trie.of(of_stream) for name, of_stream in ids.items()}
        self.modules_of_streams = nn.ModuleDict({name: WalkDecoder(trie, 3) for name, trie in self.tries.items()})
        self.shapes = []

    @property
    def decoders(self):
        return dict(self.modules_of_streams.items())

    def encode(self, history_BT, *, to_search=False):
        assert not self.training
        self.shapes.append(tuple(history_BT.shape))
        mask_BT = history_BT != NUM_ITEMS
        vectors_BTD = self.table[history_BT] * mask_BT[:, :, None]
        mean_B1D = vectors_BTD.sum(1, keepdim=True) / mask_BT.sum(1)[:, None, None]
        return dict.fromkeys(self.tries, Encoded(mean_B1D.expand_as(vectors_BTD).contiguous(), mask_BT, False))


@pytest.fixture
def retriever():
    return MeanRetriever().train()


@pytest.fixture
def histories():
    rng = np.random.default_rng(5)
    return Histories.of([rng.integers(0, NUM_ITEMS, size=int(rng.integers(1, 15))) for _ in range(23)])


def search(retriever, histories, *, method="beam", batch_size=5, list_length=8, beam_width=60, **options):
    chosen = SearchSettings(method=method, beam_width=beam_width, list_length=list_length, batch_size=batch_size)
    return search_streams(
        retriever, retriever.tries, histories, chosen, num_items=NUM_ITEMS, max_history=MAX_HISTORY, **options
    )


def brute_force(retriever, histories, name):
    """log_probs_UI of one stream."""
    table = retriever.table.detach()
    means = torch.stack([table[torch.from_numpy(histories[u][-MAX_HISTORY:].astype(int))].mean(0) for u in range(23)])
    mask_BT = torch.ones(23, 1, dtype=torch.bool)
    return retriever.decoders[name].brute_force(Encoded(means[:, None], mask_BT, False))


@pytest.mark.parametrize("method", ["beam", "exact"])
@pytest.mark.parametrize("seen", ["keep", "filter"])
@pytest.mark.parametrize("with_scores", [False, True])
def test_lists_and_scores_are_those_of_brute_force(retriever, histories, method, seen, with_scores):
    found = search(retriever, histories, method=method, seen=seen, with_scores=with_scores)
    assert found.streams == ("behavior", "text")
    assert found.code_lengths_S.tolist() == [2, 3]
    is_item_BC = found.items_BC >= 0
    for s, name in enumerate(found.streams):
        expected_UI = brute_force(retriever, histories, name)
        for user in range(23):
            allowed = expected_UI[user].copy()
            if seen == "filter":
                allowed[histories[user]] = -np.inf
            order = np.argsort(-allowed)[:8]
            own = np.flatnonzero(found.ranks_BCS[user, :, s] >= 0)
            ranked = found.items_BC[user, own[np.argsort(found.ranks_BCS[user, own, s])]]
            assert ranked.tolist() == order.tolist()
        scores_BC = found.log_probs_BCS[:, :, s]
        exact_BC = np.take_along_axis(expected_UI, np.maximum(found.items_BC, 0), axis=1)
        known_BC = is_item_BC if with_scores else found.ranks_BCS[:, :, s] >= 0
        np.testing.assert_allclose(scores_BC[known_BC], exact_BC[known_BC], atol=1e-4)
        assert np.isnan(scores_BC[~known_BC]).all()


@pytest.mark.parametrize("method", METHODS)
def test_only_allowed_items_are_found(retriever, histories, method):
    allowed_I = np.arange(NUM_ITEMS) % 3 == 0
    found = search(retriever, histories, method=method, seen="filter", list_length=NUM_ITEMS, allowed_I=allowed_I)
    for user in range(23):
        items = found.items_BC[user][found.items_BC[user] >= 0]
        assert set(items.tolist()) == set(np.flatnonzero(allowed_I).tolist()) - set(histories[user].tolist())


def test_batches_are_trimmed_sorted_and_without_influence(retriever, histories):
    batched = search(retriever, histories, with_scores=True)
    assert sum(rows for rows, _ in retriever.shapes) == 23
    widths = [width for _, width in retriever.shapes]
    assert widths == sorted(widths)
    assert widths[0] < MAX_HISTORY
    assert widths[-1] == MAX_HISTORY
    for other in (
        search(retriever, histories, batch_size=1, with_scores=True),
        search(retriever, histories, batch_size=50, with_scores=True),
    ):
        np.testing.assert_array_equal(other.items_BC, batched.items_BC)
        np.testing.assert_allclose(other.log_probs_BCS, batched.log_probs_BCS, atol=1e-4)


def test_candidates_are_in_the_order_of_the_users(retriever, histories):
    whole = search(retriever, histories)
    shuffled = np.random.default_rng(0).permutation(23)
    np.testing.assert_array_equal(search(retriever, histories.take(shuffled)).items_BC, whole.items_BC[shuffled])


def test_mode_is_put_back(retriever, histories):
    search(retriever, histories)
    assert retriever.training
    retriever.eval()
    search(retriever, histories)
    assert not retriever.training
    retriever.train()
    retriever.encode = None
    with pytest.raises(TypeError):
        search(retriever, histories)
    assert retriever.training


def test_one_stream_and_no_user(retriever, histories):
    retriever.tries = {"text": retriever.tries["text"]}
    assert search(retriever, histories, with_scores=True).log_probs_BCS.shape[0::2] == (23, 1)
    nobody = search(retriever, histories.take(np.array([], dtype=int)), with_scores=True)
    assert len(nobody) == 0
    assert nobody.streams == ("text",)


def test_empty_history_is_the_users_mistake(retriever):
    expected = "search: the history of row 1 is empty, expected at least one item; leave such users out"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        search(retriever, Histories.of([[1], [], [2]]))


@pytest.mark.parametrize("method", METHODS)
def test_expanded_prefixes_are_reported_per_user(retriever, histories, method):
    reports = []
    search(retriever, histories, method=method, batch_size=5, on_expanded=reports.append)
    search(retriever, histories, method=method, batch_size=50, on_expanded=reports.append)
    [in_batches, at_once] = reports
    assert list(in_batches) == ["behavior", "text"]
    num_prefixes = {name: sum(map(trie.num_nodes, range(1, trie.num_levels))) for name, trie in retriever.tries.items()}
    for name, mean in in_batches.items():
        assert 1 <= mean <= 2 * num_prefixes[name]
        assert method != "exact" or mean == at_once[name] == num_prefixes[name]
    search(retriever, histories.take(np.array([], dtype=int)), method=method, on_expanded=reports.append)
    assert len(reports) == 2, "no users, no average"


def test_expanded_prefixes_are_printed(capsys):
    log_expanded({"behavior": 24.04, "text": 7})
    assert capsys.readouterr().err == "prefixes expanded per user, on average: behavior 24.0, text 7.0\n"


def test_nothing_needs_gradients(retriever, histories):
    search(retriever, histories)
    assert retriever.table.grad is None
    assert all(not tensor.is_inference() for tensor in retriever.parameters())


def test_several_threads_search_one_model(retriever, histories):
    retriever.eval()
    alone = search(retriever, histories, with_scores=True)
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda _: search(retriever, histories, with_scores=True, title=None), range(12))
    for found in together:
        np.testing.assert_array_equal(found.items_BC, alone.items_BC)
        np.testing.assert_array_equal(found.log_probs_BCS, alone.log_probs_BCS)
    assert not retriever.training


def test_progress_is_shown_under_a_title_alone(retriever, histories, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    search(retriever, histories, batch_size=30, title=None)
    assert capsys.readouterr().err == ""
    search(retriever, histories, batch_size=30, title="reading")
    assert capsys.readouterr().err == "reading: 23/23 \n"
