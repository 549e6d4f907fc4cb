"""A comparison as files and on a terminal: complete, unrounded in JSON and CSV, and with names that break no table."""

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_comparison import made_comparison
from rich.console import Console
from safetensors.numpy import load_file

from genrec.datasets.showroom import Showroom
from genrec.evaluation.rank_file import RankFile, paired
from genrec.reporting.comparison_files import csv_text, markdown, print_comparison, to_dict, write
from genrec.reporting.conclusion import comparison_conclusion
from genrec.training.log import EpochRecord
from genrec.types import Histories, Split

AXES = {"streams.*.tokenizer": ("kmeans_tree", "rqvae"), "merge": ("confidence", "learned", "log_prob_sum")}
FAILED = "rqvae, log_prob_sum"
USERS = 300
FOLDER = Path("runs/compare-shop")


@pytest.fixture(scope="module")
def comparison():
    return made_comparison(AXES, users=USERS, failed=(FAILED,), curves=True)


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    histories = Histories.of([[0] * int(length) for length in rng.integers(1, 9, USERS)])
    return Split(np.arange(USERS), histories, rng.integers(0, 50, USERS))


@pytest.fixture
def folder(comparison, split, tmp_path, monkeypatch):
    """The files, with a page that costs no time: its own test draws it."""
    monkeypatch.setitem(sys.modules, "genrec.reporting.page", SimpleNamespace(page=lambda found, folder: found.title))
    popularity_U = np.arange(USERS)
    write(replace(comparison, target_popularity_U=popularity_U), split, tmp_path / "compared")
    return tmp_path / "compared"


def table_after(text, heading):
    """The cells of the first table below a heading."""
    lines = iter(text.split(f"## {heading}\n", 1)[1].splitlines())
    table = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif table:
            break
    return table[:1] + table[2:]


def named(comparison, *kinds):
    return [row.name for row in comparison.table_rows if row.kind in kinds]


def test_the_main_table_has_each_method_and_the_streams_stand_apart(comparison):
    text = markdown(comparison, FOLDER)
    head, *rows = table_after(text, "Results")
    assert head == ["method", "kind", "seeds", "Recall@5", "Recall@10", "Recall@20", "NDCG@5", "NDCG@10", "NDCG@20"]
    assert [row[0] for row in rows] == named(comparison, "variant", "baseline")
    _, *others = table_after(text, "Single streams")
    assert [row[0] for row in others] == named(comparison, "stream", "oracle")
    assert {row[1] for row in others} == {"stream", "*upper bound*"}


def test_a_cell_has_mean_deviation_interval_and_letters(comparison):
    rows = {row[0]: row for row in table_after(markdown(comparison, FOLDER), "Results")[1:]}
    name = "rqvae, confidence"
    for column, (metric, cutoff) in {4: ("recall", 10), 7: ("ndcg", 10), 8: ("ndcg", 20)}.items():
        cell = comparison.cells[name][metric][cutoff]
        shown = f"{cell.mean:.4f} ± {cell.std:.4f} [{cell.low:.4f}, {cell.high:.4f}]"
        letters = f" {comparison.letters[metric][name]}" if cutoff == 10 else ""
        assert rows[name][column].replace("*", "") == shown + letters
    baseline = comparison.cells["transition"]["ndcg"][20]
    assert rows["transition"][8] == f"{baseline.mean:.4f} [{baseline.low:.4f}, {baseline.high:.4f}]"
    best = max(rows, key=lambda name: comparison.cells[name]["ndcg"][10].mean)
    assert [name for name, row in rows.items() if row[7].startswith("**")] == [best]


def test_the_best_is_compared_with_all_others_in_words(comparison):
    text = markdown(comparison, FOLDER)
    means = {name: comparison.cells[name]["ndcg"][10].mean for name in named(comparison, "variant", "baseline")}
    best, *others = sorted(means, key=lambda name: -means[name])
    sentences = [line for line in text.splitlines() if line.startswith("- ") and "(NDCG@10 difference" in line]
    assert len(sentences) == len(others)
    for line, other in zip(sentences, others, strict=True):
        [test] = [
            test for test in comparison.pairs if test.metric == "ndcg" and {test.first, test.second} == {best, other}
        ]
        sign = 1 if test.first == best else -1
        low, high = sorted((sign * test.low, sign * test.high))
        shown = f"NDCG@10 difference {sign * test.difference:+.4f} [{low:+.4f}, {high:+.4f}]"
        quoted = f"'{other}'" if " " in other else other
        if test.verdict == "not significantly different":
            assert line.startswith(f"- '{best}' and {quoted} are not significantly different ({shown}, Holm p = ")
        else:
            assert line.startswith(f"- '{best}' is better than {quoted} ({shown}, Holm p ")
        assert ("3 of 3 seeds agree" in line or "2 of 3 seeds agree" in line) == (
            other not in ("popularity", "transition")
        )
    assert any("are not significantly different" in line for line in sentences)
    assert any("is better than" in line for line in sentences)


