"""Contracts of a model's modules, checked on a few users: history encoders, decoders and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from genrec.contracts.demands import Demands
from genrec.families import Decoder, HistoryEncoder, Task
from genrec.model.contracts import DecoderModule, Encoded, HistoryEncoderModule, Outputs, StreamContext
from genrec.model.retriever import Retriever
from genrec.model.windows import most_recent
from genrec.semantic_ids.trie import Trie
from genrec.types import ABSENT, Histories

_USERS = 4
_TARGETS = 12
"""Items whose log-probabilities are compared, besides the next items of the users."""


def check_model(
    model: Retriever,
    history_encoders: Mapping[str, HistoryEncoder],
    decoders: Mapping[str, Decoder],
    tasks: Sequence[Task],
    streams: Mapping[str, StreamContext],
    train: Histories,
    *,
    tolerance: float,
) -> None:
    """Check the modules of a model on a few training histories; changes neither the model nor the random numbers.

    Args:
        model: on its device, in any mode.
        history_encoders: of each stream.
        decoders: of each stream.
        tasks: in the order of the model's.
        streams: codes and trie of each stream.
        train: training histories.
        tolerance: by how much log-probabilities of ``forward`` and ``expand`` may differ, absolute and relative.

    Raises:
        ContractError: a module breaks its contract; the text names the component.
    """
    users = np.flatnonzero(train.lengths > 1)[:_USERS]
    if not len(users):
        return
    device, was_training = next(model.parameters()).device, model.training
    known = train.take(users)
    history_BT, _ = known.without_last(1).last(model.max_history, padding=model.num_items)
    history_BT = torch.from_numpy(history_BT[:, : max(1, int((known.lengths - 1).max()))]).to(device)
    next_items = known.items[known.offsets[1:] - 1]
    items = np.unique([*next_items, *np.linspace(0, model.num_items - 1, _TARGETS).astype(np.int64)])
    target_BQ = torch.from_numpy(items.astype(np.int64)).to(device).expand(len(users), -1)
    model.train(False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            outputs: dict[str, Outputs] = {}
            for name, decoder in decoders.items():
                if decoder.reads_states:
                    encoder, module = history_encoders[name], model.history_encoder(name)
                    read_BT = most_recent(history_BT, encoder.max_history, padding=model.num_items)
                    demand = Demands(encoder)
                    with demand.blaming():
                        states = module(read_BT)
                        check_states(states, read_BT, encoder.dim, model.num_items, demand)
                        check_last(module, read_BT, states, demand, tolerance=tolerance)
            for name, encoded in model.encode(history_BT).items():
                demand, trie, module = Demands(decoders[name]), streams[name].trie, model.decoders[name]
                with demand.blaming():
                    outputs[name] = module(encoded, target_BQ, with_summary=len(tasks) > 0)
                    bounds, dim = module.bounds_descendants, history_encoders[name].dim
                    demand(
                        bounds == decoders[name].bounds_descendants, "module and settings agree on bounds_descendants"
                    )
                    check_outputs(outputs[name], target_BQ, trie, dim, demand, bounds=bounds)
                    check_last_only(module, encoded, target_BQ, outputs[name], demand, tolerance=tolerance)
                    check_expansion(module, encoded, trie, target_BQ, outputs[name], demand, tolerance=tolerance)
            for task, module in zip(tasks, model.tasks, strict=True):
                demand = Demands(task)
                with demand.blaming():
                    check_loss(module(outputs), demand)
    finally:
        model.train(was_training)


def check_states(encoded: Encoded, history_BT: Tensor, dim: int, num_items: int, demand: Demands) -> None:
    """Check what a history encoder gave.

    Args:
        encoded: from the module.
        history_BT: the histories that it read.
        dim: width D of the states.
        num_items: item number of padding.
        demand: of the history encoder.
    """
    demand(isinstance(encoded, Encoded), "forward() gives Encoded", type(encoded).__name__)
    shape, expected = tuple(encoded.states_BTD.shape), (*history_BT.shape, dim)
    demand(shape == expected, "states have the shape (B, T, dim)", f"{shape}, expected {expected}")
    demand(torch.isfinite(encoded.states_BTD).all(), "states are finite, those of padding too")
    demand(torch.equal(encoded.mask_BT, history_BT != num_items), "the mask is True at items")


def check_last(
    module: HistoryEncoderModule, history_BT: Tensor, encoded: Encoded, demand: Demands, *, tolerance: float
) -> None:
    """Check that a history encoder's ``last`` gives the last of its states.

    Args:
        module: in eval mode.
        history_BT: histories.
        encoded: of ``forward`` for these histories.
        demand: of the history encoder.
        tolerance: of the difference, absolute and relative.
    """
    is_same = _close(module.last(history_BT), encoded.last_BD, tolerance)
    demand(is_same, "last() gives the state of the most recent item")


def check_last_only(
    module: DecoderModule,
    encoded: Encoded,
    target_BQ: Tensor,
    outputs: Outputs,
    demand: Demands,
    *,
    tolerance: float,
) -> None:
    """Check that a decoder that declares ``reads_last_only`` reads no other state.

    Args:
        module: in eval mode.
        encoded: B users.
        target_BQ: the targets.
        outputs: of ``forward`` for these users and targets.
        demand: of the decoder.
        tolerance: of the difference, absolute and relative.
    """
    if module.reads_last_only:
        again = module(encoded.last_only(), target_BQ)
        is_same = _close(again.log_probs_NL, outputs.log_probs_NL, tolerance)
        demand(is_same, "reads_last_only means that no other state matters")


def check_outputs(
    outputs: Outputs, target_BQ: Tensor, trie: Trie, dim: int, demand: Demands, *, bounds: bool = True
) -> None:
    """Check what a decoder gave for known targets.

    Args:
        outputs: from the module.
        target_BQ: the targets; none is negative.
        trie: of the stream.
        dim: width D of the states.
        demand: of the decoder.
        bounds: whether a decoder's prefixes bound their items (``bounds_descendants``).
    """
    demand(isinstance(outputs, Outputs), "forward() gives Outputs", type(outputs).__name__)
    target_N = target_BQ.flatten()
    present_N = torch.from_numpy(trie.nodes_IL[:, 0] != ABSENT).to(target_N.device)[target_N]
    demand(torch.equal(outputs.target_N, target_N), "target_N holds the targets in row-major order")
    demand(torch.equal(outputs.present_N, present_N), "present_N is True for targets with codes in the stream")
    shape, expected = tuple(outputs.log_probs_NL.shape), (len(target_N), trie.num_levels)
    demand(shape == expected, "log_probs_NL has the shape (N, L)", f"{shape}, expected {expected}")
    shape, expected = tuple(outputs.hidden_NLD.shape), (*expected, dim)
    demand(shape == expected, "hidden_NLD has the shape (N, L, D)", f"{shape}, expected {expected}")
    demand(torch.isfinite(outputs.log_probs_NL).all(), "log-probabilities of targets are finite")
    if bounds:
        demand((outputs.log_probs_NL <= 1e-5).all(), "log-probabilities are not above 0")
    demand((outputs.log_probs_NL.sum(1) <= 1e-4).all(), "log-probabilities of items are not above 0")
    if outputs.loss is not None:
        check_loss(outputs.loss, demand)
    demand((outputs.log_probs_NL[~present_N] == 0).all(), "log_probs_NL is 0 where the target has no codes")


def check_expansion(
    module: DecoderModule,
    encoded: Encoded,
    trie: Trie,
    target_BQ: Tensor,
    outputs: Outputs,
    demand: Demands,
    *,
    tolerance: float,
) -> None:
    """Walk down the trie to some items by ``expand`` and compare with the log-probabilities of ``forward``.

    The beams change places from one depth to the next, as in a search.

    Args:
        module: in eval mode.
        encoded: B users.
        trie: of the stream.
        target_BQ: the same Q items for all users.
        outputs: of ``forward`` for these targets.
        demand: of the decoder.
        tolerance: of the difference, absolute and relative.
    """
    (B, Q), device = target_BQ.shape, target_BQ.device
    nodes_QL = torch.from_numpy(trie.nodes_IL).to(device)[target_BQ[0]]
    place_K = (nodes_QL[:, 0] >= 0).nonzero()[:, 0]  # items without codes have no path
    nodes_KL, K = nodes_QL[place_K], len(place_K)
    if not K or not B:
        return
    state, state_for_all = module.begin(encoded), module.begin(encoded)
    turned_K = torch.arange(K - 1, -1, -1, device=device)
    beam_K = torch.zeros_like(turned_K)  # the beam of each item: that of the root, then in turned order at odd depths
    nodes_BK = torch.zeros(B, 1, dtype=torch.int64, device=device)
    origin_BK, total_BK = torch.zeros_like(nodes_BK), torch.zeros(B, K, device=device)
    same_for_all = True
    for depth in range(trie.num_levels):
        log_probs_BKC = module.expand(state, depth, nodes_BK, origin_BK)
        for_all_BKC = module.expand_for_all(state_for_all, depth, nodes_BK[0], origin_BK[0], B)
        same_for_all = same_for_all and _close(for_all_BKC, log_probs_BKC, tolerance)
        if depth + 1 == trie.num_levels:
            again_BKC = module.expand(state, depth, nodes_BK, origin_BK)
            demand(_close(again_BKC, log_probs_BKC), "the last depth can be expanded again: expand() leaves the state")
            alone_BKC = module.expand(
                state.rows(torch.tensor([B - 1], device=device)), depth, nodes_BK[-1:], origin_BK[-1:]
            )
            demand(_close(alone_BKC, log_probs_BKC[-1:], tolerance), "rows() of a state selects users")
        starts = torch.from_numpy(trie.child_start[depth]).to(device)
        shape, expected = tuple(log_probs_BKC.shape), (*nodes_BK.shape, trie.max_children(depth))
        demand(
            shape == expected,
            "expand() gives a column for each child of the node with the most children",
            f"the shape {shape} at depth {depth}, expected {expected}",
        )
        count_BK = starts[nodes_BK + 1] - starts[nodes_BK]
        is_child_BKC = torch.arange(expected[2], device=device) < count_BK[:, :, None]
        demand((log_probs_BKC[~is_child_BKC] == -torch.inf).all(), "expand() gives -inf beyond a node's last child")
        if module.bounds_descendants:
            demand(
                (log_probs_BKC.exp().sum(-1) <= 1 + 1e-4).all(),
                "the probabilities of a node's children sum to 1 at most",
                f"{log_probs_BKC.exp().sum(-1).max():.4f}",
            )
        parent_K = nodes_KL[:, depth - 1] if depth else torch.zeros_like(beam_K)
        total_BK = total_BK + log_probs_BKC[:, beam_K, nodes_KL[:, depth] - starts[parent_K]].float()
        # The next beams: the items' nodes, in turned order after every other depth.
        order_K = turned_K if depth % 2 else torch.arange(K, device=device)
        nodes_BK, origin_BK = nodes_KL[order_K, depth].expand(B, -1), beam_K[order_K].expand(B, -1)
        beam_K = order_K  # its own inverse
    scored_BK = outputs.log_probs_NL.float().sum(1).view(B, Q)[:, place_K]
    worst = int((total_BK - scored_BK).abs().nan_to_num(torch.inf).argmax())
    demand(
        _close(total_BK, scored_BK, tolerance),
        "expand() and forward() give every item the same log-probability",
        f"{total_BK.flatten()[worst]:.4f} by expand() and {scored_BK.flatten()[worst]:.4f} by forward() "
        f"for item {int(target_BQ[0, place_K[worst % K]])}",
    )
    demand(same_for_all, "expand_for_all() gives what expand() gives for each user")


def check_loss(loss: Tensor, demand: Demands) -> None:
    """Check the loss of a task."""
    demand(isinstance(loss, Tensor), "forward() gives a tensor", type(loss).__name__)
    demand(loss.shape == (), "the loss is a scalar", f"the shape {tuple(loss.shape)}")
    demand(torch.isfinite(loss), "the loss is finite", f"{loss:.4g}")


def _close(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, atol=tolerance, rtol=tolerance)
