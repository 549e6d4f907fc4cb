"""What a cache key covers: everything that computes a stage, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from clockwork_runs import longer, recipe, stream

import genrec
from genrec.errors import DataError
from genrec.experiment import source_code
from genrec.experiment.baselines import ranking_stage
from genrec.experiment.cache import Cache
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import plan_fits
from genrec.experiment.keys import LEFT_OUT, component_key, stage_files
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.source_code import PLUMBING, is_plumbing, source_files, source_hash
from genrec.families import ItemEncoder
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.cooccurrence import Cooccurrence
from genrec.item_encoders.tfidf import Tfidf
from genrec.merges.confidence import Confidence
from genrec.merges.learned import Learned
from genrec.pipeline import run
from genrec.recipe import parse_recipe
from genrec.runtime.environment import Environment, InputFile
from genrec.training.settings import OptimizationSettings

PACKAGE = Path(genrec.__file__).parent
HERE = Environment()

RECIPE = """
title: Keys
dataset: {type: showroom, items: 60, users: 150}
history_encoder: {type: item_ids, num_layers: 1, dim: 16, num_heads: 2, max_history: 8}
streams:
  behavior: {item_encoder: {type: cooccurrence, dim: 8}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text:
    item_encoder: {type: tfidf, dim: 8}
    tokenizer: {type: residual_kmeans, codes: 8}
    decoder: {type: transformer, num_layers: 1}
  visual: {item_encoder: {type: din, dim: 8}, tokenizer: {type: rqvae, codes: 8}, decoder: mlp}
tasks: [global_contrastive, {type: semantic_transfer, source: behavior, target: text}]
training: {learning_rate: 3e-3, warmup_steps: 1, batch_size: 64, max_epochs: 1, validation_users: 50}
search: {method: exact, list_length: 20}
merge: learned
evaluation: {cutoffs: [5, 10], bootstrap_samples: 20}
baselines: [popularity, transition]
"""


@pytest.fixture(autouse=True)
def fresh_sources():
    """No edit of one test is remembered by the next."""
    yield
    for function in (source_code._read, source_code._syntax, source_code._imports):
        function.cache_clear()


def keys_of(asked) -> dict[str, str]:
    """Every key of a recipe by kind and name."""
    fits = plan_fits(asked, load_dataset(asked, HERE), HERE)
    fit = fits.test
    found = {f"{stage.kind} {stage.name}": stage.key for stage in fit.stages()}
    found |= {f"candidates {split}": fits.of(split).candidates_key(split, scores=False) for split in ("valid", "test")}
    for baseline in asked.baselines:
        found[f"baseline {baseline.type_name}"] = ranking_stage(baseline, fit, "test", top_n=10).key
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def edit(monkeypatch, name: str, change) -> None:
    """Let a file of genrec read as if it had been edited."""
    file, read = PACKAGE / name, source_code._read
    assert file.is_file(), name
    text = change(file.read_text(encoding="utf-8")).encode()
    assert text != file.read_bytes()
    monkeypatch.setattr(source_code, "_read", lambda asked: text if asked == file else read(asked))
    monkeypatch.setattr(source_code._read, "cache_clear", lambda: None, raising=False)


def with_code(text: str) -> str:
    return text + "\n_EDITED = 1\n"


def with_comments(text: str) -> str:
    return re.sub(r'^"""', '"""Edited. ', text, count=1) + "\n# a comment\n"


ALL = {"vectors", "ids", "model", "candidates", "baseline"}
MODEL = {"model", "candidates"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("evaluation/metrics.py", set()),
        ("reporting/report.py", set()),
        ("evaluation/significance.py", set()),
        ("reporting/run_report.py", set()),
        ("comparison/statistics.py", set()),
        ("cli/run.py", set()),
        ("pipeline.py", set()),
        ("training/loggers/tensorboard.py", set()),
        ("merges/single.py", set()),
        ("merges/learned.py", set()),
        ("registry.py", set()),
        ("errors.py", set()),
        ("experiment/run_folder.py", set()),
        ("experiment/selection.py", {"model", "candidates", "baseline"}),
        ("training/trainer.py", {"vectors", "ids", "model", "candidates"}),
        ("model/retriever.py", MODEL),
        ("search/bound.py", MODEL),
        ("search/beam.py", {"candidates"}),
        ("search/exact.py", {"candidates"}),
        ("experiment/candidates.py", {"candidates"}),
        ("baselines/transition.py", {"baseline"}),
        ("types.py", ALL),
        ("histories.py", ALL),
        ("runtime/seeds.py", ALL),
    ],
)
def test_what_an_edit_invalidates(name, kinds, monkeypatch):
    """Kinds of stages of which some have another key after an edit."""
    asked = parse_recipe(RECIPE, name="keys")
    before = keys_of(asked)
    edit(monkeypatch, name, with_comments)
    assert changed(before, keys_of(asked)) == set(), "comments and docstrings determine nothing"
    monkeypatch.undo()
    edit(monkeypatch, name, with_code)
    assert {key.partition(" ")[0] for key in changed(before, keys_of(asked))} == kinds


def test_an_edited_component_invalidates_its_own_stages_and_what_follows(monkeypatch):
    asked = parse_recipe(RECIPE, name="keys")
    before = keys_of(asked)
    edit(monkeypatch, "tokenizers/residual_kmeans.py", lambda text: text.replace("1", "2", 1))
    after = {"ids text", "model behavior+text+visual", "candidates valid", "candidates test"}
    assert changed(before, keys_of(asked)) == after
    monkeypatch.undo()
    edit(monkeypatch, "item_encoders/tfidf.py", with_code)
    assert changed(before, keys_of(asked)) == after | {"vectors text"}


def test_a_recipe_block_invalidates_what_it_determines():
    asked = parse_recipe(RECIPE, name="keys")
    before = keys_of(asked)
    model = {"model behavior+text+visual", "candidates valid", "candidates test"}

    def after(*overrides):
        return changed(before, keys_of(parse_recipe(RECIPE, name="keys", overrides=overrides)))

    assert after("merge=confidence", "title=Another") == set()
    assert after("evaluation.cutoffs=[1]", "evaluation.confidence=0.9") == set()
    assert after("search.list_length=30") == {"candidates valid", "candidates test"}
    assert after("streams.text.decoder.num_layers=2") == model
    assert after("streams.text.tokenizer.codes=16") == model | {"ids text"}
    assert after("training.learning_rate=1e-2") == model
    assert after("evaluation.seen_items=filter") == model | {"baseline popularity", "baseline transition"}
    assert after("dataset.users=151") == before.keys()


class Traced(Cache):
    """Remembers which modules of genrec are executed while a stage is computed."""

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        self.executed: dict[str, set[str]] = {}

    def get(self, stage, *, work, **settings):
        def traced():
            files: set[str] = set()

            def profile(frame, event, argument):
                if event == "call" and frame.f_code.co_name != "<module>":
                    files.add(frame.f_code.co_filename)

            before = sys.getprofile()
            sys.setprofile(profile)
            try:
                return work()
            finally:
                sys.setprofile(before)
                self.executed.setdefault(f"{stage.kind} {stage.name}", set()).update(files)

        return super().get(stage, work=traced, **settings)


def module(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.slow
def test_whatever_computes_a_stage_is_in_its_key(tmp_path, monkeypatch):
    caches: list[Traced] = []

    def traced(*arguments, **settings):
        caches.append(Traced(*arguments, **settings))
        return caches[-1]

    monkeypatch.setattr("genrec.pipeline.Cache", traced)
    baselines = "baselines=[popularity, {type: sasrec, dim: 8, max_epochs: 1, warmup_steps: 1}]"
    asked = parse_recipe(RECIPE, name="keys", overrides=["training.final_fit=true", baselines])
    run(asked, RunFolder.create(tmp_path / "run", Path("keys.yaml")), environment=HERE)
    [cache] = caches
    modules = [asked.history_encoder, *(s.decoder for s in asked.streams.values())]
    components = {
        **{f"vectors {name}": [s.item_encoder] for name, s in asked.streams.items()},
        **{f"ids {name}": [s.tokenizer] for name, s in asked.streams.items()},
        "model behavior+text+visual": [*modules, *asked.tasks],
        "candidates valid": modules,
        "candidates test": modules,
        **{f"baseline {baseline.type_name}": [baseline] for baseline in asked.baselines},
    }
    assert cache.executed.keys() == components.keys()
    for stage, executed in cache.executed.items():
        kind = stage.partition(" ")[0]
        kind = {"baseline": "baselines"}.get(kind, kind)
        files = stage_files(kind)
        files |= source_files(*(Path(sys.modules[type(part).__module__].__file__) for part in components[stage]))
        own = {Path(file) for file in executed if Path(file).is_relative_to(PACKAGE)}
        assert len(own) > 2, stage
        missing = {module(file) for file in own - files if not is_plumbing(module(file))}
        missing -= LEFT_OUT.get(kind, {}).keys()
        assert missing == set(), f"{stage}: executed, but not in the key"


def test_settings_made_in_code_leave_no_weight_to_a_default():
    """Settings classes are in no key: values are, those of recipes in blocks and those of code in the syntax tree."""
    of_stopping = {"max_minutes", "patience", "validation_users"}
    deciding = OptimizationSettings.model_fields.keys() - of_stopping
    made = 0
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="OptimizationSettings")):
                    made += 1
                    assert deciding <= {keyword.arg for keyword in node.keywords}, file
    assert made >= 2


def test_plumbing_is_there_and_has_reasons():
    for name, reason in PLUMBING.items():
        path = PACKAGE.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name
        assert len(reason.split()) > 2
    for stage, modules in LEFT_OUT.items():
        assert any(file.name == f"{stage}.py" for file in stage_files(stage))
        assert all((PACKAGE.joinpath(*name.split("."))).with_suffix(".py").is_file() for name in modules)


def test_a_hash_ignores_comments_docstrings_and_imports_for_type_checkers(tmp_path):
    first = tmp_path / "first.py"
    first.write_text('"""Text."""\nfrom typing import TYPE_CHECKING\nclass A:\n    x: int = 1\n    """Help."""\n')
    other = tmp_path / "other.py"
    other.write_text("# comment\nfrom typing import TYPE_CHECKING\n\nclass A:\n\n    x: int = 1\n")
    assert source_hash(first) == source_hash(other)
    third = tmp_path / "third.py"
    third.write_text("from typing import TYPE_CHECKING\nclass A:\n    x: int = 2\n")
    assert source_hash(third) != source_hash(first)
    lazy = tmp_path / "lazy.py"
    lazy.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from genrec.types import Catalog\n")
    assert source_files(lazy) == {lazy}
    lazy2 = tmp_path / "lazy2.py"
    lazy2.write_text("def work():\n    from genrec.types import Catalog\n")
    assert source_files(lazy2) == {lazy2, PACKAGE / "types.py", PACKAGE / "histories.py"}


def test_a_plugin_rests_on_the_modules_that_define_the_names_it_imports(tmp_path):
    def imported(text):
        plugin = tmp_path / f"{len(text)}.py"
        plugin.write_text(text)
        return {module(file) for file in source_files(plugin) if file != plugin}

    module_of_torch = imported("from genrec.plugin import EmbeddingHistoryEncoderModule, history_encoders\n")
    assert {"model.item_embeddings", "model.contracts", "types"} <= module_of_torch, "loaded on first use"
    assert not {"evaluation.metrics", "plugin"} & module_of_torch, "another metric or name does not change its key"
    assert imported("from genrec.plugin import ItemEncoder, item_encoders, InputFile\n") == set()
    assert imported("from genrec.plugin import metrics\n") == {
        "evaluation.metrics",
        "evaluation.metric_registry",
        "evaluation.top_lists",
        "types",
        "histories",
    }
    everything = module_of_torch | {"evaluation.metrics", "training.log", "runtime.seeds"}
    for text in ("from genrec.plugin import *\n", "import genrec.plugin as g\n", "from genrec import plugin\n"):
        assert imported(text) >= everything, text


def test_a_plugin_in_a_package_rests_on_the_modules_of_the_package(tmp_path):
    package = tmp_path / "site" / "shop"
    (package / "parts").mkdir(parents=True)
    (tmp_path / "site" / "numpy.py").write_text("")
    for name, text in {
        "__init__.py": "",
        "encoder.py": "import numpy\nfrom .parts import scale\nfrom shop.tables import TABLE\n",
        "tables.py": "TABLE = 1\n",
        "unused.py": "",
        "parts/__init__.py": "",
        "parts/scale.py": "from ..base import BASE\n",
        "base.py": "from genrec.types import Catalog\nBASE = 1\n",
    }.items():
        (package / name).write_text(text)
    found = source_files(package / "encoder.py")
    used = {"encoder.py", "tables.py", "parts/__init__.py", "parts/scale.py", "base.py"}
    assert found == {*(package / name for name in used), PACKAGE / "types.py", PACKAGE / "histories.py"}


class Reading(ItemEncoder):
    """Reads a file."""

    type_name: ClassVar[str] = "reading"
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    file: InputFile
    """The file."""
    batch_size: int = 32
    """Changes no number."""

    def encode(self, catalog, train, *, context):
        raise AssertionError("nothing is encoded here")


def test_a_component_is_known_by_what_decides_its_work_and_so_are_those_inside_it(tmp_path):
    (tmp_path / "a").write_text("one")
    environment = Environment(data=tmp_path)

    def key(file="a", *, wrapped=False, dim=128, **fields):
        component = Reading.model_validate({"file": file, **fields})
        if wrapped:
            component = Concatenation(encoders=(Tfidf(dim=dim), component))
        return component_key(component, environment)

    assert key(batch_size=1) == key()
    assert key(batch_size=1, wrapped=True) == key(wrapped=True)
    assert "batch_size" not in key()["block"]
    assert key(dim=3, wrapped=True) != key(wrapped=True)
    sources = [
        component_key(Concatenation(encoders=(part,)), environment)["source"] for part in (Tfidf(), Cooccurrence())
    ]
    assert sources[0] != sources[1]
    before = key(), key(wrapped=True)
    (tmp_path / "a").write_text("another")
    assert key()["files"] != before[0]["files"]
    assert key(wrapped=True)["files"] != before[1]["files"]
    with pytest.raises(DataError, match=f"^gone: no such file or folder, looked in .*{tmp_path}$"):
        key("gone", wrapped=True)


def test_candidates_are_those_of_the_histories_that_are_searched():
    """A finished run keeps the key of its model, whatever becomes of the data."""
    asked = recipe(training=longer(1))
    fit = plan_fits(asked, load_dataset(asked, HERE), HERE).test
    other = replace(fit, dataset=replace(fit.dataset, fingerprint="of other histories"))
    assert other.keys == fit.keys
    assert other.candidates_key("test", scores=False) != fit.candidates_key("test", scores=False)


def test_a_final_fit_shares_what_reads_no_histories():
    asked = recipe(training=longer(1).model_copy(update={"final_fit": True}), merge=Learned())
    fits = plan_fits(asked, load_dataset(asked, HERE), HERE)
    assert fits.test.selection is fits.valid
    assert fits.valid.keys.model != fits.test.keys.model
    plain = recipe(training=longer(1), merge=Confidence())
    assert plan_fits(plain, load_dataset(plain, HERE), HERE).test.keys == fits.valid.keys, "the first fit is the same"
    assert stream("text").tokenizer is not None


def test_every_python_file_of_the_package_can_be_read():
    for file in PACKAGE.rglob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"))
