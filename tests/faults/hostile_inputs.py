"""Hostile and unusual inputs by name: files, a command, and nothing about what genrec says of them."""

from __future__ import annotations

import gzip
import io
import json
import struct
from typing import NamedTuple

import numpy as np
import polars as pl

RECIPE = """title: a shop
dataset: {type: table, folder: ., interactions: buys.csv, core: 0, items: items.csv, title: title}
history_encoder: {type: item_ids, dim: 8, num_heads: 2, max_history: 5, feedforward_dim: 16, attention: causal}
streams:
  text: {item_encoder: {type: tfidf, dim: 4}, tokenizer: {type: kmeans_tree, branching: 4}, decoder: mlp}
training: {warmup_steps: 1, batch_size: 32, max_epochs: 1, validation_users: 20}
evaluation: {cutoffs: [5], bootstrap_samples: 5}
"""
T = 1_577_836_800
_ROWS = [f"u{user},i{(3 * user + place) % 12},{T + 86_400 * place}\n" for user in range(12) for place in range(4)]
BUYS = "user,item,time\n" + "".join(_ROWS)
ITEMS = "item,title\n" + "".join(
    f"i{item},{word} box number {item}\n" for item, word in enumerate(4 * ["oak", "tin", "red"])
)


class Hostile(NamedTuple):
    """One input."""

    words: list[str]
    """The command, without ``genrec``; ``RUN`` stands for a copy of a finished run."""
    files: dict[str, bytes]
    """In the working folder; those of a small shop are there too. Names that begin with RUN/ are in the run."""


def _run(files: dict[str, bytes | str], *overrides: str, command: str = "run") -> Hostile:
    words = [command, "r.yaml", *[word for override in overrides for word in ("--set", override)]]
    if command == "run":
        words += ["--output", "out", "--device", "cpu"]
    return Hostile(words, _bytes(files))


def _check(recipe: bytes | str, *overrides: str) -> Hostile:
    return _run({"r.yaml": recipe}, *overrides, command="validate")


def _with(old: str, new: str) -> Hostile:
    assert old in RECIPE
    return _check(RECIPE.replace(old, new))


def _recommend(files: dict[str, bytes | str], *words: str) -> Hostile:
    return Hostile(["recommend", "RUN", *(words or ("--history", "item-3")), "--device", "cpu"], _bytes(files))


def _bytes(files: dict[str, bytes | str]) -> dict[str, bytes]:
    return {name: part if isinstance(part, bytes) else part.encode() for name, part in files.items()}


def _buys(text: bytes | str, *overrides: str) -> Hostile:
    return _run({"buys.csv": text}, *overrides)


def _vectors(file: str, content: bytes, keys: str | None = None) -> Hostile:
    named = {} if keys is None else {f"{file}.keys.json": keys.encode()}
    encoder = f"{{type: precomputed, file: {file}}}"
    return _run({file: content, **named}, f"streams.text.item_encoder={encoder}")


def _codes(content: bytes | str) -> Hostile:
    return _run({"codes.json": content}, "streams.text.tokenizer={type: precomputed, file: codes.json}")


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _parquet(**columns: list[object]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns, strict=False).write_parquet(file)
    return file.getvalue()


_KEYS = json.dumps([f"i{item}" for item in range(12)])
_PARQUET = "dataset.interactions=buys.parquet"
_LINES = "dataset={type: sequences, folder: .}"