def test_a_baseline_above_all_variants_is_said():
    found = made_comparison({"streams.*.tokenizer": ("random_codes",), "merge": ("a", "b")}, users=USERS)
    text = markdown(found, FOLDER)
    assert "**NDCG@10: b has the highest mean of the variants (" in text
    assert "): worse than transition; better than the other 2.**" in text
    assert "- b is worse than transition (NDCG@10 difference -" in text


def test_the_one_that_is_worse_is_named():
    found = made_comparison({"merge": ("a", "b")}, users=USERS)
    same = [replace(test, p_holm=0.001 if "transition" in (test.first, test.second) else 1.0) for test in found.pairs]
    text = markdown(replace(found, pairs=same), FOLDER)
    assert "): not significantly different from a and popularity; better than transition.**" in text
    assert "may exclude 0 although the verdict is *not significantly different*" in text


def test_codes_that_variants_share_stand_once(comparison):
    text = markdown(comparison, FOLDER)
    part = text.partition("## Codes\n")[2].partition("## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][2:]
    assert lines[0] == "| kmeans_tree, confidence and 2 more | behavior | 2,000 | 64 x 64 | 40 (2.0%) |"
    models = {row.models[0].model_key for row in comparison.rows if row.kind == "variant" and row.models}
    assert len(lines) == 2 * len(models)


def test_many_that_are_not_different_are_counted():
    values = tuple(f"m{number}" for number in range(9))
    found = made_comparison({"merge": values}, users=USERS)
    same = [replace(test, p_holm=1.0) if test.second in values else test for test in found.pairs]
    text = markdown(replace(found, pairs=same), FOLDER)
    assert "): not significantly different from 8 others; better than the other 2.**" in text


def test_everything_a_reader_must_know_is_there(comparison):
    changed = [
        replace(row, notes=("task left out",)) if row.name == "rqvae, learned" else row for row in comparison.rows
    ]
    text = markdown(replace(comparison, rows=changed), FOLDER)
    assert text.splitlines()[2].startswith("**'kmeans\\_tree, ") or text.splitlines()[2].startswith("**'kmeans_tree, ")
    steps = text.partition("## Next steps\n")[2]
    assert "python -m webbrowser -t runs/compare-shop/comparison.html\n" in steps
    assert "genrec run shop.yaml --seed 1 --set streams.*.tokenizer=kmeans_tree --set merge=" in steps
    assert "5 variants" not in text
    assert "6 variants (streams.\\*.tokenizer, merge), seeds 1, 2 and 3, evaluated on validation users." in text
    assert "the last item but one of each of 300 users is ranked among all 2,000 items (no sampling)" in text
    assert "Holm-corrected for all 42 tests" in text
    assert f"- '{FAILED}', seeds 1, 2 and 3: the codebook has 64 codes for 2,000 items" in text
    assert "- 'rqvae, learned': task left out" in text
    assert "| model | 15 | 0 | 0 | 75 |" in text
    assert f"- {comparison.notes[0]}" in text
    assert "genrec run shop.yaml --seed SEED --set streams.*.tokenizer=rqvae --set merge=learned" in text
    protocol = replace(comparison.protocol, target="the last item")
    assert "the last item of each" in markdown(replace(comparison, split="test", protocol=protocol), FOLDER)


def test_variants_that_share_a_model_stand_on_one_line_of_costs(comparison):
    head, *rows = table_after(markdown(comparison, FOLDER), "Time, parameters, memory")
    assert head == ["variants", "parameters", "training", "search", "memory"]
    assert [row[0] for row in rows] == [
        "kmeans_tree, confidence<br>kmeans_tree, learned<br>kmeans_tree, log_prob_sum",
        "rqvae, confidence<br>rqvae, learned",
    ]
    assert rows[0][1:] == ["1,234,567", "1 min 4 s", "7.2 s", "812 MB"]  # 64.5 s, 7.25 s: the halves go to even
    assert "all 6 models" in markdown(comparison, FOLDER)


def test_slices_have_a_table_each(comparison):
    for axis in ("history length", "target popularity"):
        parts = [part for part in comparison.slices if part.axis == axis]
        head, *rows = table_after(markdown(comparison, FOLDER), f"By {axis}")
        assert head == ["method", *(f"{part.label} ({part.users:,})" for part in parts)]
        assert [row[0] for row in rows] == named(comparison, "variant", "baseline")
        for row in rows:
            for part, cell in zip(parts, row[1:], strict=True):
                assert cell.split(" ± ")[0] == f"{part.cells[row[0]]['ndcg'].mean:.4f}"


def test_names_break_no_table():
    axes = {"merge": ("a|b", "<b>*c*</b> ~ `d`")}
    text = markdown(made_comparison(axes, users=100, seeds=(1,), tested=False, title="Pipes | and *stars*"), FOLDER)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines[:6]} == {10}
    assert "a\\|b" in text
    assert "\\<b>\\*c\\*\\</b> \\~ \\`d\\`" in text
    assert text.startswith("# Pipes | and \\*stars\\*\n")
    assert "Tests of the best" not in text


