"""The model of a recipe: history encoder (one, or one for each stream), N decoders, M tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from genrec.families import Decoder, HistoryEncoder, Task
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, HistoryEncoderModule, StreamContext, TaskModule
from genrec.seeds import derive
from genrec.training.batches import HistoryBatch
from genrec.types import Histories

_ALL = "all"


def _key(stream: str) -> str:
    """A stream's name as a module's name: it may be a word that ``nn.ModuleDict`` keeps for itself."""
    return f"stream {stream}"


class Retriever(nn.Module):
    """Reads histories and writes the next item's codes in every stream.

    Args:
        history_encoder: its ``share`` says whether streams have it in common.
        decoders: one for each stream.
        tasks: auxiliary losses.
        streams: codes, trie and item vectors of each stream.
        num_items: size of the catalog.
        seed: each module draws its fresh weights from a generator of its own.
        train: training histories, for decoders that count; None where the weights of a finished run follow.
    """

    def __init__(
        self,
        history_encoder: HistoryEncoder,
        decoders: Mapping[str, Decoder],
        tasks: Sequence[Task],
        streams: Mapping[str, StreamContext],
        *,
        num_items: int,
        seed: int,
        train: Histories | None = None,
    ) -> None:
        super().__init__()
        self.num_items, self.max_history = num_items, history_encoder.max_history
        context = BuildContext(num_items, history_encoder.dim, history_encoder.max_history, streams, train=train)
        self._history_encoders = nn.ModuleDict()
        self._encoder_of: dict[str, str] = {}
        shared: HistoryEncoderModule | None = None
        for name, decoder in decoders.items():
            if not decoder.reads_states:
                continue
            key = self._encoder_of[name] = _ALL if history_encoder.share == "all" else _key(name)
            if key in self._history_encoders:
                continue
            table = shared.item_table if shared is not None and history_encoder.share == "items" else None
            with _seeded(seed, "history encoder", "" if key == _ALL else name):
                built = history_encoder.build(context.of_stream(name, item_table=table))
            shared = shared or built
            self._history_encoders[key] = built
        self._decoders = nn.ModuleDict()
        for name, decoder in decoders.items():
            with _seeded(seed, "decoder", name):
                table = self.history_encoder(name).item_table if decoder.reads_states else None
                self._decoders[_key(name)] = decoder.build(context.of_stream(name, item_table=table))
        self._names = tuple(decoders)
        self.tasks = nn.ModuleList()
        for number, task in enumerate(tasks):
            with _seeded(seed, "task", number, task.type_name):
                self.tasks.append(task.build(replace(context, decoders=self.decoders)))
        # Eq. 6: the weight of a kind of task is shared by the tasks of that kind.
        kinds = Counter(task.type_name for task in tasks)
        self._task_weights = [(task.type_name, task.weight / kinds[task.type_name]) for task in tasks]

    def history_encoder(self, stream: str) -> HistoryEncoderModule:
        """The history encoder that a stream reads with, if its decoder reads states."""
        return self._history_encoders[self._encoder_of[stream]]  # type: ignore[return-value]

    @property
    def decoders(self) -> dict[str, DecoderModule]:
        """The decoder of each stream."""
        return {name: self._decoders[_key(name)] for name in self._names}  # type: ignore[misc]

    @property
    def is_causal(self) -> bool:
        """Whether all positions of a sequence can be trained at once."""
        return all(encoder.is_causal for encoder in self._history_encoders.values())

    def encode(self, history_BT: Tensor) -> dict[str, Encoded]:
        """Read histories once for each history encoder; every stream gets its states."""
        read = {
            key: replace(encoder(history_BT), history_BT=history_BT) for key, encoder in self._history_encoders.items()
        }
        is_item_BT = history_BT != self.num_items
        unread = Encoded(is_item_BT.new_empty(*is_item_BT.shape, 0, dtype=torch.float32), is_item_BT, True, history_BT)
        return {name: read.get(self._encoder_of.get(name, ""), unread) for name in self._names}

    def forward(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The parts of eq. 6: each stream's generation loss (eq. 2 negated, summed over levels), each kind of task."""
        encoded = self.encode(batch.history_BT)
        outputs = {}
        parts: dict[str, Tensor] = {}
        for name, decoder in self.decoders.items():
            outputs[name] = decoder(
                encoded[name], batch.target_BQ, each_position=batch.each_position, with_summary=len(self.tasks) > 0
            )
            present = outputs[name].present_N.sum().clamp_min(1)
            parts[name] = -outputs[name].log_probs_NL.sum() / present
        for task, (kind, weight) in zip(self.tasks, self._task_weights, strict=True):
            assert isinstance(task, TaskModule)
            parts[kind] = parts.get(kind, torch.zeros((), device=batch.history_BT.device)) + weight * task(outputs)
        return parts


@contextmanager
def _seeded(seed: int, *purpose: object) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *purpose))
        yield
