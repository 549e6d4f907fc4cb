"""Every recipe under ``recipes/`` runs from files to report, at a size of seconds, through the command line."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from shop_files import small_shop, write_movielens, write_sequences
from yelp_files import write_yelp

from genrec import registry
from genrec.cli import main
from genrec.evaluation.metrics import ndcg, recall
from genrec.evaluation.rank_file import RankFile
from genrec.recipe import load_recipe
from genrec.types import Dataset

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[1] / "recipes"
FILES = sorted(RECIPES.glob("**/*.yaml"))

SMALLER = {
    "items": 80,
    "users": 200,
    "branching": 8,
    "num_layers": 1,
    "max_epochs": 1,
    "warmup_steps": 1,
    "validation_users": 50,
    "bootstrap_samples": 20,
}
"""Wherever a recipe has a number under one of these keys, it gets this one."""


NEEDS = {
    "text": ("sentence_transformers", "text"),
    "sentence_t5": ("sentence_transformers", "text"),
    "image": ("timm", "vision"),
    "vit": ("open_clip", "vision"),
}
"""Item encoders that want an extra: the module to look for, the extra."""


@dataclass(frozen=True)
class Smoke:
    """One recipe, run."""

    recipe: dict[str, Any]
    folder: Path
    status: int
    told: str
    changes: list[str]
    random_weights: list[str]
    """Folders of the small checkpoints that stand in for weights that cannot be had here."""

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))


def leaves(block: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key path of plain data and its value."""
    children = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else None
    if children is None:
        yield path, block
    else:
        for key, child in children:
            yield from leaves(child, (*path, str(key)))


def paths_of_type(block: dict[str, Any], name: str) -> list[tuple[str, ...]]:
    """Where in a recipe a component of some type stands."""
    return [path[:-1] for path, value in leaves(block) if (path[-1], value) == ("type", name)]


def overrides(block: dict[str, Any], weights: dict[str, str]) -> list[str]:
    """Changes that make a recipe small and name the weights of encoders that have none here."""
    numbers = (path for path, value in leaves(block) if isinstance(value, int | float))
    changes = {path: SMALLER[path[-1]] for path in numbers if path[-1] in SMALLER}
    for encoder, folder in weights.items():
        changes |= {(*path, "model"): folder for path in paths_of_type(block, encoder)}
    return [f"{'.'.join(path)}={value}" for path, value in changes.items()]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return small_shop()


