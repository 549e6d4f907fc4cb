"""validate, show and schema."""

# ruff: noqa: E501 - messages are compared whole, one a line

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from shop_files import small_shop, write_sequences

from genrec import families
from genrec.cli import main
from genrec.recipe import load_recipe, parse_recipe, recipe_of

TEN_MISTAKES = """\
title: [a, b]
dataset: showrom
history_encoder: {type: item_ids, dim: 130, num_heads: 4}
streams:
  behavior: {item_encoder: cooccurrence, tokenizer: {type: kmeans_tree, branching: wide}, decoder: mlp}
  text: {item_encoder: {dim: 8}, tokenizer: kmeans_tree, decoder: {type: transformer, num_layer: 2}}
  both: {item_encoder: {type: concatenation, encoders: [tfidf, cooccurrence]}, decoder: mlp}
tasks:
  - {type: semantic_transfer, source: texts, target: behavior}
search: {list_length: 20}
merge: confidence
merge: confidence
evaluation: {cutoffs: [10], seen_items: drop}
"""


def test_recipe_with_ten_mistakes_prints_ten_lines_and_exits_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ten.yaml").write_text(TEN_MISTAKES, encoding="utf-8")
    assert main(["validate", "ten.yaml"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    encoders = ", ".join(families.item_encoders.names())
    layers = ", ".join(families.decoders.get("transformer").model_fields)
    assert told.err.splitlines() == [
        "ten.yaml:1: title: found a list, expected text",
        "ten.yaml:2: dataset: unknown dataset 'showrom', expected a dataset that exists (see: genrec list datasets); did you mean 'showroom'?",
        "ten.yaml:3: history_encoder: dim 130 is not a multiple of num_heads 4",
        "ten.yaml:5: streams.behavior.tokenizer.branching: found 'wide', expected a whole number",
        f"ten.yaml:6: streams.text.item_encoder.type: missing, expected one of {encoders} (see: genrec list item_encoders)",
        f"ten.yaml:6: streams.text.decoder.num_layer: unknown key of 'transformer', expected one of {layers}; did you mean 'num_layers'?",
        "ten.yaml:7: streams.both.tokenizer: missing, expected a tokenizer: the decoder 'mlp' writes codes (see: genrec list tokenizers)",
        "ten.yaml:9: tasks.0.source: unknown stream 'texts', expected one of behavior, text, both; did you mean 'text'?",
        "ten.yaml:12: merge: duplicate key, expected it once (first in line 11)",
        "ten.yaml:13: evaluation.seen_items: found 'drop', expected 'keep' or 'filter'",
    ]


def test_valid_recipe_is_ok_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "recipe.yaml"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("recipe.yaml: ok\n", "")


def test_several_recipes_are_all_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (folder / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "bad.yaml").write_text(good.replace("1e-3", "fast"), encoding="utf-8")
    assert main(["validate", "bad.yaml", "missing.yaml", "recipe.yaml"]) == 2
    told = capsys.readouterr()
    assert told.out == "recipe.yaml: ok\n"
    assert told.err.splitlines() == [
        "bad.yaml:9: training.learning_rate: found 'fast', expected a number",
        "missing.yaml: no such file, expected a recipe",
    ]


def test_set_is_part_of_what_is_validated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "recipe.yaml", "--set", "streams.*.tokenizer.branching=16", "--set", "seed=x"]) == 2
    assert capsys.readouterr().err == "--set seed=x: seed: found 'x', expected a whole number\n"


def test_show_prints_a_recipe_that_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "recipe.yaml", "--set", "seed=9"]) == 0
    text = capsys.readouterr().out
    assert parse_recipe(text) == load_recipe("recipe.yaml", ["seed=9"])
    assert "beam_width: 100\n" in text


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "recipe.yaml", "--json"]) == 0
    assert recipe_of(json.loads(capsys.readouterr().out)) == load_recipe("recipe.yaml")


def test_schema_knows_the_plugins_of_the_working_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "borda.py").write_text(
        "from genrec.families import Merge, merges\n\n\n@merges.register('borda')\nclass Borda(Merge):\n"
        "    '''Points for ranks.'''\n\n    depth: int = 20\n    '''Ranks below earn nothing.'''\n\n    def merge(self, c, *, top_n): ...\n",
        encoding="utf-8",
    )
    (folder / "plugins" / "broken.py").write_text("def (", encoding="utf-8")
    assert main(["schema"]) == 0
    told = capsys.readouterr()
    schema = json.loads(told.out)
    depth = schema["$defs"]["Borda"]["properties"]["depth"]
    assert (depth["default"], depth["description"]) == (20, "Ranks below earn nothing.")
    assert "borda" in schema["$defs"]["Merge"]["oneOf"][0]["enum"]
    assert told.err.startswith("left out: ")
    assert "broken.py:1: not valid Python" in told.err


