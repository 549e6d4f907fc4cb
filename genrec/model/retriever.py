"""The model of a recipe: history encoders (one, or one for each stream), N decoders, M tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from genrec.contracts.demands import Demands
from genrec.families import Decoder, HistoryEncoder, Task
from genrec.model.contracts import BuildContext, DecoderModule, Encoded, HistoryEncoderModule, StreamContext, TaskModule
from genrec.model.weights import weights_of
from genrec.model.windows import most_recent, prefixes, windows
from genrec.runtime.seeds import derive
from genrec.training.batches import HistoryBatch
from genrec.types import Histories

if TYPE_CHECKING:
    from genrec.model.growth import Growth

M = TypeVar("M", bound=nn.Module)

_ALL = "all"


def _key(stream: str) -> str:
    """A stream's name as a module's name: it may be a word that ``nn.ModuleDict`` keeps for itself."""
    return f"stream {stream}"


class Retriever(nn.Module):
    """Reads histories and writes the next item's codes in every stream.

    Args:
        history_encoder: of all streams without a separate one; its ``share`` setting decides whether they share it.
        decoders: one for each stream.
        tasks: auxiliary losses.
        streams: codes, trie and item vectors of each stream.
        num_items: size of the catalog.
        seed: each module draws its initial weights from a separate generator.
        train: training histories, for decoders that count; None where the weights of a finished run follow.
        own_history_encoders: of streams that have their own. They have layers of their own; the item table they share
            with the other history encoders of the same width, where the ``share`` of both is not ``none``.
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
        own_history_encoders: Mapping[str, HistoryEncoder] | None = None,
    ) -> None:
        super().__init__()
        own = own_history_encoders or {}
        read_with = {name: own.get(name, history_encoder) for name in decoders}
        self.num_items = num_items
        self.max_history = max(encoder.max_history for encoder in (history_encoder, *own.values()))
        general = BuildContext(num_items, history_encoder.dim, history_encoder.max_history, streams, train=train)

        def context_of(name: str, table: nn.Embedding | None) -> BuildContext:
            encoder = read_with[name]
            return general.of_stream(name, dim=encoder.dim, max_history=encoder.max_history, item_table=table)

        self._history_encoders = nn.ModuleDict()
        self._encoder_of: dict[str, str] = {}
        self._longest: dict[str, int] = {}  # most recent items that each history encoder reads
        tables: dict[int, nn.Embedding] = {}  # by width
        reading = [name for name, decoder in decoders.items() if decoder.reads_states]
        # The recipe's history encoder is built first: a shared item table starts from its settings.
        for name in sorted(reading, key=own.__contains__):
            encoder = read_with[name]
            is_common = name not in own and encoder.share == "all"
            key = self._encoder_of[name] = _ALL if is_common else _key(name)
            if key in self._history_encoders:
                continue
            table = tables.get(encoder.dim) if encoder.share != "none" else None
            with _seeded(seed, "history encoder", "" if is_common else name):
                built = _built(encoder, HistoryEncoderModule, context_of(name, table))
            if built.item_table is not None and encoder.share != "none":
                tables.setdefault(encoder.dim, built.item_table)
            self._history_encoders[key], self._longest[key] = built, encoder.max_history
        self._decoders = nn.ModuleDict()
        for name, decoder in decoders.items():
            with _seeded(seed, "decoder", name):
                table = self.history_encoder(name).item_table if decoder.reads_states else None
                self._decoders[_key(name)] = _built(decoder, DecoderModule, context_of(name, table))
        self._names = tuple(decoders)
        read_whole = {key for name, key in self._encoder_of.items() if not self.decoders[name].reads_last_only}
        self._last_only = frozenset(self._encoder_of.values()) - read_whole
        self.tasks = nn.ModuleList()
        dims = {name: encoder.dim for name, encoder in read_with.items()}
        general = replace(general, decoders=self.decoders, dims=dims)
        for number, task in enumerate(tasks):
            widths = {dims[name] for name in task.streams_used() or reading}
            with _seeded(seed, "task", number, task.type_name):
                context = replace(general, dim=widths.pop() if len(widths) == 1 else general.dim)
                self.tasks.append(_built(task, TaskModule, context))
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
        """Whether all positions of a sequence can be trained at once: every history encoder is causal."""
        return all(encoder.is_causal for encoder in self._history_encoders.values())

    def _reads_causally(self, stream: str) -> bool:
        return stream not in self._encoder_of or self.history_encoder(stream).is_causal

    def grown_weights(self, growth: Growth) -> dict[str, Tensor]:
        """The weights of this model for a catalog with new items, by name, as :func:`weights_of` gives them.

        Args:
            growth: makes the rows of new items and nodes from those of known ones.

        Raises:
            ValueError: a module names a tensor that it does not have.
        """
        weights, names = weights_of(self), self.state_dict().keys()
        streams = {key: name for name, key in self._encoder_of.items()}
        parts = [(f"_history_encoders.{key}", module, streams[key]) for key, module in self._history_encoders.items()]
        parts += [(f"_decoders.{_key(name)}", module, name) for name, module in self.decoders.items()]
        parts += [(f"tasks.{number}", module, "") for number, module in enumerate(self.tasks)]
        for part, module, stream in parts:
            for name, tensor in module.grown_tensors(growth.of_stream(stream)).items():  # type: ignore[operator]
                if f"{part}.{name}" not in names:
                    raise ValueError(f"grown_tensors() of {part} names {name}, which is no tensor of its state_dict")
                if f"{part}.{name}" in weights:  # a shared table is there once, under the name of its first owner
                    weights[f"{part}.{name}"] = tensor.detach()
        return weights

    def encode(self, history_BT: Tensor, *, to_search: bool = False) -> dict[str, Encoded]:
        """Read each user's whole history: every stream gets the states of the most recent items.

        Args:
            history_BT: item numbers, padded at the end with ``num_items``; a history encoder that reads fewer than T
                reads the most recent ones.
            to_search: in eval mode; where all decoders of a history encoder read the last state only, they get the most
                recent item's state alone (T = 1), which costs less.

        Returns:
            By stream; those with the same history encoder have the same, and each encoder reads once.
        """
        return self._read(
            {key: most_recent(history_BT, size, padding=self.num_items) for key, size in self._longest.items()},
            history_BT,
            last_only=self._last_only if to_search else frozenset(),
        )

    def _encode_positions(self, batch: HistoryBatch) -> tuple[dict[str, Encoded], dict[str, Tensor]]:
        """As :meth:`encode` where each position is a query, and the targets of each stream.

        A history encoder that reads fewer items than a history has gets that as several rows, and one that is not
        causal gets a row for each target. Streams then differ in rows, but not in the order of their targets.
        """
        cut = {
            key: (windows if encoder.is_causal else prefixes)(
                batch.history_BT, batch.target_BQ, self._longest[key], padding=self.num_items
            )
            for key, encoder in self._history_encoders.items()
        }
        encoded = self._read({key: history_RW for key, (history_RW, _) in cut.items()}, batch.history_BT)
        uncut = (batch.history_BT, batch.target_BQ)
        return encoded, {name: cut.get(self._encoder_of.get(name, ""), uncut)[1] for name in self._names}

    def _read(
        self, histories: Mapping[str, Tensor], history_BT: Tensor, *, last_only: Set[str] = frozenset()
    ) -> dict[str, Encoded]:
        """What each history encoder reads, and the whole histories for streams without one."""
        read = {
            key: self._last(key, items_RW)
            if key in last_only
            else replace(self._history_encoders[key](items_RW), history_BT=items_RW)
            for key, items_RW in histories.items()
        }
        is_item_BT = history_BT != self.num_items
        unread = Encoded(is_item_BT.new_empty(*is_item_BT.shape, 0, dtype=torch.float32), is_item_BT, True, history_BT)
        return {name: read.get(self._encoder_of.get(name, ""), unread) for name in self._names}

    def _last(self, key: str, history_BT: Tensor) -> Encoded:
        """The state of the most recent item alone, beside the whole histories."""
        encoder: HistoryEncoderModule = self._history_encoders[key]  # type: ignore[assignment]
        last_B1D = encoder.last(history_BT)[:, None]
        is_item_B1 = torch.ones(len(history_BT), 1, dtype=torch.bool, device=history_BT.device)
        return Encoded(last_B1D, is_item_B1, True, history_BT)

    def forward(self, batch: HistoryBatch) -> dict[str, Tensor]:
        """The parts of eq. 6: each stream's generation loss (eq. 2 negated, summed over levels), each kind of task."""
        if batch.all_positions:
            encoded, targets = self._encode_positions(batch)
        else:
            encoded, targets = self.encode(batch.history_BT), dict.fromkeys(self._names, batch.target_BQ)
        outputs = {}
        parts: dict[str, Tensor] = {}
        for name, decoder in self.decoders.items():
            outputs[name] = decoder(
                encoded[name],
                targets[name],
                all_positions=batch.all_positions and self._reads_causally(name),
                with_summary=len(self.tasks) > 0,
            )
            present = outputs[name].present_N.sum().clamp_min(1)
            own_loss = outputs[name].loss
            parts[name] = -outputs[name].log_probs_NL.sum() / present if own_loss is None else own_loss
        for task, (kind, weight) in zip(self.tasks, self._task_weights, strict=True):
            assert isinstance(task, TaskModule)
            parts[kind] = parts.get(kind, torch.zeros((), device=batch.history_BT.device)) + weight * task(outputs)
        return parts


def _built(component: HistoryEncoder | Decoder | Task, kind: type[M], context: BuildContext) -> M:
    demand = Demands(component)
    with demand.blaming():
        module = component.build(context)
        demand(isinstance(module, kind), f"build() gives a {kind.__name__}", type(module).__name__)
    return module  # type: ignore[return-value]


@contextmanager
def _seeded(seed: int, *purpose: object) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *purpose))
        yield
