"""TensorBoard: event files, shown by ``tensorboard --logdir``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.errors import DataError
from genrec.families import StartedLogger, TrainingLogger, loggers
from genrec.training.log import EpochRecord, TrainingLog

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@loggers.register("tensorboard")
class TensorBoard(TrainingLogger):
    """Losses, learning rate, validation score and throughput for ``tensorboard --logdir``.

    The horizontal axis counts optimizer steps, for epochs as well, so that all curves of a run are aligned. Needs the
    extra ``genrec[tensorboard]``.
    """

    def prepare(self) -> None:
        _writer_class()

    def start(self, folder: Path, *, title: str, hyperparameters: Mapping[str, Any], step: int) -> StartedTensorBoard:
        # TensorBoard hides what earlier files of the folder have from purge_step on: steps of an interrupted attempt.
        writer = _writer_class()(str(folder), purge_step=step + 1)
        settings = json.dumps({"title": title, **hyperparameters}, indent=4, ensure_ascii=False)
        writer.add_text("settings", "    " + settings.replace("\n", "\n    "), step)  # indented: code in Markdown
        return StartedTensorBoard(writer)


class StartedTensorBoard(StartedLogger):
    """Writes scalars; an epoch is on disk when it ends."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log_step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        for name, loss in losses.items():
            self._writer.add_scalar(f"step_loss/{name}", loss, step)
        self._writer.add_scalar("learning_rate", learning_rate, step)

    def log_epoch(self, record: EpochRecord, step: int) -> None:
        for name, loss in record.losses.items():
            self._writer.add_scalar(f"epoch_loss/{name}", loss, step)
        scalars = {
            "validation": record.validation,
            "number": record.epoch,
            "seconds": record.seconds,
            "samples_per_second": record.samples_per_second,
        }
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(f"epoch/{name}", value, step)
        self._writer.flush()

    def finish(self, log: TrainingLog) -> None:
        self._writer.close()


def _writer_class() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DataError(f"tensorboard: it cannot be imported ({error}); pip install 'genrec[tensorboard]'") from error
    return SummaryWriter