@pytest.fixture(scope="module")
def data(shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop under the names and in the formats of the data sets that the recipes read."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("amazon-beauty", "amazon-sports", "amazon-toys", "yelp-2019"):
        write_sequences(shop, folder / name)
    write_movielens(shop, folder / "movielens-posters")
    write_yelp(folder / "movielens-posters", folder / "yelp")
    return folder


@pytest.fixture(scope="module")
def sentence_t5(shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("sentence_transformers", reason="needs the extra genrec[text]")
    from sentence_t5_files import write_sentence_t5

    words = sorted({word for text in shop.catalog.texts for word in re.findall(r"\w+|[^\w\s]+", text)})
    return str(write_sentence_t5(tmp_path_factory.mktemp("weights") / "small-sentence-t5", words, max_length=48))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("open_clip", reason="needs the extra genrec[vision]")
    from open_clip_files import write_open_clip

    return str(write_open_clip(tmp_path_factory.mktemp("weights") / "small-clip"))


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def smoke(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: Path) -> Smoke:
    """A recipe, run from an empty working folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_plugin_folders", [RECIPES.parent / "plugins"])
        block = load_recipe(request.param).block()
    for encoder, (module, extra) in NEEDS.items():
        if paths_of_type(block, encoder):
            pytest.importorskip(module, reason=f"needs the extra genrec[{extra}]")
    for _, value in leaves(block):
        _, is_package, module = str(value).rpartition("package:")
        if is_package and importlib.util.find_spec(module) is None:
            pytest.skip(f"the Python package {module}, which brings the weights, is not installed")
    weights = {name: request.getfixturevalue(name) for name in ("sentence_t5", "vit") if paths_of_type(block, name)}
    here = tmp_path_factory.mktemp(request.param.stem)
    words = ["run", str(request.param), "--data", str(data), "--output", str(here / "run"), "--device", "cpu"]
    changes = overrides(block, weights)
    words += [word for change in changes for word in ("--set", change)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as told:
        patch.setattr(registry, "_plugin_folders", [RECIPES.parent / "plugins"])
        patch.delenv("GENREC_DATA", raising=False)
        patch.chdir(here)
        status = main(words)
        assert [path.name for path in here.iterdir()] == ["run"], "nothing is written outside the run's folder"
    return Smoke(block, here / "run", status, told.getvalue(), changes, list(weights.values()))


def methods(smoke: Smoke) -> dict[str, str]:
    """Name -> kind of every row that the report must have."""
    streams = dict.fromkeys((f"stream: {name}" for name in smoke.recipe["streams"]), "stream")
    several = len(streams) > 1
    merge = {f"merge: {smoke.recipe['merge']['type']}": "merge"} if several else {}
    oracle = {"oracle": "oracle"} if several else {}
    pairs = list(combinations(smoke.recipe["streams"], 2)) if len(streams) > 2 else []
    merge |= {f"pair: {left} + {right}": "pair" for left, right in pairs}
    return merge | streams | oracle | {baseline["type"]: "baseline" for baseline in smoke.recipe["baselines"]}


def test_it_ends_well_and_leaves_its_files(smoke: Smoke) -> None:
    assert smoke.status == 0
    expected = {
        "report.md",
        "report.html",
        "metrics.json",
        "ranks.safetensors",
        "model.safetensors",
        "recipe.yaml",
        "items.json",
    }
    assert expected <= {file.name for file in smoke.folder.iterdir()}
    assert json.loads((smoke.folder / "run.json").read_text(encoding="utf-8"))["finished"] is True
    weights = load_file(smoke.folder / "model.safetensors")
    assert weights
    assert all(np.isfinite(weight).all() for weight in weights.values())
    for name, stream in smoke.recipe["streams"].items():
        codes_IL = load_file(smoke.folder / "streams" / name / "ids.safetensors")["codes_IL"]
        assert len(codes_IL) == len(json.loads((smoke.folder / "items.json").read_text(encoding="utf-8"))["keys"])
        if stream["tokenizer"] is None:
            assert codes_IL[:, 0].tolist() == list(range(len(codes_IL)))
        else:  # one more where items without an image are in a separate branch of the tree
            assert codes_IL.max() <= (SMALLER["branching"] if "branching" in stream["tokenizer"] else 256)


def test_it_was_run_as_asked(smoke: Smoke) -> None:
    text = (smoke.folder / "recipe.yaml").read_text(encoding="utf-8")
    block = yaml.safe_load(text)
    found = dict(leaves(block))
    changed = {path for path, value in leaves(smoke.recipe) if str(found.get(path)) != str(value)}
    assert {path[-1] for path in changed} <= {*SMALLER, "model"}
    assert {found[path] for path in found if path[-1] == "max_epochs"} == {1}
    assert [line for line in text.splitlines() if line.startswith("#")] == [f"# --set {c}" for c in smoke.changes]
    assert len(smoke.metrics["curve"]) == 1


def test_every_stream_merge_and_baseline_is_measured(smoke: Smoke) -> None:
    rows = smoke.metrics["methods"]
    assert {row["name"]: row["kind"] for row in rows} == methods(smoke)
    assert {"popularity", "transition"} <= {row["name"] for row in rows}
    cutoffs = [str(cutoff) for cutoff in smoke.recipe["evaluation"]["cutoffs"]]
    for row in rows:
        for metric in ("recall", "ndcg"):
            assert list(row[metric]) == cutoffs
            values = [row[metric][cutoff] for cutoff in cutoffs]
            for value in values:
                assert all(math.isfinite(number) and 0 <= number <= 1 for number in value.values()), row["name"]
            means = [value["mean"] for value in values]
            assert means == sorted(means), "longer lists find no less"
    assert max(row["recall"][cutoffs[-1]]["mean"] for row in rows) > 0


def test_stored_ranks_give_the_numbers_of_the_report(smoke: Smoke) -> None:
    ranks = RankFile.read(smoke.folder)
    assert set(ranks.ranks) == set(methods(smoke))
    assert 150 < len(ranks.users) == len(ranks.targets) <= SMALLER["users"]
    for row in smoke.metrics["methods"]:
        for metric, measure in (("recall", recall), ("ndcg", ndcg)):
            for cutoff, estimate in row[metric].items():
                mean = measure(ranks.ranks[row["name"]], int(cutoff)).mean()
                assert estimate["mean"] == pytest.approx(float(mean), abs=1e-12)


def test_the_report_names_every_method_and_says_what_a_reader_must_know(smoke: Smoke) -> None:
    report = (smoke.folder / "report.md").read_text(encoding="utf-8")
    for name in methods(smoke):
        assert name in report
    assert smoke.recipe["title"] in report
    assert report.count("are random") == len(smoke.random_weights)
    assert all(f"the weights of {folder} are random" in report for folder in smoke.random_weights)
    for part in (smoke.recipe["title"], *methods(smoke)):
        assert part in smoke.told


def test_it_recommends(smoke: Smoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugin_folders", [RECIPES.parent / "plugins"])
    keys = json.loads((smoke.folder / "items.json").read_text(encoding="utf-8"))["keys"]
    words = ["--history", keys[0], "--history", keys[5], "--device", "cpu", "--json"]
    assert main(["recommend", str(smoke.folder), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 10
    for item in found:
        assert list(item["streams"]) == list(smoke.recipe["streams"])
        assert sum(vote["share"] for vote in item["streams"].values()) == pytest.approx(1)


def test_there_are_recipes() -> None:
    assert {"quickstart", "eager_beauty", "movielens_3stream"} <= {file.stem for file in FILES}
