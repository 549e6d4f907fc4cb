"""EAGER, eq. 4 and 5 against NumPy, with masks and samples that the test knows."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.model.contracts import BuildContext, Encoded, Outputs, StreamContext
from genrec.model.vocabularies import Alternatives
from genrec.semantic_ids.trie import Trie
from genrec.tasks.semantic_transfer import SemanticTransfer
from genrec.types import ABSENT, ItemVectors, SemanticIds

DIM, NUM_ITEMS, LEVELS = 8, 18, 3


def stream(seed, sizes=(4, 3, 3), absent=()):
    generator = np.random.default_rng(seed)
    chosen = generator.choice(int(np.prod(sizes)), NUM_ITEMS, replace=False)
    codes_IL = np.stack(np.unravel_index(chosen, sizes), 1).astype(np.int32)
    codes_IL[list(absent)] = ABSENT
    ids = SemanticIds(codes_IL, sizes)
    return StreamContext(ids, Trie.of(ids), ItemVectors(np.zeros((NUM_ITEMS, 2), np.float32), ids.present_I))


def world(vocabulary="level", streams=None, **settings):
    """A task between two decoders, all weights large enough to matter."""
    torch.manual_seed(1)
    streams = streams or {"text": stream(1, absent=(2,)), "behavior": stream(2, absent=(5,))}
    context = BuildContext(NUM_ITEMS, DIM, 5, streams)
    decoders = {
        "text": Transformer(num_layers=1, num_heads=2, feedforward_dim=16).build(context.of_stream("text")),
        "behavior": Mlp(hidden_dim=16, vocabulary=vocabulary).build(context.of_stream("behavior")),
    }
    settings = {"dropout": 0.0, "num_heads": 2, "feedforward_dim": 16, "num_negatives": 4} | settings
    task = SemanticTransfer(source="text", target="behavior", **settings).build(
        BuildContext(NUM_ITEMS, DIM, 5, streams, decoders=decoders)
    )
    with torch.no_grad():
        for weight in [*task.parameters(), *decoders["text"].parameters()]:
            weight.add_(torch.randn_like(weight) * 0.4)
    return task, decoders


def known_samples(monkeypatch, vocabulary):
    """The changed codes, and every answer of ``entries`` with its level, in the order of the calls."""
    changed, samples = [], []
    whole = type(vocabulary).alternatives

    def remembered(self, nodes_NL, chosen_NL, count):
        others = whole(self, nodes_NL, chosen_NL, count)
        changed.append(others.changed_NL)

        def entries(level, rows):
            others_NJ = others.entries(level, rows)
            samples.append((level, others_NJ))
            return others_NJ

        return Alternatives(others.changed_NL, entries)

    monkeypatch.setattr(type(vocabulary), "alternatives", remembered)
    return changed, samples


def softplus(x):
    return np.logaddexp(0, x)


def read(task, codes_NLD, guide_ND):
    """The auxiliary Transformer once more: class token first, one memory token, no mask."""
    count = len(codes_NLD)
    x = torch.cat([task.class_token.expand(count, 1, DIM), codes_NLD], 1) + task.positions.weight
    for layer in task.layers:
        normed = layer.self_norm(x)
        x = x + layer.self_attention(normed, layer.self_attention.keys_values(normed))
        # One memory token: attention gives its value whatever the query is.
        _, value = layer.cross_attention.keys_values(guide_ND[:, None])
        x = x + layer.cross_attention.output(value.transpose(1, 2).reshape(count, 1, DIM))
        x = x + layer.feedforward(layer.feedforward_norm(x))
    return task.norm(x)


@pytest.mark.parametrize("vocabulary", ["level", "path"])
def test_reconstruction_is_equation_4(vocabulary, monkeypatch):
    task, decoders = world(vocabulary)
    words = decoders["behavior"].vocabulary
    changed, samples = known_samples(monkeypatch, words)
    nodes_NL, _ = words.nodes_of(torch.tensor([0, 3, 7, 11]))
    guide_ND = torch.randn(4, DIM)
    masked_NL = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]).bool()
    masked_NL &= torch.stack([words.has_others(level, nodes_NL) for level in range(LEVELS)], 1)
    assert bool(masked_NL.any(0).all())
    with torch.no_grad():
        loss = task.reconstruction(nodes_NL, guide_ND, masked_NL).item()
        assert vocabulary == "path" or torch.equal(changed[0], masked_NL)
        masked_NL = changed[0]
        vectors_NLD = torch.stack([words.embed(k, words.entries(k, nodes_NL[:, k])) for k in range(LEVELS)], 1)
        states = read(task, torch.where(masked_NL[..., None], task.mask_token, vectors_NLD), guide_ND)[:, 1:]
        losses = []
        for level, others_NJ in samples:
            for place, row in enumerate(torch.nonzero(masked_NL[:, level])[:, 0].tolist()):
                own = int(words.entries(level, nodes_NL[row, level]))
                assert vocabulary == "path" or own not in others_NJ[place].tolist()
                choices_J = np.array([own, *others_NJ[place].tolist()])
                logits_J = (words.embed(level, torch.from_numpy(choices_J)) @ states[row, level]).numpy()
                losses.append(np.log(np.exp(logits_J).sum()) - np.log(np.exp(logits_J[choices_J == own]).sum()))
    assert [level for level, _ in samples] == [0, 1, 2]
    assert all(others.shape[1] == 4 for _, others in samples)
    assert len(losses) == int(masked_NL.sum())
    assert loss == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("vocabulary", ["level", "path"])
def test_recognition_is_equation_5_with_its_sign_put_right(vocabulary, monkeypatch):
    task, decoders = world(vocabulary)
    words = decoders["behavior"].vocabulary
    changed, samples = known_samples(monkeypatch, words)
    nodes_NL, _ = words.nodes_of(torch.tensor([0, 3, 7, 11]))
    guide_ND = torch.randn(4, DIM)
    replaced_NL = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]]).bool()
    replaced_NL &= torch.stack([words.has_others(level, nodes_NL) for level in range(LEVELS)], 1)
    with torch.no_grad():
        loss = task.recognition(nodes_NL, guide_ND, replaced_NL).item()
        assert vocabulary == "path" or torch.equal(changed[0], replaced_NL)
        replaced_NL = changed[0]
        true_NLD = torch.stack([words.embed(k, words.entries(k, nodes_NL[:, k])) for k in range(LEVELS)], 1)
        false_NLD = true_NLD.clone()
        for level, others_N1 in samples:
            for row in torch.nonzero(replaced_NL[:, level])[:, 0].tolist():
                assert vocabulary == "path" or others_N1[row, 0] != words.entries(level, nodes_NL[row, level])
                false_NLD[row, level] = words.embed(level, others_N1[row, 0])
        true_N = task.classifier(read(task, true_NLD, guide_ND)[:, 0])[:, 0].numpy()
        false_N = task.classifier(read(task, false_NLD, guide_ND)[:, 0])[:, 0].numpy()
    kept = replaced_NL.any(1)
    assert kept.tolist() == [True, True, True, False]
    differs_NL = (false_NLD != true_NLD).any(-1)
    assert bool((differs_NL <= replaced_NL).all())
    assert torch.equal(differs_NL.any(1), kept)
    assert loss == pytest.approx((softplus(-true_N) + softplus(false_N))[kept].mean(), abs=1e-5)


def outputs(decoders, targets=(0, 3, 7, 2, 5)):
    """Item 2 has no text code, item 5 no behavior code."""
    torch.manual_seed(3)
    encoded = Encoded(torch.randn(1, 4, DIM), torch.ones(1, 4, dtype=torch.bool), False)
    return {name: decoder(encoded, torch.tensor([targets]), with_summary=True) for name, decoder in decoders.items()}


def test_the_loss_is_the_sum_of_its_objectives_over_targets_that_both_streams_know(monkeypatch):
    seen = []
    for objectives in (("reconstruction",), ("recognition",), ("reconstruction", "recognition")):
        task, decoders = world(objectives=objectives)
        made = outputs(decoders)
        for name, value in (("reconstruction", 2.0), ("recognition", 5.0)):
            monkeypatch.setattr(
                task, name, lambda nodes, guide, mask, value=value: seen.append((nodes, guide)) or torch.tensor(value)
            )
        expected = sum({"reconstruction": 2.0, "recognition": 5.0}[name] for name in objectives)
        assert task(made).item() == expected
    nodes_NL, guide_ND = seen[0]
    assert torch.equal(nodes_NL, decoders["behavior"].vocabulary.nodes_of(torch.tensor([0, 3, 7]))[0])
    assert torch.equal(guide_ND, made["text"].summary_ND[:3])


@pytest.mark.parametrize("vocabulary", ["level", "path"])
@pytest.mark.parametrize("objective", ["reconstruction", "recognition"])
def test_transfer_teaches_the_target_decoders_codes_and_the_source(vocabulary, objective):
    task, decoders = world(vocabulary, objectives=(objective,))
    task(outputs(decoders)).backward()
    for table in decoders["behavior"].vocabulary.tables:
        assert bool(table.weight.grad.abs().sum() > 0)
    assert all(weight.grad is None for weight in decoders["behavior"].blocks.parameters())
    assert bool(decoders["text"].layers[0].feedforward[0].weight.grad.abs().sum() > 0)
    assert bool(decoders["text"].vocabulary.tables[0].weight.grad.abs().sum() > 0)


def test_a_detached_guide_leaves_the_source_alone():
    task, decoders = world(detach_guide=True)
    task(outputs(decoders)).backward()
    assert all(weight.grad is None for weight in decoders["text"].parameters())
    assert bool(decoders["behavior"].vocabulary.tables[0].weight.grad.any())


def test_the_task_owns_no_copy_of_the_targets_codes():
    task, decoders = world()
    ids = {id(weight) for weight in decoders["behavior"].vocabulary.parameters()}
    assert ids <= {id(weight) for weight in task.parameters()}


@pytest.mark.parametrize("ratio", [0.001, 0.5, 1.0])
def test_masks_have_their_ratio_and_at_least_one_code_a_row(ratio):
    task, decoders = world(mask_ratio=ratio)
    nodes_NL, _ = decoders["behavior"].vocabulary.nodes_of(torch.zeros(20_000, dtype=torch.int64))
    torch.manual_seed(4)
    chosen_NL = task._chosen(nodes_NL)
    assert bool(chosen_NL.any(1).all())
    none = (1 - ratio) ** LEVELS
    expected = ratio + none / LEVELS  # a row without any gets one
    torch.testing.assert_close(chosen_NL.double().mean(0), torch.full((LEVELS,), expected).double(), atol=0.02, rtol=0)


def test_under_paths_only_codes_with_siblings_are_chosen():
    """Item 0 is an only child at the last level, item 1 has no sibling anywhere but at the first."""
    codes = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1]]
    codes += [[0, 2, k] for k in range(NUM_ITEMS - 4)]
    ids = SemanticIds(np.array(codes, dtype=np.int32), (2, 3, NUM_ITEMS))
    only = StreamContext(ids, Trie.of(ids), ItemVectors(np.zeros((NUM_ITEMS, 2), np.float32), ids.present_I))
    task, decoders = world("path", {"text": stream(1), "behavior": only}, mask_ratio=0.01)
    nodes_NL, _ = decoders["behavior"].vocabulary.nodes_of(torch.arange(4).repeat(500))
    chosen_NL = task._chosen(nodes_NL)
    assert bool(chosen_NL.any(1).all())
    by_item = chosen_NL.view(500, 4, LEVELS).any(0).tolist()
    assert by_item == [[True, True, False], [True, False, False], [True, True, True], [True, True, True]]


def test_a_code_without_any_alternative_costs_nothing():
    codes = np.zeros((NUM_ITEMS, 1), dtype=np.int32) + ABSENT
    codes[0] = 0
    ids = SemanticIds(codes, (1,))
    single = StreamContext(ids, Trie.of(ids), ItemVectors(np.zeros((NUM_ITEMS, 2), np.float32), ids.present_I))
    for vocabulary in ("level", "path"):
        task, decoders = world(vocabulary, {"text": stream(1), "behavior": single})
        loss = task(outputs(decoders, (0, 0)))
        assert loss.item() == 0
        loss.backward()


def test_no_target_in_both_streams_is_no_loss():
    task, decoders = world()
    loss = task(outputs(decoders, (2, 5)))
    assert loss.item() == 0
    loss.backward()


def test_the_transformer_reads_both_ways():
    task, _ = world(num_layers=2)
    codes_NLD, guide_ND = torch.randn(1, LEVELS, DIM), torch.randn(1, DIM)
    changed_NLD = codes_NLD.clone()
    changed_NLD[:, -1] = torch.randn(DIM)
    before, after = task._read(codes_NLD, guide_ND), task._read(changed_NLD, guide_ND)
    assert not torch.isclose(before, after, atol=1e-5).all(-1).any(), "every token sees the last code"
    torch.testing.assert_close(before, read(task, codes_NLD, guide_ND))
    assert not torch.allclose(before, task._read(codes_NLD, guide_ND + 1), atol=1e-5)


def skewed_targets(generator, count):
    """Items of a small tree, the first bought most."""
    popularity = 1.0 / np.arange(1, NUM_ITEMS)
    return torch.from_numpy(generator.choice(NUM_ITEMS - 1, count, p=popularity / popularity.sum()))


def chance(nodes_NL, masked_NL, samples):
    """Mean loss of a guess among the candidates of each masked code."""
    losses = []
    for level, others_NJ in samples:
        same_N = (others_NJ == nodes_NL[masked_NL[:, level], level, None]).sum(1)
        losses.append(torch.log((1.0 + others_NJ.shape[1]) / (1.0 + same_N)))
    return float(torch.cat(losses).mean())


@pytest.mark.parametrize("seed", range(5))
def test_under_paths_no_weights_whatever_tell_true_codes_without_the_guide(seed, monkeypatch):
    """Every path is a negative as often as a positive, so that equal states cannot do better than a guess."""
    task, decoders = world("path")
    task.eval()
    generator = np.random.default_rng(seed)
    nodes_NL, present_N = decoders["behavior"].vocabulary.nodes_of(skewed_targets(generator, 60))
    nodes_NL = nodes_NL[present_N]
    guide_ND = torch.randn(1, DIM).expand(len(nodes_NL), -1)
    with torch.no_grad():
        for weight in task.parameters():
            weight.add_(torch.randn_like(weight))
        torch.manual_seed(seed)
        assert task.recognition(nodes_NL, guide_ND, task._chosen(nodes_NL)) >= np.log(4) - 1e-5
        changed, samples = known_samples(monkeypatch, task.vocabulary)
        loss = task.reconstruction(nodes_NL, guide_ND, task._chosen(nodes_NL))
    assert loss >= chance(nodes_NL, changed[0], samples) - 1e-5


@pytest.mark.parametrize("objective", ["recognition", "reconstruction"])
def test_under_paths_the_task_is_learned_with_a_guide_and_not_without(objective, monkeypatch):
    """Recognition at chance: log 4 = 1.39; reconstruction: log(1 + J) less what repeated paths give."""
    losses = {}
    for has_guide in (True, False):
        task, decoders = world("path", dropout=0.1)
        words, generator = decoders["behavior"].vocabulary, np.random.default_rng(1)
        optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
        item_ID = torch.randn(NUM_ITEMS, DIM)
        torch.manual_seed(2)
        for step in range(250):
            items_N = skewed_targets(generator, 64)
            nodes_NL, present_N = words.nodes_of(items_N)
            nodes_NL = nodes_NL[present_N]
            guide_ND = item_ID[items_N[present_N]] if has_guide else torch.randn(len(nodes_NL), DIM)
            with monkeypatch.context() as patch:
                changed, samples = known_samples(patch, words)
                loss = getattr(task, objective)(nodes_NL, guide_ND, task._chosen(nodes_NL))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step >= 150:
                guess = np.log(4) if objective == "recognition" else chance(nodes_NL, changed[0], samples)
                losses.setdefault(has_guide, []).append(float(loss.detach()) / guess)
    assert np.mean(losses[False]) > 0.98, losses
    assert np.mean(losses[True]) < 0.5, losses


def test_a_stream_does_not_guide_itself():
    with pytest.raises(ValidationError, match="source and target are both 'text'; a stream is guided by another one"):
        SemanticTransfer(source="text", target="text")


def test_outputs_without_summary_are_a_bug_and_not_a_silence():
    task, decoders = world()
    made = outputs(decoders)
    blind = {
        name: Outputs(part.log_probs_NL, part.hidden_NLD, None, part.present_N, part.target_N)
        for name, part in made.items()
    }
    with pytest.raises(AssertionError):
        task(blind)
