"""``genrec.run`` and ``load_run``: the same result from Python, from the command line and from the folder."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import genrec
from genrec.cli import main
from genrec.evaluation.metrics import METRICS
from genrec.runtime.checksums import seal
from tests.damaged_files import forget_checksums

pytestmark = pytest.mark.slow


@pytest.fixture(name="run")
def _run(small_run: Path) -> genrec.Run:
    return genrec.load_run(small_run)


def test_run_returns_what_it_wrote(small_run: Path) -> None:
    run = genrec.run("small.yaml", "out", {"training.max_epochs": 2}, device="cpu")
    again = genrec.load_run("out")
    assert run.recipe.training.max_epochs == 2
    assert again.recipe == run.recipe
    assert run.metrics.to_dicts() == again.metrics.to_dicts()
    assert run.ranks.to_dicts() == again.ranks.to_dicts()
    assert run.conclusion == again.conclusion
    assert run.conclusion in html.unescape(again.report_html.read_text(encoding="utf-8").replace("<wbr>", ""))
    for part in dataclasses.fields(run.report):
        if part.name not in ("rows", "users_U", "targets_U", "data_folder", "curve"):
            mine, theirs = getattr(run.report, part.name), getattr(again.report, part.name)
            assert theirs == mine or list(theirs) == list(mine), part.name
    header = Path("out", "recipe.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert header == "# --set training.max_epochs=2"


def test_python_and_the_command_line_write_the_same_results(small_run: Path) -> None:
    genrec.run("small.yaml", "out", device="cpu")
    for name in ("metrics.json",):
        mine, theirs = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (Path("out"), small_run))
        assert mine["methods"] == theirs["methods"]
        assert mine["tests"] == theirs["tests"]


def test_a_recipe_built_in_python_runs_and_is_stored(small_recipe: str) -> None:
    recipe = genrec.load_recipe("small.yaml", {"title": "Built: in Python!", "training.max_epochs": 1})
    run = genrec.run(recipe, device="cpu")
    assert re.fullmatch(r"built_in_python-\d{8}-\d{6}", run.path.name)
    assert genrec.load_recipe(run.path / "recipe.yaml") == recipe


def test_runs_of_several_threads_give_their_own_results() -> None:
    def metrics(seed: int, output: str) -> list[float]:
        return genrec.run("small.yaml", output, seed=seed, device="cpu").metrics["mean"].to_list()

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(metrics, (1, 2), ("first", "second")))
    assert together == [metrics(1, "third"), metrics(2, "fourth")]


def test_metrics_agree_with_the_ranks(run: genrec.Run) -> None:
    ranks = run.ranks.to_pandas()
    for row in run.metrics.to_dicts():
        found = ranks[row["method"]].astype("float64").to_numpy()
        ranks_U = np.where(np.isnan(found), -1, found - 1).astype(np.int32)
        assert METRICS.get(row["metric"])(ranks_U, row["cutoff"]).mean() == pytest.approx(row["mean"], abs=1e-12)
        assert row["low"] <= row["mean"] <= row["high"]
    assert set(run.metrics["kind"]) == {"merge", "pair", "stream", "oracle", "baseline"}


def test_ranks_are_those_of_users_and_items_by_key(run: genrec.Run) -> None:
    ranks = run.ranks.to_polars()
    keys = json.loads((run.path / "items.json").read_text(encoding="utf-8"))["keys"]
    assert len(ranks) == run.report.protocol.users
    assert ranks["target"].to_list() == [keys[item] for item in run.report.targets_U]
    assert ranks["user"].n_unique() == len(ranks)
    method = ranks[run.report.rows[0].name]
    assert method.min() == 1
    assert method.null_count() == np.count_nonzero(run.report.rows[0].ranks_U == -1)


def test_a_run_recommends(run: genrec.Run) -> None:
    [items] = run.recommender(device="cpu").recommend(["item-1", "item-2"], k=3)
    assert len(items) == 3
    assert {item.key for item in items}.isdisjoint({"item-1", "item-2"})


def test_a_run_describes_itself(run: genrec.Run) -> None:
    assert repr(run).startswith(
        f"Run({str(run.path)!r}: Three views of a small shop [showroom]; merge: confidence NDCG@"
    )
    shown = run._repr_html_()
    assert run.conclusion in shown.replace("&#x27;", "'")
    assert "merge: confidence" in re.sub("<wbr>", "", shown)
    assert "Three views of a small shop" in shown


def test_runs_are_listed_newest_first(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("runs/first", "runs/second"):
        shutil.copytree(small_run, name, ignore=shutil.ignore_patterns(".stages"))
    mark = json.loads(Path("runs/second/run.json").read_text(encoding="utf-8"))
    del mark["checksum"]
    Path("runs/second/run.json").write_text(json.dumps(seal({**mark, "date": "2999"})), encoding="utf-8")
    Path("runs/third").mkdir()
    Path("runs/third/run.json").write_text('{"verb": "compare", "finished": false}', encoding="utf-8")
    Path("runs/broken").mkdir()
    Path("runs/broken/run.json").write_text("{", encoding="utf-8")
    Path("runs/notes").mkdir()
    listed = genrec.list_runs().to_dicts()
    assert [row["path"] for row in listed] == ["runs/second", "runs/first", "runs/third", "runs/broken"]
    run = genrec.load_run("runs/first")
    mean = next(row["mean"] for row in run.metrics.to_dicts() if (row["metric"], row["cutoff"]) == ("ndcg", 10))
    assert listed[0] == {
        "path": "runs/second",
        "command": "run",
        "title": "Three views of a small shop [showroom]",
        "dataset": "showroom",
        "date": "2999",
        "state": "finished",
        "metric": "NDCG@10",
        "value": mean,
    }
    assert [row["state"] for row in listed] == ["finished", "finished", "not finished", "damaged"]
    assert listed[2]["value"] is None
    assert main(["runs", "list"]) == 0
    printed = capsys.readouterr().out
    assert f"NDCG@10 {mean:.4f}" in printed
    assert "not finished" in printed
    assert main(["runs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed


def test_no_folder_of_runs() -> None:
    with pytest.raises(genrec.DataError, match=r"^runs: no such folder; expected the folder of runs"):
        genrec.list_runs()


def test_a_folder_that_is_no_run() -> None:
    with pytest.raises(genrec.DataError, match="not the folder of a run"):
        genrec.load_run(".")


@pytest.mark.parametrize("content", ["{}", '{"methods": [{}]}', '{"methods": []}', "[]", '{"methods": 3}'])
def test_damaged_results_are_one_error(content: str, small_run: Path) -> None:
    shutil.copytree(small_run, "run", ignore=shutil.ignore_patterns(".stages"))
    Path("run/metrics.json").write_text(content, encoding="utf-8")
    with pytest.raises(genrec.DataError, match=r"run/metrics.json"):
        genrec.load_run("run")


def test_files_that_do_not_belong_together_are_one_error(small_run: Path) -> None:
    run = forget_checksums(shutil.copytree(small_run, Path("run"), ignore=shutil.ignore_patterns(".stages")))
    file = run / "users.json"
    for content in ({"keys": ["one"]}, {}, 5):
        file.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(genrec.DataError, match=r"^run: expected results, users and items that belong together, "):
            genrec.load_run("run")


def test_import_is_light() -> None:
    code = "import genrec, sys; genrec.load_recipe; print(sorted({'torch', 'pandas', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_exception_in_a_plugin_names_its_line(folder: Path) -> None:
    (folder / "plugins").mkdir()
    code = """from genrec.plugin import Merge, merges


@merges.register("faulty")
class Faulty(Merge):
    "A merge with a typing mistake."

    def merge(self, candidates, *, top_n):
        return rankin
"""
    (folder / "plugins" / "faulty.py").write_text(code, encoding="utf-8")
    with pytest.raises(genrec.PluginError) as caught:
        genrec.run("small.yaml", "out", {"merge": "faulty"}, device="cpu")
    assert str(caught.value) == "plugins/faulty.py:9: the merge 'faulty' raised NameError: name 'rankin' is not defined"
