"""What is wrong with a recipe: whole texts, all at once."""

# ruff: noqa: E501 - messages are compared whole, one a line

from __future__ import annotations

from pathlib import Path

import pytest

from genrec.families import datasets, merges
from genrec.recipe import InvalidRecipeError, load_recipe, parse_recipe
from genrec.registry import add_plugin_folder

TEN_MISTAKES = """\
title: 2019
dataset: {folder: some-shelf}
history_encoder: {type: bag, dim: 15}
streams:
  left: {item_encoder: hashing, tokenizer: gird, decoder: writer}
  right:
    item_encoder: hashing
    decoder: {type: writer, num_layer: 2}
tasks:
  - {type: guide, source: lfet, target: right}
training: {learning_rate: -1e-3, optimizer: adamww}
merge: first
merge: first
baselines: [nothing]
"""

TEN_LINES = """\
r.yaml:1: title: found 2019, expected text; put it in quotes
r.yaml:2: dataset.type: missing, expected {datasets} (see: genrec list datasets)
r.yaml:3: history_encoder: found dim 15 and num_heads 2, expected dim to be a multiple
r.yaml:5: streams.left.tokenizer: unknown tokenizer 'gird', expected a tokenizer that exists (see: genrec list tokenizers); did you mean 'grid'?
r.yaml:6: streams.right.tokenizer: missing, expected a tokenizer: the decoder 'writer' writes codes (see: genrec list tokenizers)
r.yaml:8: streams.right.decoder.num_layer: unknown key of 'writer', expected num_layers; did you mean 'num_layers'?
r.yaml:10: tasks.0.source: unknown stream 'lfet', expected one of left, right; did you mean 'left'?
r.yaml:11: training.learning_rate: found -0.001, expected more than 0
r.yaml:11: training.optimizer: found 'adamww', expected 'adamw' or 'adam'; did you mean 'adamw'?
r.yaml:13: merge: duplicate key, expected it once (first in line 12)"""


def test_ten_kinds_of_mistakes_give_their_lines_and_no_other() -> None:
    add_plugin_folder(Path("plugins"))
    with pytest.raises(InvalidRecipeError) as caught:
        parse_recipe(TEN_MISTAKES, name="r.yaml")
    names = "one of " + ", ".join(datasets.names())
    assert str(caught.value) == TEN_LINES.format(datasets=names)


