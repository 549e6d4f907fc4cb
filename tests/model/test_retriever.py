"""The whole model: eq. 2 and 6 against NumPy, what streams share, and that a part's weights are its own."""

import numpy as np
import pytest
import torch

from genrec.decoders.dense import Dense
from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import StreamContext
from genrec.model.initial_vectors import starting_vectors
from genrec.model.retriever import Retriever
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.trie import Trie
from genrec.tasks.global_contrastive import GlobalContrastive
from genrec.tasks.semantic_transfer import SemanticTransfer
from genrec.testing import tiny_vectors
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.training.batches import HistoryBatch

NUM_ITEMS = 24
KEYS = tuple(map(str, range(NUM_ITEMS)))
TRANSFORMER = Transformer(num_layers=1, num_heads=2, feedforward_dim=16, dropout=0.0)
MLP = Mlp(hidden_dim=16, dropout=0.0)


def streams(*names):
    """Each with a tree of its own, and an absent item: 3, 4, 5, ..."""
    made = {}
    for number, name in enumerate(names):
        vectors = tiny_vectors(width=6 + number, absent=(3 + number, 23), seed=number)
        ids = KMeansTree(branching=3 + number).fit(vectors, keys=KEYS, context=WorkContext(seed=1))
        made[name] = StreamContext(ids, Trie.of(ids), vectors)
    return made


def item_ids(**changes):
    small = {"dim": 8, "max_history": 6, "num_heads": 2, "feedforward_dim": 16, "dropout": 0.0}
    return ItemIds(**small | changes)


def built(names=("behavior", "text"), decoder=TRANSFORMER, tasks=(), seed=1, own=None, **changes):
    contexts = streams(*names)
    model = Retriever(
        item_ids(**changes),
        dict.fromkeys(contexts, decoder),
        tasks,
        contexts,
        num_items=NUM_ITEMS,
        seed=seed,
        own_history_encoders=own,
    )
    return model, contexts


def batch(all_positions=False):
    history_BT = torch.tensor([[1, 2, 9], [7, 24, 24], [5, 6, 24]])
    target_BQ = torch.tensor([[2, 9, 3], [8, -1, -1], [6, 4, -1]]) if all_positions else torch.tensor([[3], [4], [10]])
    return HistoryBatch(history_BT, target_BQ, all_positions)


EACH_PREFIX = HistoryBatch(
    torch.tensor([[1, 24, 24], [1, 2, 24], [1, 2, 9], [7, 24, 24], [5, 24, 24], [5, 6, 24]]),
    torch.tensor([[2], [9], [3], [8], [6], [4]]),
    False,
)
"""What ``batch(all_positions=True)`` asks, a row for each target."""


@pytest.mark.parametrize("decoder", [TRANSFORMER, MLP], ids=["level", "path"])
@pytest.mark.parametrize("all_positions", [False, True])
def test_generation_loss_is_equation_2_negated(decoder, all_positions):
    """Sum over levels of the code's cross-entropy, mean over the batch's targets that have codes."""
    model, contexts = built(decoder=decoder, attention="causal")
    asked = batch(all_positions)
    losses = model(asked)
    assert list(losses) == ["behavior", "text"]
    encoded = model.encode(asked.history_BT)
    for name, context in contexts.items():
        module, trie = model.decoders[name], context.trie
        outputs = module(encoded[name], asked.target_BQ, all_positions=all_positions)
        total, count = 0.0, 0
        for row, item in enumerate(outputs.target_N.tolist()):
            if not context.ids.present_I[item]:
                continue
            count += 1
            for level in range(trie.num_levels):
                table = module.vocabulary.tables[level].weight.detach().double().numpy()
                logits = table @ outputs.hidden_NLD[row, level].detach().double().numpy()
                if decoder is TRANSFORMER:
                    rivals, own = np.arange(trie.vocabulary_sizes[level]), int(context.ids.codes_IL[item, level])
                else:
                    parent = int(trie.nodes_IL[item, level - 1]) if level else 0
                    rivals = np.arange(*trie.child_start[level][parent : parent + 2])
                    own = int(trie.nodes_IL[item, level])
                total -= logits[own] - np.log(np.exp(logits[rivals]).sum())
        assert 0 < count < len(outputs.target_N)
        assert losses[name].item() == pytest.approx(total / count, abs=1e-5)


