"""Against Hugging Face: beam search of one stream here, and T5 ``generate`` under the same trie at the same sizes.

``python benchmarks/hugging_face.py [--output FILE]``. Weights are random, one thread, CPU-seconds; the sides take
turns, each in a separate process. T5 reads the same number of items through a separate item table and has one
vocabulary for all levels, as ``generate`` needs: k tokens a level (``level``), or one for each node (``path``).
"""

from __future__ import annotations

import argparse
import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
import transformers
from _clock import in_own_process, take_turns
from _models import Sizes, Subject, Widths, count_faults, lists_of, random_model, trained_model
from _results import Cell, Result, Table, give, read_conditions, say_load
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, LogitsProcessor, T5Config, T5ForConditionalGeneration

from genrec.runtime.float32_products import by_onednn
from genrec.runtime.malloc import disable_malloc_trim
from genrec.semantic_ids.trie import Trie
from genrec.types import Histories

START = 0
"""The token that ``generate`` begins with; codes follow it."""
_CACHE = "cache" if "cache" in inspect.signature(T5ForConditionalGeneration.forward).parameters else "past_key_values"


@dataclass(frozen=True)
class Tokens:
    """The codes of a trie as T5's tokens.

    Args:
        trie: the stream's trie.
        vocabulary: ``level``: a token for each code of a level. ``path``: one for each node, numbered depth by depth.
    """

    trie: Trie
    vocabulary: str

    @cached_property
    def first_L(self) -> np.ndarray:
        """The first token of each level."""
        sizes = self.trie.vocabulary_sizes if self.vocabulary == "level" else self._num_nodes
        return np.concatenate([[START + 1], START + 1 + np.cumsum(sizes)])[:-1]

    @property
    def _num_nodes(self) -> list[int]:
        return [self.trie.num_nodes(depth + 1) for depth in range(self.trie.num_levels)]

    def __len__(self) -> int:
        return 1 + sum(self.trie.vocabulary_sizes if self.vocabulary == "level" else self._num_nodes)

    def of_nodes(self, level: int) -> np.ndarray:
        """The token of each node of depth ``level + 1``, in trie order."""
        nodes = self.trie.codes[level] if self.vocabulary == "level" else np.arange(self.trie.num_nodes(level + 1))
        return (self.first_L[level] + nodes).astype(np.int64)

    @cached_property
    def of_items_IL(self) -> np.ndarray:
        """The tokens of each item."""
        return np.stack(
            [self.of_nodes(level)[self.trie.nodes_IL[:, level]] for level in range(self.trie.num_levels)], 1
        )

    @cached_property
    def item_of(self) -> dict[tuple[int, ...], int]:
        """The item that some tokens spell."""
        return {tuple(tokens): item for item, tokens in enumerate(self.of_items_IL.tolist())}

    @cached_property
    def allowed_after(self) -> dict[tuple[int, ...], Tensor]:
        """What may follow each prefix, as tensors: ``generate`` indexes with it, and would convert a list each time."""
        prefixes: list[tuple[int, ...]] = [(START,)]
        allowed = {}
        for level in range(self.trie.num_levels):
            children = torch.from_numpy(self.of_nodes(level)).split(np.diff(self.trie.child_start[level]).tolist())
            allowed |= dict(zip(prefixes, children, strict=True))
            prefixes = [
                (*prefix, token) for prefix, group in zip(prefixes, children, strict=True) for token in group.tolist()
            ]
        return allowed


