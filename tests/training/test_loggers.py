"""What the loop promises to loggers: every step and epoch once, an end in any case, and no influence on the weights."""

import math

import pytest
import torch
from pydantic import ValidationError

from genrec import registry
from genrec.errors import DataError, RecipeError, TrainingError
from genrec.families import StartedLogger, TrainingLogger, loggers
from genrec.model.weights import weights_of
from genrec.recipe import parse_recipe
from genrec.testing import check
from genrec.training.log import EpochRecord, TrainingLog
from genrec.training.loggers.json_lines import JsonLines
from genrec.training.settings import OptimizationSettings, TrainingSettings
from genrec.training.trainer import train


class Started(StartedLogger):
    def __init__(self, calls):
        self.calls = calls

    def log_step(self, step, losses, learning_rate):
        self.calls.append(("step", step, losses, learning_rate))

    def log_epoch(self, record, step):
        self.calls.append(("epoch", step, record))

    def finish(self, log):
        self.calls.append(("finish", log))


CALLS = []


class Recorder(TrainingLogger):
    """Remembers every call."""

    type_name = "recorder"

    def start(self, folder, *, title, hyperparameters, step):
        CALLS.append(("start", step, folder, title, hyperparameters))
        return Started(CALLS)


class Lacking(TrainingLogger):
    """Needs what is not there."""

    type_name = "lacking"

    def start(self, folder, *, title, hyperparameters, step):
        raise DataError("lacking: a package is missing")


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