def test_all_positions_at_once_cost_what_each_prefix_costs():
    model, _ = built(attention="causal")
    together, one_by_one = model(batch(all_positions=True)), model(EACH_PREFIX)
    for name in together:
        torch.testing.assert_close(together[name], one_by_one[name])


def test_a_batch_without_codes_costs_nothing_and_has_a_gradient():
    model, _ = built()
    losses = model(HistoryBatch(torch.tensor([[1, 2]]), torch.tensor([[23]]), False))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    torch.stack(list(losses.values())).sum().backward()
    assert all(not weight.grad.any() for weight in model.parameters() if weight.grad is not None)


def test_padding_and_company_change_no_loss():
    model, _ = built()
    whole = [model(HistoryBatch(batch().history_BT[[row]], batch().target_BQ[[row]], False)) for row in range(3)]
    alone = model(HistoryBatch(torch.tensor([[7]]), torch.tensor([[4]]), False))
    torch.testing.assert_close(whole[1]["behavior"], alone["behavior"])


def transfers(*sources, weight=1.0):
    return [
        SemanticTransfer(source=source, target="behavior", num_heads=2, dropout=0.0, weight=weight)
        for source in sources
    ]


def test_tasks_of_a_kind_share_their_weight(monkeypatch):
    """Eq. 6 with three streams: two transfers of weight 3 count 1.5 each, so a third stream does not double them."""
    tasks = [*transfers("text", "visual", weight=3.0), GlobalContrastive(weight=2.0)]
    model, _ = built(("behavior", "text", "visual"), tasks=tasks)
    for task, value in zip(model.tasks, (10.0, 20.0, 7.0), strict=True):
        monkeypatch.setattr(task, "forward", lambda outputs, value=value: torch.tensor(value))
    losses = model(batch())
    assert list(losses) == ["behavior", "text", "visual", "semantic_transfer", "global_contrastive"]
    assert losses["semantic_transfer"].item() == pytest.approx(3.0 * (10 + 20) / 2)
    assert losses["global_contrastive"].item() == pytest.approx(2.0 * 7)


def test_one_transfer_has_its_whole_weight():
    losses = []
    for weight in (1.0, 0.25):
        model, _ = built(tasks=transfers("text", weight=weight))
        torch.manual_seed(4)
        losses.append(model(batch())["semantic_transfer"].item())
    assert losses[1] == pytest.approx(losses[0] / 4, rel=1e-5)
    assert losses[0] > 0.1


def test_all_parts_of_eager_train_together():
    model, _ = built(
        ("behavior", "text", "visual"), tasks=[*transfers("text", "visual"), GlobalContrastive(metric="cosine")]
    )
    sum(model(batch()).values()).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A guide is one token: what decides where in it to look has nothing to decide.
    dead = ("cross_norm.weight", "cross_norm.bias", "cross_attention.query.weight", "cross_attention.query.bias")
    assert without == [f"tasks.{task}.layers.0.{name}" for task in (0, 1) for name in dead]


NAMES = ("behavior", "text", "visual")


