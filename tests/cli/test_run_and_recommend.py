"""``genrec run`` and ``genrec recommend`` as a user meets them: files, output, exit statuses, messages."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from genrec import registry
from genrec.cli import main
from genrec.families import item_encoders, merges
from tests.damaged_files import forget_checksums

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parents[2] / "plugins"
QUICK = ["--device", "cpu", "--set", "training.max_epochs=1"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def small(folder: Path, small_recipe: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``small.yaml`` in the working folder, and an empty home."""
    (folder / "small.yaml").write_text(small_recipe, encoding="utf-8")
    (folder / "home").mkdir()
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.delenv("GENREC_DATA", raising=False)
    return folder


def run(*words: str) -> int:
    return main(["run", "small.yaml", *QUICK, *words])


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def reused(folder: Path) -> dict[str, bool]:
    return {f"{stage['kind']} {stage['name']}": stage["reused"] for stage in read(folder / "run.json")["stages"]}


def numbers(folder: Path) -> list[Any]:
    metrics = read(folder / "metrics.json")
    return [metrics[key] for key in ("methods", "tests", "protocol", "parameters")]


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# genrec run


def test_a_run_writes_into_its_folder_and_nowhere_else(folder: Path, capsys: Capture) -> None:
    before = files(folder)
    assert run("--output", "out") == 0
    new = files(folder) - before
    assert {Path(name).parts[0] for name in new} == {"out"}
    assert {f"out/{name}" for name in ("report.md", "report.html", "metrics.json", "model.safetensors")} <= new
    told = capsys.readouterr()
    conclusion, title = told.out.split("\n")[:2]
    assert conclusion.startswith("The merge is ")
    assert title.startswith("Three views of a small shop [showroom]"), "titles are no markup"
    assert "Three views of a small shop [showroom] -> out\n" in told.err
    assert told.err.endswith(f"report: {Path('out', 'report.html')}\n")
    for name in ("merge: confidence", "stream: behavior", "stream: text", "stream: visual", "oracle", "popularity"):
        assert name in told.out


def test_without_output_runs_have_folders_by_name_and_time_and_share_stages(folder: Path) -> None:
    assert run() == 0
    assert run() == 0
    first, second = sorted(path for path in Path("runs").iterdir() if path.name != ".stages")
    for path in (first, second):
        assert re.fullmatch(r"small-\d{8}-\d{6}(-\d+)?", path.name)
        assert read(path / "run.json")["finished"] is True
    assert set(reused(first).values()) == {False}
    assert set(reused(second).values()) == {True}
    assert numbers(first) == numbers(second)
    assert {path.name for path in folder.iterdir()} == {"runs", "home", "small.yaml", "recipe.yaml"}


def test_threads_and_device_are_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cached = ("a", ("--threads", "2"), 2, 1)  # the report names the threads that trained the model
    for out, words, threads, trained in (("a", (), 1, 1), ("b", ("--threads", "3"), 3, 3), cached):
        assert run("--output", out, *words) == 0
        assert read(Path(out, "run.json")).items() >= {"threads": threads, "device": "cpu"}.items()
        assert f"on cpu with {trained} thread" in Path(out, "report.md").read_text(encoding="utf-8")
    capsys.readouterr()
    for words in (["run", "small.yaml"], ["compare", "small.yaml"], ["tokenize", "small.yaml"]):
        for threads in ("many", "9" * 5000):
            found = main([*words, "--threads", threads]), capsys.readouterr().err
            assert found == (2, f"--threads {threads}: expected a positive integer or auto\n")