class TrieMask(LogitsProcessor):
    """The same constraint for all beams at once: what a user of ``generate`` could write to be spared its loop.

    A table of the tokens allowed after each node that is not a leaf; the node of a beam is found level by level.
    """

    def __init__(self, tokens: Tokens) -> None:
        trie = tokens.trie
        self._level_of_length = {length + 1: length for length in range(trie.num_levels)}
        self._first_L, self._is_path = tokens.first_L.tolist(), tokens.vocabulary == "path"
        self._start = [torch.from_numpy(starts) for starts in trie.child_start]
        self._tables, self._node_of = [], []
        for level in range(trie.num_levels if not self._is_path else 0):
            size = trie.vocabulary_sizes[level]
            parents = np.repeat(np.arange(trie.num_nodes(level)), np.diff(trie.child_start[level]))
            penalty_MV = torch.full((trie.num_nodes(level), size), -torch.inf)
            penalty_MV[parents, trie.codes[level]] = 0.0
            node_MV = torch.zeros(trie.num_nodes(level), size, dtype=torch.int64)
            node_MV[parents, trie.codes[level]] = torch.arange(trie.num_nodes(level + 1))
            self._tables.append(penalty_MV)
            self._node_of.append(node_MV)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        level = self._level_of_length[input_ids.shape[1]]
        first = self._first_L[level]
        if self._is_path:
            node_N = input_ids[:, -1] - self._first_L[level - 1] if level else torch.zeros_like(input_ids[:, 0])
            token_V = torch.arange(scores.shape[1]) - first
            start = self._start[level]
            is_child_NV = (token_V >= start[node_N, None]) & (token_V < start[node_N + 1, None])
            return scores.masked_fill(~is_child_NV, -torch.inf)
        node_N = torch.zeros_like(input_ids[:, 0])
        for before in range(level):
            node_N = self._node_of[before][node_N, input_ids[:, before + 1] - self._first_L[before]]
        penalty_NV = self._tables[level][node_N]
        masked = torch.full_like(scores, -torch.inf)
        masked[:, first : first + penalty_NV.shape[1]] = scores[:, first : first + penalty_NV.shape[1]] + penalty_NV
        return masked


