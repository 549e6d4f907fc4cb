"""What is recorded of a training: its epochs, and which of them is the best. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genrec.runtime.files import read_json


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch was like."""

    epoch: int
    """From 1."""
    losses: dict[str, float]
    """Mean over the epoch's batches, by part."""
    validation: float | None
    """The score of ``validate`` after the epoch; higher is better."""
    seconds: float
    """Training and validation."""
    learning_rate: float
    """At the end of the epoch."""
    samples_per_second: float | None = None
    """Training throughput, validation excluded; None in the logs of version 0.1.0."""


@dataclass
class TrainingLog:
    """All epochs, and which of them the weights come from."""

    epochs: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    stopped_by: str = ""
    """``patience``, ``max_epochs``, ``max_minutes`` or ``epochs`` (the requested number); empty while it runs."""
    machine: str = ""
    """Device and number of threads, e.g. "cpu with 1 thread"; empty in the logs of version 0.1.0."""
    warnings: list[str] = field(default_factory=list)
    """Problems of the training for the report, e.g. that it stopped during warm-up."""

    @property
    def seconds(self) -> float:
        return sum(record.seconds for record in self.epochs)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingLog:
        """The inverse of :meth:`as_json`."""
        epochs = [EpochRecord(**record) for record in content["epochs"]]
        machine, warnings = content.get("machine", ""), list(content.get("warnings", ()))
        return cls(epochs, content["best_epoch"], content["stopped_by"], machine, warnings)

    @classmethod
    def from_file(cls, path: Path) -> TrainingLog:
        """Read :meth:`as_json` from a file.

        Raises:
            DataError: the file cannot be read or is not JSON.
        """
        return cls.from_json(read_json(path))