def problems(text: str) -> list[str]:
    Path("r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRecipeError) as caught:
        load_recipe("r.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("title: A recipe", "title:", "1: title: found nothing, expected text"),
        ("dataset: shelf\n", "", "1: dataset: missing, expected a dataset: a name or {type: name, ...} (see: genrec list datasets)"),
        ("dataset: shelf", "dataset: 5", "2: dataset: found 5, expected a dataset: a name or {type: name, ...} (see: genrec list datasets)"),
        ("dataset: shelf", "dataset:", "2: dataset: found nothing, expected a dataset: a name or {type: name, ...} (see: genrec list datasets)"),
        ("merge: first", "merge: {type: first, depth: true}", "13: merge.depth: found true, expected a whole number"),
        ("merge: first", "merge: {type: first, depth: 2.5}", "13: merge.depth: found 2.5, expected a whole number"),
        ("merge: first", "merge: {type: first, depth: [1]}", "13: merge.depth: found a list, expected a whole number"),
        ("merge: first", "merge: {type: first, depth: null}", "13: merge.depth: found nothing, expected a whole number"),
        ("merge: first", "merge: [first]", "13: merge: found a list, expected a merge: a name or {type: name, ...} (see: genrec list merges)"),
        ("branching: 8", "branching: 0", "8: streams.right.tokenizer.branching: found 0, expected more than 0"),
        ("branching: 8", "shuffled: maybe", "8: streams.right.tokenizer.shuffled: found 'maybe', expected true or false"),
        ("dim: 4", "scale: wide", "7: streams.right.item_encoder.scale: found 'wide', expected a number or 'auto'"),
        ("tokenizer: grid, ", "tokenizer: verbless, ", "5: streams.left.tokenizer: tokenizer 'verbless' is incomplete, expected a method fit"),
        ("item_encoder: hashing, tokenizer: grid", "tokenizer: grid", "5: streams.left.item_encoder: missing, expected an item encoder: the tokenizer needs vectors (see: genrec list item_encoders)"),
        ("item_encoder: hashing, tokenizer: grid", "item_encoder: none, tokenizer: grid", "5: streams.left.item_encoder: found none, expected an item encoder: the tokenizer needs vectors (see: genrec list item_encoders)"),
        ("decoder: writer}", "decoder: codeless}", "5: streams.left.tokenizer: found a tokenizer, expected none: the decoder 'codeless' writes no codes"),
        ("decoder: writer}", "decoder: writer, absent_items: nearest}", "5: streams.left.nearest_in: missing, expected right: absent_items: nearest finds similar items by the vectors of this stream"),
        ("decoder: writer}", "decoder: writer, absent_items: nearest, nearest_in: left}", "5: streams.left.nearest_in: found 'left', expected right"),
        ("decoder: writer}", "decoder: writer, absent_items: nearest, nearest_in: rigth}", "5: streams.left.nearest_in: found 'rigth', expected right; did you mean 'right'?"),
        ("decoder: writer}", "decoder: writer, absent_items: nearst, nearest_in: right}", "5: streams.left.absent_items: found 'nearst', expected 'own_branch', 'nearest' or 'leave_out'; did you mean 'nearest'?"),
        ("decoder: writer}", "decoder: writer, nearest_in: right}", "5: streams.left.nearest_in: found a stream, expected none: it is only used with absent_items: nearest"),
        ("decoder: writer}", "decoder: writer, absent_items: drop}", "5: streams.left.absent_items: found 'drop', expected 'own_branch', 'nearest' or 'leave_out'"),
        ("decoder: writer}", "decoder: writer, absent_items: nearest, nearest_in: bare}\n  bare: {decoder: codeless}", "5: streams.left.nearest_in: the stream 'bare' has no vectors, expected one with an item_encoder"),
        ("item_encoder: hashing", "item_encoder: {type: concatenation, encoders: [none]}", "5: streams.left.item_encoder: found none, expected an item encoder: the tokenizer needs vectors (see: genrec list item_encoders)"),
        ("  right:", "  bare: {decoder: {type: dense, start_from: [left]}}\n  right:", "6: streams.bare.decoder: found start_from, expected none: history_encoder.start_from initializes tied items"),
        ("decoder: writer}", "history_encoder: {type: bag, dim: 15}, decoder: writer}", "5: streams.left.history_encoder: found dim 15 and num_heads 2, expected dim to be a multiple"),
        ("decoder: writer}", "history_encoder: {type: bag, dim: 32}, decoder: writer}", "11: tasks.0: found states of different widths (streams.left.history_encoder.dim 32, history_encoder.dim 16), expected one width for the streams of a task"),
        ("  right:", "  bare: {history_encoder: bag, decoder: transition}\n  right:", "6: streams.bare.history_encoder: found a history encoder, expected none: the decoder 'transition' reads no states"),
        ("  right:", "  wide: {history_encoder: {type: bag, dim: 18}, decoder: {type: dense}}\n  more: {item_encoder: hashing, tokenizer: grid, history_encoder: {type: bag, dim: 18}, decoder: transformer}\n  right:", "7: streams.more.decoder.num_heads: found 4, expected a number that divides streams.more.history_encoder.dim, 18"),
        ("decoder: writer}", "history_encoder: {type: item_ids, dim: 16, start_from: [lfet]}, decoder: writer}", "5: streams.left.history_encoder.start_from.0: unknown stream 'lfet', expected one of left, right; did you mean 'left'?"),
        ("decoder: writer}", "history_encoder: {type: bag, dim: 1000000000000}, decoder: writer}", "5: streams.left.history_encoder.dim: found 1000000000000, expected at most 65536"),
        ("decoder: writer}", "history_encoder: {type: bag, max_history: 1000000000}, decoder: writer}", "5: streams.left.history_encoder.max_history: found 1000000000, expected at most 100000"),
        ("evaluation: {", "search: {list_length: 1000000000000000000000000}\nevaluation: {", "14: search.list_length: found 1000000000000000000000000, expected at most 100000"),
        ("cutoffs: [5, 10]", "bootstrap_samples: 1000000000", "14: evaluation.bootstrap_samples: found 1000000000, expected at most 1000000"),
        ("source: left, ", "", "11: tasks.0.source: missing, expected text"),
        ("source: left, ", "source: left, others: [right, rihgt], ", "11: tasks.0.others.1: unknown stream 'rihgt', expected one of left, right; did you mean 'right'?"),
        ("cutoffs: [5, 10]", "metrics: [recall, gini]", "14: evaluation.metrics.1: found 'gini', a metric of lists; expected it under evaluation.beyond_accuracy"),
        ("cutoffs: [5, 10]", "beyond_accuracy: [mrr]", "14: evaluation.beyond_accuracy.0: found 'mrr', a metric of accuracy; expected it under evaluation.metrics"),
        ("cutoffs: [5, 10]", "beyond_accuracy: [ginni]", "14: evaluation.beyond_accuracy.0: found 'ginni', expected 'coverage' or 'gini' or 'novelty' or 'intra_list_distance' or 'tail_share' or 'repeat_share'; did you mean 'gini'?"),
        ("cutoffs: [5, 10]", "distances_in: rihgt", "14: evaluation.distances_in: unknown stream 'rihgt', expected one of left, right; did you mean 'right'?"),
        ("cutoffs: [5, 10]", "cutoffs: []", "14: evaluation.cutoffs: found nothing, expected at least 1 entry"),
        ("cutoffs: [5, 10]", "cutoffs: [5, ten]", "14: evaluation.cutoffs.1: found 'ten', expected a whole number"),
        ("cutoffs: [5, 10]", "cutoffs: [ten]", "14: evaluation.cutoffs.0: found 'ten', expected a whole number"),
        ("cutoffs: [5, 10]", "cutoffs: 10", "14: evaluation.cutoffs: found 10, expected a list"),
        ("cutoffs: [5, 10]", "cutoffs: [100]", "14: evaluation.cutoffs: found 100, expected at most 50, the default of search.list_length"),
        ("cutoffs: [5, 10]", "metrics: []", "14: evaluation.metrics: found nothing, expected at least 1 entry"),
        ("cutoffs: [5, 10]", "metrics: ndcg", "14: evaluation.metrics: found 'ndcg', expected a list"),
        ("cutoffs: [5, 10]", "metrics: [recall, 10]", "14: evaluation.metrics.1: found 10, expected text; put it in quotes"),
        ("cutoffs: [5, 10]", "confidence: 1", "14: evaluation.confidence: found 1, expected less than 1"),
        ("evaluation: {", "search: {list_length: 9}\nevaluation: {", "14: search.list_length: found 9, expected at least 10, the largest of evaluation.cutoffs"),
        ("evaluation: {cutoffs: [5, 10]}", "evaluation: 5", "14: evaluation: found 5, expected a mapping with split, metrics, beyond_accuracy, distances_in, cutoffs, seen_items, bootstrap_samples, confidence, cold_items"),
        ("[nothing]", "nothing", "15: baselines: found 'nothing', expected a list"),
        ("[nothing]", "[{type: sasrec, dropout: [0.1, 2]}]", "15: baselines.0.dropout.1: found 2, expected less than 1"),
        ("[nothing]", "[{type: sasrec, dropout: x}]", "15: baselines.0.dropout: found 'x', expected a number or a list"),
        ("[nothing]", "[nothing, 3]", "15: baselines.1: found 3, expected a baseline: a name or {type: name, ...} (see: genrec list baselines)"),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_line(recipe_text: str, old: str, new: str, line: str) -> None:
    assert old in recipe_text
    assert problems(recipe_text.replace(old, new, 1)) == [f"r.yaml:{line}"]


def test_tasks_need_vectors_and_states_of_the_streams_that_they_name(recipe_text: str) -> None:
    head, rest = recipe_text.split("streams:\n")
    rest = rest.split("training:")[1]
    bare = "streams:\n  bare: {decoder: codeless}\n  counts: {decoder: transition}\ntasks:\n  - global_contrastive\n"
    text = head + bare + "  - {type: guide, source: bare, target: counts}\ntraining:" + rest
    assert problems(text) == [
        "r.yaml:8: tasks.0: no stream has vectors, expected one with an item_encoder",
        "r.yaml:9: tasks.1.target: the decoder 'transition' of the stream 'counts' reads no states, expected one that "
        "does",
    ]


@pytest.mark.parametrize("streams", ["", "streams: 5\n"])
def test_tasks_without_streams_are_no_mistake_of_their_own(recipe_text: str, streams: str) -> None:
    head, rest = recipe_text.split("streams:\n")
    text = f"{head}{streams}tasks: [global_contrastive]\ntraining:" + rest.split("training:")[1]
    [problem] = problems(text)
    assert "streams: " in problem
    assert "expected" in problem


OWN_TABLES = """\
title: Two history encoders
dataset: shelf
history_encoder: {type: item_ids, dim: 16, start_from: [left]}
streams:
  left: {item_encoder: hashing, tokenizer: grid, history_encoder: {type: item_ids, dim: 16, start_from: [right]}, decoder: writer}
  right: {item_encoder: hashing, tokenizer: grid, decoder: writer}
baselines: [nothing]
"""


def test_an_item_table_that_is_shared_starts_in_one_way() -> None:
    wrong = (
        "r.yaml:5: streams.left.history_encoder.start_from: found right, expected {} as in history_encoder, whose item "
        "table it shares; or share: none for a separate table"
    )
    assert problems(OWN_TABLES) == [wrong.format("left")]
    assert problems(OWN_TABLES.replace(", start_from: [left]", "")) == [wrong.format("nothing")]
    for old, new in [
        ("[right]", "[left]"),
        ("start_from: [right]", "share: none, start_from: [right]"),
        ("dim: 16, start_from: [right]", "dim: 32, start_from: [right]"),
    ]:
        assert parse_recipe(OWN_TABLES.replace(old, new)).own_history_encoders


def test_stream_name_that_could_not_be_a_file_or_module(recipe_text: str) -> None:
    assert problems(recipe_text.replace("  left: {", "  le.ft: {").replace("source: left", "source: le.ft")) == [
        "r.yaml:5: streams.le.ft: found the stream name 'le.ft', expected a letter, then letters, digits, _ and -"
    ]


def test_stream_name_that_is_too_long_for_a_folder(recipe_text: str) -> None:
    name = "left" * 75
    text = recipe_text.replace("  left: {", f"  {name}: {{").replace("source: left", f"source: {name}")
    assert problems(text) == [
        f"r.yaml:5: streams.{name}: found a stream name of 300 characters, expected at most 100: it names a folder"
    ]


@pytest.mark.parametrize("code", ["001B", "0007", "000A", "009B", "202E", "2028"])
def test_title_that_a_terminal_would_interpret(recipe_text: str, code: str) -> None:
    start, end = recipe_text.index("title:"), recipe_text.index("\n", recipe_text.index("title:"))
    text = f'{recipe_text[:start]}title: "red \\u{code}[31m"{recipe_text[end:]}'
    assert problems(text) == [f"r.yaml:1: title: found the control character U+{code}, expected one line of text"]
    for fine in ("Größe 红色 👨‍👩‍👧", "a\u0301"):
        assert parse_recipe(f"{recipe_text[:start]}title: {fine}{recipe_text[end:]}").title == fine


def test_no_stream_at_all(recipe_text: str) -> None:
    start, end = recipe_text.index("streams:"), recipe_text.index("training:")
    assert problems(recipe_text[:start] + "streams: {}\n" + recipe_text[end:]) == [
        "r.yaml:4: streams: found nothing, expected at least 1 entry"
    ]


def test_type_that_is_no_name(recipe_text: str) -> None:
    names = merges.names()
    assert problems(recipe_text.replace("merge: first", "merge: {type: 3}")) == [
        f"r.yaml:13: merge.type: found 3, expected one of {', '.join(names)} (see: genrec list merges)"
    ]


def test_typo_of_a_required_key_is_one_mistake(recipe_text: str) -> None:
    everything = "title, seed, dataset, history_encoder, streams, tasks, training, search, merge, evaluation, baselines"
    assert problems(recipe_text.replace("title:", "titel:")) == [
        f"r.yaml:1: titel: unknown key, expected one of {everything}; did you mean 'title'?"
    ]


def test_broken_inner_component_is_not_reported_again_by_those_around_it(recipe_text: str) -> None:
    inner = "{type: stack, encoders: [hashing, {type: hashing, dim: -1}], by_name: {a: {type: hashing, size: 3}}}"
    assert problems(recipe_text.replace("item_encoder: hashing", f"item_encoder: {inner}")) == [
        "r.yaml:5: streams.left.item_encoder.encoders.1.dim: found -1, expected more than 0",
        "r.yaml:5: streams.left.item_encoder.by_name.a.size: unknown key of 'hashing', "
        "expected one of dim, scale, training",
    ]


def test_problems_of_the_yaml_and_of_the_recipe_come_together(recipe_text: str) -> None:
    changed = recipe_text.replace("dim: 16", "dim: &d 16, num_heads: *d, share: most").replace("[5, 10]", "[1, &e 2]")
    assert problems(changed) == [
        "r.yaml:3: history_encoder.dim: found the anchor &d, expected the value alone",
        "r.yaml:3: history_encoder.num_heads: found the alias *d, expected the value itself",
        "r.yaml:3: history_encoder.share: found 'most', expected 'all', 'items' or 'none'",
        "r.yaml:14: evaluation.cutoffs.1: found the anchor &e, expected the value alone",
    ]


def test_plugin_that_fails_to_load_says_where(folder: Path, recipe_text: str) -> None:
    plugin = folder / "plugins" / "late.py"
    plugin.write_text(
        "from genrec.families import Merge, merges\n\n\n@merges.register('late')\nclass Late(Merge):\n    x: int = 1 / 0\n",
        encoding="utf-8",
    )
    assert problems(recipe_text.replace("merge: first", "merge: late")) == [
        f"r.yaml:13: merge: {plugin.resolve()}:6: the plugin 'late' cannot be loaded: ZeroDivisionError: division by zero"
    ]


def test_plugin_that_is_no_python_is_named_beside_the_unknown_component(folder: Path, recipe_text: str) -> None:
    plugin = folder / "plugins" / "borda.py"
    plugin.write_text("from genrec.plugin import merges\nclass Borda(:\n", encoding="utf-8")
    assert problems(recipe_text.replace("merge: first", "merge: borda")) == [
        "r.yaml:13: merge: unknown merge 'borda', expected a merge that exists (see: genrec list merges); "
        f"a plugin cannot be read: {plugin.resolve()}:2: not valid Python: invalid syntax"
    ]


def test_name_taken_twice_is_a_problem(folder: Path, recipe_text: str) -> None:
    again = folder / "plugins" / "again.py"
    again.write_text("@merges.register('first')\nclass First: ...\n", encoding="utf-8")
    parts = again.with_name("parts.py").resolve()
    assert problems(recipe_text) == [
        f"r.yaml:13: merge: merge 'first' is registered twice: {again.resolve()} and {parts}; rename one of them"
    ]


def test_plugin_of_another_kind_and_a_check_that_crashes(folder: Path, recipe_text: str) -> None:
    (folder / "plugins" / "odd.py").write_text(
        "from pydantic import model_validator\n"
        "from genrec.families import Merge, Tokenizer, merges, tokenizers\n\n"
        "@merges.register('odd')\nclass Odd(Tokenizer):\n    def fit(self): ...\n\n"
        "@tokenizers.register('crash')\nclass Crash(Tokenizer):\n    def fit(self): ...\n\n"
        "    @model_validator(mode='after')\n    def _look(self):\n        raise KeyError('x')\n",
        encoding="utf-8",
    )
    assert problems(
        recipe_text.replace("merge: first", "merge: odd").replace("{type: grid, branching: 8}", "crash")
    ) == [
        "r.yaml:8: streams.right.tokenizer: a validator of the plugin failed: KeyError: 'x'",
        "r.yaml:13: merge: 'odd' is not a valid merge: its class must inherit Merge",
    ]
