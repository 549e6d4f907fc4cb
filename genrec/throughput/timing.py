"""Work that was repeated under two clocks, and the multiply-adds that it executed: rates, and shares of a peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Seconds:
    """A moment, or how long something took, in seconds."""

    wall: float
    cpu: float
    """Of all threads of this process together."""

    def __sub__(self, earlier: Seconds) -> Seconds:
        return Seconds(self.wall - earlier.wall, self.cpu - earlier.cpu)


def now(device: torch.device) -> Seconds:
    """The clocks, read when the device has finished what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return Seconds(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Spread:
    """The result of several repetitions."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of one value or more."""
        known = sorted(values)
        return cls(statistics.median(known), known[0], known[-1])


@dataclass(frozen=True)
class Peak:
    """The most floating-point operations a second that products of large square matrices reach."""

    per_second: float
    per_cpu_second: float | None
    """None where the processor does not do the work."""
    size: int
    """Rows and columns of the fastest."""
    dtype: str


@dataclass(frozen=True)
class Timing:
    """One kind of work, repeated."""

    name: str
    """What was worked on: streams, or parts of the loss."""
    batch_size: int
    count: int
    """Users or targets of one repetition."""
    flops: int | None
    """Floating-point operations of the matrix products and attentions of one repetition, a multiply-add counting 2
    (of many small batches, as a sample of them has it); None where the counter sees none (a captured graph, say)."""
    repetitions: tuple[Seconds, ...]
    steps: int | None = None
    """Optimizer steps of one repetition, if it was training."""
    phases: dict[str, float] = field(default_factory=dict)
    """Share of a training step's time by what it is spent on; they sum to 1."""

    @property
    def per_second(self) -> Spread:
        """Users or targets a second of wall clock."""
        return Spread.of(self.count / taken.wall for taken in self.repetitions)

    @property
    def per_cpu_second(self) -> Spread:
        """Users or targets a second of one processor."""
        return Spread.of(self.count / taken.cpu for taken in self.repetitions)

    @property
    def flops_each(self) -> float | None:
        """Floating-point operations of a user or target."""
        return None if self.flops is None else self.flops / self.count

    @property
    def milliseconds_a_step(self) -> float | None:
        """Median wall clock of a training step."""
        if self.steps is None:
            return None
        return 1e3 * Spread.of(taken.wall for taken in self.repetitions).median / self.steps

    def share_of(self, peak: Peak) -> float | None:
        """Executed operations a second of wall clock over the peak: what the whole machine gives."""
        return None if self.flops_each is None else self.flops_each * self.per_second.median / peak.per_second

    def cpu_share_of(self, peak: Peak) -> float | None:
        """The same by CPU-seconds, which count neither other processes nor sleeping threads."""
        if self.flops_each is None or peak.per_cpu_second is None:
            return None
        return self.flops_each * self.per_cpu_second.median / peak.per_cpu_second

    def as_json(self, peak: Peak) -> dict[str, Any]:
        """Plain data."""
        facts: dict[str, Any] = {
            "name": self.name,
            "batch_size": self.batch_size,
            "count": self.count,
            "per_second": vars(self.per_second),
            "per_cpu_second": vars(self.per_cpu_second),
            "mflop_each": None if self.flops_each is None else self.flops_each / 1e6,
            "share_of_peak": self.share_of(peak),
            "share_of_peak_by_cpu_time": self.cpu_share_of(peak),
            "repetitions": [vars(taken) for taken in self.repetitions],
        }
        if self.steps is not None:
            facts |= {"steps": self.steps, "milliseconds_a_step": self.milliseconds_a_step, "phases": self.phases}
        return facts


@contextmanager
def counted_flops() -> Iterator[Callable[[], int | None]]:
    """Count what the block executes; the answer is there when it has ended.

    Torch's own counter ignores attention on the CPU and in-place products, and counts sparse products as dense.
    """
    with FlopCounterMode(display=False, custom_mapping=_formulas()) as counter:
        yield lambda: counter.get_total_flops() or None


def _formulas() -> dict[Any, Any]:
    aten = torch.ops.aten
    formulas = {
        aten.mm: _product,
        aten.addmm: _added_product,
        aten.addmm_: _added_product,
        aten.baddbmm_: _added_product,
        aten.mv: _product,
        aten.sparse_sampled_addmm: _sampled_product,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    for formula in formulas.values():
        formula._get_raw = (
            True  # handed tensors, not shapes: how many entries a sparse one has is no matter of its shape
        )
    return formulas


def _product(first: Tensor, second: Tensor, *_: object, **__: object) -> int:
    """(..., m, k) by (..., k, n), or by a vector (k,); of a sparse matrix its entries alone."""
    if second.layout != torch.strided:
        return 2 * second._nnz() * first.shape[0]
    columns = second.shape[-1] if second.dim() > 1 else 1
    return 2 * (first.numel() if first.layout == torch.strided else first._nnz()) * columns


def _added_product(_: Tensor, first: Tensor, second: Tensor, *__: object, **___: object) -> int:
    return _product(first, second)


def _sampled_product(entries: Tensor, first: Tensor, *_: object, **__: object) -> int:
    return 2 * entries._nnz() * first.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Scores, and the mean of the values: (B, heads, Q, D) by (B, heads, T, D)."""
    rows, keys = query.numel() // query.shape[-1], key.shape[-2]
    return 2 * rows * keys * (query.shape[-1] + value.shape[-1])


def _attention_backward(_: Tensor, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object) -> int:
    """Scores once more, and the gradients of scores, query, key and value."""
    rows, keys = query.numel() // query.shape[-1], key.shape[-2]
    return 2 * rows * keys * (3 * query.shape[-1] + 2 * value.shape[-1])