@pytest.mark.parametrize(
    ("share", "encoders", "tables"), [("all", 1, 1), ("items", 3, 1), ("none", 3, 3)], ids=["all", "items", "none"]
)
def test_what_streams_share(share, encoders, tables):
    model, _ = built(NAMES, share=share)
    modules = [model.history_encoder(name) for name in NAMES]
    assert len({id(module) for module in modules}) == encoders
    assert len({id(module.item_table) for module in modules}) == tables
    assert len({id(module.positions.weight) for module in modules}) == encoders
    assert len({id(module.layers[0].attention.query.weight) for module in modules}) == encoders
    calls = []
    for module in {id(module): module for module in modules}.values():
        module.register_forward_hook(lambda *_: calls.append(1))
    model(batch())
    assert len(calls) == encoders, "each history encoder reads a batch once"
    if encoders == 3:
        first, second = modules[0].layers[0].attention.query.weight, modules[1].layers[0].attention.query.weight
        assert not torch.equal(first, second)
    if tables == 3:
        assert not torch.equal(modules[0].item_table.weight, modules[1].item_table.weight)


@pytest.mark.parametrize("share", ["all", "items", "none"])
def test_leaves_are_tied_to_the_table_of_their_own_history_encoder(share):
    model, _ = built(NAMES, decoder=Mlp(hidden_dim=16, leaves="tied"), share=share)
    for name, decoder in model.decoders.items():
        assert decoder.vocabulary.item_table is model.history_encoder(name).item_table
    model(batch())["text"].backward()
    assert bool(model.history_encoder("text").item_table.weight.grad.any())


@pytest.mark.parametrize("share", ["all", "none"])
def test_adding_a_stream_or_a_task_leaves_the_other_weights_alone(share):
    small, _ = built(("behavior", "text"), share=share, tasks=transfers("text"))
    large, _ = built(NAMES, share=share, tasks=[*transfers("text"), GlobalContrastive()])
    wide = dict(large.named_parameters())
    for name, weight in small.named_parameters():
        assert torch.equal(weight, wide[name]), name


