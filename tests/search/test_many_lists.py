"""Over 100,000 lists of random worlds: no item that does not exist, none twice, none excluded, none missing."""

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from walk_decoder import DIM, WalkDecoder, encode, random_ids

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, Histories, ItemVectors

pytestmark = pytest.mark.slow

NUM_USERS = 320
"""20 worlds of 4 streams, searched in 4 ways for so many users, are 102,400 lists; ``bound`` adds its own."""
METHODS = get_args(SearchSettings.model_fields["method"].annotation)
SMALL = {"num_layers": 1, "num_heads": 2, "feedforward_dim": 16}


class Walks(nn.Module):
    """A retriever of :class:`WalkDecoder`; a user's state is the mean of random vectors of the history's items.

    In every third world a node's children are all equally probable: lists full of ties.
    """

    def __init__(self, streams, num_items, seed):
        super().__init__()
        scale = 0.0 if seed % 3 == 1 else 1.5
        self.decoders = {name: WalkDecoder(context.trie, seed, scale).eval() for name, context in streams.items()}
        self.table = nn.Embedding.from_pretrained(
            torch.randn(num_items + 1, DIM, generator=torch.Generator().manual_seed(seed)), padding_idx=num_items
        )

    def encode(self, history_BT, *, to_search=False):
        return dict.fromkeys(self.decoders, encode(3 * self.table(history_BT).mean(1)))


def walks(streams, num_items, seed):
    return Walks(streams, num_items, seed)


def retriever_of(decoder):
    def build(streams, num_items, seed):
        encoder = ItemIds(dim=8, num_heads=2, max_history=6)
        model = Retriever(encoder, dict.fromkeys(streams, decoder), [], streams, num_items=num_items, seed=seed)
        with torch.no_grad():  # fresh weights are too small to tell items apart
            for weight in model.parameters():
                weight.mul_(4.0)
        return model

    return build


def random_streams(rng, num_items):
    """Codes of 1 to 4 levels, dense and sparse trees; some items have no codes."""
    streams = {}
    for num_levels, num_codes in ((1, num_items + 9), (2, 8), (3, 5), (4, 3)):
        absent = int(rng.integers(0, num_items - 1)) if rng.random() < 0.5 else 0
        ids = random_ids(
            rng.integers(2**31), num_items=num_items, num_levels=num_levels, num_codes=num_codes, absent=absent
        )
        vectors = ItemVectors(np.eye(num_items, dtype=np.float32), ids.present_I)
        streams[f"levels_{num_levels}"] = StreamContext(ids, Trie.of(ids), vectors)
    return streams


def random_histories(rng, num_users, num_items):
    """From one item to all of the catalog, repeats among them."""
    histories = []
    for _ in range(num_users):
        kind = rng.random()
        if kind < 0.7:
            items = rng.integers(0, num_items, size=int(rng.integers(1, 10)))
        elif kind < 0.95:
            items = rng.permutation(num_items)[: int(rng.integers(max(1, num_items - 12), num_items + 1))]
        else:
            items = np.concatenate([rng.permutation(num_items), rng.integers(0, num_items, size=3)])
        histories.append(items)
    return Histories.of(histories)


def lists_of(candidates, stream):
    """Each user's list of one stream, (item, log-probability) from rank 0 on."""
    for items_C, log_probs_C, ranks_C in zip(
        candidates.items_BC.tolist(),
        candidates.log_probs_BCS[:, :, stream].tolist(),
        candidates.ranks_BCS[:, :, stream].tolist(),
        strict=True,
    ):
        found = sorted((rank, c) for c, rank in enumerate(ranks_C) if rank != ABSENT)
        assert [rank for rank, _ in found] == list(range(len(found)))
        yield [items_C[c] for _, c in found], [log_probs_C[c] for _, c in found]


def check_list(items, log_probs, existing, excluded, settings, num_levels):
    found, allowed = set(items), existing - excluded
    assert found <= existing, "an item that is not in the trie"
    assert len(found) == len(items), "an item twice"
    assert not found & excluded, "an excluded item"
    assert all(map(np.isfinite, log_probs)), "an item without probability"
    assert log_probs == sorted(log_probs, reverse=True), "a better item behind a worse one"
    full = min(settings.list_length, len(allowed))
    assert len(items) <= full
    is_narrow = settings.method == "beam" and num_levels > 1 and settings.beam_width < settings.list_length
    assert len(items) >= (min(settings.beam_width, full) if is_narrow else full), "a list that ends early"


@pytest.mark.parametrize(
    ("build", "num_worlds"),
    [
        pytest.param(walks, 11, id="walk"),
        pytest.param(retriever_of(Mlp(hidden_dim=16)), 2, id="mlp-path"),
        pytest.param(retriever_of(Mlp(hidden_dim=16, vocabulary="level")), 2, id="mlp-level"),
        pytest.param(retriever_of(Mlp(hidden_dim=16, leaves="tied")), 2, id="mlp-tied"),
        pytest.param(retriever_of(Transformer(**SMALL)), 1, id="transformer-level"),
        pytest.param(retriever_of(Transformer(**SMALL, vocabulary="path")), 1, id="transformer-path"),
        pytest.param(retriever_of(Transformer(**SMALL, vocabulary="path", leaves="tied")), 1, id="transformer-tied"),
    ],
)
def test_no_list_is_wrong(build, num_worlds):
    num_lists = 0
    for seed in range(num_worlds):
        rng = np.random.default_rng(seed)
        num_items = int(rng.integers(2, 60))
        streams = random_streams(rng, num_items)
        model = build(streams, num_items, seed).eval()
        tries = {name: context.trie for name, context in streams.items()}
        existing = [set(np.flatnonzero(context.ids.present_I).tolist()) for context in streams.values()]
        for method, seen in product(METHODS, ("keep", "filter")):
            histories = random_histories(rng, NUM_USERS, num_items)
            settings = SearchSettings(
                method=method,
                beam_width=int(rng.integers(1, 15)),
                list_length=int(rng.integers(1, 15)),
                batch_size=160,
            )
            candidates = search_streams(
                model, tries, histories, settings, num_items=num_items, max_history=6, seen=seen
            )
            for stream, trie in enumerate(tries.values()):
                for user, (items, log_probs) in enumerate(lists_of(candidates, stream)):
                    excluded = set(histories[user].tolist()) if seen == "filter" else set()
                    check_list(items, log_probs, existing[stream], excluded, settings, trie.num_levels)
                    num_lists += 1
    assert num_lists == num_worlds * len(METHODS) * 2 * NUM_USERS * len(streams)