def test_seed_and_set_are_recorded_and_the_recorded_recipe_runs_again(folder: Path) -> None:
    assert run("--output", "out", "--seed", "7", "--set", "streams.*.tokenizer.branching=5") == 0
    text = Path("out/recipe.yaml").read_text(encoding="utf-8")
    assert text.splitlines()[:4] == [
        "# --set training.max_epochs=1",
        "# --set streams.*.tokenizer.branching=5",
        "# --set seed=7",
        "title: Three views of a small shop [showroom]",
    ]
    block = yaml.safe_load(text)
    assert block["seed"] == read(Path("out/metrics.json"))["protocol"]["seed"] == 7
    assert [stream["tokenizer"]["branching"] for stream in block["streams"].values()] == [5, 5, 5]
    shutil.copy("out/recipe.yaml", "again.yaml")
    assert main(["run", "again.yaml", "--output", "again", "--device", "cpu"]) == 0
    assert numbers(Path("again")) == numbers(Path("out"))


def test_json_is_alone_on_stdout(capsys: Capture) -> None:
    assert run("--output", "out", "--json") == 0
    told = capsys.readouterr()
    assert told.out == Path("out/metrics.json").read_text(encoding="utf-8")
    assert json.loads(told.out)["title"] == "Three views of a small shop [showroom]"
    assert "-> out" in told.err


def test_what_was_done_is_not_done_again(capsys: Capture) -> None:
    assert run("--output", "out") == 0
    first, model = numbers(Path("out")), Path("out/model.safetensors").read_bytes()
    assert set(reused(Path("out")).values()) == {False}
    capsys.readouterr()

    assert run("--output", "out") == 0
    assert set(reused(Path("out")).values()) == {True}
    assert "model of behavior+text+visual: found in the cache" in capsys.readouterr().err
    assert numbers(Path("out")) == first

    assert run("--output", "out", "--set", "merge=reciprocal_rank", "--force") == 0
    assert set(reused(Path("out")).values()) == {True}, "another merge retrains nothing and searches nothing"
    assert Path("out/model.safetensors").read_bytes() == model
    assert "merge: reciprocal_rank" in Path("out/report.md").read_text(encoding="utf-8")

    assert run("--output", "out", "--set", "merge=log_prob_sum", "--force") == 0
    assert {name for name, was_there in reused(Path("out")).items() if not was_there} == {"candidates test"}
    assert Path("out/model.safetensors").read_bytes() == model


SEQUENCES = "dataset={type: sequences, folder: shop}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "dataset: no data folder for 'shop': pass --data DIR or set GENREC_DATA=DIR, where DIR/shop (or DIR "
            "itself) holds the files, or put shop or data/shop beside the recipe",
        ),
        (
            ["--data", "nowhere"],
            "nowhere: no such folder; --data or GENREC_DATA must name the folder that holds 'shop'",
        ),
        (
            ["--data", "home"],
            f"{Path('home', 'sequences.txt')}: missing file: the histories, a line 'user item item ...' for each user; "
            "the authors of S3-Rec publish Beauty, Sports_and_Outdoors, Toys_and_Games and Yelp in this format, and "
            "put it there (or point --data elsewhere)",
        ),
    ],
)
@pytest.mark.parametrize("output", [["--output", "out"], []])
def test_missing_data_is_one_message_and_leaves_no_run(
    words: list[str], message: str, output: list[str], folder: Path, capsys: Capture
) -> None:
    before = files(folder)
    assert run("--set", SEQUENCES, *words, *output) == 2
    told = capsys.readouterr()
    assert told.out == ""
    opening, *rest = told.err.splitlines()
    assert opening.startswith("Three views of a small shop [showroom] -> ")
    assert rest == [message]
    assert files(folder) == before
    assert not (folder / "out").exists()


def test_a_failed_run_keeps_the_stages_and_results_of_an_earlier_one(folder: Path) -> None:
    assert run("--output", "out") == 0
    before = files(folder / "out"), read(folder / "out" / "run.json"), numbers(folder / "out")
    assert run("--output", "out", "--set", SEQUENCES, "--force") == 2
    assert (files(folder / "out"), read(folder / "out" / "run.json"), numbers(folder / "out")) == before
    assert run("--output", "out") == 0
    assert set(reused(folder / "out").values()) == {True}


