"""``genrec run`` and ``genrec compare`` with every metric there is, from the recipe to the last file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from genrec.cli import main
from genrec.evaluation.metrics import METRICS, column_name

pytestmark = pytest.mark.slow


def test_a_run_and_a_comparison_report_every_metric(
    folder: Path, small_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (folder / "small.yaml").write_text(small_recipe, encoding="utf-8")
    names = METRICS.names_of_targets()
    columns = [column_name(metric, cutoff) for metric in names for cutoff in (5, 10)]
    words = ["--device", "cpu", "--set", f"evaluation.metrics=[{', '.join(names)}]"]

    assert main(["run", "small.yaml", *words, "--output", "run"]) == 0
    content = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert all(set(names) <= method.keys() for method in content["methods"])
    assert {test["metric"] for test in content["tests"]} == set(names)
    assert f"| method | kind | {' | '.join(columns)} |" in (folder / "run" / "report.md").read_text(encoding="utf-8")

    vary = ["--vary", "merge=confidence,log_prob_sum", "--output", "compared"]
    assert main(["compare", "small.yaml", *words, *vary]) == 0
    compared = folder / "compared"
    data = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    assert all(set(names) <= row["metrics"].keys() for row in data["rows"])
    assert {test["metric"] for test in data["tests"]["pairs"]} == set(names)
    with (compared / "comparison.csv").open(encoding="utf-8") as lines:
        assert {line["metric"] for line in csv.DictReader(lines)} >= set(names)
    for file in ("comparison.md", "comparison.html"):
        text = (compared / file).read_text(encoding="utf-8")
        assert [column for column in columns if column not in text] == []
