"""The contracts of the families that build modules: history encoders, decoders, tasks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from genrec.contracts.demands import Demands
from genrec.contracts.modules import (
    check_expansion,
    check_last,
    check_last_only,
    check_loss,
    check_outputs,
    check_states,
)
from genrec.families import Decoder, HistoryEncoder, Task, decoders, tokenizers
from genrec.model.contracts import (
    BuildContext,
    DecoderModule,
    Encoded,
    HistoryEncoderModule,
    StreamContext,
    TaskModule,
)
from genrec.runtime.environment import WorkContext
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.testing.worlds import NUM_ITEMS, STREAMS, tiny_catalog, tiny_histories, tiny_vectors

_DIM = 16
_LONGEST = 6


def check_module(component: HistoryEncoder | Decoder | Task, demand: Demands) -> None:
    """Check a component that builds a module against the contract of its family.

    Raises:
        ContractError: it breaks the contract.
    """
    with torch.random.fork_rng(devices=[]):
        match component:
            case HistoryEncoder():
                _check_history_encoder(component, demand)
            case Decoder():
                _check_decoder(component, demand)
            case Task():
                _check_task(component, demand)


def _context(streams: tuple[str, ...], *, dim: int = _DIM, writes_codes: bool = True) -> BuildContext:
    """Streams with different trees and different absent items."""
    contexts = {}
    for number, name in enumerate(streams):
        vectors = tiny_vectors(width=6 + number, absent=(3 + number, NUM_ITEMS - 1), seed=number)
        if writes_codes:
            tree = tokenizers.get("kmeans_tree").model_validate({"branching": 4 + number})
            ids = tree.fit(vectors, keys=tiny_catalog().keys, context=WorkContext(seed=1))
        else:
            ids = item_numbers(vectors)
        contexts[name] = StreamContext(ids, Trie.of(ids), vectors)
    return BuildContext(NUM_ITEMS, dim, _LONGEST, contexts, stream=streams[0], train=tiny_histories())


def _streams(component: HistoryEncoder | Task) -> tuple[str, ...]:
    """Streams of a tiny model, those that the component names first."""
    return tuple(dict.fromkeys([*component.streams_used(), *STREAMS]))[:3]


def _item_table(seed: int = 3) -> nn.Embedding:
    torch.manual_seed(seed)
    return nn.Embedding(NUM_ITEMS + 1, _DIM, padding_idx=NUM_ITEMS)


def _check_history_encoder(component: HistoryEncoder, demand: Demands) -> None:
    context = replace(_context(_streams(component), dim=component.dim), max_history=component.max_history)

    def built() -> HistoryEncoderModule:
        torch.manual_seed(1)
        return component.build(context)

    module = built()
    demand(isinstance(module, HistoryEncoderModule), "build() gives a HistoryEncoderModule")
    module.eval()
    width = min(5, component.max_history)
    history_BT = torch.tensor([[2, 7, 1, 8, 4], [5, 9, 11, 0, 6], [13, 3, 10, 12, 14]])[:, :width].clone()
    history_BT[1, max(width - 2, 1) :] = NUM_ITEMS
    with torch.no_grad():
        encoded = module(history_BT)
        check_states(encoded, history_BT, component.dim, NUM_ITEMS, demand)
        states_BTD = encoded.states_BTD
        if module.item_table is not None:
            weight = module.item_table.weight
            demand(weight.shape == (NUM_ITEMS + 1, component.dim), "item_table has a row per item and one for padding")
        length = int(encoded.mask_BT[1].sum())
        shorter = module(history_BT[1:2, :length])
        demand(_close(shorter.states_BTD[0], states_BTD[1, :length]), "padding and other users change no state")
        demand(_close(module(history_BT).states_BTD, states_BTD), "in eval mode the same history gives the same states")
        demand(_close(built().eval()(history_BT).states_BTD, states_BTD), "initial weights come from torch's generator")
        if encoded.is_causal and width > 1:
            changed_BT = history_BT.clone()
            changed_BT[0, -1] = 15
            prefix = module(changed_BT).states_BTD[0, :-1]
            demand(_close(prefix, states_BTD[0, :-1]), "is_causal means that no state depends on later items")
            alone = module(history_BT[:1, :-1]).states_BTD[0]
            demand(_close(alone, states_BTD[0, :-1]), "is_causal means that a prefix alone gives the same states")
        moved_BT = history_BT.clone()
        moved_BT[0, -1] = 15
        demand(not _close(module(moved_BT).last_BD[0], encoded.last_BD[0]), "the last state depends on the last item")
        check_last(module, history_BT, encoded, demand, tolerance=1e-4)


def _encoded(is_causal: bool = False) -> Encoded:
    """Two users of five and three items."""
    torch.manual_seed(2)
    mask_BT = torch.arange(5)[None] < torch.tensor([5, 3])[:, None]
    history_BT = torch.tensor([[2, 7, 1, 8, 4], [5, 9, 11, 0, 0]]).masked_fill(~mask_BT, NUM_ITEMS)
    return Encoded(torch.randn(2, 5, _DIM), mask_BT, is_causal, history_BT)


def _check_decoder(component: Decoder, demand: Demands) -> None:
    context = replace(
        _context(STREAMS[:1], writes_codes=getattr(component, "writes_codes", True)), item_table=_item_table()
    )
    trie = context.own.trie

    def built() -> DecoderModule:
        torch.manual_seed(1)
        return component.build(context)

    module = built()
    demand(isinstance(module, DecoderModule), "build() gives a DecoderModule")
    module.eval()
    encoded = _encoded()
    target_BQ = torch.arange(NUM_ITEMS).expand(2, -1).clone()
    with torch.no_grad():
        outputs = module(encoded, target_BQ)
        bounds = module.bounds_descendants
        demand(bounds == component.bounds_descendants, "module and settings agree on bounds_descendants")
        check_outputs(outputs, target_BQ, trie, _DIM, demand, bounds=bounds)
        demand(outputs.summary_ND is None, "summary_ND is None unless requested")
        summed = module(encoded, target_BQ, with_summary=True)
        summary_ND = summed.summary_ND
        demand(
            summary_ND is not None and summary_ND.shape == (2 * NUM_ITEMS, _DIM),
            "summary_ND has the shape (N, D) when requested",
        )
        demand(_close(summed.log_probs_NL, outputs.log_probs_NL), "requesting the summary changes no log-probability")
        demand(
            _close(built().eval()(encoded, target_BQ).log_probs_NL, outputs.log_probs_NL),
            "the same seed gives the same module",
        )
        fewer_BQ = target_BQ.clone()
        fewer_BQ[0, ::2] = -100
        some = module(encoded, fewer_BQ)
        is_target = (fewer_BQ >= 0).flatten()
        demand(
            torch.equal(some.target_N, fewer_BQ.flatten()[is_target])
            and _close(some.log_probs_NL, outputs.log_probs_NL[is_target]),
            "negative targets are left out, the others stay as they are, in row-major order",
        )
        check_last_only(module, encoded, target_BQ, outputs, demand, tolerance=1e-4)
        check_expansion(module, encoded, trie, target_BQ, outputs, demand, tolerance=1e-4)
        _check_positions(module, demand)
    learned = module(encoded, torch.tensor([[1, 2], [5, 0]]))
    (learned.log_probs_NL.sum() if learned.loss is None else -learned.loss).backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    learns = len(gradients) > 0 and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    demand(learns, "the log-probabilities have a finite gradient")


def _check_positions(module: DecoderModule, demand: Demands) -> None:
    """``all_positions`` against one call for each prefix."""
    encoded = _encoded(is_causal=True)
    target_BQ = torch.tensor([[1, 4, 0, 9, 7], [2, 5, 6, -1, -1]])
    together = module(encoded, target_BQ, all_positions=True)
    apart = []
    for row, query in (target_BQ >= 0).nonzero().tolist():
        seen = slice(0, query + 1)
        of_user = encoded.rows(slice(row, row + 1))
        prefix = replace(
            of_user,
            states_BTD=of_user.states_BTD[:, seen],
            mask_BT=of_user.mask_BT[:, seen],
            history_BT=of_user.history_BT[:, seen],  # type: ignore[index]
        )
        apart.append(module(prefix, target_BQ[row : row + 1, query : query + 1]).log_probs_NL)
    demand(
        _close(together.log_probs_NL, torch.cat(apart)),
        "all_positions means that query q sees the history up to its item q, and nothing after",
    )


def _check_task(component: Task, demand: Demands) -> None:
    streams = _streams(component)
    context = _context(streams)
    torch.manual_seed(4)
    writer = decoders.get("transformer").model_validate({"num_layers": 1, "feedforward_dim": 32, "dropout": 0.0})
    modules = {name: writer.build(context.of_stream(name, item_table=_item_table())) for name in streams}
    context = replace(context, decoders=modules, stream=None)

    def built() -> TaskModule:
        torch.manual_seed(1)
        return component.build(context)

    task = built()
    demand(isinstance(task, TaskModule), "build() gives a TaskModule")

    def loss_of(task: TaskModule, target_BQ: Tensor, num_streams: int = len(streams)) -> Tensor:
        outputs = {name: modules[name](_encoded(), target_BQ, with_summary=True) for name in streams[:num_streams]}
        torch.manual_seed(5)
        return task(outputs)

    target_BQ = torch.tensor([[1, 6, 7], [9, 0, 11]])
    loss = loss_of(task, target_BQ)
    check_loss(loss, demand)
    demand(loss.requires_grad, "the loss has a gradient for the decoders or for the task's own parameters")
    loss.backward()
    own = [parameter.grad for parameter in task.parameters()]
    of_decoders = [parameter.grad for module in modules.values() for parameter in module.parameters()]
    reached = [gradient for gradient in [*own, *of_decoders] if gradient is not None and bool(gradient.abs().sum() > 0)]
    demand(reached, "the loss has a gradient for the decoders or for the task's own parameters")
    demand(all(bool(torch.isfinite(gradient).all()) for gradient in reached), "the gradient is finite")
    with torch.no_grad():
        again = loss_of(built().train(task.training), target_BQ)
        demand(_close(again, loss), "random choices and initial weights use only torch's generator")
        missing = loss_of(task, torch.full((2, 1), NUM_ITEMS - 1))
        demand(torch.isfinite(missing), "the loss is finite where no target has codes")


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-4, rtol=1e-4)
