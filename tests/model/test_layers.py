"""Layers against plain NumPy, and the dropout's statistics."""

import numpy as np
import pytest
import torch

from genrec.model import layers
from genrec.model.layers import Attention, DecoderLayer, Dropout, EncoderLayer, FeedForward, init_weights


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def linear(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_keeps_each_element_of_a_word_equally_often(probability):
    torch.manual_seed(1)
    layer, words = Dropout(probability), 40_000
    kept_WE = (layer(torch.ones(words * 8)) != 0).view(words, 8).double()
    rate = 1 - round(256 * probability) / 256
    assert rate == pytest.approx(1 - probability, abs=0.5 / 256)
    five_sigma = 5 * (rate * (1 - rate) / words) ** 0.5
    assert (kept_WE.mean(0) - rate).abs().max() < five_sigma
    correlation = torch.corrcoef(kept_WE.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / words**0.5


def test_dropout_keeps_the_mean_and_passes_the_gradient_of_what_it_kept():
    torch.manual_seed(2)
    layer = Dropout(0.1)
    x = torch.randn(37, 3, requires_grad=True)  # not a multiple of eight
    y = layer(x)
    kept = y != 0
    scale = 256 / (256 - 26)
    assert 0 < int((~kept).sum()) < x.numel()
    torch.testing.assert_close(y, torch.where(kept, x * scale, 0.0))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(kept, scale, 0.0))
    assert layer(torch.ones(200_000)).mean() == pytest.approx(1.0, abs=0.01)


def test_dropout_is_off_in_eval_and_at_zero():
    x = torch.randn(5, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.5)(torch.zeros(0, 4)).shape == (0, 4)


def test_dropout_close_to_one_stays_finite():
    y = Dropout(0.9999)(torch.ones(100_000))
    assert torch.isfinite(y).all()
    assert set(y.unique().tolist()) == {0.0, 256.0}


def test_dropout_differs_from_call_to_call_and_follows_the_seed():
    layer, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(4)
    layer = Attention(6, 2)
    x_BTD, memory_BTD = torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])[:, None, None, :]
    got = layer(x_BTD, layer.keys_values(memory_BTD), mask).detach().numpy()
    x, memory = x_BTD.double().numpy(), memory_BTD.double().numpy()
    query, both = linear(layer.query, x), linear(layer.key_value, memory)
    expected = np.zeros((2, 3, 6))
    for user in range(2):
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            key, value = both[user][:, part], both[user][:, 6:][:, part]
            scores = query[user][:, part] @ key.T / np.sqrt(3)
            scores = np.where(mask[user, 0].numpy(), scores, -np.inf)
            expected[user][:, part] = softmax(scores) @ value
    np.testing.assert_allclose(got, linear(layer.output, expected), atol=1e-5)


def test_attention_refuses_a_width_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="a width of 10 cannot be divided by 4 heads"):
        Attention(10, 4)


def test_causal_layers_do_not_look_ahead():
    torch.manual_seed(5)
    encoder, decoder = EncoderLayer(8, 2, 16, 0.0), DecoderLayer(8, 2, 16, 0.0)
    memory = decoder.cross_attention.keys_values(torch.randn(2, 3, 8))
    x_BTD = torch.randn(2, 5, 8)
    changed_BTD = x_BTD.clone()
    changed_BTD[:, 3:] = torch.randn(2, 2, 8)
    before, after = encoder(x_BTD, None, True), encoder(changed_BTD, None, True)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])
    before = decoder(x_BTD, memory, None, rows=2, is_causal=True)
    after = decoder(changed_BTD, memory, None, rows=2, is_causal=True)
    torch.testing.assert_close(before[:, :3], after[:, :3])


@pytest.mark.parametrize("kind", ["nothing masked", "padding", "a bias"])
def test_decoder_layer_step_by_step_equals_all_at_once(kind):
    torch.manual_seed(6)
    layer = DecoderLayer(8, 2, 16, 0.0)
    for part in (layer.cross_attention, layer.self_attention):
        for linear in (part.query, part.key_value, part.output):
            torch.nn.init.normal_(linear.bias)
    states_BTD = torch.randn(2, 3, 8)
    may_read = torch.tensor([[True, True, True], [True, kind != "padding", kind != "padding"]])[:, None, None, :]
    mask = may_read if kind != "a bias" else torch.randn(2, 2, 1, 3)
    x_BKSD = torch.randn(2, 3, 4, 8)  # three sequences a user
    memory = layer.cross_attention.keys_values(states_BTD)
    whole_NSD = layer(x_BKSD.flatten(0, 1), memory, mask, rows=2, is_causal=True)
    folded, past, steps = layer.cross_attention.fold(states_BTD, mask), [], []
    for step in range(4):
        y_BKD, own = layer.step(x_BKSD[:, :, step], past, folded)
        past.append(own)
        steps.append(y_BKD)
    torch.testing.assert_close(torch.stack(steps, 2).flatten(0, 1), whole_NSD)
    alone_NSD = layer(x_BKSD[1], (memory[0][1:], memory[1][1:]), mask[1:], rows=1, is_causal=True)
    torch.testing.assert_close(alone_NSD, whole_NSD[3:])


def test_decoder_layer_reads_shared_tokens_once():
    """What all beams of a user have in common may be given once."""
    torch.manual_seed(7)
    layer = DecoderLayer(8, 2, 16, 0.0)
    folded = layer.cross_attention.fold(torch.randn(2, 3, 8), torch.ones(2, 1, 1, 3, dtype=torch.bool))
    _, (key_B1D, value_B1D) = layer.step(torch.randn(2, 1, 8), [], folded)
    x_BKD = torch.randn(2, 5, 8)
    shared, _ = layer.step(x_BKD, [(key_B1D, value_B1D)], folded)
    repeated, _ = layer.step(x_BKD, [(key_B1D.expand(-1, 5, -1), value_B1D.expand(-1, 5, -1))], folded)
    torch.testing.assert_close(shared, repeated)


def test_init_weights_leaves_norms_alone():
    torch.manual_seed(7)
    layer = EncoderLayer(64, 4, 256, 0.0)
    table = torch.nn.Embedding(500, 64)
    init_weights(layer)
    init_weights(table, std=0.5)
    linears = [part for part in layer.modules() if isinstance(part, torch.nn.Linear)]
    assert len(linears) == 5
    for part in linears:
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not part.bias.any()
    assert table.weight.std().item() == pytest.approx(0.5, rel=0.05)
    assert bool((layer.attention_norm.weight == 1).all())


def test_feedforward_drops_its_hidden_layer_in_training_only():
    torch.manual_seed(8)
    layer, x = FeedForward(8, 64, 0.5), torch.randn(3, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("kind", ["causal", "boolean", "added", "none"])
def test_plain_attention_is_the_fused_one_forward_and_backward(kind, monkeypatch):
    torch.manual_seed(4)
    layer = Attention(16, 2)
    x_BTD = torch.randn(3, 5, 16, requires_grad=True)
    mask = {"boolean": torch.rand(3, 1, 5, 5) < 0.7, "added": torch.randn(1, 2, 5, 5)}.get(kind)
    if kind == "boolean":
        mask[..., 0] = True
    found = []
    for longest in (0, 128):  # all fused, all plain
        monkeypatch.setattr(layers, "_LONGEST_PLAIN", longest)
        mixed = layer(x_BTD, layer.keys_values(x_BTD), mask, kind == "causal")
        [gradient] = torch.autograd.grad(mixed.square().sum(), x_BTD)
        found.append((mixed, gradient))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)
