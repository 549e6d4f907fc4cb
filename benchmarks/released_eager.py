"""Compares with the search of EAGER's released decoder, rewritten over the same weights, two streams.

``python benchmarks/released_eager.py [--output FILE]``. There the input is repeated once for each beam, at the
first step too; every step runs encoder and decoder anew over whole prefixes, without a cache; attention is written
out, and its maps are returned; a beam's children's vectors are gathered; the streams come one after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import torch
from _clock import in_own_process, take_turns
from _models import Sizes, Widths, build_retriever, lists_of, random_histories, search
from _results import Cell, Result, Table, give, read_conditions, say_load
from torch import Tensor, nn

from genrec.model.retriever import Retriever
from genrec.runtime.float32_products import by_onednn
from genrec.runtime.malloc import disable_malloc_trim
from genrec.semantic_ids.trie import Trie
from genrec.types import Candidates, Histories

TOLERANCE = 1e-4
"""Nats by which log-probabilities may differ where the same is computed in another order."""


class Released:
    """One stream of a retriever, searched in the released way.

    Args:
        retriever: bidirectional ``item_ids`` and a ``transformer`` with the vocabulary ``path``.
        stream: which stream.
        trie: its trie.
        whole: whether it also does what the released code does and nothing reads: at each step and position the output
            layer over all k^L + ... + k tokens and three special ones, and the scores of all k leaves below a node
            (there each stands for an item once more; here those beyond a node's real children are masked).
    """

    def __init__(self, retriever: Retriever, stream: str, trie: Trie, *, whole: bool = False) -> None:
        # The modules' parts are read by name, which type checkers cannot see.
        self.encoder: Any = retriever.history_encoder(stream)
        self.decoder: Any = retriever.decoders[stream]
        self.trie, self.tree = trie, trie.on(torch.device("cpu"))
        self.tables: list[Tensor] = [table.weight for table in self.decoder.vocabulary.tables]
        self.unused: Tensor | None = None
        k, levels = trie.vocabulary_sizes[0], trie.num_levels
        self.widths = [k if whole else trie.max_children(depth) for depth in range(levels)]
        if whole:
            num_tokens = sum(k**level for level in range(1, levels + 1)) + 3
            self.unused = torch.randn(num_tokens, self.tables[0].shape[1], generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def predict(self, history_BT: Tensor, *, beam_width: int = 100, list_length: int = 20) -> tuple[Tensor, Tensor]:
        """The most probable items ``items_BN`` and their ``log_probs_BN``; histories have no padding."""
        B, K, L = len(history_BT), beam_width, self.trie.num_levels
        history_NT = history_BT.repeat_interleave(K, dim=0)
        totals_BK = torch.full((B, K), -1e9)
        totals_BK[:, 0] = 0.0
        written_NP = torch.zeros(B * K, 0, dtype=torch.int64)
        for depth in range(L):
            hidden_NSD = self._read_and_write(history_NT, written_NP)
            node_N = written_NP[:, -1] if depth else torch.zeros(B * K, dtype=torch.int64)
            start = self.tree.child_start[depth]
            child_NC = start[node_N, None] + torch.arange(self.widths[depth])
            exists_NC = child_NC < start[node_N + 1, None]
            child_NC = child_NC.clamp_max(len(self.tables[depth]) - 1)
            logits_NSC = hidden_NSD @ self.tables[depth][child_NC].transpose(1, 2)
            log_probs_NC = logits_NSC[:, -1].masked_fill(~exists_NC, -torch.inf).log_softmax(-1)
            totals_BM = (totals_BK.view(B, K, 1) + log_probs_NC.view(B, K, -1)).flatten(1)
            extended_NCP = torch.cat(
                [written_NP[:, None].expand(-1, child_NC.shape[1], -1), child_NC[:, :, None]], dim=2
            )
            totals_BK, best_BK = totals_BM.topk(K if depth < L - 1 else list_length)
            extended_BMP = extended_NCP.view(B, -1, depth + 1)
            written_NP = extended_BMP.gather(1, best_BK[:, :, None].expand(-1, -1, depth + 1)).flatten(0, 1)
        return self.tree.item_of_leaf[written_NP[:, -1].view(B, -1)], totals_BK

    def _read_and_write(self, history_NT: Tensor, written_NP: Tensor) -> Tensor:
        """The decoder's states over start token and written codes, from item numbers on."""
        maps: list[Tensor] = []
        T = history_NT.shape[1]
        x_NTD = self.encoder.item_table(history_NT) + self.encoder.positions(torch.arange(T - 1, -1, -1))
        for layer in self.encoder.layers:
            normed = layer.attention_norm(x_NTD)
            x_NTD = x_NTD + attend(layer.attention, normed, normed, maps)
            x_NTD = x_NTD + layer.feedforward(layer.feedforward_norm(x_NTD))
        read_NTD = self.encoder.norm(x_NTD)
        codes = [self.tables[level][written_NP[:, level]] for level in range(written_NP.shape[1])]
        x_NSD = torch.stack([self.decoder.start.expand(len(history_NT), -1), *codes], dim=1)
        S = x_NSD.shape[1]
        x_NSD = x_NSD + self.decoder.positions.weight[:S]
        later_SS = torch.ones(S, S, dtype=torch.bool).triu(1)
        for layer in self.decoder.layers:
            normed = layer.self_norm(x_NSD)
            x_NSD = x_NSD + attend(layer.self_attention, normed, normed, maps, later_SS)
            x_NSD = x_NSD + attend(layer.cross_attention, layer.cross_norm(x_NSD), read_NTD, maps)
            x_NSD = x_NSD + layer.feedforward(layer.feedforward_norm(x_NSD))
        x_NSD = self.decoder.norm(x_NSD)
        if self.unused is not None:
            _ = x_NSD @ self.unused.T
        return x_NSD


def attend(
    attention: Any, x_NSD: Tensor, read_NTD: Tensor, maps: list[Tensor], hidden_ST: Tensor | None = None
) -> Tensor:
    """Multi-head attention written out; its map is appended to ``maps``."""
    H = attention.num_heads
    query = attention.query(x_NSD).unflatten(2, (H, -1)).transpose(1, 2)
    key, value = (part.unflatten(2, (H, -1)).transpose(1, 2) for part in attention.key_value(read_NTD).chunk(2, dim=2))
    logits_NHST = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
    if hidden_ST is not None:
        logits_NHST = logits_NHST.masked_fill(hidden_ST, -torch.inf)
    maps.append(nn.functional.softmax(logits_NHST, dim=3))
    return attention.output((maps[-1] @ value).transpose(1, 2).flatten(2))


def count_different(ours: Candidates, theirs: Sequence[tuple[Tensor, Tensor]]) -> int:
    """Ranks whose item is another one, although its log-probability differs by more than :data:`TOLERANCE`."""
    different = 0
    for stream, (items_BN, log_probs_BN) in enumerate(theirs):
        for user, own in enumerate(lists_of(ours, stream)):
            log_prob = dict(
                zip(ours.items_BC[user].tolist(), ours.log_probs_BCS[user, :, stream].tolist(), strict=True)
            )
            pairs = zip(own, items_BN[user].tolist(), log_probs_BN[user].tolist(), strict=True)
            different += sum(mine != other and abs(log_prob[mine] - value) > TOLERANCE for mine, other, value in pairs)
    return different


def compare(
    sizes: Sizes, batches: Sequence[int], *, beam_width: int, list_length: int, repeats: int
) -> list[list[Cell]]:
    """A row for each batch size.

    Raises:
        RuntimeError: the two ways, which have the same weights, disagree about a list.
    """
    retriever, tries = build_retriever(sizes)
    plain = [Released(retriever, name, trie) for name, trie in tries.items()]
    whole = [Released(retriever, name, trie, whole=True) for name, trie in tries.items()]
    widths = Widths(beam_width=beam_width, list_length=list_length)
    rows: list[list[Cell]] = []
    for batch in batches:
        histories = random_histories(sizes, batch)
        history_BT = _as_tensor(histories, sizes)

        def differences(side: Sequence[Released], histories=histories, history_BT=history_BT) -> int:
            ours = search(retriever, tries, histories, **widths)
            return count_different(ours, [stream.predict(history_BT, **widths) for stream in side])

        for side in (plain, whole):
            if different := in_own_process(partial(differences, side)):
                raise RuntimeError(f"{different} ranks of {batch} users differ between the two ways")
        sides: dict[str, Callable[[], object]] = {
            "genrec": lambda histories=histories: search(retriever, tries, histories, **widths),
            "bfloat16": lambda histories=histories: search(retriever, tries, histories, precision="bfloat16", **widths),
            "plain": lambda history_BT=history_BT: [stream.predict(history_BT, **widths) for stream in plain],
            "whole": lambda history_BT=history_BT: [stream.predict(history_BT, **widths) for stream in whole],
            "settings": lambda history_BT=history_BT: in_our_settings(whole, history_BT, **widths),
        }
        seconds = take_turns(sides, repeats)
        speeds = [batch / seconds[side] for side in ("whole", "settings", "plain", "genrec", "bfloat16")]
        times = [seconds[side] / seconds["genrec"] for side in ("whole", "settings", "plain")]
        times.append(seconds["whole"] / seconds["bfloat16"])
        rows.append([batch, *speeds, *(f"{ratio:.0f}x" for ratio in times)])
    return rows


def in_our_settings(streams: Sequence[Released], history_BT: Tensor, **widths: Unpack[Widths]) -> list[Any]:
    """The released way in a process with genrec's settings: no trimming of freed memory, and oneDNN's products."""
    disable_malloc_trim()
    with by_onednn():
        return [stream.predict(history_BT, **widths) for stream in streams]


def _as_tensor(histories: Histories, sizes: Sizes) -> Tensor:
    return torch.from_numpy(histories.last(sizes.history, padding=sizes.num_items)[0])


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], help="users searched together")
    parser.add_argument("--beam-width", type=int, default=100)
    parser.add_argument("--list-length", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="rounds after one to warm up; medians count")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say_load()
    conditions = read_conditions()
    sizes = Sizes(vocabulary="path")
    rows = compare(
        sizes,
        arguments.batches,
        beam_width=arguments.beam_width,
        list_length=arguments.list_length,
        repeats=arguments.repeats,
    )
    columns = ["batch", "as released", "our settings", "less what is not read", "genrec", "genrec, bfloat16", "times"]
    columns += ["times (our settings)", "times (less ...)", "bfloat16: times"]
    title = f"Users per CPU-second, {sizes.num_streams} streams, beam {arguments.beam_width}, path vocabulary, l=2"
    note = (
        "Same weights on all sides, and the lists of float32 were compared rank by rank. What is not read: at every "
        "step and position the released code computes logits over all k^2 + k + 3 tokens, and scores of k leaves "
        "below every node, of which the trie has 47 on average. `our settings`: as released, with freed memory "
        "kept and float32 products by oneDNN, as in genrec's process. `times`: ratio of medians."
    )
    give(Result("released_eager", [Table(title, columns, rows, note)], conditions), arguments.output)


if __name__ == "__main__":
    main()
