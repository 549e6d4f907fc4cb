"""The training loop: keeps the best, stops in time, and goes on after an interruption as if there had been none."""

import json
import math
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from genrec.errors import TrainingError
from genrec.model.layers import Dropout
from genrec.model.weights import weights_of
from genrec.runtime.seeds import derive
from genrec.runtime.threads import threads
from genrec.training.log import TrainingLog
from genrec.training.optimizer import build_optimizer
from genrec.training.settings import TrainingSettings
from genrec.training.trainer import train, train_epoch
from tests.damaged_files import DAMAGES


class Line(nn.Module):
    """A regression with dropout, so that a resumed run must find its random numbers again."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.table, self.linear, self.dropout = nn.Embedding(6, 8), nn.Linear(8, 8), Dropout(0.3)

    def loss(self, batch):
        guess = self.linear(self.dropout(self.table(batch))).sum(1)
        return {"square": (guess - batch).square().mean(), "small": 0.1 * self.linear.weight.square().sum()}


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    return [torch.randint(6, (4,), generator=generator) for _ in range(5)]


def settings(**changes):
    return TrainingSettings(**{"learning_rate": 0.01, "warmup_steps": 3, "max_epochs": 6, "patience": 6} | changes)


def run(module, *, validate=None, loss=None, folder=None, batches=batches, epochs=None, **changes):
    return train(
        module, batches, loss or module.loss, settings(**changes), validate=validate, seed=5, title="line",
        folder=folder, epochs=epochs,
    )  # fmt: skip


def scores(*values):
    """A validation that says what the test wants, and remembers the weights that it was asked about."""
    said, seen, modes = iter(values), [], []

    def of(module):
        def validate():
            seen.append({name: weight.clone() for name, weight in weights_of(module).items()})
            modes.append(module.training)
            return next(said)

        return validate

    return of, seen, modes


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns():
    log = run(Line(), max_epochs=30, patience=30)
    assert log.epochs[-1].losses["square"] < 0.5 * log.epochs[0].losses["square"]
    assert [record.epoch for record in log.epochs] == list(range(1, 31))
    assert log.stopped_by == "max_epochs"


def test_the_best_epoch_is_kept_and_patience_ends_it():
    of, seen, modes = scores(0.1, 0.3, 0.2, 0.3, 0.25, 0.9)
    module = Line()
    log = run(module, validate=of(module), patience=3)
    assert (log.best_epoch, log.stopped_by, len(log.epochs)) == (2, "patience", 5)
    assert same(weights_of(module), seen[1]), "equal is not better"
    assert not same(seen[1], seen[4])
    assert modes == [False] * 5
    assert not module.training
    assert [record.validation for record in log.epochs] == [0.1, 0.3, 0.2, 0.3, 0.25]


def test_scores_below_zero_and_at_zero_are_scores():
    """RQ-VAE and DIN validate by a negative loss."""
    of, seen, _ = scores(-3.0, -1.0, -2.0)
    module = Line()
    assert run(module, validate=of(module), max_epochs=3).best_epoch == 2
    assert same(weights_of(module), seen[1])
    of, _, _ = scores(0.0, 0.0, -1.0)
    assert run(module := Line(), validate=of(module), max_epochs=3).best_epoch == 1


def test_without_validation_the_last_epoch_is_kept():
    module = Line()
    log = run(module, max_epochs=3, patience=1)
    assert (log.best_epoch, log.stopped_by) == (3, "max_epochs")
    assert log.epochs[0].validation is None


def test_epochs_asked_for_are_those_of_the_whole_schedule_cut_off():
    whole, cut = Line(), Line()
    log = run(cut, schedule="cosine", max_epochs=6, max_minutes=1e-9, patience=1, epochs=2)
    assert (len(log.epochs), log.best_epoch, log.stopped_by) == (2, 2, "epochs")
    seen = run(whole, schedule="cosine", max_epochs=6, patience=6).epochs
    assert [record.learning_rate for record in log.epochs] == [record.learning_rate for record in seen[:2]]
    assert [record.losses for record in log.epochs] == [record.losses for record in seen[:2]]


def test_minutes_end_training_after_their_epoch():
    log = run(Line(), max_minutes=1e-9)
    assert (len(log.epochs), log.stopped_by) == (1, "max_minutes")


def test_losses_are_means_over_the_batches():
    module, seen = Line(), []

    def loss(batch):
        parts = module.loss(batch)
        seen.append({name: part.item() for name, part in parts.items()})
        return parts

    log = run(module, loss=loss, max_epochs=2)
    for number, record in enumerate(log.epochs):
        of_epoch = seen[5 * number : 5 * number + 5]
        assert record.losses == pytest.approx(
            {name: sum(part[name] for part in of_epoch) / 5 for name in ("square", "small")}
        )


def test_an_epoch_is_a_function_of_module_optimizer_and_step():
    """Two calls, each told where the schedule stands, are two epochs of ``train``."""
    whole, by_hand, before = Line(), Line(), Line()
    log = run(whole, max_epochs=2, warmup_steps=20)
    chosen = settings(max_epochs=2, warmup_steps=20)
    optimizer = build_optimizer(by_hand, chosen)
    for number, record in enumerate(log.epochs):
        torch.manual_seed(derive(5, "epoch", record.epoch))
        by_hand.eval()
        trained = train_epoch(
            by_hand, optimizer, batches(record.epoch), by_hand.loss, chosen, step=5 * number, title="by hand"
        )
        assert by_hand.training
        assert (trained.losses, trained.learning_rate, trained.num_steps) == (record.losses, record.learning_rate, 5)
        assert trained.samples_per_second > 0
    assert same(weights_of(by_hand), weights_of(whole))
    assert not same(weights_of(by_hand), weights_of(before))


def test_throughput_counts_samples_and_not_batches():
    """Four samples in a twentieth of a second or more: less than 80 samples/s, more than 20 batches/s."""
    module = Line()

    def slow(batch):
        time.sleep(0.05)
        return module.loss(batch)

    [record] = run(module, loss=slow, max_epochs=1, validate=lambda: time.sleep(0.5) or 0.0).epochs
    assert 20 < record.samples_per_second < 80
    assert record.seconds > 0.5


def test_each_step_has_its_learning_rate():
    log = run(Line(), max_epochs=2, warmup_steps=20)
    assert [record.learning_rate for record in log.epochs] == pytest.approx([0.01 * 5 / 20, 0.01 * 10 / 20])
    log = run(Line(), max_epochs=2, warmup_steps=0, schedule="cosine")
    assert [record.learning_rate for record in log.epochs] == pytest.approx(
        [0.005 * (1 + math.cos(math.pi * step / 10)) for step in (4, 9)]
    )


def test_a_cosine_must_know_its_end():
    for unknown in ({"schedule": "cosine"}, {"warmup_steps": None}):
        with pytest.raises(ValueError, match="default of warmup_steps need batches with a length"):
            run(Line(), **unknown, batches=lambda epoch: iter(batches(epoch)))


def test_a_warm_up_that_does_not_end_is_a_warning_with_the_rate_reached(capsys):
    remedy = "lower warmup_steps, or leave it out: 5 % of the steps of max_epochs"
    stopped = f"stopped after 10 of 100 warm-up steps, at learning rate 0.001 of 0.01; {remedy}"
    log = run(Line(), max_epochs=2, warmup_steps=100)
    assert log.warnings == [stopped]
    assert TrainingLog.from_json(json.loads(json.dumps(log.as_json()))) == log
    said = " ".join(capsys.readouterr().err.split())
    assert f"line: warm-up takes 100 steps, but training at most 10; {remedy}" in said, "after the first epoch"
    assert f"line: {stopped}" in said
    # Stopped early in a warm-up that would have ended; not at all; fewer epochs than the schedule has.
    validate, _, _ = scores(0.5, 0.4)
    module = Line()
    log = run(module, warmup_steps=20, patience=1, validate=validate(module))
    assert [warning.partition(" warm-up")[0] for warning in log.warnings] == ["stopped after 10 of 20"]
    assert run(Line(), warmup_steps=10, max_epochs=2).warnings == []
    assert run(Line(), warmup_steps=None, max_epochs=2).warnings == []
    assert len(run(Line(), warmup_steps=10, max_epochs=6, epochs=1).warnings) == 1


def test_gradients_are_clipped_to_their_norm():
    """The step itself tells nothing: one of Adam is as long with a gradient of 1000 as with one of 1."""
    norms = {}
    for clip in (0.0, 0.5):
        module = nn.Linear(4, 1, bias=False)
        nn.init.ones_(module.weight)

        def loss(batch, module=module):
            return {"": 1000 * module.weight.sum()}

        clipped = settings(max_epochs=1, gradient_clip=clip)
        train(module, lambda epoch: [0], loss, clipped, validate=None, seed=1, title="")
        norms[clip] = module.weight.grad.norm().item()
    assert norms == pytest.approx({0.0: 2000.0, 0.5: 0.5}, rel=1e-4)


def test_a_loss_that_is_not_finite_is_said():
    module = Line()

    def loss(batch):
        return {"square": module.loss(batch)["square"] * math.inf}

    with pytest.raises(
        TrainingError, match=r"^line, epoch 1: the loss is not finite: \{'square': (inf|nan)\}; try a lower"
    ):
        run(module, loss=loss)


def test_a_score_that_is_not_finite_is_said():
    with pytest.raises(TrainingError, match=r"^line, epoch 1: the validation score is not finite: nan; try a lower"):
        run(Line(), validate=lambda: math.nan)


def test_equal_seeds_give_equal_weights():
    first, second, other = Line(), Line(), Line()
    run(first), run(second)
    train(other, batches, other.loss, settings(), validate=None, seed=6, title="")
    assert same(weights_of(first), weights_of(second))
    assert not same(weights_of(first), weights_of(other))


VALUES = (0.1, 0.5, 0.2, 0.3, 0.4, 0.45)


@pytest.mark.parametrize("dies_at_batch", [0, 12, 29], ids=["first", "middle", "last"])
def test_a_run_that_is_interrupted_ends_as_one_that_is_not(dies_at_batch, tmp_path):
    whole = Line()
    log = run(whole, validate=scores(*VALUES)[0](whole), schedule="cosine", weight_decay=0.1)
    module, calls = Line(), []

    def dies(batch):
        if len(calls) == dies_at_batch:
            raise KeyboardInterrupt
        calls.append(batch)
        return module.loss(batch)

    with pytest.raises(KeyboardInterrupt):
        run(
            module, loss=dies, validate=scores(*VALUES)[0](module), folder=tmp_path, schedule="cosine",
            weight_decay=0.1,
        )  # fmt: skip
    done = dies_at_batch // 5
    resumed = Line()
    nn.init.zeros_(resumed.linear.weight)  # what it was does not matter where a checkpoint is
    if not done:
        resumed = Line()
    of, seen, _ = scores(*VALUES[done:])
    again = run(resumed, validate=of(resumed), folder=tmp_path, schedule="cosine", weight_decay=0.1)
    assert len(seen) == 6 - done, "no epoch is trained twice"
    assert same(weights_of(resumed), weights_of(whole))
    assert again.best_epoch == log.best_epoch == 2
    for one, other in zip(again.epochs, log.epochs, strict=True):
        assert (one.losses, one.validation, one.learning_rate) == (other.losses, other.validation, other.learning_rate)


def test_a_run_that_has_ended_is_not_trained_again(tmp_path):
    module = Line()
    log = run(module, folder=tmp_path)

    def never(batch):
        raise AssertionError

    resumed = Line()
    assert run(resumed, loss=never, folder=tmp_path).as_json() == log.as_json()
    assert same(weights_of(resumed), weights_of(module))


@pytest.mark.parametrize("dies_in", ["save_tensors", "write_json"])
def test_a_kill_while_a_checkpoint_is_written_does_no_harm(dies_in, tmp_path, monkeypatch):
    """The third epoch's checkpoint is half written: training goes on after the second."""
    from genrec.training import trainer

    whole = Line()
    run(whole)
    calls, write = [], getattr(trainer, dies_in)

    def dies(*arguments):
        path = next(argument for argument in arguments if isinstance(argument, Path))
        calls.append(path)
        if len(calls) == 3:
            path.with_name(path.name + ".123.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(trainer, dies_in, dies)
    with pytest.raises(KeyboardInterrupt):
        run(Line(), folder=tmp_path)
    monkeypatch.undo()
    stored = json.loads((tmp_path / "training.json").read_text())
    assert len(stored["log"]["epochs"]) == 2
    assert (tmp_path / "epoch-2.safetensors").is_file()
    resumed = Line()
    run(resumed, folder=tmp_path)
    assert same(weights_of(resumed), weights_of(whole))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["epoch-6.safetensors", "training.json"]


@pytest.mark.parametrize("name", ["training.json", "epoch-6.safetensors"])
@pytest.mark.parametrize("how", sorted(DAMAGES))
def test_a_damaged_checkpoint_is_reported_and_training_starts_again(name, how, tmp_path, capsys):
    whole = Line()
    run(whole, folder=tmp_path)
    other = tmp_path / "other"
    run(Line(), folder=other, learning_rate=0.2)
    DAMAGES[how](tmp_path / name, other / name)
    resumed = Line()
    run(resumed, folder=tmp_path)
    assert "the checkpoint cannot be used: " in capsys.readouterr().err
    assert same(weights_of(resumed), weights_of(whole))


def test_one_checkpoint_is_kept(tmp_path):
    run(Line(), folder=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["epoch-6.safetensors", "training.json"]


def test_a_log_survives_its_file(tmp_path):
    log = run(Line(), validate=lambda: 0.5, max_epochs=2)
    (tmp_path / "log.json").write_text(json.dumps(log.as_json()))
    assert TrainingLog.from_file(tmp_path / "log.json") == log
    assert log.seconds == pytest.approx(sum(record.seconds for record in log.epochs))


def test_a_log_names_the_machine_that_trained(tmp_path):
    with threads(1):
        log = run(Line(), max_epochs=1)
    assert log.machine == "cpu with 1 thread"
    with threads(2):
        assert TrainingLog.from_json(log.as_json()).machine == "cpu with 1 thread", "not that of the process that reads"
        assert run(Line(), max_epochs=1).machine == "cpu with 2 threads"


def test_a_log_without_throughput_is_read():
    """As version 0.1.0 wrote it."""
    record = {"epoch": 1, "losses": {"square": 2.0}, "validation": 0.5, "seconds": 3.0, "learning_rate": 0.1}
    log = TrainingLog.from_json({"epochs": [record], "best_epoch": 1, "stopped_by": "max_epochs"})
    assert log.epochs[0].samples_per_second is None
    assert log.machine == ""
    assert TrainingLog.from_json(log.as_json()) == log
