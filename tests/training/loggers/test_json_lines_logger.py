"""JSON lines say what the training log says, and an interrupted attempt leaves none of its own."""

import json

import pytest

from genrec.training.log import EpochRecord, TrainingLog
from genrec.training.loggers.json_lines import JsonLines


def lines(folder):
    return [json.loads(line) for line in (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()]


def start(folder, step=0):
    return JsonLines().start(folder, title="größe", hyperparameters={"patience": 3}, step=step)


def record(epoch):
    return EpochRecord(epoch, {"text": 1 / epoch}, 0.1 * epoch, 2.0, 1e-3, 64.0)


def test_each_event_is_a_line(tmp_path):
    started = start(tmp_path / "deep" / "logs")
    started.log_step(10, {"text": 2.5}, 0.01)
    started.log_epoch(record(1), 12)
    started.finish(TrainingLog([record(1)], 1, "max_epochs"))
    assert lines(tmp_path / "deep" / "logs") == [
        {"event": "start", "step": 0, "title": "größe", "hyperparameters": {"patience": 3}},
        {"event": "step", "step": 10, "losses": {"text": 2.5}, "learning_rate": 0.01},
        {
            "event": "epoch",
            "step": 12,
            "epoch": 1,
            "losses": {"text": 1.0},
            "validation": 0.1,
            "seconds": 2.0,
            "learning_rate": 1e-3,
            "samples_per_second": 64.0,
        },
        {"event": "finish", "step": 12, "best_epoch": 1, "stopped_by": "max_epochs"},
    ]


def test_an_epoch_is_on_disk_when_it_ends(tmp_path):
    started = start(tmp_path)
    started.log_epoch(record(1), 12)
    assert [line["event"] for line in lines(tmp_path)] == ["start", "epoch"]
    started.finish(TrainingLog())


@pytest.mark.parametrize("torn", ["", '{"event": "step", "step": 12, "lo', '{"event": "step", "step": 12}'])
def test_resuming_keeps_the_lines_up_to_the_checkpoint(torn, tmp_path):
    started = start(tmp_path)
    started.log_epoch(record(1), 12)
    started.log_step(20, {"text": 0.7}, 0.01)
    started.log_epoch(record(2), 24)
    started.finish(TrainingLog())
    with (tmp_path / "training.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(torn)
    again = start(tmp_path, step=12)
    again.log_epoch(record(2), 24)
    again.finish(TrainingLog())
    assert [(line["event"], line["step"]) for line in lines(tmp_path)] == [
        ("start", 0),
        ("epoch", 12),
        ("epoch", 24),
        ("finish", 24),
    ]


def test_a_training_from_the_start_begins_a_new_file(tmp_path):
    for _ in range(2):
        started = start(tmp_path)
        started.log_epoch(record(1), 12)
        started.finish(TrainingLog())
    assert [line["event"] for line in lines(tmp_path)] == ["start", "epoch", "finish"]


def test_resuming_without_a_file_begins_one(tmp_path):
    """The logger was added to the recipe, or its folder was removed, between the two attempts."""
    start(tmp_path, step=12).finish(TrainingLog())
    assert [(line["event"], line["step"]) for line in lines(tmp_path)] == [("start", 0), ("finish", 12)]
