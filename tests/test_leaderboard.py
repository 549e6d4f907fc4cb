"""The leaderboard: equal to what its files give, and honest about what is not stated."""

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from _leaderboard import leaderboard_text, write_leaderboard

DOCS = Path(__file__).parents[1] / "docs"
PUBLISHED = json.loads((DOCS / "published.json").read_text(encoding="utf-8"))
RULES = {"keep": "seen items kept", "filter": "seen items filtered", None: "rule on seen items not stated"}


@pytest.fixture(scope="module")
def tables() -> dict[str, list[list[str]]]:
    """Cells of the rows of each table of the page, by its heading."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (DOCS / "leaderboard.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.startswith("| ") and not line.startswith(("| method", "| ---")):
            found.setdefault(heading, []).append(line.strip("| ").split(" | "))
    return found


def test_the_page_is_what_the_command_writes():
    written = (DOCS / "leaderboard.md").read_text(encoding="utf-8")
    assert written == leaderboard_text(DOCS / "results", DOCS / "published.json"), (
        "run `python benchmarks/results.py leaderboard`"
    )


def test_own_rows_have_the_means_of_the_results(tables):
    own = [(heading, row) for heading, rows in tables.items() for row in rows if row[0].startswith("**")]
    expected: Counter[tuple[str, ...]] = Counter()
    for file in (DOCS / "results").glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        for fit, rule in {(entry["fit"], entry["seen_items"]) for entry in content["entries"]}:
            entries = [e for e in content["entries"] if (e["fit"], e["seen_items"]) == (fit, rule)]
            for place, method in enumerate(entries[0]["rows"]):
                if place > 0 and method["kind"] != "baseline":
                    continue
                name = f"{method['name']}, baseline of {file.stem}" if place else file.stem
                same = [row for entry in entries for row in entry["rows"] if row["name"] == method["name"]]
                means = [f"{mean(row['test'][metric]['10'] for row in same):.4f}" for metric in ("recall", "ndcg")]
                heading = f"{content['dataset']}: {RULES[rule]}"
                expected[heading, f"**genrec: {name}**", *means, fit, str(len(entries))] += 1
    shown = Counter((h, row[0], row[1].split(" ")[0], row[2].split(" ")[0], row[3], row[4]) for h, row in own)
    assert shown == expected
    assert any(row[5].endswith("M") and row[6] == "ids, co-occurrence, text" for _, row in own)


def test_published_rows_stand_under_their_rule_and_say_what_is_not_stated(tables):
    assert sum(len(rows) for rows in tables.values()) == len(PUBLISHED) + sum(
        row[0].startswith("**") for rows in tables.values() for row in rows
    )
    for row in PUBLISHED:
        [cells] = [
            cells
            for cells in tables[f"{row['dataset']}: {RULES[row['seen_items']]}"]
            if cells[0] == row["method"] and cells[-1].startswith(row["source"])
        ]
        assert cells[1].split(" ")[0] == f"{row['recall@10']:.4f}"
        assert cells[2].split(" ")[0] == ("-" if row["ndcg@10"] is None else f"{row['ndcg@10']:.4f}")
        assert cells[3] == (row["fit"] or "-")
        assert cells[6] == ", ".join(row["reads"] or ["-"])


def test_tables_are_sorted_by_recall(tables):
    for rows in tables.values():
        assert all(float(one[1].split(" ")[0]) >= float(two[1].split(" ")[0]) for one, two in pairwise(rows))


def test_every_published_row_has_a_source_and_known_words():
    for row in PUBLISHED:
        assert row["source"]
        assert row["seen_items"] in RULES
        assert row["fit"] in ("train only", "train + validation", None)
        assert 0 < row["recall@10"] < 1
        assert row["ndcg@10"] is None or 0 < row["ndcg@10"] < row["recall@10"]
    places = Counter((row["method"], row["dataset"], row["seen_items"], row["source"]) for row in PUBLISHED)
    assert max(places.values()) == 1, places.most_common(3)


def test_a_new_result_changes_the_page(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    content = json.loads((DOCS / "results" / "best_yelp.json").read_text(encoding="utf-8"))
    for entry in content["entries"]:
        entry["rows"][0]["test"]["recall"]["10"] = 0.75
    (folder / "best_yelp.json").write_text(json.dumps(content), encoding="utf-8")
    page = write_leaderboard(folder, DOCS / "published.json")
    assert page.name == "leaderboard.md"
    first = page.read_text(encoding="utf-8").partition("yelp-2019: seen items kept")[2].splitlines()[4]
    assert first.startswith("| **genrec: best_yelp** | 0.7500 |")
