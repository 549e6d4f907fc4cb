"""Targets a second: the one training loop over the same few batches, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.runtime.seeds import derive
from genrec.throughput.timing import Seconds, Timing, counted_flops, now
from genrec.training.batches import HistoryBatch, HistoryBatches
from genrec.training.trainer import train
from genrec.types import Histories

_WARM_UP_STEPS = 3


def time_training(model: Retriever, histories: Histories, recipe: Recipe, *, steps: int, repetitions: int) -> Timing:
    """Train the model, which is another one afterwards.

    Args:
        model: on its device.
        histories: training histories.
        recipe: its training settings.
        steps: batches of one repetition, at most those of an epoch.
        repetitions: how often they are trained on under the clock.

    Raises:
        DataError: there is nothing to learn from.
        TrainingError: the loss is no longer a number.
    """
    source = HistoryBatches(
        histories,
        num_items=model.num_items,
        max_history=model.max_history,
        batch_size=recipe.training.batch_size,
        all_positions=recipe.training.all_positions(is_causal=model.is_causal),
        seed=derive(recipe.seed, "batches"),
        device=next(model.parameters()).device,
    )
    passes = _Passes(source, steps, repetitions)
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: passes.phases.mark("backward")),
        register_optimizer_step_post_hook(lambda *_: passes.phases.mark("optimizer")),
    ]

    def loss(batch: HistoryBatch) -> Mapping[str, Tensor]:
        passes.phases.mark("rest")
        parts = model(batch)
        passes.phases.mark("forward")
        return parts

    try:
        train(
            model,
            lambda epoch: passes,
            loss,
            recipe.training.model_copy(update={"max_epochs": 1, "max_minutes": None, "warmup_steps": None}),
            validate=None,
            seed=derive(recipe.seed, "training"),
            title="training to measure",
        )
    finally:
        for hook in hooks:
            hook.remove()
    return passes.timing()


class _Phases:
    """How the time of training steps divides; looks at the clock between the phases while it is on."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(("forward", "backward", "optimizer", "rest"), 0.0)
        self._device = device
        self._last: float | None = None

    def start(self) -> None:
        self._last = now(self._device).wall

    def mark(self, phase: str) -> None:
        """What has passed since the last mark belonged to this phase."""
        if self._last is not None:
            moment = now(self._device).wall
            self.seconds[phase] += moment - self._last
            self._last = moment

    def stop(self) -> None:
        self.mark("rest")
        self._last = None

    @property
    def shares(self) -> dict[str, float]:
        whole = sum(self.seconds.values())
        return {phase: seconds / whole for phase, seconds in self.seconds.items()}


class _Passes:
    """One epoch for the loop, made of passes over the same batches; a pass ends when the next batch is requested.

    The first passes warm up, count operations, and see how a step's time divides; the others are timed whole.
    """

    def __init__(self, source: HistoryBatches, steps: int, repetitions: int) -> None:
        self._source, self._repetitions = source, repetitions
        self._batches = list(islice(source.order(1), steps))
        self._device = source.batch(self._batches[0]).target_BQ.device
        self.phases = _Phases(self._device)
        self._targets = 0
        self._flops: int | None = None
        self._taken: list[Seconds] = []

    def __len__(self) -> int:
        return min(_WARM_UP_STEPS, len(self._batches)) + (2 + self._repetitions) * len(self._batches)

    def __iter__(self) -> Iterator[HistoryBatch]:
        yield from self._pass(self._batches[:_WARM_UP_STEPS])
        with counted_flops() as flops:
            for batch in self._pass(self._batches):
                self._targets += len(batch)
                yield batch
        self._flops = flops()
        self.phases.start()
        yield from self._pass(self._batches)
        self.phases.stop()
        for _ in range(self._repetitions):
            began = now(self._device)
            yield from self._pass(self._batches)
            self._taken.append(now(self._device) - began)

    def _pass(self, batches: list[np.ndarray]) -> Iterator[HistoryBatch]:
        """Batches are made anew each time, as in every epoch."""
        return map(self._source.batch, batches)

    def timing(self) -> Timing:
        return Timing(
            name="",
            batch_size=max(map(len, self._batches)),
            count=self._targets,
            flops=self._flops,
            repetitions=tuple(self._taken),
            steps=len(self._batches),
            phases=self.phases.shares,
        )
