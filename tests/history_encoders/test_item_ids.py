"""The item id encoder: what a state sees, where positions count from, and what embeddings start from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genrec.baselines.bsarec import Bsarec
from genrec.decoders.dense import Dense
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import BuildContext, Encoded, StreamContext
from genrec.model.frequency_layers import FrequencyFilter
from genrec.model.initial_vectors import starting_vectors
from genrec.model.layers import init_weights
from genrec.semantic_ids.trie import Trie
from genrec.testing import tiny_vectors
from genrec.types import ItemVectors, SemanticIds

NUM_ITEMS, PADDING = 24, 24


def context(vectors=None, item_table=None, dim=8):
    ids = SemanticIds(np.arange(NUM_ITEMS, dtype=np.int32)[:, None], (NUM_ITEMS,))
    streams = {
        name: StreamContext(ids, Trie.of(ids), part) for name, part in (vectors or {"text": tiny_vectors()}).items()
    }
    return BuildContext(NUM_ITEMS, dim, 6, streams, stream="text", item_table=item_table)


def built(seed=1, vectors=None, item_table=None, **changes):
    settings = ItemIds(**{"dim": 8, "max_history": 6, "num_heads": 2, "num_layers": 2, "feedforward_dim": 16} | changes)
    torch.manual_seed(seed)
    encoder = settings.build(context(vectors, item_table, settings.dim))
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "item_table" not in name and weight.dim() > 1:
                weight.mul_(10.0)
    return encoder.eval()


ATTENTIONS = pytest.mark.parametrize("attention", ["bidirectional", "causal"])


@torch.no_grad()
@ATTENTIONS
def test_padding_is_never_looked_at(attention):
    encoder = built(attention=attention)
    short = encoder(torch.tensor([[3, 8, 1]]))
    padded_BT = torch.tensor([[3, 8, 1, PADDING, PADDING, PADDING], [5, 6, 7, 8, 9, 10]])
    before = encoder(padded_BT)
    torch.testing.assert_close(before.states_BTD[:1, :3], short.states_BTD)
    assert torch.equal(before.mask_BT, padded_BT != PADDING)
    torch.testing.assert_close(before.last_BD[0], short.states_BTD[0, 2])
    torch.testing.assert_close(before.last_BD[1], before.states_BTD[1, 5])
    encoder.item_table.weight[-1] = 100.0  # whatever stands in the padding's row
    torch.testing.assert_close(encoder(padded_BT).states_BTD[:1, :3], short.states_BTD)


@torch.no_grad()
@ATTENTIONS
def test_what_a_state_sees(attention):
    encoder = built(attention=attention)
    before, after = (encoder(torch.tensor([[3, 8, 1, last]])).states_BTD for last in (4, 5))
    is_seen_T = ~torch.isclose(before, after, atol=1e-5).all(-1)[0]
    assert is_seen_T.tolist() == ([False, False, False, True] if attention == "causal" else [True] * 4)
    assert encoder.is_causal == encoder(torch.tensor([[1]])).is_causal == (attention == "causal")


@torch.no_grad()
def test_causal_states_stand_for_prefixes():
    encoder = built(attention="causal")
    history_BT = torch.tensor([[3, 8, 1, 4, 11]])
    whole = encoder(history_BT).states_BTD
    for length in range(1, 6):
        torch.testing.assert_close(encoder(history_BT[:, :length]).states_BTD, whole[:, :length])


@torch.no_grad()
@ATTENTIONS
def test_order_matters(attention):
    encoder = built(attention=attention)
    one, other = encoder(torch.tensor([[3, 8, 1]])).last_BD, encoder(torch.tensor([[8, 3, 1]])).last_BD
    assert not torch.allclose(one, other, atol=1e-5)


@torch.no_grad()
@ATTENTIONS
def test_positions_count_from_the_right_end(attention):
    """Without layers a state is norm(item + position)."""
    encoder = built(attention=attention, num_layers=0)
    states = encoder(torch.tensor([[3, 8, 1, PADDING]])).states_BTD[0]
    places = [0, 1, 2] if attention == "causal" else [2, 1, 0]
    expected = encoder.norm(encoder.item_table.weight[[3, 8, 1]] + encoder.positions.weight[places])
    torch.testing.assert_close(states[:3], expected)


def test_dropout_works_in_training_alone():
    encoder, history_BT = built(dropout=0.3), torch.tensor([[1, 2, 3]])
    assert torch.equal(encoder(history_BT).states_BTD, encoder(history_BT).states_BTD)
    encoder.train()
    assert not torch.equal(encoder(history_BT).states_BTD, encoder(history_BT).states_BTD)


def test_padding_has_no_vector_and_learns_none():
    encoder = built()
    assert not encoder.item_table.weight[-1].any()
    encoder(torch.tensor([[1, 2, PADDING]])).states_BTD.square().sum().backward()
    assert not encoder.item_table.weight.grad[-1].any()
    assert bool(encoder.item_table.weight.grad[1].any())


def test_a_given_table_is_used_as_it_is():
    table = torch.nn.Embedding(NUM_ITEMS + 1, 8)
    weight = table.weight.detach().clone()
    encoder = built(item_table=table, start_from=("text",))
    assert encoder.item_table is table
    assert torch.equal(table.weight, weight)


def test_embeddings_start_from_vectors_where_there_are_some():
    vectors = tiny_vectors(absent=(3, 23))
    first, again = (built(vectors={"text": vectors}, start_from=("text",)).item_table.weight for _ in range(2))
    other = built(seed=2, vectors={"text": vectors}, start_from=("text",)).item_table.weight
    plain = built().item_table.weight
    assert torch.equal(first, again)
    present = torch.from_numpy(vectors.present_I)
    expected = torch.from_numpy(starting_vectors([vectors], 8))
    assert torch.equal(first[:-1][present], expected[present])
    assert torch.equal(first[:-1][present], other[:-1][present]), "another seed changes nothing here"
    assert torch.equal(first[:-1][~present], plain[:-1][~present]), "absent items keep their random vectors"
    assert bool((first[:-1][~present].abs().sum(1) > 0).all())
    assert not torch.equal(first[:-1][~present], other[:-1][~present])


def test_starting_vectors_are_the_principal_components():
    """Against a singular value decomposition, up to the sign of an axis."""
    sources = [tiny_vectors(width=8, absent=(3,), seed=1), tiny_vectors(width=5, absent=(4, 9), seed=2)]
    joined = []
    for source in sources:
        present = source.present_I
        centered = np.zeros(source.vectors_IE.shape)
        centered[present] = source.vectors_IE[present] - source.vectors_IE[present].mean(0)
        joined.append(centered / centered[present].std())
    matrix = np.concatenate(joined, 1)
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    expected = left[:, :4] * values[:4]
    expected *= 0.05 / expected.std()
    got = starting_vectors(sources, 4)
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-4)
    assert got.std() == pytest.approx(0.05, rel=1e-4)


def test_starting_vectors_do_not_depend_on_scale_or_offset():
    vectors = tiny_vectors(absent=())
    moved = ItemVectors(vectors.vectors_IE * 100 + 7, vectors.present_I)
    np.testing.assert_allclose(starting_vectors([moved], 4), starting_vectors([vectors], 4), atol=1e-4)


def test_starting_vectors_of_a_narrow_source_are_padded():
    got = starting_vectors([tiny_vectors(width=3)], 8)
    assert got.shape == (NUM_ITEMS, 8)
    assert not got[:, 3:].any()
    assert got[:, :3].any(axis=0).all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValidationError, match="dim 10 is not a multiple of num_heads 4"):
        ItemIds(dim=10)


def test_rows_of_what_was_read():
    encoded = Encoded(torch.randn(3, 4, 2), torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool(), True)
    some = encoded.rows(torch.tensor([2, 0]))
    assert torch.equal(some.last_BD, encoded.last_BD[[2, 0]])
    assert torch.equal(encoded.last_BD[1], encoded.states_BTD[1, 0])
    assert some.is_causal


@torch.no_grad()
def test_items_are_read_by_their_vectors_too():
    """With equal embeddings, only the vectors that are added tell items apart; padding and absent items add nothing."""
    encoder = built(add_vectors=("text",))
    encoder.item_table.weight.zero_()
    absent = int(np.flatnonzero(~tiny_vectors().present_I)[0]) if not tiny_vectors().present_I.all() else None
    first, second = (encoder(torch.tensor([[item]])).states_BTD for item in (3, 8))
    assert not torch.allclose(first, second, atol=1e-3)
    assert not encoder.vectors_IE[-1].any()
    assert absent is None or not encoder.vectors_IE[absent].any()
    plain = built()
    assert plain.vector_map is None
    assert "vectors_IE" not in plain.state_dict()


@torch.no_grad()
@ATTENTIONS
@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_the_last_state_alone_is_that_of_the_whole(attention, num_layers):
    encoder = built(attention=attention, num_layers=num_layers, add_vectors=("text",))
    history_BT = torch.tensor([[3, PADDING, PADDING, PADDING], [5, 6, 7, 8], [9, 9, 2, PADDING]])
    torch.testing.assert_close(encoder.last(history_BT), encoder(history_BT).last_BD)
    torch.testing.assert_close(encoder.last(history_BT[1:2]), encoder(history_BT[1:2]).last_BD)


POST = {"norm": "post", "attention": "causal", "embeddings": "normalized"}
BSAREC = {**POST, "positions": "end", "alpha": 0.7, "num_frequencies": 2}


@torch.no_grad()
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_with_tied_items_it_is_the_baseline_bsarec(alpha):
    """With the same weights the dense decoder gives each item what the baseline gives it."""
    torch.manual_seed(0)
    baseline = Bsarec(max_history=6, num_frequencies=2, alpha=alpha).network(NUM_ITEMS, dim=8, dropout=0.5).eval()
    init_weights(baseline, std=0.5)
    encoder = built(**BSAREC | {"alpha": alpha}, feedforward_dim=32)
    missing = encoder.load_state_dict(baseline.state_dict(), strict=False)
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    decoder = Dense().build(replace(context(), item_table=encoder.item_table)).eval()
    history_BT = torch.tensor([[3, 8, 1, PADDING, PADDING, PADDING], [5, 6, 7, 8, 9, 10]])
    expected_BI = (baseline.last_states(history_BT) @ baseline.item_vectors_ID.T).log_softmax(1)
    zeros = torch.zeros(2, 1, dtype=torch.int64)
    for encoded in (encoder(history_BT), Encoded(encoder.last(history_BT)[:, None], torch.ones(2, 1) > 0, True)):
        found_BI = decoder.expand(decoder.begin(encoded), 0, zeros, zeros)[:, 0]
        torch.testing.assert_close(found_BI, expected_BI)


@torch.no_grad()
@pytest.mark.parametrize(
    ("changes", "is_causal"),
    [
        (POST, True),
        (POST | {"positions": "end"}, False),
        (BSAREC, False),
        (BSAREC | {"positions": "start"}, False),
        (BSAREC | {"positions": "start", "filter": "causal"}, True),
        (BSAREC | {"positions": "start", "filter": "causal", "attention": "bidirectional"}, False),
    ],
)
def test_only_encoders_that_look_at_nothing_later_are_causal(changes, is_causal):
    encoder = built(**changes)
    history_BT = torch.tensor([[3, 8, 1, 4, 11]])
    whole, prefix = encoder(history_BT).states_BTD, encoder(history_BT[:, :3]).states_BTD
    assert encoder.is_causal is is_causal
    assert torch.allclose(whole[:, :3], prefix, atol=1e-5) is is_causal
    torch.testing.assert_close(encoder.last(history_BT[:, :3]), prefix[:, 2])


@torch.no_grad()
def test_a_causal_filter_gives_what_the_filter_of_each_prefix_ends_with():
    whole, causal = (FrequencyFilter(3, 6, 2, is_causal=is_causal) for is_causal in (False, True))
    causal.factor_D.copy_(whole.factor_D)
    x_BTD = torch.randn(2, 5, 3)
    ends_BTD = torch.stack([whole(x_BTD[:, : length + 1])[:, -1] for length in range(5)], 1)
    torch.testing.assert_close(causal(x_BTD), ends_BTD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.5}, "found alpha: 0.5 with norm: pre, expected norm: post, that of BSARec's layer"),
        ({"alpha": 0.5, "norm": "post", "num_frequencies": 5}, "found 5, expected at most 4: histories of 6 items"),
    ],
)
def test_a_filter_needs_its_layer_and_has_so_many_frequencies(changes, message):
    with pytest.raises(ValidationError, match=message):
        ItemIds(max_history=6, **changes)