def test_csv_has_a_line_for_each_number(comparison):
    lines = list(csv.DictReader(io.StringIO(csv_text(comparison))))
    assert len(lines) == len(comparison.table_rows) * 2 * 3
    for line in lines:
        cell = comparison.cells[line["name"]][line["metric"]][int(line["cutoff"])]
        assert [float(line["mean"]), float(line["low"]), float(line["high"])] == [cell.mean, cell.low, cell.high]
        assert line["std"] == ("" if cell.std is None else str(cell.std))
    [line] = [
        line for line in lines if (line["name"], line["metric"], line["cutoff"]) == ("rqvae, learned", "ndcg", "10")
    ]
    assert (line["streams.*.tokenizer"], line["merge"], line["seeds"], line["kind"]) == (
        "rqvae",
        "learned",
        "1 2 3",
        "variant",
    )
    assert line["letters"] == comparison.letters["ndcg"]["rqvae, learned"]
    assert (line["training_seconds"], line["search_seconds"]) == ("64.5", "7.25")
    assert (line["parameters"], line["peak_bytes"]) == ("1234567", "812000000")
    assert {line["letters"] for line in lines if line["cutoff"] != "10"} == {""}
    assert {line["parameters"] for line in lines if line["kind"] == "baseline"} == {""}


def test_json_has_everything_unrounded_and_says_where_the_ranks_are(comparison, split, folder):
    data = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert data == json.loads(json.dumps(to_dict(comparison)))
    assert [row["name"] for row in data["rows"]] == [row.name for row in comparison.rows]
    tensors = load_file(folder / "ranks.safetensors")
    for found, row in zip(data["rows"], comparison.rows, strict=True):
        assert list(found["ranks"]) == [str(seed) for seed in row.seeds]
        for seed, ranks_U in zip(row.seeds, row.ranks_SU, strict=True):
            place = found["ranks"][str(seed)]
            assert place["file"] == "ranks.safetensors"
            assert np.array_equal(tensors[place["tensor"]], ranks_U)
        if row.seeds:
            cell = comparison.cells[row.name]["ndcg"][10]
            assert found["metrics"]["ndcg"]["10"] == {
                "mean": cell.mean,
                "std": cell.std,
                "low": cell.low,
                "high": cell.high,
            }
            assert np.mean(list(found["seed_means"]["ndcg"]["10"].values())) == pytest.approx(cell.mean)
    assert [test["verdict"] for test in data["tests"]["pairs"]] == [test.verdict for test in comparison.pairs]
    assert (data["tests"]["count"], data["tests"]["resamples"]) == (42, 10_000)
    [failed] = [row for row in data["rows"] if row["name"] == FAILED]
    assert list(failed["failures"]) == ["1", "2", "3"]
    assert failed["metrics"] == {}
    assert np.array_equal(tensors["history_length"], split.histories.lengths)
    assert np.array_equal(tensors["target_popularity"], np.arange(USERS))
    assert np.array_equal(tensors["users"], split.users)


def test_the_ranks_are_a_rank_file(comparison, split, folder):
    file = RankFile.read(folder)
    assert np.array_equal(file.targets, split.targets)
    assert file.list_length == 20
    [test] = [
        test
        for test in comparison.pairs
        if (test.first, test.second, test.metric) == ("popularity", "transition", "ndcg")
    ]
    found = paired(folder, folder, "popularity/1", "transition/1", metric="ndcg", cutoff=10)
    assert found.mean == pytest.approx(test.difference)


