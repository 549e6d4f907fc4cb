"""JSON lines: a text file that pandas, jq or a script can plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genrec.families import StartedLogger, TrainingLogger, loggers
from genrec.runtime.files import write_text
from genrec.training.log import EpochRecord, TrainingLog


@loggers.register("json_lines")
class JsonLines(TrainingLogger):
    """Steps and epochs as lines of JSON in ``training.jsonl``.

    Each line has an ``event`` (``start``, ``step``, ``epoch``, ``finish``) and the number of optimizer steps so far.
    """

    def start(self, folder: Path, *, title: str, hyperparameters: Mapping[str, Any], step: int) -> StartedJsonLines:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "training.jsonl"
        lines = _lines_until(step, file) if step else []
        lines = lines or [_line("start", 0, title=title, hyperparameters=dict(hyperparameters))]
        write_text(file, "".join(lines))
        return StartedJsonLines(file, step)


class StartedJsonLines(StartedLogger):
    """Appends to one file; a step is on disk at the end of its epoch."""

    def __init__(self, file: Path, step: int) -> None:
        self._stream, self._step = file.open("a", encoding="utf-8"), step

    def log_step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        self._stream.write(_line("step", step, losses=dict(losses), learning_rate=learning_rate))

    def log_epoch(self, record: EpochRecord, step: int) -> None:
        self._step = step
        self._stream.write(_line("epoch", step, **asdict(record)))
        self._stream.flush()

    def finish(self, log: TrainingLog) -> None:
        with self._stream:
            self._stream.write(_line("finish", self._step, best_epoch=log.best_epoch, stopped_by=log.stopped_by))


def _line(event: str, step: int, **values: Any) -> str:
    return json.dumps({"event": event, "step": step, **values}, ensure_ascii=False) + "\n"


def _lines_until(step: int, file: Path) -> list[str]:
    """The complete lines of a file up to a step; what an interrupted attempt wrote after it is left out."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8") as stream:
        lines = list(stream)
    whole = [(line, json.loads(line)) for line in lines if line.endswith("}\n")]
    return [line for line, content in whole if content["step"] <= step and content["event"] != "finish"]
