"""The machine that a throughput was measured on: what it is, and the most that its matrix products reach."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from genrec.runtime.float32_products import by_onednn, is_exact
from genrec.throughput.timing import Peak, now

_SIZES = (256, 512, 1024, 2048, 4096, 8192)
_REPETITIONS = 5
_LONGEST_PRODUCT = 0.5
"""Seconds on the CPU: matrices whose product must be expected to take longer are not tried."""
_PRODUCTS_AT_ONCE = 20
"""Between two readings of the clock of an accelerator, which queues work faster than it computes."""


@dataclass(frozen=True)
class Machine:
    """The conditions of the measurement, besides the code."""

    processor: str
    device: str
    """Where the model was."""
    threads: int
    """Of torch, in this process."""
    torch: str
    blas: str


def this_machine(device: torch.device) -> Machine:
    """The machine as it is set now."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return Machine(
        processor=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        device=f"{device} ({name})" if name else str(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        blas=_blas(),
    )


def measure_peak(device: torch.device) -> Peak:
    """The best of several sizes and repetitions, warm; float32 on the CPU, the faster of it and bfloat16 elsewhere.

    By the library that computes the model's products.
    """
    dtypes = [torch.float32] if device.type == "cpu" else [torch.float32, torch.bfloat16]
    with by_onednn():
        return max((_peak_of(device, dtype) for dtype in dtypes), key=lambda peak: peak.per_second)


def higher(first: Peak, second: Peak) -> Peak:
    """The higher of two measurements, by the wall clock and by the processor's time each."""
    best = max(first, second, key=lambda peak: peak.per_second)
    by_cpu = [peak.per_cpu_second for peak in (first, second) if peak.per_cpu_second is not None]
    return Peak(best.per_second, max(by_cpu, default=None), best.size, best.dtype)


def _peak_of(device: torch.device, dtype: torch.dtype) -> Peak:
    on_cpu = device.type == "cpu"
    products = 1 if on_cpu else _PRODUCTS_AT_ONCE
    best, best_by_cpu, best_size = 0.0, 0.0, 0
    for size in _SIZES:
        first, second = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        product = torch.mm(first, second)
        fastest = float("inf")
        for _ in range(_REPETITIONS):
            began = now(device)
            for _ in range(products):
                torch.mm(first, second, out=product)
            taken = now(device) - began
            fastest = min(fastest, taken.wall)
            flops = 2 * size**3 * products
            if flops / taken.wall > best:
                best, best_size = flops / taken.wall, size
            if taken.cpu > 0:
                best_by_cpu = max(best_by_cpu, flops / taken.cpu)
        if on_cpu and 8 * fastest > _LONGEST_PRODUCT:  # twice the size
            break
    return Peak(best, best_by_cpu if on_cpu else None, best_size, str(dtype).removeprefix("torch."))


def _processor() -> str:
    """The processor's name, as exactly as the system has it."""
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(encoding="utf-8", errors="replace") if listed.is_file() else ""
    named = re.search(r"model name\s*:\s*(.+)", text)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _blas() -> str:
    """The library of the model's matrix products on the CPU."""
    if is_exact():
        return "oneDNN"
    built = torch.__config__.show()
    named = re.search(r"BLAS_INFO=(\w+)", built)
    version = re.search(r"Math Kernel Library Version ([\w.]+)", built)
    name = named[1] if named else "unknown"
    return f"{name} {version[1]}" if version and name == "mkl" else name
