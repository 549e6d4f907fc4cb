"""Estimates of a comparison: unknown where nothing is known, and measured from a few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_comparison import small_plan, small_recipe

from genrec.cli import main
from genrec.comparison.estimates import estimate, total_estimate
from genrec.comparison.measuring import measure
from genrec.comparison.plan import PlannedStage
from genrec.experiment.keys import Stage
from genrec.experiment.run_folder import RunFolder

SASREC = "baselines=[popularity, {type: sasrec, dim: 8, max_epochs: 3, batch_size: 64}]"
ADVICE = "--measure times a few steps of each"
REST = "seconds to minutes for merges, other baselines and tests"


def planned(kind: str, seconds: float | None, *, finished: bool = False) -> PlannedStage:
    return PlannedStage(Stage(kind, "x", f"{kind}-{seconds}"), 1, ("shop",), finished, seconds)  # type: ignore[arg-type]


def test_an_unknown_duration_is_not_a_short_one() -> None:
    assert estimate([planned("model", None)]) == "unknown"
    assert estimate([planned("model", 5.0), planned("model", None)]) == "unknown"
    assert estimate([planned("ids", 0.01)]) == "less than 1 s"
    assert estimate([planned("model", 157.0)]) == "3 min"
    assert estimate([planned("model", 9000.0)]) == "2.5 h"


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (
            [("model", None), ("candidates", None)],
            f"unknown: 2 stages without an estimate; {ADVICE}",
        ),
        (
            [("ids", 0.1), ("model", None)],
            f"less than 1 s with 2 at a time, plus 1 stage of unknown duration; {ADVICE}",
        ),
        ([("vectors", 10.0), ("model", 60.0), ("model", 60.0)], f"about 70 s with 2 at a time, plus {REST}"),
        ([], f"nothing to train: {REST}"),
    ],
)
def test_the_total_says_what_is_unknown(stages: list[tuple[str, float | None]], expected: str) -> None:
    done = planned("vectors", 0.0, finished=True)
    assert list(total_estimate([done, *(planned(kind, seconds) for kind, seconds in stages)], 2)) == [expected]


def test_the_basis_of_a_measured_duration_is_printed_once() -> None:
    stages = [replace(planned("model", seconds), basis="3 epochs") for seconds in (5.0, 6.0)]
    assert list(total_estimate(stages, 1))[1:] == ["measured: model of shop: 3 epochs"]


@pytest.mark.slow
def test_what_has_no_estimate_is_timed_once_for_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(tmp_path, ["streams.*.tokenizer.branching=4,8"], (1, 2), overrides=[SASREC])
    assert all(stage.seconds is None for stage in plan.planned())
    found = measure(plan)
    assert [stage.stage for stage in found] == [stage.stage for stage in plan.planned()]
    assert {stage.stage.kind for stage in found if stage.basis} == {"model", "candidates", "baseline"}
    for kind, count in (("model", 2), ("candidates", 2), ("baseline", 1)):
        stages = [stage for stage in found if stage.stage.kind == kind]
        assert len({stage.seconds for stage in stages}) == count, "one for each variant, the same for its seeds"
        assert all(stage.seconds and not stage.finished for stage in stages)
    model, search, baseline = (
        next(s.basis for s in found if s.stage.kind == k) for k in ("model", "candidates", "baseline")
    )
    assert model.startswith("1 epoch x 3 steps of ")
    assert model.endswith(" s, less if it stops early")
    assert search == "150 of 150 users"
    assert baseline == "3 epochs, from one on 100% of the interactions"
    assert not any(tmp_path.glob(".stages/model-*")), "nothing is trained"


def test_what_cannot_be_measured_stays_unknown(tmp_path: Path) -> None:
    plan = small_plan(
        tmp_path, overrides=["streams.text.item_encoder={type: columns, columns: [nothing]}", "baselines=[]"]
    )
    assert {stage.seconds for stage in measure(plan) if not stage.finished} == {None}


def test_the_command_measures_and_can_then_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small_recipe(tmp_path)
    words = ["compare", "small.yaml", "--seeds", "1,2", "--output", "out"]
    assert main([*words, "--dry-run"]) == 0
    assert "unknown: 10 stages without an estimate" in capsys.readouterr().out
    assert main([*words, "--measure"]) == 0
    told = capsys.readouterr().out
    assert "measured: model of showroom, item_ids, kmeans_tree mlp, kmeans_tree mlp, max_epochs 1: 1 epoch x" in told
    assert "about 0 s" not in told
    assert [file.name for file in Path("out").iterdir()] == [".stages"]
    RunFolder.create(Path("out"), Path("small.yaml"), verb="compare")  # as the comparison does
