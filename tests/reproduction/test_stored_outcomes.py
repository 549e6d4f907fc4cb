"""``docs/reproduction.md`` is what the stored outcomes say, and these are what the stored ranks say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import reproduction

from genrec.reproduction.files import name_of, read_all, read_ranks
from genrec.reproduction.outcome import speed_figures, with_figures

STORED = list(read_all(reproduction.DOCS / "results" / "reproduction"))
RANKED = [pytest.param(file, outcome, id=file.stem) for file, outcome in STORED if read_ranks(file)]


def test_the_page_is_written_from_the_stored_outcomes(tmp_path):
    written = reproduction.write_page(reproduction.DOCS / "results" / "reproduction", tmp_path / "page.md")
    assert written.read_bytes() == (reproduction.DOCS / "reproduction.md").read_bytes()


def test_files_are_small_and_named_after_what_they_hold():
    assert STORED
    folder = reproduction.DOCS / "results" / "reproduction"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000
    for file, outcome in STORED:
        assert file.stem == name_of(outcome)
        assert outcome["budget"] != "quick"


@pytest.mark.parametrize(("file", "outcome"), RANKED)
def test_means_are_those_of_the_ranks(file, outcome):
    """In NumPy alone: a target of rank r (from 0) counts 1 in Recall@K and 1 / log2(r + 2) in NDCG@K if r < K."""
    ranks = read_ranks(file)
    finished = [row for row in outcome["rows"] if row["status"] == "finished"]
    assert {row["name"] for row in finished} == ranks.keys()
    means = {}
    for row in finished:
        ranks_SU = ranks[row["name"]]
        assert ranks_SU.shape == (len(row["seeds"]), outcome["protocol"]["users"])
        assert [manifest["seed"] for manifest in row["manifests"]] == row["seeds"]
        for column, cell in row["figures"].items():
            metric, cutoff = column.split("@")
            found_SU = (ranks_SU >= 0) & (ranks_SU < int(cutoff))
            gains_SU = np.where(found_SU, 1 / np.log2(np.maximum(ranks_SU, 0) + 2), 0) if metric == "ndcg" else found_SU
            assert cell["mean"] == pytest.approx(gains_SU.mean(), abs=1e-12)
            assert cell["low"] <= cell["mean"] <= cell["high"]
            means[row["name"], column] = gains_SU.mean()
    for claim in outcome["claims"]:
        if "verdict" in claim:
            difference = means[claim["first"], claim["column"]] - means[claim["second"], claim["column"]]
            assert claim["difference"] == pytest.approx(difference, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "outcome"), RANKED)
def test_intervals_and_verdicts_are_those_of_the_ranks(file, outcome):
    plain = [{key: value for key, value in row.items() if key != "figures"} for row in outcome["rows"]]
    rows, claims = with_figures(outcome["study"], outcome["dataset"], plain, read_ranks(file))
    assert rows == outcome["rows"]
    assert claims == outcome["claims"]


def test_speeds_are_those_of_the_repetitions():
    for _, outcome in STORED:
        if any("repetitions" in row for row in outcome["rows"]):
            rows = [{key: value for key, value in row.items() if key != "figures"} for row in outcome["rows"]]
            assert speed_figures(rows, outcome["study"], outcome["dataset"]) == outcome["claims"]
            assert rows == outcome["rows"]