def test_another_recipe_in_the_same_folder_finds_no_stream_of_the_first(folder: Path) -> None:
    assert run("--output", "out") == 0
    text = (folder / "small.yaml").read_text(encoding="utf-8")
    (folder / "small.yaml").write_text(text.replace("  visual:", "  photos:"), encoding="utf-8")
    assert run("--output", "out") == 2
    assert run("--output", "out", "--force") == 0
    assert {path.name for path in (folder / "out" / "streams").iterdir()} == {"behavior", "text", "photos"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "training.max_epoch=1"], "--set training.max_epoch=1: training.max_epoch: unknown key"),
        (["--device", "abacus"], "--device abacus: cannot be used ("),
        (["--output", "small.yaml"], "small.yaml: is a file, expected a folder for the run"),
        (["--output", "home"], "home: is not empty and not the folder of a run; pass another folder to --output"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    words: list[str], message: str, folder: Path, capsys: Capture
) -> None:
    (folder / "home" / "thesis.tex").write_text("precious")
    before = files(folder)
    assert run(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(message)
    assert told.err.count("\n") == 1
    assert files(folder) == before


# genrec recommend


def recommend(folder: Path, *words: str) -> int:
    return main(["recommend", str(folder), "--device", "cpu", *words])


def history(names: Iterable[str]) -> list[str]:
    return [word for name in names for word in ("--history", name)]


def test_the_table_names_items_and_each_streams_share(small_run: Path, capsys: Capture) -> None:
    items = read(small_run / "items.json")
    assert recommend(small_run, *history(["item-3", items["titles"][8]])) == 0
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == f"after {items['titles'][2]}, {items['titles'][8]}"
    header, rows = lines[0].split(), [line for line in lines if re.match(r"\s*\d+ ", line)]
    assert header == ["#", "key", "title", "score", "behavior", "text", "visual"]
    assert [int(row.split()[0]) for row in rows] == list(range(1, 11))
    for row in rows:
        key = row.split()[1]
        assert items["titles"][items["keys"].index(key)] in row
        shares = [int(share) for share in re.findall(r"(\d+)% \(#(?:\d+|-)\)", row)]
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(100, abs=1), "rounded to whole percents"


def test_json_has_the_same_items_with_shares_that_sum_to_1(small_run: Path, capsys: Capture) -> None:
    assert recommend(small_run, *history(["item-3", "item-9"])) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r"\s*\d+ ", line)]
    assert recommend(small_run, *history(["item-3", "item-9"]), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["key"] for item in found] == [row[1] for row in rows]
    scores = [item["score"] for item in found]
    assert scores == sorted(scores, reverse=True)
    for item in found:
        assert set(item) == {"key", "title", "score", "streams"}
        votes = item["streams"]
        assert list(votes) == ["behavior", "text", "visual"]
        assert sum(vote["share"] for vote in votes.values()) == pytest.approx(1)
        assert any(vote["rank"] is not None for vote in votes.values()), "somebody proposed it"
        assert all((vote["log_prob"] is None) == (vote["share"] == 0) for vote in votes.values())


@pytest.mark.parametrize("top", [1, 3, 15])
def test_top_says_how_many(top: int, small_run: Path, capsys: Capture) -> None:
    assert recommend(small_run, *history(["item-3"]), "--json") == 0
    ten = [item["key"] for item in json.loads(capsys.readouterr().out)]
    assert recommend(small_run, *history(["item-3"]), "--json", "--k", str(top)) == 0
    found = [item["key"] for item in json.loads(capsys.readouterr().out)]
    assert len(found) == top
    assert found[:10] == ten[:top]


def test_titles_stand_for_keys_in_upper_and_lower_case(small_run: Path, capsys: Capture) -> None:
    title = read(small_run / "items.json")["titles"][2]
    answers = []
    for name in ("item-3", title, title.upper(), f" {title} "):
        assert recommend(small_run, *history([name]), "--json") == 0
        answers.append(capsys.readouterr().out)
    assert len(set(answers)) == 1