def recipes() -> dict[str, Hostile]:
    """Inputs of ``validate``."""
    nested = "a: " + "[" * 20_000
    laughs = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'}, x]\n" for n in range(40))
    return {
        "an endless file": Hostile(["validate", "/dev/zero"], {}),
        "a folder": Hostile(["validate", "."], {}),
        "no file": Hostile(["validate", "nothing.yaml"], {}),
        "an empty recipe": _check(""),
        "a recipe of comments": _check("# nothing\n"),
        "an image": _check(b"\x89PNG\r\n\x1a\n" + bytes(200)),
        "UTF-16": _check(RECIPE.encode("utf-16")),
        "Latin-1": _check("title: Möbel\n".encode("latin-1")),
        "NUL bytes": _check(b"title: a\x00b\n"),
        "a list": _check("- a\n- b\n"),
        "a number": _check("17"),
        "a Python object at the top": _check("!!python/object/apply:os.system ['true']"),
        "a Python object inside": _check("title: !!python/name:os.system\n"),
        "a billion laughs": _check(laughs),
        "deep nesting": _check(nested),
        "a million characters": _check("title: " + "x" * 1_000_000),
        "a tab as indent": _check("title: x\n\tdataset: y\n"),
        "an open bracket": _check("title: [x\n"),
        "a key twice": _check(RECIPE + "title: again\n"),
        "5,000 digits": _with("dim: 8", "dim: " + "9" * 5000),
        "a width of 10^12": _with("dim: 8", "dim: 1000000000000"),
        "a history of 10^9": _with("max_history: 5", "max_history: 1000000000"),
        "a list of 10^24": _check(RECIPE + "search: {list_length: 1000000000000000000000000}\n"),
        "10^9 bootstrap samples": _with("bootstrap_samples: 5", "bootstrap_samples: 1000000000"),
        "a cutoff of 10^15": _with("cutoffs: [5]", "cutoffs: [1000000000000000]"),
        "a rate that is NaN": _with("warmup_steps: 1", "learning_rate: .nan"),
        "a rate that is infinite": _with("warmup_steps: 1", "learning_rate: .inf"),
        "a negative batch": _with("batch_size: 32", "batch_size: -1"),
        "a name of 300 letters": _with("  text:", f"  {'x' * 300}:"),
        "a name that is a path": _with("  text:", "  ../../text:"),
        "an empty name": _with("  text:", '  "":'),
        "a title that moves the cursor": _with("title: a shop", 'title: "a\\e[2Jshop"'),
        "an unknown key": _with("title: a shop", "titel: a shop"),
        "an unknown component": _with("type: tfidf", "type: tfidff"),
        "a component from a file": _with("type: tfidf", "type: os.system"),
        "no streams": _with("streams:\n  text:", "stream:\n  text:"),
        "a date where a number is expected": _with("dim: 8", "dim: 2020-01-01"),
        "an override that is no YAML": _check(RECIPE, "streams.text={"),
        "an override of nothing": _check(RECIPE, "=1"),
        "an override deep in a number": _check(RECIPE, "training.batch_size.x.y=1"),
        "a dataset outside of the data folder": _with("folder: .", "folder: ../../../etc"),
    }


def data() -> dict[str, Hostile]:
    """Inputs of ``run``: interactions and items, vectors, codes."""
    header = struct.pack("<Q", 2**62) + b"{}"
    good = _npy(np.eye(12, 4, dtype=np.float32))
    return {
        "no interactions": _run({"r.yaml": RECIPE.replace("buys.csv", "nothing.csv")}),
        "an empty table": _buys(""),
        "a header alone": _buys("user,item,time\n"),
        "another header": _buys(BUYS.replace("user,item,time", "who,what,when")),
        "a column twice": _buys(BUYS.replace("user,item,time", "user,user,time")),
        "bytes that are no text": _buys(BUYS.encode() + b"\xff\xfe\x00,i1,1\n"),
        "a table in UTF-16": _buys(BUYS.encode("utf-16")),
        "a quote that does not end": _buys(BUYS + f'u1,"i1,{T}\n' + BUYS),
        "more fields than columns": _buys(BUYS + f"u1,i1,{T},1,2,3\n"),
        "fewer fields than columns": _buys(BUYS + "u1\n"),
        "a time of 300 digits": _buys(BUYS + f"u1,i1,{'9' * 300}\n"),
        "a time that is a word": _buys(BUYS + "u1,i1,yesterday\n"),
        "a time that is NaN": _buys(BUYS + "u1,i1,nan\n"),
        "milliseconds among seconds": _buys(BUYS + f"u1,i1,{T}000\n"),
        "a time format without codes": _buys(BUYS, "dataset.time_format=yesterday"),
        "every user once": _buys("user,item,time\n" + "".join(f"u{n},i{n % 12},{T}\n" for n in range(50))),
        "keys that match no item": _run({"items.csv": ITEMS.replace("i", "j")}),
        "an item twice": _run({"items.csv": ITEMS + "i1,again\n"}),
        "a title of control characters": _run({"items.csv": ITEMS.replace("oak", "\x1b[2Joak")}, "dataset.core=99"),
        "a separator of two characters": _buys(BUYS, 'dataset.separator="ab"'),
        "gzip that ends early": _run(
            {"buys.csv.gz": gzip.compress(BUYS.encode())[:-20]}, "dataset.interactions=buys.csv.gz"
        ),
        "gzip of a billion NULs": _run(
            {"buys.csv.gz": gzip.compress(bytes(10**8))}, "dataset.interactions=buys.csv.gz"
        ),
        "Parquet that is CSV": _run({"buys.parquet": BUYS}, _PARQUET),
        "Parquet of four bytes": _run({"buys.parquet": b"PAR1"}, _PARQUET),
        "Parquet that ends early": _run(
            {"buys.parquet": _parquet(user=["a"] * 9, item=["b"] * 9, time=[T] * 9)[:-30]}, _PARQUET
        ),
        "Parquet of lists": _run({"buys.parquet": _parquet(user=[["a"]] * 9, item=["b"] * 9, time=[T] * 9)}, _PARQUET),
        "Parquet with items 1.5 and 2.5": _run(
            {"buys.parquet": _parquet(user=["a"] * 9, item=[1.5, 2.5, 3.0] * 3, time=[T] * 9)}, _PARQUET
        ),
        "Parquet with a user that is NaN": _run(
            {"buys.parquet": _parquet(user=[float("nan"), 1.0] * 3, item=["b"] * 6, time=[T] * 6)}, _PARQUET
        ),
        "sequences of words": _run({"sequences.txt": "u1 i1 i2 i3\n" * 3, "items.jsonl": "{}\n"}, _LINES),
        "JSON lines of a list": _run({"sequences.txt": "1 1 2 3\n2 2 3 1\n", "items.jsonl": "[1]\n"}, _LINES),
        "JSON lines nested 100,000 deep": _run(
            {"sequences.txt": "1 1 2 3\n2 2 3 1\n", "items.jsonl": "[" * 100_000 + "\n"}, _LINES
        ),
        "JSON lines with half a line": _run(
            {"sequences.txt": "1 1 2 3\n2 2 3 1\n", "items.jsonl": '{"id": 1, "tit'}, _LINES
        ),
        "vectors without keys": _vectors("v.npy", good),
        "an empty npy": _vectors("v.npy", b"", _KEYS),
        "a pickle in an npy": _vectors("v.npy", _npy_header((1,), "|O") + b"\x80\x04}.", _KEYS),
        "an npy that ends early": _vectors("v.npy", good[:-7], _KEYS),
        "an npy of 10^15 rows": _vectors("v.npy", _npy_header((10**15, 4)), _KEYS),
        "an npy of texts": _vectors("v.npy", _npy(np.array(["a"] * 12)), _KEYS),
        "an npy of one axis": _vectors("v.npy", _npy(np.ones(12, np.float32)), _KEYS),
        "vectors that are NaN": _vectors("v.npy", _npy(np.full((12, 4), np.nan, np.float32)), _KEYS),
        "vectors that are all equal": _vectors("v.npy", _npy(np.ones((12, 4), np.float32)), "[]"),
        "keys that are numbers": _vectors("v.npy", good, json.dumps([1.5] * 12)),
        "keys that are no JSON": _vectors("v.npy", good, "i1, i2"),
        "fewer keys than vectors": _vectors("v.npy", good, '["i1"]'),
        "a safetensors header of 2^62 bytes": _vectors("v.safetensors", header, _KEYS),
        "a safetensors of text": _vectors("v.safetensors", b"not tensors at all", _KEYS),
        "vectors of an unknown kind": _vectors("v.pkl", b"\x80\x04}.", _KEYS),
        "codes that are text": _codes(json.dumps({f"i{n}": "3 17" for n in range(12)})),
        "codes that are negative": _codes(json.dumps({f"i{n}": [-1, n] for n in range(12)})),
        "codes of 400 digits": _codes(json.dumps({f"i{n}": [f"<a_{'9' * 400}>", f"<b_{n}>"] for n in range(12)})),
        "codes up to 16,777,215": _codes(json.dumps({f"i{n}": [16_777_215, n] for n in range(12)})),
        "codes of a list": _codes("[[1, 2]]"),
        "codes of nothing": _codes("{}"),
        "codes with a key twice": _codes('{"i1": [1, 2], "i1": [1, 3]}'),
    }