class Model(torch.nn.Module):
    """A regression with dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = torch.nn.Linear(4, 1)

    def loss(self, batch):
        predicted_B1 = self.linear(torch.nn.functional.dropout(batch, 0.3, self.training))
        return {
            "square": (predicted_B1[:, 0] - batch[:, 0]).square().mean(),
            "small": self.linear.weight.square().sum(),
        }


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    return [torch.randn(3, 4, generator=generator) for _ in range(5)]


def run(module, loggers, log_folder, *, loss=None, validate=None, folder=None, max_epochs=3):
    settings = TrainingSettings(learning_rate=0.01, warmup_steps=8, max_epochs=max_epochs)
    return train(
        module, batches, loss or module.loss, settings, validate=validate, seed=5, title="line", folder=folder,
        loggers=loggers, log_folder=log_folder,
    )  # fmt: skip


def test_every_hook_is_called_in_its_turn(tmp_path, calls):
    module, losses = Model(), []

    def loss(batch):
        parts = module.loss(batch)
        losses.append({name: part.item() for name, part in parts.items()})
        return parts

    log = run(module, [Recorder(log_every=2)], tmp_path, loss=loss, validate=lambda: 0.5, max_epochs=2)
    assert [call[:2] if call[0] != "finish" else call[:1] for call in calls] == [
        ("start", 0),
        ("step", 2),
        ("step", 4),
        ("epoch", 5),
        ("step", 6),
        ("step", 8),
        ("step", 10),
        ("epoch", 10),
        ("finish",),
    ]
    _, _, folder, title, hyperparameters = calls[0]
    assert (folder, title) == (tmp_path / "recorder", "line")
    assert hyperparameters.keys() == OptimizationSettings.model_fields.keys() | {"seed"}
    assert (hyperparameters["learning_rate"], hyperparameters["seed"]) == (0.01, 5)
    steps = [call for call in calls if call[0] == "step"]
    assert [call[2] for call in steps] == [losses[number - 1] for _, number, *_ in steps]
    assert [call[3] for call in steps] == pytest.approx([0.01 * min(number / 8, 1) for _, number, *_ in steps])
    assert [call[2] for call in calls if call[0] == "epoch"] == log.epochs
    assert calls[-1][1] == log
    assert not list(tmp_path.iterdir()), "the loop makes no folder: a logger may need none"


def test_loggers_change_no_weight(tmp_path):
    without, with_two = Model(), Model()
    first = run(without, [], None)
    second = run(with_two, [JsonLines(log_every=1), Recorder(log_every=3)], tmp_path)
    assert [record.losses for record in first.epochs] == [record.losses for record in second.epochs]
    for name, weight in weights_of(without).items():
        assert torch.equal(weight, weights_of(with_two)[name])
    assert [path.name for path in tmp_path.iterdir()] == ["json_lines"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_training_that_breaks_off_is_finished(error, tmp_path, calls):
    module = Model()

    def dies(batch):
        if len(calls) > 8:
            raise error
        return module.loss(batch)

    with pytest.raises(error):
        run(module, [Recorder(log_every=1)], tmp_path, loss=dies)
    assert [call[0] for call in calls[-2:]] == ["step", "finish"]
    assert (len(calls[-1][1].epochs), calls[-1][1].stopped_by) == (1, "")


def test_a_loss_that_is_not_finite_is_logged_before_it_is_refused(tmp_path, calls):
    with pytest.raises(TrainingError):
        run(
            module := Model(),
            [Recorder(log_every=1)],
            tmp_path,
            loss=lambda b: {"": module.linear.weight.sum() * math.nan},
        )
    assert [call[0] for call in calls] == ["start", *["step"] * 5, "finish"]
    assert math.isnan(calls[1][2][""])


def test_resuming_tells_the_step_of_the_checkpoint(tmp_path, calls):
    module, seen = Model(), []

    def dies(batch):
        if len(seen) == 12:
            raise KeyboardInterrupt
        seen.append(batch)
        return module.loss(batch)

    with pytest.raises(KeyboardInterrupt):
        run(module, [Recorder(log_every=1)], tmp_path / "logs", loss=dies, folder=tmp_path / "checkpoints")
    assert [call[1] for call in calls if call[0] == "step"] == list(range(1, 13))
    calls.clear()
    log = run(Model(), [Recorder(log_every=1)], tmp_path / "logs", folder=tmp_path / "checkpoints")
    assert calls[0][:2] == ("start", 10)
    assert [call[1] for call in calls if call[0] == "step"] == list(range(11, 16))
    assert len(log.epochs) == 3
    calls.clear()
    run(Model(), [Recorder(log_every=1)], tmp_path / "logs", folder=tmp_path / "checkpoints")
    assert [call[0] for call in calls] == ["start", "finish"], "a training that has ended"
    assert (calls[0][1], calls[1][1].stopped_by) == (15, "max_epochs")


def test_an_epoch_is_logged_before_its_checkpoint(tmp_path, calls, monkeypatch):
    """A kill between the two repeats the epoch and its record; the other way round the record would be lost."""
    from genrec.training import trainer

    monkeypatch.setattr(trainer, "_save", lambda *arguments: calls.append(("save", arguments[3])))
    run(Model(), [Recorder()], tmp_path / "logs", folder=tmp_path / "checkpoints", max_epochs=2)
    assert [call[:2] for call in calls if call[0] in ("epoch", "save")] == [
        ("epoch", 5), ("save", 5), ("epoch", 10), ("save", 10),
    ]  # fmt: skip


def test_what_a_logger_lacks_is_said_before_training(tmp_path, calls):
    def never(batch):
        raise AssertionError

    with pytest.raises(DataError, match=r"^lacking: a package is missing$"):
        run(Model(), [Recorder(), Lacking()], tmp_path, loss=never)
    assert [call[0] for call in calls] == ["start", "finish"], "the first one was started"
    with pytest.raises(ValueError, match="loggers need a log_folder"):
        run(Model(), [Recorder()], None, loss=never)


def test_a_hook_that_a_logger_does_not_have_does_nothing(tmp_path):
    started = StartedLogger()
    started.log_step(1, {}, 0.1)
    started.log_epoch(EpochRecord(1, {}, None, 0.0, 0.1), 1)
    started.finish(TrainingLog())


def test_a_recipe_names_each_logger_once():
    assert TrainingSettings().loggers == ()
    with pytest.raises(ValidationError, match="loggers: found json_lines, json_lines, expected each logger once"):
        TrainingSettings(loggers=(JsonLines(), JsonLines(log_every=1)))


def test_what_determines_the_weights_is_in_settings_of_its_own():
    """For cache keys: a logger and a final fit leave the model of train as it is."""
    extra = TrainingSettings.model_fields.keys() - OptimizationSettings.model_fields.keys()
    assert extra == {"final_fit", "loggers", "samples"}  # samples: how batches are made, part of a model's key


RECIPE = """
title: a shop with a log
dataset: showroom
history_encoder: item_ids
streams: {text: {item_encoder: tfidf, tokenizer: kmeans_tree, decoder: mlp}}
training: {max_epochs: 2, loggers: [json_lines]}
"""


def test_a_recipe_names_loggers_as_it_names_baselines():
    assert parse_recipe(RECIPE).training.loggers == (JsonLines(),)
    recipe = parse_recipe(RECIPE.replace("[json_lines]", "[{type: json_lines, log_every: 50}]"))
    assert recipe.training.loggers == (JsonLines(log_every=50),)
    assert recipe.block()["training"]["loggers"] == [{"type": "json_lines", "log_every": 50}]
    with pytest.raises(RecipeError, match=r"unknown logger 'json_line', .*did you mean 'json_lines'"):
        parse_recipe(RECIPE.replace("[json_lines]", "[json_line]"))


PLUGIN = """
from genrec.plugin import StartedLogger, TrainingLogger, loggers


class Started(StartedLogger):
    def __init__(self, file):
        self.file = file

    def log_epoch(self, record, step):
        self.file.write_text(f"epoch {record.epoch}, step {step}")


@loggers.register("last_epoch")
class LastEpoch(TrainingLogger):
    \"\"\"The number of the last epoch in a file.\"\"\"

    def start(self, folder, *, title, hyperparameters, step):
        folder.mkdir(parents=True, exist_ok=True)
        return Started(folder / "last.txt")
"""


def test_a_plugin_brings_a_logger(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_plugin_folders", [])
    monkeypatch.setattr(loggers, "_classes", dict(loggers._classes))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "last_epoch.py").write_text(PLUGIN, encoding="utf-8")
    registry.add_plugin_folder(tmp_path / "plugins")
    chosen = parse_recipe(RECIPE.replace("[json_lines]", "[last_epoch]")).training.loggers
    check(chosen[0])
    run(Model(), chosen, tmp_path / "logs", max_epochs=2)
    assert (tmp_path / "logs" / "last_epoch" / "last.txt").read_text() == "epoch 2, step 10"