def test_an_unknown_title_is_told_with_what_comes_near(small_run: Path, capsys: Capture) -> None:
    title = read(small_run / "items.json")["titles"][2]
    assert recommend(small_run, *history(["item-3", title[:-1]])) == 2
    told = capsys.readouterr()
    assert told.out == ""
    message = f"{title[:-1]!r}: no item has this key or title, expected one of 60 items; did you mean {title!r}"
    assert told.err.startswith(message)
    assert told.err.endswith("?\n")
    assert told.err.count("\n") == 1
    assert recommend(small_run, *history(["Ä"])) == 2
    assert capsys.readouterr().err == "'Ä': no item has this key or title, expected one of 60 items\n"


def test_what_is_no_finished_run_is_told(folder: Path, capsys: Capture) -> None:
    assert recommend(folder / "home", *history(["item-3"])) == 2
    expected = f"{folder / 'home'}: not the folder of a run (no run.json); `genrec run RECIPE` creates one\n"
    assert capsys.readouterr() == ("", expected)
    (folder / "home" / "run.json").write_text('{"finished": false}')
    assert recommend(folder / "home", *history(["item-3"])) == 2
    expected = f"{folder / 'home'}: this run has not finished; run its recipe again, it resumes\n"
    assert capsys.readouterr() == ("", expected)


def test_a_run_with_a_former_key_names_the_new_key(small_run: Path, folder: Path, capsys: Capture) -> None:
    copy = forget_checksums(shutil.copytree(small_run, folder / "copy", ignore=shutil.ignore_patterns(".stages")))
    recipe = (copy / "recipe.yaml").read_text(encoding="utf-8")
    assert recipe.count("image_ratio") == 1
    (copy / "recipe.yaml").write_text(recipe.replace("image_ratio", "picture_ratio"), encoding="utf-8")  # golden: data
    line = recipe[: recipe.index("image_ratio")].count("\n") + 1
    former = "dataset.picture_ratio: renamed to 'image_ratio' in genrec 0.2.0"  # golden: data
    assert recommend(copy, *history(["item-3"])) == 2
    assert capsys.readouterr() == ("", f"{copy / 'recipe.yaml'}:{line}: {former}\n")