class T5(nn.Module):
    """T5 with random weights over item histories; :meth:`recommend` is ``generate`` at its best settings."""

    def __init__(self, sizes: Sizes, num_tokens: int, seed: int = 0) -> None:
        super().__init__()
        config = T5Config(
            vocab_size=num_tokens,
            d_model=sizes.dim,
            d_kv=sizes.dim // sizes.num_heads,
            d_ff=sizes.feedforward_dim,
            num_layers=sizes.encoder_layers,
            num_decoder_layers=sizes.decoder_layers,
            num_heads=sizes.num_heads,
            pad_token_id=START,
            eos_token_id=None,
            decoder_start_token_id=START,  # type: ignore[call-arg]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = T5ForConditionalGeneration(config).eval()
            self.items = nn.Embedding(sizes.num_items, sizes.dim)

    def in_bfloat16(self) -> T5:
        """A copy."""
        return copy.deepcopy(self).bfloat16()

    @torch.inference_mode()
    def recommend(
        self, history_BT: Tensor, num_levels: int, *, beam_width: int = 100, list_length: int = 20, **constraint: Any
    ) -> Tensor:
        """Token sequences without the start token, best first, (B, list_length, num_levels).

        Args:
            history_BT: item numbers, no padding.
            num_levels: codes of an item.
            beam_width: ``num_beams``.
            list_length: ``num_return_sequences``.
            constraint: ``prefix_allowed_tokens_fn`` or ``logits_processor``.
        """
        sequences = self.model.generate(  # type: ignore[operator]
            inputs_embeds=self.items(history_BT),
            attention_mask=torch.ones_like(history_BT),
            # Given, because `generate` itself makes one with as many layers as the encoder has.
            **{_CACHE: EncoderDecoderCache(DynamicCache(), DynamicCache())},
            num_beams=beam_width,
            num_return_sequences=list_length,
            max_length=1 + num_levels,
            do_sample=False,
            early_stopping=False,
            length_penalty=0.0,
            use_cache=True,
            **constraint,
        )
        return sequences[:, 1:].view(len(history_BT), list_length, num_levels)

    def with_prefixes(self, tokens: Tokens, history_BT: Tensor, **widths: Unpack[Widths]) -> Tensor:
        """Constrained by ``prefix_allowed_tokens_fn``: one dictionary look-up for each beam."""
        allowed = tokens.allowed_after

        def allowed_tokens(_: int, written: Tensor) -> Tensor:
            return allowed[tuple(written.tolist())]

        levels = tokens.trie.num_levels
        return self.recommend(history_BT, levels, prefix_allowed_tokens_fn=allowed_tokens, **widths)

    def with_mask(self, mask: TrieMask, num_levels: int, history_BT: Tensor, **widths: Unpack[Widths]) -> Tensor:
        """Constrained by a logits processor of our own."""
        return self.recommend(history_BT, num_levels, logits_processor=[mask], **widths)


def items_of(tokens: Tokens, sequences_BNL: Tensor) -> list[list[int]]:
    """The items of generated sequences; -1 for what is no item."""
    return [[tokens.item_of.get(tuple(one), -1) for one in user] for user in sequences_BNL.tolist()]


def needed_bytes(sizes: Sizes, num_tokens: int, batch: int, beam_width: int = 100) -> float:
    """About what ``generate`` takes: six copies of the scores, two of each beam's keys and values of the history."""
    keys_values = 2 * sizes.decoder_layers * sizes.history * sizes.dim
    return 4.0 * batch * beam_width * (6 * num_tokens + 2 * keys_values)


COLUMNS = (
    "weights",
    "vocabulary",
    "levels",
    "batch",
    "T5",
    "T5, our settings",
    "T5, bfloat16",
    "T5, our mask",
    "genrec",
    "genrec, bfloat16",
    "times",
    "times (our settings)",
    "times (mask)",
    "bfloat16: times T5",
    "times T5, bfloat16",
)


def compare(
    subject: Subject, batches: Sequence[int], *, beam_width: int, list_length: int, repeats: int, limit_bytes: float
) -> list[list[Cell]]:
    """The rows of one model (:data:`COLUMNS`); batches that do not fit are halved until they do.

    Raises:
        RuntimeError: a side gave an item that is none, or one twice.
    """
    sizes, trie = subject.sizes, subject.trie
    weights = "random" if subject.known is None else "converged"
    tokens = Tokens(trie, sizes.vocabulary)
    model, mask = T5(sizes, len(tokens)), TrieMask(tokens)
    lower = model.in_bfloat16()
    widths = Widths(beam_width=beam_width, list_length=list_length)
    rows: list[list[Cell]] = []
    for batch in batches:
        while batch > 1 and needed_bytes(sizes, len(tokens), batch, beam_width) > limit_bytes:
            batch //= 2
        if any(row[3] == batch for row in rows):
            continue
        users = subject.histories(batch)
        history_BT = torch.from_numpy(users.last(sizes.history, padding=sizes.num_items)[0])

        sides: dict[str, Callable[[], object]] = {
            "genrec": lambda users=users: subject.search(users, **widths),
            "genrec, bfloat16": lambda users=users: subject.search(users, precision="bfloat16", **widths),
            "T5": lambda history_BT=history_BT: model.with_prefixes(tokens, history_BT, **widths),
            "T5, our settings": lambda history_BT=history_BT: in_our_settings(
                model.with_prefixes, tokens, history_BT, **widths
            ),
            "T5, bfloat16": lambda history_BT=history_BT: lower.with_prefixes(tokens, history_BT, **widths),
            "T5, our mask": lambda history_BT=history_BT: model.with_mask(mask, trie.num_levels, history_BT, **widths),
        }
        ours = in_own_process(lambda users=users: lists_of(subject.search(users, **widths), 0))
        in_own_process(lambda ours=ours, users=users: check_lists(tokens, model, mask, ours, users, **widths))
        seconds = take_turns(sides, repeats)
        speeds = [batch / seconds[side] for side in COLUMNS[4:10]]
        times = [seconds[side] / seconds["genrec"] for side in ("T5", "T5, our settings", "T5, our mask")]
        times += [seconds[side] / seconds["genrec, bfloat16"] for side in ("T5", "T5, bfloat16")]
        shown = (f"{ratio:.1f}x" for ratio in times)
        rows.append([weights, sizes.vocabulary, sizes.num_levels, batch, *speeds, *shown])
    return rows


def in_our_settings(recommend: Callable[..., Tensor], *arguments: Any, **widths: Unpack[Widths]) -> Tensor:
    """``generate`` in a process with genrec's settings: no trimming of freed memory, and oneDNN's products."""
    disable_malloc_trim()
    with by_onednn():
        return recommend(*arguments, **widths)


def check_lists(
    tokens: Tokens, model: T5, mask: TrieMask, ours: list[list[int]], histories: Histories, **widths: Unpack[Widths]
) -> None:
    """See on one user that all sides give items of the trie and none twice, and that both constraints agree."""
    num_items = len(tokens.trie.nodes_IL)
    history_BT = torch.from_numpy(np.stack([histories[0]])).long()
    theirs = items_of(tokens, model.with_prefixes(tokens, history_BT, **widths))
    masked = items_of(tokens, model.with_mask(mask, tokens.trie.num_levels, history_BT, **widths))
    if theirs != masked:
        raise RuntimeError("generate gave other lists with the mask than with the prefix function")
    for side, lists in (("genrec", ours), ("generate", theirs)):
        if faults := count_faults(lists, num_items):
            raise RuntimeError(f"{side} gave {faults} items that are none or stand twice in a list")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", nargs="+", choices=["level", "path"], default=["level", "path"])
    parser.add_argument("--levels", nargs="+", type=int, default=[2, 3], help="code lengths")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 256], help="users searched together")
    parser.add_argument("--beam-width", type=int, default=100)
    parser.add_argument("--list-length", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="rounds after one to warm up; medians count")
    parser.add_argument(
        "--memory", type=float, default=12.0, help="GB that generate may take; larger batches are halved"
    )
    parser.add_argument(
        "--run", type=Path, help="a finished run of EAGER's sizes: rows with its weights and test users"
    )
    parser.add_argument("--data", type=Path, help="folder of the run's dataset, as for genrec run")
    parser.add_argument("--output", type=Path, help="JSON file to keep the result in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    say_load()
    conditions = read_conditions(transformers=transformers.__version__)
    models = [
        random_model(Sizes(num_levels=levels, num_streams=1, vocabulary=vocabulary))
        for vocabulary in arguments.vocabularies
        for levels in arguments.levels
    ]
    if arguments.run:
        models.append(trained_model(arguments.run, arguments.data))
    rows: list[list[Cell]] = []
    for model in models:
        rows += compare(
            model,
            arguments.batches,
            beam_width=arguments.beam_width,
            list_length=arguments.list_length,
            repeats=arguments.repeats,
            limit_bytes=arguments.memory * 1e9,
        )
    note = (
        "`T5`: `generate` with `prefix_allowed_tokens_fn`, a dictionary of tensors, as torch comes. `our settings`: "
        "freed memory kept and float32 products by oneDNN, as in genrec's process. `our mask`: `generate` with a "
        "logits processor of ours that masks all beams at once; transformers has none of its own. `times`: medians, "
        "T5 over genrec in float32. The last two columns are of genrec in bfloat16, over T5 in float32 and over T5 in"
        " bfloat16. `converged`: a finished run's model, which needs fewer beams; T5's weights are random in every "
        "row, and its time does not depend on them."
    )
    title = f"Users per CPU-second, one stream, beam {arguments.beam_width}, top {arguments.list_length}"
    give(Result("hugging_face", [Table(title, COLUMNS, rows, note)], conditions), arguments.output)


if __name__ == "__main__":
    main()