def test_validate_as_json_has_every_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (folder / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "bad.yaml").write_text(good.replace("1e-3", "fast"), encoding="utf-8")
    assert main(["validate", "bad.yaml", "missing.yaml", "recipe.yaml", "--json"]) == 2
    text = "found 'fast', expected a number"
    assert json.loads(capsys.readouterr().out) == [
        {
            "recipe": "bad.yaml",
            "problems": [{"source": "bad.yaml", "line": 9, "key": "training.learning_rate", "text": text}],
            "notes": [],
        },
        {
            "recipe": "missing.yaml",
            "problems": [
                {"source": None, "line": None, "key": None, "text": "missing.yaml: no such file, expected a recipe"}
            ],
            "notes": [],
        },
        {"recipe": "recipe.yaml", "problems": [], "notes": []},
    ]


ONE_STREAM = """\
dataset: {type: sequences, folder: shop}
history_encoder: item_ids
streams: {text: {item_encoder: {type: precomputed, file: vectors.npz}, tokenizer: kmeans_tree, decoder: mlp}}
merge: log_prob_sum
training: {loggers: [tensorboard]}
"""


@pytest.fixture
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def test_data_and_weights_are_checked_where_there_is_data(
    folder: Path, capsys: pytest.CaptureFixture[str], without_tensorboard: None
) -> None:
    (folder / "one.yaml").write_text(ONE_STREAM, encoding="utf-8")
    ignored = "one.yaml: note: one stream: the merge 'log_prob_sum' is ignored\n"
    assert main(["validate", "one.yaml"]) == 0
    assert capsys.readouterr() == (
        "one.yaml: ok\n",
        ignored
        + "one.yaml: note: data and weights are not checked (no --data, no GENREC_DATA and nothing beside the recipe)\n",
    )
    (folder / "data").mkdir()
    assert main(["validate", "one.yaml"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    missing, vectors, tensorboard, note = told.err.splitlines()
    assert missing.startswith(f"one.yaml: {folder / 'data' / 'sequences.txt'}: missing file: the histories")
    assert vectors == f"one.yaml: vectors.npz: no such file or folder, looked in {folder}, {folder / 'data'}"
    assert tensorboard.startswith("one.yaml: tensorboard: it cannot be imported")
    assert note + "\n" == ignored
    write_sequences(small_shop(), folder / "elsewhere" / "shop")
    assert main(["validate", "one.yaml", "--data", "elsewhere", "--json"]) == 2
    [entry] = json.loads(capsys.readouterr().out)
    assert [problem["text"].partition(":")[0] for problem in entry["problems"]] == [
        "vectors.npz",
        "tensorboard",
    ]
    assert entry["notes"] == ["one stream: the merge 'log_prob_sum' is ignored"]
    assert main(["validate", "one.yaml", "--data", "elsewhere", "--set", "training.loggers=[]", *FITTING]) == 0
    assert capsys.readouterr().out == "one.yaml: ok\n"


FITTING = ["--set", "streams.text.item_encoder=tfidf"]


def test_encoders_see_the_catalog_that_a_run_would_give_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "one.yaml").write_text(ONE_STREAM, encoding="utf-8")
    write_sequences(small_shop(), folder / "data" / "shop")
    changes = ["--set", "training.loggers=[]", "--set", "streams.text.item_encoder={type: columns, columns: [weight]}"]
    assert main(["validate", "one.yaml", *changes]) == 2
    assert capsys.readouterr().err.startswith("one.yaml: columns: ")


def test_show_says_that_the_merge_of_one_stream_is_ignored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "one.yaml").write_text(ONE_STREAM, encoding="utf-8")
    note = "note: one stream: the merge 'log_prob_sum' is ignored\n"
    assert main(["show", "one.yaml"]) == 0
    told = capsys.readouterr()
    assert (parse_recipe(told.out).title, told.err) == ("shop: text", note)
    unwritten = ONE_STREAM.replace("merge: log_prob_sum\n", "")
    (folder / "one.yaml").write_text(unwritten, encoding="utf-8")
    for words in (["one.yaml"], ["recipe.yaml"], ["one.yaml", "--set", "merge={type: single, stream: text}"]):
        assert main(["show", *words, "--json"]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "streams.text.decoder={type: transformer, num_heads: 5}",
            "streams.text.decoder.num_heads: found 5, expected a number that divides history_encoder.dim, 32",
        ),
        ("tasks.0.num_heads=3", "tasks.0.num_heads: found 3, expected a number that divides history_encoder.dim, 32"),
        (
            "baselines=[transition, {type: transition, next_items: 1}]",
            "baselines.1: found 'transition' again, expected each baseline once (first as baselines.0)",
        ),
    ],
)
def test_what_no_block_can_know_is_said_before_any_work(
    change: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "recipe.yaml", "--set", change]) == 2
    assert capsys.readouterr().err == f"--set {change}: {line}\n"


def test_device_that_is_not_there_is_a_mistake_of_the_user(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipe.yaml", "--device", "gpu"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("--device gpu: cannot be used (")
    assert told.endswith("expected auto, cpu, or a device that `genrec doctor` shows\n")
    assert not (folder / "runs").exists()