@pytest.mark.parametrize("words", [[], ["--history", "item-3", "--k", "0"]])
def test_wrong_usage_is_told(words: list[str], small_run: Path, capsys: Capture) -> None:
    assert recommend(small_run, *words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error: " in told.err
    assert "Traceback" not in told.err


def test_brackets_in_titles_are_no_markup(small_run: Path, folder: Path, capsys: Capture) -> None:
    forget_checksums(shutil.copytree(small_run, folder / "copy", ignore=shutil.ignore_patterns(".stages")))
    items = read(folder / "copy" / "items.json")
    items["titles"] = [f"[bold]Lip[/] {row} [/x] [2 pack]" for row in range(60)]
    (folder / "copy" / "items.json").write_text(json.dumps(items), encoding="utf-8")
    assert recommend(folder / "copy", *history(["item-3"])) == 0
    out = capsys.readouterr().out
    assert out.startswith("after [bold]Lip[/] 2 [/x] [2 pack]")
    assert len(re.findall(r"\[bold\]Lip\[/\] \d+ \[/x\] \[2 pack\]", out)) == 11


# Plugins, end to end


def with_plugins(place: Path) -> list[str]:
    """Copy the example plugins and name them in a recipe, beside the core's parts."""
    (place / "plugins").mkdir(parents=True)
    for name in ("borda", "attribute_onehot"):
        shutil.copy(PLUGINS / f"{name}.py", place / "plugins")
    return [
        "--set",
        "merge={type: borda, depth: 15}",
        "--set",
        "streams.tags={item_encoder: {type: attribute_onehot, dim: 40}, tokenizer: kmeans_tree, decoder: mlp}",
        "--set",
        "streams.tags.tokenizer.branching=8",
    ]


def test_a_merge_and_an_item_encoder_of_the_working_folder_are_used_by_name(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = with_plugins(folder)
    assert run("--output", "out", "--json", *changes) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
    assert {"merge: borda", "stream: behavior", "stream: text", "stream: visual", "stream: tags"} <= set(rows)
    assert rows["stream: tags"]["recall"]["10"]["mean"] > 0
    block = yaml.safe_load(Path("out/recipe.yaml").read_text(encoding="utf-8"))
    assert block["merge"] == {"type": "borda", "depth": 15}
    assert block["streams"]["tags"]["item_encoder"] == {"type": "attribute_onehot", "dim": 40}

    assert recommend(folder / "out", *history(["item-3"]), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    best = found[0]
    points = [15 - vote["rank"] + 1 for vote in best["streams"].values() if vote["rank"] and vote["rank"] <= 15]
    assert best["score"] == sum(points), "the plugin's own points"

    with monkeypatch.context() as patch:  # as in a new process that starts where there are no plugins
        patch.setattr(registry, "_plugin_folders", [])
        patch.setattr(merges, "_classes", {})
        patch.setattr(item_encoders, "_classes", {})
        patch.chdir(folder / "home")
        assert recommend(folder / "out", *history(["item-3"])) == 2
    told = capsys.readouterr()
    assert "unknown merge 'borda'" in told.err
    assert "unknown item encoder 'attribute_onehot'" in told.err
    assert "Traceback" not in told.err


LEARNED = '''"""A merge that learns which stream to believe."""

import numpy as np

from genrec.plugin import ABSENT, Candidates, Merge, Ranking, merges


@merges.register("preferred")
class Preferred(Merge):
    """The list of the stream that was right most often."""

    stream: str = ""
    """Chosen on validation."""

    def fit(self, candidates: Candidates, targets: np.ndarray) -> Merge:
        hit_BCS = (candidates.items_BC == targets[:, None])[:, :, None] & (candidates.ranks_BCS != ABSENT)
        return self.model_copy(update={"stream": candidates.streams[int(hit_BCS.sum((0, 1)).argmax())]})

    def merge(self, candidates: Candidates, *, top_n: int) -> Ranking:
        ranks_BC = candidates.ranks_BCS[:, :, candidates.streams.index(self.stream)]
        return Ranking.top(candidates.items_BC, np.where(ranks_BC == ABSENT, np.nan, -ranks_BC), top_n)
'''


def test_a_merge_that_learns_recommends_with_what_it_learned(folder: Path, capsys: Capture) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "preferred.py").write_text(LEARNED, encoding="utf-8")
    assert run("--output", "out", "--json", "--set", "merge=preferred") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
    chosen = read(folder / "out" / "merge.json")["stream"]
    assert rows["merge: preferred"]["recall"]["10"]["mean"] == rows[f"stream: {chosen}"]["recall"]["10"]["mean"]
    assert recommend(folder / "out", *history(["item-3"]), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["streams"][chosen]["rank"] for item in found] == list(range(1, 11))


def test_plugins_beside_the_recipe_are_found_from_elsewhere(folder: Path, capsys: Capture) -> None:
    lab = folder / "recipes"
    changes = with_plugins(lab)
    shutil.copy("small.yaml", lab)
    assert main(["run", "recipes/small.yaml", *QUICK, "--output", "out", *changes]) == 0
    assert "merge: borda" in capsys.readouterr().out
    assert recommend(folder / "out", *history(["item-3"]), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 10


def test_a_plugin_that_breaks_says_where(folder: Path, capsys: Capture) -> None:
    changes = with_plugins(folder)
    file = folder / "plugins" / "borda.py"
    file.write_text(file.read_text(encoding="utf-8").replace("import numpy as np", "import nympy as np"))
    assert run("--output", "out", *changes) == 2
    told = capsys.readouterr()
    line = 1 + file.read_text(encoding="utf-8").splitlines().index("import nympy as np")
    assert (
        f"{file}:{line}: the plugin 'borda' cannot be loaded: ModuleNotFoundError: No module named 'nympy'" in told.err
    )
    assert not (folder / "out").exists()
