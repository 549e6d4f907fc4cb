"""Every decoder of the core: expansion equals teacher forcing, padding and company change nothing."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.model import child_logits
from genrec.model.contracts import BuildContext, Encoded, StreamContext
from genrec.model.initial_vectors import starting_vectors
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, ItemVectors, SemanticIds

NUM_ITEMS, DIM = 20, 8
ABSENT_ITEMS = (4, 13)

DECODERS = {
    "transformer-tail": Transformer(num_layers=2, num_heads=2, feedforward_dim=16),
    "transformer-head": Transformer(num_layers=2, num_heads=2, feedforward_dim=16, summary="head", vocabulary="path"),
    "transformer-mean": Transformer(num_layers=1, num_heads=2, feedforward_dim=16, summary="mean", vocabulary="path"),
    "transformer-tied": Transformer(num_layers=1, num_heads=2, feedforward_dim=16, vocabulary="path", leaves="tied"),
    "transformer-recency": Transformer(num_layers=2, num_heads=2, feedforward_dim=16, recency_bias=True),
    "transformer-carry": Transformer(num_layers=2, num_heads=2, feedforward_dim=16, carry_state=True, summary="head"),
    "mlp-path": Mlp(hidden_dim=16),
    "mlp-tied": Mlp(hidden_dim=16, leaves="tied"),
    "mlp-level": Mlp(hidden_dim=16, vocabulary="level"),
}


@pytest.fixture(params=DECODERS, name="settings")
def _settings(request):
    return DECODERS[request.param]


@pytest.fixture(params=[1, 2, 3], name="context", scope="module")
def _context(request):
    """A ragged tree of one, two or three levels, and an item table."""
    sizes = {1: (30,), 2: (6, 5), 3: (4, 3, 3)}[request.param]
    generator = np.random.default_rng(request.param)
    chosen = generator.choice(int(np.prod(sizes)), NUM_ITEMS, replace=False)
    codes_IL = np.stack(np.unravel_index(chosen, sizes), 1).astype(np.int32)
    codes_IL[list(ABSENT_ITEMS)] = ABSENT
    ids = SemanticIds(codes_IL, sizes)
    vectors = ItemVectors(np.zeros((NUM_ITEMS, 2), np.float32), ids.present_I)
    table = torch.nn.Embedding(NUM_ITEMS + 1, DIM, padding_idx=NUM_ITEMS)
    return BuildContext(
        NUM_ITEMS, DIM, 5, {"one": StreamContext(ids, Trie.of(ids), vectors)}, stream="one", item_table=table
    )


def built(settings, context):
    """A decoder whose weights are large enough to tell items apart."""
    torch.manual_seed(1)
    decoder = settings.build(context)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(3.0)
    torch.nn.init.normal_(context.item_table.weight, std=0.3)
    return decoder.eval()


def histories(lengths=(5, 2, 3), width=5, is_causal=False, seed=2):
    torch.manual_seed(seed)
    mask_BT = torch.arange(width) < torch.tensor(lengths)[:, None]
    return Encoded(torch.randn(len(lengths), width, DIM), mask_BT, is_causal)


def all_items(rows):
    return torch.arange(NUM_ITEMS).expand(rows, -1)


@torch.no_grad()
def test_expansion_of_the_whole_tree_equals_teacher_forcing(settings, context):
    decoder, encoded, trie = built(settings, context), histories(), context.own.trie
    forced_BI = decoder(encoded, all_items(3)).log_probs_NL.sum(1).view(3, NUM_ITEMS)
    state = decoder.begin(encoded)
    total_BK, origin = torch.zeros(3, 1), torch.zeros(1, dtype=torch.int64)
    for depth in range(trie.num_levels):
        nodes = torch.arange(trie.num_nodes(depth))
        steps_BKC = decoder.expand(state, depth, nodes.expand(3, -1), origin.expand(3, -1))
        assert steps_BKC.shape == (3, len(nodes), trie.max_children(depth))
        counts = torch.from_numpy(np.diff(trie.child_start[depth]))
        exists_KC = torch.arange(steps_BKC.shape[2]) < counts[:, None]
        assert torch.equal(torch.isfinite(steps_BKC), exists_KC.expand(3, -1, -1))
        total_BK = (total_BK[:, :, None] + steps_BKC)[:, exists_KC]
        origin = torch.arange(len(nodes)).repeat_interleave(counts)
    expanded_BI = torch.zeros(3, NUM_ITEMS)
    expanded_BI[:, torch.from_numpy(trie.item_of_leaf)] = total_BK
    torch.testing.assert_close(expanded_BI, forced_BI, atol=1e-4, rtol=1e-4)
    assert forced_BI.std() > 0.1


@torch.no_grad()
def test_every_node_expanded_for_all_users_at_once(settings, context):
    decoder, encoded, trie = built(settings, context), histories(), context.own.trie
    one_by_one, for_all = decoder.begin(encoded), decoder.begin(encoded)
    origin_K = torch.zeros(1, dtype=torch.int64)
    for depth in range(trie.num_levels):
        nodes_K = torch.arange(trie.num_nodes(depth))
        expected_BKC = decoder.expand(one_by_one, depth, nodes_K.expand(3, -1), origin_K.expand(3, -1))
        if depth + 1 < trie.num_levels:
            parts = [decoder.expand_for_all(for_all, depth, nodes_K, origin_K, 3)]
        else:  # the last depth in parts
            split = zip(nodes_K.split(2), origin_K.split(2), strict=True)
            parts = [decoder.expand_for_all(for_all, depth, nodes_k, origin_k, 3) for nodes_k, origin_k in split]
        torch.testing.assert_close(torch.cat(parts, 1), expected_BKC)
        origin_K = trie.on(torch.device("cpu")).parent[depth]


@torch.no_grad()
def test_expansion_follows_beams_of_any_origin(settings, context):
    """Each user's beams in an order of their own, as a search has them."""
    decoder, encoded, trie = built(settings, context), histories(), context.own.trie
    generator = np.random.default_rng(3)
    items_BK = np.stack([generator.choice(trie.item_of_leaf, 4, replace=False) for _ in range(3)])
    state = decoder.begin(encoded)
    nodes_BK = origin_BK = torch.zeros(3, 1, dtype=torch.int64)
    order_BK = np.tile(np.arange(4), (3, 1))
    found = torch.zeros(3, 4, trie.num_levels)
    for depth in range(trie.num_levels):
        steps_BKC = decoder.expand(state, depth, nodes_BK, origin_BK)
        before_BK = order_BK
        order_BK = np.stack([generator.permutation(4) for _ in range(3)])
        for row in range(3):
            for place, item in enumerate(items_BK[row]):
                beam = 0 if depth == 0 else int(np.flatnonzero(before_BK[row] == place)[0])
                child = trie.nodes_IL[item, depth] - trie.child_start[depth][int(nodes_BK[row, beam])]
                found[row, place, depth] = steps_BKC[row, beam, child]
        wanted_BK = np.take_along_axis(items_BK, order_BK, 1)
        nodes_BK = torch.from_numpy(trie.nodes_IL[wanted_BK, depth])
        if depth:
            places = [[int(np.flatnonzero(before_BK[r] == p)[0]) for p in order_BK[r]] for r in range(3)]
            origin_BK = torch.tensor(places)
        else:
            origin_BK = torch.zeros(3, 4, dtype=torch.int64)
    forced = decoder(encoded, torch.from_numpy(items_BK)).log_probs_NL.view(3, 4, -1)
    torch.testing.assert_close(found, forced, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_all_positions_equals_one_prefix_at_a_time(settings, context):
    decoder, encoded = built(settings, context), histories(is_causal=True)
    target_BQ = torch.tensor([[3, 4, 0, 19, 7], [1, 2, -1, -1, -1], [9, 13, 5, -1, -1]])
    together = decoder(encoded, target_BQ, all_positions=True, with_summary=True)
    parts = []
    for row in range(3):
        for query in range(int(encoded.mask_BT[row].sum())):
            prefix = Encoded(
                encoded.states_BTD[row : row + 1, : query + 1], encoded.mask_BT[row : row + 1, : query + 1], True
            )
            parts.append(decoder(prefix, target_BQ[row : row + 1, query : query + 1], with_summary=True))
    for name in ("log_probs_NL", "hidden_NLD", "summary_ND", "present_N", "target_N"):
        joined = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(getattr(together, name), joined, atol=1e-5, rtol=1e-4)
    assert together.present_N.tolist().count(False) == 2


@torch.no_grad()
def test_padding_and_company_change_nothing(settings, context):
    decoder = built(settings, context)
    encoded = histories((2, 3), width=3)
    noise_BTD = torch.full((2, 4, DIM), 50.0)
    mask_BT = torch.cat([encoded.mask_BT, torch.zeros(2, 4, dtype=torch.bool)], 1)
    states_BTD = torch.cat([encoded.states_BTD, noise_BTD], 1)
    states_BTD[0, 2:] = -40.0
    padded = Encoded(states_BTD, mask_BT, False)
    one, other = decoder(encoded, all_items(2), with_summary=True), decoder(padded, all_items(2), with_summary=True)
    torch.testing.assert_close(one.log_probs_NL, other.log_probs_NL, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.summary_ND, other.summary_ND, atol=1e-5, rtol=1e-4)
    alone = decoder(encoded.rows(slice(1, 2)), all_items(1), with_summary=True)
    torch.testing.assert_close(alone.log_probs_NL, one.log_probs_NL[NUM_ITEMS:], atol=1e-5, rtol=1e-4)
    root = torch.zeros(2, 1, dtype=torch.int64)
    first = decoder.expand(decoder.begin(encoded), 0, root, root)
    torch.testing.assert_close(decoder.expand(decoder.begin(padded), 0, root, root), first, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_outputs_of_absent_targets_and_left_out_ones(settings, context):
    decoder, encoded = built(settings, context), histories()
    full = decoder(encoded, all_items(3), with_summary=True)
    assert (~full.present_N.view(3, -1)[0]).nonzero()[:, 0].tolist() == list(ABSENT_ITEMS)
    assert not full.log_probs_NL[~full.present_N].any()
    assert bool((full.log_probs_NL[full.present_N] <= 0).all())
    target_BQ = all_items(3).clone()
    target_BQ[0, 1::2] = -1
    target_BQ[2] = -1
    some, kept = decoder(encoded, target_BQ, with_summary=True), (target_BQ >= 0).flatten()
    for name in ("log_probs_NL", "hidden_NLD", "summary_ND", "present_N", "target_N"):
        torch.testing.assert_close(getattr(some, name), getattr(full, name)[kept], atol=1e-5, rtol=1e-4)
    assert decoder(encoded, target_BQ).summary_ND is None


def test_dropout_works_in_training_and_never_in_eval(settings, context):
    decoder, encoded = built(settings, context), histories()

    def log_probs():
        return decoder(encoded, all_items(3), with_summary=True).log_probs_NL

    assert torch.equal(log_probs(), log_probs())
    decoder.train()
    assert not torch.equal(log_probs(), log_probs())


def test_codes_are_written_one_after_another(settings, context):
    """The probability of a code depends on the codes before it and on none after it."""
    decoder, encoded, ids = built(settings, context), histories((5,)), context.own.ids
    with torch.no_grad():
        log_probs_IL = decoder(encoded, all_items(1), with_summary=True).log_probs_NL
    codes_IL = ids.codes_IL
    for level in range(ids.num_levels):
        by_prefix: dict[tuple[int, ...], float] = {}
        for item in np.flatnonzero(ids.present_I):
            prefix = tuple(codes_IL[item, : level + 1].tolist())
            value = float(log_probs_IL[item, level])
            assert by_prefix.setdefault(prefix, value) == pytest.approx(value, abs=1e-5)


def test_the_summary_reaches_what_it_stands_after(context):
    """Tail and mean read the codes and teach their vectors; the head reads the history alone."""
    for name, reads_codes in (("tail", True), ("mean", True), ("head", False)):
        decoder = built(DECODERS[f"transformer-{name}"], context)
        summary_ND = decoder(histories((5,)), torch.tensor([[0, 1]]), with_summary=True).summary_ND
        assert (not torch.allclose(summary_ND[0], summary_ND[1])) == reads_codes
        decoder.zero_grad()
        summary_ND.square().sum().backward()
        gradients = [table.weight.grad for table in decoder.vocabulary.tables]
        assert all((g is not None and bool(g.any())) == reads_codes for g in gradients)


def test_training_agrees_with_and_without_sampled_products(context, monkeypatch):
    losses, gradients = [], []
    for samples in (child_logits._samples(torch.zeros(1)), False):
        monkeypatch.setattr(child_logits, "_samples", lambda hidden_ND, samples=samples: samples)
        decoder = built(DECODERS["transformer-mean"], context)
        loss = -decoder(histories(), all_items(3)).log_probs_NL.sum()
        loss.backward()
        losses.append(loss.detach())
        gradients.append([weight.grad for weight in decoder.parameters() if weight.grad is not None])
    torch.testing.assert_close(losses[0], losses[1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [Transformer, Mlp])
def test_codes_of_a_level_are_no_leaves_to_tie(kind):
    with pytest.raises(ValidationError, match="found leaves: tied with vocabulary: level, expected vocabulary: path"):
        kind(vocabulary="level", leaves="tied")


def test_an_mlp_is_what_its_docstring_says(context):
    """level by level: norm(x + feed-forward(norm(x))) of the state plus the embedded prefix."""
    decoder, encoded, ids = built(DECODERS["mlp-level"], context), histories((3,)), context.own.ids

    def norm(layer, x):
        y = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return y * layer.weight.detach().numpy() + layer.bias.detach().numpy()

    def block(part, x):
        hidden = part.feedforward[0](torch.from_numpy(norm(part.norm, x)).float())
        out = part.feedforward[3](torch.nn.functional.gelu(hidden)).detach().numpy()
        return norm(part.output_norm, x + out)

    state = encoded.states_BTD[0, 2].numpy().astype(np.float64)
    expected = []
    for level, code in enumerate(ids.codes_IL[7]):
        table = decoder.vocabulary.tables[level].weight.detach().numpy()
        logits = table @ block(decoder.blocks[level], state)
        expected.append(logits[code] - np.log(np.exp(logits).sum()))
        state = state + table[code]
    outputs = decoder(encoded, torch.tensor([[7]]), with_summary=True)
    np.testing.assert_allclose(outputs.log_probs_NL[0].detach(), expected, atol=1e-4)
    np.testing.assert_allclose(outputs.summary_ND[0].detach(), block(decoder.blocks[-1], state), atol=1e-4)


def test_recency_bias_prefers_late_items():
    """With equal keys, a head of slope 1 weighs the last item e times as much as the one before."""
    one_level = SemanticIds(np.arange(3, dtype=np.int32)[:, None], (3,))
    vectors = ItemVectors(np.zeros((3, 2), np.float32), one_level.present_I)
    streams = {"one": StreamContext(one_level, Trie.of(one_level), vectors)}
    decoder = Transformer(num_layers=1, num_heads=2, recency_bias=True).build(BuildContext(3, 8, 5, streams, "one"))
    encoded = Encoded(torch.zeros(2, 4, 8), torch.tensor([[True] * 4, [True, True, False, False]]), is_causal=True)
    (memory,) = decoder.begin(encoded).memory
    weights_BHT = memory.offset_B1M.view(2, 2, 4).softmax(-1).detach()
    expected_T = np.exp(-np.array([3.0, 2.0, 1.0, 0.0]))
    np.testing.assert_allclose(weights_BHT[0, 0], expected_T / expected_T.sum(), rtol=1e-5)
    np.testing.assert_allclose(weights_BHT[1, 0], [1 / (1 + np.e), np.e / (1 + np.e), 0, 0], rtol=1e-5)
    np.testing.assert_allclose(weights_BHT[1, 1, 1] / weights_BHT[1, 1, 0], np.exp(0.25), rtol=1e-5)


@torch.no_grad()
def test_a_fresh_decoder_that_carries_the_state_proposes_what_is_like_the_last_item():
    """Where states are item vectors and nodes start from them: the nearest items come first, untrained."""
    ids = SemanticIds(np.arange(12, dtype=np.int32)[:, None], (12,))
    angle = 2 * np.pi * np.arange(12) / 12
    vectors = ItemVectors(np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), ids.present_I)
    context = BuildContext(12, 8, 5, {"one": StreamContext(ids, Trie.of(ids), vectors)}, "one")
    torch.manual_seed(0)
    ranks = {}
    for carry_state in (False, True):
        decoder = Transformer(
            num_layers=1, num_heads=2, vocabulary="path", start_from=("one",), carry_state=carry_state
        )
        module = decoder.build(context).eval()
        states_BTD = 20 * torch.from_numpy(starting_vectors([vectors], 8))[:, None]
        encoded = Encoded(states_BTD, torch.ones(12, 1, dtype=torch.bool), is_causal=True)
        root = torch.zeros(12, 1, dtype=torch.int64)
        log_probs_BC = module.expand(module.begin(encoded), 0, root, root)[:, 0]
        own_B1 = log_probs_BC.gather(1, torch.arange(12)[:, None])
        ranks[carry_state] = float((log_probs_BC > own_B1).sum(1).float().mean())
    assert ranks[True] == 0
    assert ranks[False] > 2