def test_the_seed_decides_every_weight():
    one, again, other = (dict(built(tasks=transfers("text"), seed=seed)[0].named_parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    same = [name for name in one if torch.equal(one[name], other[name])]
    constant = ("norm.weight", "norm.bias", ".bias")
    assert all(name.endswith(constant) for name in same), same


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(6)
    expected = torch.rand(3)
    torch.manual_seed(6)
    built(tasks=transfers("text"))
    assert torch.equal(torch.rand(3), expected)


def test_streams_may_have_any_name():
    names = ("items", "training", "all", "a-b_c")
    model, _ = built(names, tasks=[GlobalContrastive()], share="none")
    assert list(model.decoders) == list(names)
    assert list(model(batch())) == [*names, "global_contrastive"]


@pytest.mark.parametrize(("attention", "is_causal"), [("causal", True), ("bidirectional", False)])
def test_positions_are_trained_at_once_where_the_encoder_is_causal(attention, is_causal):
    assert built(attention=attention)[0].is_causal is is_causal


OWN = {"attention": "causal", "num_layers": 2}


@pytest.mark.parametrize(
    ("share", "own", "is_common"),
    [
        ("all", {}, True),
        ("items", {"share": "items"}, True),
        ("none", {}, False),
        ("all", {"share": "none"}, False),
        ("all", {"dim": 12}, False),
    ],
)
def test_a_stream_may_have_a_history_encoder_of_its_own(share, own, is_common):
    """It shares no layers with the others, and the item table if both say so and the widths agree."""
    model, _ = built(NAMES, share=share, own={"text": item_ids(**OWN | own)}, attention="causal")
    behavior, text = model.history_encoder("behavior"), model.history_encoder("text")
    assert (len(behavior.layers), len(text.layers)) == (1, 2)
    assert (behavior.item_table is text.item_table) is is_common
    assert (behavior is model.history_encoder("visual")) is (share == "all")
    losses = model(batch(all_positions=True))
    losses["text"].backward()
    assert text.layers[1].attention.query.weight.grad is not None
    assert behavior.layers[0].attention.query.weight.grad is None
    assert (behavior.item_table.weight.grad is None) is not is_common


def test_streams_with_history_encoders_of_their_own_share_a_table_among_them():
    own = dict.fromkeys(("behavior", "visual"), item_ids(dim=12))
    model, _ = built(NAMES, own=own, share="none")
    tables = {name: model.history_encoder(name).item_table for name in NAMES}
    assert tables["behavior"] is tables["visual"]
    assert tables["text"] is not tables["behavior"]


def test_the_table_that_is_shared_starts_as_the_recipes_history_encoder_says():
    """Whatever comes first among the streams."""
    model, contexts = built(("text", "behavior"), own={"text": item_ids(**OWN)}, start_from=("behavior",))
    present = torch.from_numpy(contexts["behavior"].vectors.present_I)
    expected = torch.from_numpy(starting_vectors([contexts["behavior"].vectors], 8))
    assert torch.equal(model.history_encoder("text").item_table.weight[:-1][present], expected[present])


def test_a_history_encoder_of_one_stream_leaves_the_weights_of_others_alone():
    common, _ = built(NAMES)
    changed, _ = built(NAMES, own={"text": item_ids(**OWN, share="none", dim=12)})
    before, after = dict(common.named_parameters()), dict(changed.named_parameters())
    assert all(torch.equal(weight, after[name]) for name, weight in before.items() if "stream text" not in name)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_each_history_encoder_reads_the_most_recent_items_that_it_can(attention):
    model, _ = built(own={"text": item_ids(max_history=2, attention=attention)})
    assert model.max_history == 6
    encoded = model.encode(torch.tensor([[1, 2, 9, 5], [7, NUM_ITEMS, NUM_ITEMS, NUM_ITEMS]]))
    assert encoded["behavior"].states_BTD.shape == (2, 4, 8)
    assert encoded["text"].history_BT.tolist() == [[9, 5], [7, NUM_ITEMS]]
    alone = model.history_encoder("text")(torch.tensor([[9, 5], [7, NUM_ITEMS]]))
    assert torch.equal(encoded["text"].states_BTD, alone.states_BTD)
    assert torch.equal(encoded["text"].mask_BT, alone.mask_BT)


@pytest.mark.parametrize("decoder", [TRANSFORMER, MLP], ids=["transformer", "mlp"])
def test_all_positions_of_a_history_that_is_too_long_cost_what_its_windows_cost(decoder):
    """A stream that reads two items learns from windows of two, its targets in the order of the other stream's."""
    model, _ = built(decoder=decoder, attention="causal", own={"text": item_ids(max_history=2, attention="causal")})
    together = model(batch(all_positions=True))
    samples = [([1], 2), ([2], 9), ([2, 9], 3), ([7], 8), ([5], 6), ([5, 6], 4)]
    history_BT = torch.full((6, 2), NUM_ITEMS)
    for row, (items, _) in enumerate(samples):
        history_BT[row, : len(items)] = torch.tensor(items)
    one_by_one = model(HistoryBatch(history_BT, torch.tensor([[target] for _, target in samples]), False))
    torch.testing.assert_close(together["text"], one_by_one["text"])
    alike, _ = built(decoder=decoder, attention="causal")
    torch.testing.assert_close(together["behavior"], alike(batch(all_positions=True))["behavior"])


def test_tasks_read_streams_of_different_lengths_target_by_target():
    """The guide of each target is the source's summary of the same target."""
    own = {"text": item_ids(max_history=2, attention="causal")}
    model, _ = built(tasks=transfers("text"), attention="causal", own=own)
    seen = []
    model.tasks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(batch(all_positions=True))
    assert torch.equal(seen[0]["text"].target_N, seen[0]["behavior"].target_N)


def test_a_task_with_a_map_for_each_stream_reads_streams_of_any_width():
    model, contexts = built(tasks=[GlobalContrastive()], own={"text": item_ids(dim=12)})
    sum(model(batch()).values()).backward()
    projections = model.tasks[0].projections
    widths = {name: projections[f"stream {name}"].weight.shape for name in contexts}
    assert widths == {"behavior": (6, 8), "text": (7, 12)}
    assert all(projections[f"stream {name}"].weight.grad.any() for name in contexts)


def test_a_task_has_the_width_of_the_streams_that_it_reads():
    own = dict.fromkeys(("behavior", "text"), item_ids(dim=12))
    model, _ = built(NAMES, tasks=transfers("text"), own=own)
    assert model.tasks[0].class_token.shape == (12,)
    sum(model(batch()).values()).backward()


def test_leaves_are_tied_to_the_table_of_a_streams_own_history_encoder():
    model, _ = built(decoder=Mlp(hidden_dim=16, leaves="tied"), own={"text": item_ids(dim=12)})
    assert model.decoders["text"].vocabulary.item_table is model.history_encoder("text").item_table
    assert model.decoders["text"].vocabulary.tables[0].weight.shape[1] == 12
    assert model.decoders["behavior"].vocabulary.tables[0].weight.shape[1] == 8


def test_one_bidirectional_history_encoder_makes_every_prefix_a_sample():
    assert not built(attention="causal", own={"text": item_ids()})[0].is_causal
    assert built(attention="causal", own={"text": item_ids(**OWN)})[0].is_causal


def test_history_encoders_that_are_not_causal_read_every_prefix_of_a_sequence():
    own = {"text": item_ids(attention="causal", positions="end")}
    model, _ = built(attention="causal", own=own)
    together, one_by_one = model(batch(all_positions=True)), model(EACH_PREFIX)
    assert not model.is_causal
    for name in ("behavior", "text"):
        torch.testing.assert_close(together[name], one_by_one[name])


@torch.no_grad()
def test_repeats_are_known_where_only_the_last_state_is_read():
    history_BT = torch.tensor([[1, 2, 9, 5], [7, NUM_ITEMS, NUM_ITEMS, NUM_ITEMS]])
    model = built(decoder=Dense(repeats=3))[0].eval()
    decoder = model.decoders["text"]
    decoder.repeats.place_K.copy_(torch.tensor([0.3, -0.2, 0.1]))
    root_B1 = torch.zeros(2, 1, dtype=torch.long)

    def log_probs(encoded):
        return decoder.expand(decoder.begin(encoded), 0, root_B1, root_B1)

    whole, searched = (model.encode(history_BT, to_search=to_search)["text"] for to_search in (False, True))
    assert searched.states_BTD.shape[1] == 1
    with_repeats = log_probs(searched)
    torch.testing.assert_close(with_repeats, log_probs(whole))
    decoder.repeats.place_K.zero_()
    assert not torch.allclose(with_repeats, log_probs(searched))


@torch.no_grad()
def test_a_search_reads_only_the_states_that_its_decoders_do():
    history_BT = torch.tensor([[1, 2, 9, 5], [7, NUM_ITEMS, NUM_ITEMS, NUM_ITEMS]])
    model = built(decoder=MLP)[0].eval()
    whole, searched = model.encode(history_BT), model.encode(history_BT, to_search=True)
    for name in ("behavior", "text"):
        assert searched[name].states_BTD.shape == (2, 1, 8)
        assert searched[name].mask_BT.tolist() == [[True], [True]]
        assert searched[name].history_BT.tolist() == history_BT.tolist()
        torch.testing.assert_close(searched[name].last_BD, whole[name].last_BD)
        torch.testing.assert_close(whole[name].last_only().states_BTD, searched[name].states_BTD)
    for share, behavior in (("all", 4), ("none", 1)):
        contexts = streams("behavior", "text")
        decoders = {"behavior": MLP, "text": TRANSFORMER}
        mixed = Retriever(item_ids(share=share), decoders, (), contexts, num_items=NUM_ITEMS, seed=1).eval()
        searched = mixed.encode(history_BT, to_search=True)
        lengths = {name: encoded.states_BTD.shape[1] for name, encoded in searched.items()}
        assert lengths == {"behavior": behavior, "text": 4}, share
