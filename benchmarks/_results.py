"""Results of a benchmark with their conditions: tables, printed and stored as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import genrec
from genrec.throughput.machine import this_machine

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """Rows under columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def as_markdown(self) -> str:
        """As a Markdown table below its title; numbers to three digits."""
        cells = [[_text(column) for column in self.columns], *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else [])])


@dataclass(frozen=True)
class Result:
    """One run of one benchmark."""

    benchmark: str
    """Name of the script."""
    tables: Sequence[Table]
    conditions: dict[str, str] = field(default_factory=dict)
    """Date, machine, versions, threads, load."""

    def as_markdown(self) -> str:
        """Conditions and tables."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        return "\n\n".join([f"`{self.benchmark}.py`: {conditions}", *(table.as_markdown() for table in self.tables)])

    def save(self, path: Path) -> None:
        """Write it as JSON, folders included."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Result:
        """The inverse of :meth:`save`."""
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tables = [Table(**table) for table in content["tables"]]
        return cls(content["benchmark"], tables, content["conditions"])


def read_conditions(**more: str) -> dict[str, str]:
    """Date, processor, cores, load average of the last minute, versions; ``more`` is added.

    Read them before the work, whose load would be in the average.
    """
    machine = this_machine(torch.device("cpu"))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": machine.processor,
        "cores": str(_num_cores()),
        "load average": load,
        "threads": str(machine.threads),
        "genrec": genrec.__version__,
        "torch": machine.torch,
        **more,
    }


def say_load() -> None:
    """Warn where other work is running: times would be of both."""
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5:
        print(f"the load average is {load:.1f}: other work runs on this machine, and what follows shows it\n")


def give(result: Result, output: Path | None) -> None:
    """Print a result, and store it in ``output``."""
    print(result.as_markdown())
    if output is not None:
        result.save(output)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else np.format_float_positional(cell, 3, fractional=False, trim="-")
    return f"{cell:,}" if isinstance(cell, int) else cell.replace("|", r"\|")
