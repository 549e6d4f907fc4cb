"""``genrec reproduce`` from the command line, with tiny models on the showroom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genrec.cli import main
from genrec.reproduction import definitions
from genrec.reproduction.files import read_all, read_ranks

RECIPE = Path(__file__).parents[2] / "recipes" / "eager_showroom.yaml"
SMALL = (
    "--dataset",
    "showroom",
    "--recipe",
    str(RECIPE),
    "--quick",
    "--set",
    "dataset.items=60",
    "--set",
    "dataset.users=90",
)

pytestmark = pytest.mark.slow


def test_statistics_need_no_model(tmp_path, capsys):
    assert main(["reproduce", "table1", *SMALL, "--output", str(tmp_path / "out")]) == 0
    assert "| dataset | genrec | 90 | 60 |" in capsys.readouterr().out


def test_speed_is_measured_with_what_is_there(tmp_path, capsys):
    assert main(["reproduce", "table6", *SMALL, "--output", str(tmp_path / "out"), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in outcome["rows"]}
    assert rows["eager"]["status"] == "finished"
    assert len(rows["eager"]["repetitions"]) == 5
    assert rows["eager"]["figures"]["seconds"]["mean"] > 0
    assert rows["recforest"]["status"] == "missing"


def test_a_study_trains_its_rows_and_stores_every_rank(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    known = definitions._studies_file()
    study = known.studies["section4_5"]
    short = study.model_copy(update={"rows": {name: study.rows[name] for name in ("one", "two")}})
    monkeypatch.setattr(
        definitions,
        "_studies_file",
        lambda: known.model_copy(update={"studies": {**known.studies, "section4_5": short}}),
    )
    arguments = ["reproduce", "section4_5", *SMALL, "--jobs", "1", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "QUICK: no result." in text
    assert "as good as 2 layers" in text
    [(file, outcome)] = read_all(tmp_path / "out")
    ranks = read_ranks(file)
    assert ranks.keys() == {"one", "two"}
    for row in outcome["rows"]:
        assert row["status"] == "finished"
        assert row["manifests"][0]["parameters"] > 0
        recall = float(np.mean((ranks[row["name"]] >= 0) & (ranks[row["name"]] < 10)))
        assert row["figures"]["recall@10"]["mean"] == pytest.approx(recall)
    assert len({row["manifests"][0]["model"] for row in outcome["rows"]}) == 2
    assert (tmp_path / "out" / "reproduction.md").read_text(encoding="utf-8") in text


def test_options_are_checked_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "table9"]) == 2
    assert main(["reproduce", "table3", "--quick", "--light"]) == 2
    assert main(["reproduce", "table3"]) == 2
    errors = capsys.readouterr().err
    assert "table9: unknown study" in errors
    assert "found --light and --quick, expected one of them" in errors
    assert "eager_beauty.yaml: no such file, expected the EAGER recipe" in errors
    assert list(tmp_path.iterdir()) == []
