"""A recipe's model, or that of a finished run, timed: the machine, its peak, decoding and training, as one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.recipe.schema import Recipe
from genrec.runtime.seeds import derive
from genrec.runtime.threads import threads
from genrec.throughput.decoding import described, time_decoding
from genrec.throughput.machine import Machine, higher, measure_peak, this_machine
from genrec.throughput.timing import Peak, Timing
from genrec.throughput.training import time_training
from genrec.types import Dataset, Histories

Work = Literal["decode", "train"]


@dataclass(frozen=True)
class Throughput:
    """How fast one model is on one machine."""

    title: str
    dataset: str
    weights: Literal["random", "trained"]
    machine: Machine
    peak: Peak
    """The higher of one measured before and one after."""
    decode: tuple[Timing, ...]
    train: Timing | None
    notes: tuple[str, ...]

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Of decoding and training."""
        return (*self.decode, *([self.train] if self.train else []))

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "title": self.title,
            "dataset": self.dataset,
            "weights": self.weights,
            "machine": vars(self.machine),
            "peak": {
                "gflop_per_second": self.peak.per_second / 1e9,
                "gflop_per_cpu_second": None if self.peak.per_cpu_second is None else self.peak.per_cpu_second / 1e9,
                "size": self.peak.size,
                "dtype": self.peak.dtype,
            },
            "decode": [timing.as_json(self.peak) for timing in self.decode],
            "train": None if self.train is None else self.train.as_json(self.peak),
            "notes": list(self.notes),
        }


def measure(
    recipe: Recipe,
    dataset: Dataset,
    streams: Mapping[str, StreamContext],
    model: Retriever,
    what: Sequence[Work] = ("decode", "train"),
    *,
    weights: Literal["random", "trained"],
    batch_sizes: Sequence[int] = (1, 32, 256),
    users: int = 512,
    steps: int = 10,
    repetitions: int = 5,
    num_threads: int | None = None,
    each_stream: bool = False,
) -> Throughput:
    """Time a model; when training was timed its weights have changed.

    Args:
        recipe: the model's.
        dataset: the recipe's.
        streams: the codes that the model writes.
        model: on its device, in eval mode.
        what: decoding, training or both.
        weights: whether the model was trained.
        batch_sizes: users searched together.
        users: validation users, at most.
        steps: optimizer steps of a repetition.
        repetitions: of everything.
        num_threads: of torch; None leaves it as it is.
        each_stream: time the search of each stream alone as well.

    Raises:
        GenrecError: files, weights or components are not as they must be.
    """
    device, is_trained = next(model.parameters()).device, weights == "trained"
    tries = {name: context.trie for name, context in streams.items()}
    sample = dataset.valid.sample(users, derive(recipe.seed, "throughput", "users"))
    with threads(num_threads):
        machine, before = this_machine(device), measure_peak(device)
        decode: tuple[Timing, ...] = ()
        if "decode" in what:  # first: training changes the weights
            decode = time_decoding(
                model,
                tries,
                sample.histories,
                recipe,
                batch_sizes=batch_sizes,
                repetitions=repetitions,
                each_stream=each_stream,
            )
        train = None
        if "train" in what:
            train = time_training(model, dataset.train, recipe, steps=steps, repetitions=repetitions)
        peak = higher(before, measure_peak(device))
    notes = [*_notes(recipe, decode, train, sample.histories, is_trained), *_remarks(decode, train, machine)]
    return Throughput(recipe.title, dataset.name, weights, machine, peak, decode, train, tuple(notes))


def _notes(
    recipe: Recipe, decode: Sequence[Timing], train: Timing | None, histories: Histories, is_trained: bool
) -> Iterator[str]:
    """What was timed."""
    if not is_trained:
        yield "weights are random: search method bound cannot stop early; time a finished run instead"
    if decode:
        read = np.minimum(histories.lengths, recipe.max_history)
        yield f"decode: {len(histories):,} validation users, {read.mean():.1f} items of each are read on average"
        yield from (f"decode: {line}" for line in described(recipe))
        if any(timing.batch_size > len(histories) for timing in decode):
            yield f"decode: {len(histories):,} users do not fill the larger batches and are in them more than once"
    if train:
        losses = " + ".join([*recipe.streams, *dict.fromkeys(task.type_name for task in recipe.tasks)])
        yield (
            f"train: {train.count:,} targets in {train.steps} steps of at most {train.batch_size:,} samples, the same "
            f"ones in each repetition; losses {losses}"
        )


def _remarks(decode: Sequence[Timing], train: Timing | None, machine: Machine) -> Iterator[str]:
    """Warnings about the measurement."""
    timings = [*decode, *([train] if train else [])]
    if any(timing.flops is None for timing in timings):
        yield "the counter does not see operations of a captured or compiled graph: no share of the peak for them"
    if machine.device == "cpu":
        busy = [taken.cpu / taken.wall for timing in timings for taken in timing.repetitions]
        if np.median(busy) < 0.8 * machine.threads:
            yield (
                f"this process had {np.median(busy):.1f} of {machine.threads} processors while timed: other processes "
                "compute on this machine, or threads wait; figures by CPU-seconds are more reliable than the others"
            )
