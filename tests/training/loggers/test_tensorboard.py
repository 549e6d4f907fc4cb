"""TensorBoard reads back what the training log says."""

import sys

import pytest
import torch

from genrec.errors import DataError
from genrec.training.loggers.tensorboard import TensorBoard
from genrec.training.settings import TrainingSettings
from genrec.training.trainer import train

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="pip install 'genrec[tensorboard]'"
)

SCORES = {1: -0.5, 2: 0.25, 3: 0.125}


class Model(torch.nn.Module):
    """A regression with two losses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = torch.nn.Linear(4, 1)
        self.seen = []

    def loss(self, batch):
        parts = {"square": (self.linear(batch)[:, 0] - 1).square().mean(), "small": self.linear.weight.square().sum()}
        self.seen.append({name: part.item() for name, part in parts.items()})
        return parts


def run(place, *, dies_at=None, **changes):
    """Three epochs of five steps; the model and its log."""
    module, epochs_begun = Model(), []

    def batches(epoch):
        epochs_begun.append(epoch)
        generator = torch.Generator().manual_seed(epoch)
        return [torch.randn(3, 4, generator=generator) for _ in range(5)]

    def loss(batch):
        if len(module.seen) == dies_at:
            raise KeyboardInterrupt
        return module.loss(batch)

    settings = TrainingSettings(learning_rate=0.1, warmup_steps=30, max_epochs=3)
    arguments = {
        "validate": lambda: SCORES[epochs_begun[-1]],
        "loggers": [TensorBoard(log_every=2)],
        "log_folder": place / "logs",
        "folder": place / "checkpoints",
    }
    log = train(module, batches, loss, settings, seed=5, title="line", **(arguments | changes))
    return module, log


def scalars(folder):
    """Tag -> {step: value}, as TensorBoard shows them."""
    events = accumulator.EventAccumulator(str(folder / "logs" / "tensorboard"))
    events.Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        found[tag] = dict(points)
        assert len(found[tag]) == len(points), f"{tag}: a step stands twice"
    return found


def expected(log):
    """The epochs of a training log, by tag and the step at which each ended."""
    tags = {
        "epoch_loss/square": lambda record: record.losses["square"],
        "epoch_loss/small": lambda record: record.losses["small"],
        "epoch/validation": lambda record: record.validation,
        "epoch/number": lambda record: record.epoch,
        "epoch/seconds": lambda record: record.seconds,
        "epoch/samples_per_second": lambda record: record.samples_per_second,
    }
    return {tag: {5 * record.epoch: value(record) for record in log.epochs} for tag, value in tags.items()}


def test_scalars_are_those_of_the_training_log(tmp_path):
    module, log = run(tmp_path)
    found = scalars(tmp_path)
    for tag, curve in expected(log).items():
        assert found.pop(tag) == pytest.approx(curve, rel=1e-6), tag
    steps = range(2, 16, 2)
    assert found.pop("learning_rate") == pytest.approx({step: 0.1 * step / 30 for step in steps}, rel=1e-6)
    for name in ("square", "small"):
        curve = {step: module.seen[step - 1][name] for step in steps}
        assert found.pop(f"step_loss/{name}") == pytest.approx(curve, rel=1e-6)
    assert found == {}


def test_settings_are_shown_as_text(tmp_path):
    run(tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "logs" / "tensorboard"))
    events.Reload()
    [event] = events.Tensors("settings/text_summary")
    [text] = event.tensor_proto.string_val
    assert '"title": "line"' in text.decode()
    assert '"warmup_steps": 30' in text.decode()


def test_an_interrupted_training_shows_each_step_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, dies_at=13)
    assert max(scalars(tmp_path)["learning_rate"]) == 12, "the attempt reached the third epoch"
    _, log = run(tmp_path)
    assert len(list((tmp_path / "logs" / "tensorboard").iterdir())) == 2
    found = scalars(tmp_path)
    for tag, curve in expected(log).items():
        assert found[tag] == pytest.approx(curve, rel=1e-6), tag
    assert list(found["learning_rate"]) == [2, 4, 6, 8, 10, 12, 14]


def test_a_second_training_replaces_the_first(tmp_path):
    run(tmp_path, folder=None, validate=None)
    _, log = run(tmp_path, folder=None)
    found = scalars(tmp_path)
    assert found["epoch/seconds"] == pytest.approx(expected(log)["epoch/seconds"], rel=1e-6)
    assert list(found["learning_rate"]) == list(range(2, 16, 2))


def test_without_validation_there_is_no_such_curve(tmp_path):
    run(tmp_path, validate=None)
    assert "epoch/validation" not in scalars(tmp_path)


def test_a_missing_package_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    message = r"^tensorboard: it cannot be imported \(.*\); pip install 'genrec\[tensorboard\]'$"
    with pytest.raises(DataError, match=message):
        TensorBoard().prepare()
    with pytest.raises(DataError, match=message):
        run(tmp_path, dies_at=0)