def test_all_files_are_written(comparison, folder):
    assert sorted(file.name for file in folder.iterdir()) == [
        "comparison.csv",
        "comparison.html",
        "comparison.json",
        "comparison.md",
        "ranks.safetensors",
    ]
    assert (folder / "comparison.md").read_text(encoding="utf-8") == markdown(comparison, folder)
    assert (folder / "comparison.csv").read_text(encoding="utf-8") == csv_text(comparison)
    assert (folder / "comparison.html").read_text(encoding="utf-8") == comparison.title


def test_the_table_of_the_test_users_takes_no_other_tables_place(comparison, split, folder):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write(replace(comparison, split="test"), split, folder)
    assert {file.name: file.read_bytes() for file in (folder / "validation").iterdir()} == before
    assert json.loads((folder / "comparison.json").read_text())["split"] == "test"
    write(replace(comparison, split="test"), split, folder)
    assert not (folder / "test").exists(), "the same split is written anew"


def test_a_number_that_is_none_becomes_null(comparison, split, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "genrec.reporting.page", SimpleNamespace(page=lambda found, folder: ""))
    [first, *rest] = comparison.rows
    epoch = EpochRecord(1, {"text": float("nan")}, float("inf"), 1.0, 1e-3)
    broken = replace(first, models=(replace(first.models[0], curve=(epoch,)), *first.models[1:]))
    write(replace(comparison, rows=[broken, *rest]), split, tmp_path)
    text = (tmp_path / "comparison.json").read_text(encoding="utf-8")
    [curve] = json.loads(text)["rows"][0]["models"][0]["curve"]
    assert (curve["losses"], curve["validation"]) == ({"text": None}, None)
    assert "target_popularity" not in load_file(tmp_path / "ranks.safetensors")


def test_terminal_says_what_matters(comparison):
    console = Console(file=io.StringIO(), width=160)
    print_comparison(replace(comparison, title="With [brackets]"), console, FOLDER)
    text = console.file.getvalue()
    assert "With [brackets]" in text
    for row in comparison.table_rows:
        cell = comparison.cells[row.name]["ndcg"][10]
        assert row.name in text
        assert f"{cell.mean:.4f}" in text
        assert f"[{cell.low:.4f}, {cell.high:.4f}]" in text
    assert "upper bound" in text
    assert f"no result: '{FAILED}', seeds 1, 2 and 3" in text
    assert text.startswith(comparison_conclusion(comparison)[:100])
    assert "NDCG@10: 'kmeans_tree, " in text
    assert "evaluated on validation users" in text


def test_the_conclusion_claims_what_the_tests_of_the_best_say(comparison):
    tests = comparison.against_best("ndcg")
    beats_all = all(test.verdict == "better" for test in tests)
    sentence = comparison_conclusion(comparison)
    assert beats_all == ("beats every other variant and baseline" in sentence.partition("NDCG@10")[0])
    assert (not beats_all) == any(test.verdict == "not significantly different" for test in tests)


def test_one_seed_and_one_variant():
    found = made_comparison({}, seeds=(4,), users=100, baselines=(), tested=False, curves=False, codes=False)
    text = markdown(found, FOLDER)
    assert "1 variant, seed 4, evaluated on validation users." in text
    assert "(one seed)" in text
    assert "±" not in text
    assert "not significantly different" not in text
    assert len(list(csv.DictReader(io.StringIO(csv_text(found))))) == len(found.table_rows) * 6
    print_comparison(found, Console(file=io.StringIO()), FOLDER)


def test_a_shop_gives_real_slices(tmp_path, monkeypatch):
    """Statistics and tables together, from rows to files."""
    from genrec.comparison.statistics import statistics_of
    from genrec.evaluation.protocol import EvaluationSettings

    monkeypatch.setitem(sys.modules, "genrec.reporting.page", SimpleNamespace(page=lambda found, folder: ""))
    shop = Showroom(items=80, users=200).load(None)
    made = made_comparison({"merge": ("confidence", "learned")}, users=len(shop.valid), seeds=(1, 2))
    found = replace(made, **statistics_of(made.rows, shop.valid, shop, EvaluationSettings(bootstrap_samples=200)))
    write(found, shop.valid, tmp_path)
    head, *rows = table_after((tmp_path / "comparison.md").read_text(encoding="utf-8"), "By history length")
    assert len(head) > 2
    assert [row[0] for row in rows] == ["confidence", "learned", "popularity", "transition"]
    popularity_U = load_file(tmp_path / "ranks.safetensors")["target_popularity"]
    assert popularity_U[0] == np.count_nonzero(shop.train.items == shop.valid.targets[0])
