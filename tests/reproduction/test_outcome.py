"""Figures and verdicts of an outcome, from ranks with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from genrec.comparison.results import Comparison, ComparisonRow
from genrec.errors import DataError
from genrec.reproduction import files
from genrec.reproduction.definitions import budgets, find_study
from genrec.reproduction.outcome import ranking_rows, speed_figures, verdict_of, with_figures
from genrec.reproduction.page import page
from genrec.reproduction.rows import PlannedRow
from genrec.reproduction.text import markdown, verdict
from genrec.types import ABSENT

USERS = 400
SPENT = "not finished within the budget; the same command resumes from here"


def ranks(found: int) -> np.ndarray:
    """The first users have their target on top, the others not at all."""
    return np.where(np.arange(USERS) < found, 0, ABSENT).astype(np.int32)[None]


def outcome_of(rows, claims, **changes):
    return {
        "study": "table3", "dataset": "beauty", "budget": "light", "split": "test", "seeds": [1],
        "recipe": "eager_beauty_minilm.yaml", "set": [], "rows": rows, "claims": claims,
        "protocol": {"users": USERS, "items": 9, "seen_items": "keep"},
        "data": {"name": "shop", "fingerprint": "0123456789abcdef", "order": "by time"},
        "genrec": "0", "date": "2026-11-30", "machine": {"processor": "p", "device": "cpu", "threads": 1, "torch": "2"},
        "minutes": 1.0, **changes,
    }  # fmt: skip


@pytest.fixture(name="table3")
def _table3():
    """EAGER is far better than TSG + GCT, which equals TSG; the base model is better than TSG; text was stopped."""
    found = {"eager": ranks(200), "tsg_gct": ranks(100), "tsg": ranks(100), "base": ranks(160)}
    rows = [
        {"name": name, "label": row.label, **({"status": "finished", "seeds": [1]} if name in found else
         {"status": "stopped", "reason": SPENT})}
        for name, row in find_study("table3").rows.items()
    ]  # fmt: skip
    return *with_figures("table3", "beauty", rows, found), found


def test_figures_are_means_over_users(table3):
    rows, _, _ = table3
    figures = {row["name"]: row.get("figures") for row in rows}
    assert figures["eager"]["recall@5"]["mean"] == pytest.approx(0.5)
    assert figures["base"]["ndcg@20"]["mean"] == pytest.approx(0.4)
    assert figures["text"] is None


def test_orderings_hold_do_not_hold_or_are_undecided(table3):
    _, claims, _ = table3
    verdicts = {(c["first"], c["second"]): c["verdict"] for c in claims if c["column"] == "ndcg@10"}
    assert verdicts == {
        ("eager", "tsg_gct"): "holds",
        ("tsg_gct", "tsg"): "undecided",
        ("tsg", "base"): "does not hold",
    }
    [first] = [c for c in claims if (c["first"], c["column"]) == ("eager", "recall@10")]
    assert first["difference"] == pytest.approx(0.25)
    assert first["paper"] == pytest.approx(0.0836 - 0.0815)
    assert first["low"] < 0.25 < first["high"]


def test_a_row_that_was_stopped_has_no_verdict():
    study = find_study("table3")
    rows = [
        {"name": name, "label": row.label, **({"status": "stopped", "reason": SPENT} if name == "tsg" else
         {"status": "finished", "seeds": [1]})}
        for name, row in study.rows.items()
    ]  # fmt: skip
    found = {row["name"]: ranks(100) for row in rows if row["status"] == "finished"}
    rows, claims = with_figures("table3", "beauty", rows, found)
    decided = {(c["first"], c["second"]): "verdict" in c for c in claims}
    assert decided == {("eager", "tsg_gct"): True, ("tsg_gct", "tsg"): False, ("tsg", "base"): False}
    text = markdown(outcome_of(rows, claims))
    assert "The paper's ordering is undecided in 2 and has no verdict in 4 of 6 comparisons." in text
    assert f"- TSG: stopped by the budget ({SPENT}). It has no verdict." in text
    assert "| TSG | paper | 0.0582 |" in text
    assert "|  | genrec | stopped by the budget |" in text


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("better", 0.001, 0.002, "holds"),
        ("better", -0.001, 0.002, "undecided"),
        ("better", -0.002, -0.001, "does not hold"),
        ("better", 0.0, 0.0, "undecided"),
        ("similar", -0.001, 0.002, "holds"),
        ("similar", -0.001, 0.02, "undecided"),
        ("similar", 0.011, 0.02, "does not hold"),
        ("similar", -0.02, -0.011, "does not hold"),
    ],
)
def test_verdicts_are_those_of_the_interval(kind, low, high, expected):
    assert verdict_of(kind, low, high, 0.01) == expected


def test_text_has_paper_ours_and_difference(table3):
    rows, claims, _ = table3
    text = markdown(outcome_of(rows, claims))
    assert "| TSG + GCT + STT | paper | 0.0618 | 0.0451 | 0.0836 | 0.0525 | 0.1124 | 0.0599 |" in text
    assert "|  | difference | +0.4382 |" in text
    assert verdict({"claims": claims}) == (
        "The paper's ordering holds in 2, does not hold in 2 and is undecided in 2 of 6 comparisons."
    )


def test_faster_rows_are_those_whose_repetitions_do_not_overlap():
    def row(name, *repetitions):
        return {"name": name, "status": "finished", "repetitions": list(repetitions), "parameters": 7_400_000}

    rows = [row("tiger", 0.01, 0.02), row("eager", 0.03, 0.05), row("recforest", 0.04, 0.06), row("din", 0.01, 0.02)]
    claims = speed_figures(rows, "table6", "beauty")
    assert [claim["verdict"] for claim in claims] == ["holds", "undecided", "does not hold"]
    assert rows[0]["figures"]["seconds"]["mean"] == pytest.approx(0.015)
    assert rows[1]["figures"]["parameters"]["mean"] == pytest.approx(7.4)


def test_rows_take_their_results_and_reasons_from_the_comparison():
    study = find_study("table2")
    planned = [PlannedRow(name, row) for name, row in study.rows.items()]
    by_name = {row.name: row for row in planned}
    for row in planned:
        row.missing = "no recipe"
    for name in ("sasrec", "popularity"):
        by_name[name].missing, by_name[name].baseline = "", f'{{"type": "{name}"}}'
    by_name["eager"].missing = ""
    rows = [
        ComparisonRow("eager", "variant", {}, (), np.zeros((0, 0), np.int32), failures={1: SPENT}),
        ComparisonRow("sasrec", "baseline", {}, (), np.zeros((0, 0), np.int32), failures={1: "out of memory"}),
        ComparisonRow("popularity", "baseline", {}, (1,), ranks(10)),
    ]
    comparison = Comparison("t", "test", None, {}, (1,), rows, (), {}, (), {}, (), 10, {}, 0.0)
    found = {row["name"]: row for row in ranking_rows(planned, comparison)}
    assert (found["eager"]["status"], found["sasrec"]["status"], found["tdm"]["status"]) == (
        "stopped",
        "failed",
        "missing",
    )
    assert found["popularity"]["manifests"] == [
        {"seed": 1, "baseline": '{"type": "popularity"}', "ranks": "popularity/1"}
    ]


def test_files_hold_every_rank(tmp_path, table3):
    rows, claims, found = table3
    outcome = outcome_of(rows, claims)
    found["eager"] = np.array([[0, 19, ABSENT]], dtype=np.int32)
    file = files.write(outcome, found, tmp_path)
    [(stored, content)] = files.read_all(tmp_path)
    assert stored == file
    assert content == outcome
    read = files.read_ranks(file)
    assert read.keys() == found.keys()
    assert read["eager"].tolist() == [[0, 19, ABSENT]]
    file.with_suffix(".safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="run the study again"):
        files.read_ranks(file)


def test_quick_is_no_result(table3):
    rows, claims, _ = table3
    quick = outcome_of(rows, claims, budget="quick")
    assert "no result" in markdown(quick)
    with pytest.raises(DataError, match="gives no result"):
        page([quick])
    assert "## Table 3: Two streams" in page([outcome_of(rows, claims)])
    assert "no result" in budgets()["quick"].says
