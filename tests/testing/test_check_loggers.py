"""A logger that breaks its contract is found out."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from genrec.errors import ContractError
from genrec.families import StartedLogger, TrainingLogger
from genrec.registry import place_of
from genrec.testing import check


class Quiet(TrainingLogger):
    """Logs nothing."""

    type_name: ClassVar[str] = "quiet"

    def start(self, folder, *, title, hyperparameters, step):
        return StartedLogger()


def broken(logger: TrainingLogger, sentence: str) -> None:
    with pytest.raises(ContractError) as caught:
        check(logger)
    assert str(caught.value) == f"{place_of(type(logger))}: the logger 'quiet' breaks its contract: {sentence}"


def test_a_sound_logger_passes():
    check(Quiet())


def test_logger_that_draws_random_numbers():
    class Drawing(Quiet):
        """Logs some steps, at random."""

        def start(self, folder, *, title, hyperparameters, step):
            class Started(StartedLogger):
                def log_step(self, step, losses, learning_rate):
                    torch.rand(1)

            return Started()

    broken(Drawing(), "log_step() draws no random numbers of torch")


def test_logger_that_writes_beside_its_folder():
    class Beside(Quiet):
        """Writes where the others do."""

        def start(self, folder, *, title, hyperparameters, step):
            folder.parent.mkdir(parents=True, exist_ok=True)
            (folder.parent / "log.txt").write_text(title)
            return StartedLogger()

    broken(Beside(), "a logger writes only below its folder")


def test_logger_that_is_its_own_state():
    class Itself(Quiet):
        """Starts nothing."""

        def start(self, folder, *, title, hyperparameters, step):
            return self

    broken(Itself(), "start() gives a StartedLogger")