def runs() -> dict[str, Hostile]:
    """Inputs of ``recommend``: a run with files that its record does not know, and odd arguments."""
    return {
        "a run without its record": Hostile(["recommend", ".", "--history", "item-3"], {}),
        "a record that is a list": _recommend({"RUN/run.json": "[]"}),
        "a record that is empty": _recommend({"RUN/run.json": ""}),
        "a record nested 100,000 deep": _recommend({"RUN/run.json": "[" * 100_000}),
        "items that are numbers": _recommend({"RUN/items.json": '{"keys": [1], "titles": [2]}'}),
        "items that are not UTF-8": _recommend({"RUN/items.json": b'{"keys": ["\xff"]}'}),
        "a number of items that is wrong": _recommend({"RUN/items.json": '{"keys": ["a"], "titles": ["A"]}'}),
        "a merge that is unknown": _recommend({"RUN/merge.json": '{"type": "__import__"}'}),
        "a merge that is no mapping": _recommend({"RUN/merge.json": "7"}),
        "a model that ends early": _recommend({"RUN/model.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}"}),
        "a model that is a pickle": _recommend({"RUN/model.safetensors": b"\x80\x04cos\nsystem\n."}),
        "codes that are cut off": _recommend({"RUN/streams/text/ids.safetensors": b""}),
        "a recipe with a Python object": _recommend({"RUN/recipe.yaml": "title: !!python/name:os.system\n"}),
        "a history of nothing": _recommend({}, "--history", ""),
        "a history of an unknown item": _recommend({}, "--history", "\u202e\x1b[2J"),
        "a history of 100,000 letters": _recommend({}, "--history", "x" * 100_000),
        "a list of no items": _recommend({}, "--history", "item-3", "--k", "0"),
        "a device that does not exist": Hostile(["recommend", "RUN", "--history", "item-3", "--device", "tpu:9"], {}),
    }


def _npy_header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """The file of an array of a shape, without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


ALL = {**recipes(), **data(), **runs()}
