from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest

from genrec.errors import DataError
from genrec.experiment.keys import component_key
from genrec.runtime.environment import Environment, WorkContext
from genrec.tokenizers.precomputed import Precomputed
from genrec.types import ABSENT, ItemVectors, SemanticIds

KEYS = ("a", "b", "c", "d")


def fit(file: Path, **fields) -> SemanticIds:
    vectors = ItemVectors(np.zeros((4, 2), np.float32), np.ones(4, bool))
    return Precomputed(file=file, **fields).fit(vectors, keys=KEYS, context=WorkContext(seed=1))


def written(folder: Path, content: object, name: str = "codes.json") -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder / name


def test_codes_go_by_key_and_not_by_position(tmp_path):
    ids = fit(written(tmp_path, {"d": [3, 1], "a": [0, 2], "c": [1, 0], "b": [0, 0]}))
    assert ids.codes_IL.tolist() == [[0, 2], [0, 0], [1, 0], [3, 1]]
    assert ids.vocabulary_sizes == (4, 3)
    assert ids.collisions == 0


def test_parquet_and_json_agree(tmp_path):
    codes = {"d": [3, 1], "a": [0, 2], "c": [1, 0], "b": [0, 0]}
    polars.DataFrame({"key": list(codes), "codes": list(codes.values())}).write_parquet(tmp_path / "codes.parquet")
    assert np.array_equal(fit(tmp_path / "codes.parquet").codes_IL, fit(written(tmp_path, codes)).codes_IL)


@pytest.mark.parametrize("column", ["key", "codes"])
def test_values_that_python_does_not_have_are_one_error(tmp_path, column):
    days = polars.Series([2**31 - 1], dtype=polars.Int32).cast(polars.Date)
    polars.DataFrame({"key": ["a"], "codes": [[1]]} | {column: days}).write_parquet(tmp_path / "codes.parquet")
    with pytest.raises(DataError, match=f"^{tmp_path / 'codes.parquet'}: not a Parquet file that can be read \\("):
        fit(tmp_path / "codes.parquet")


def test_marked_codes(tmp_path):
    ids = fit(written(tmp_path, {"a": ["<a_5>", "<b_0>"], "b": ["<a_1>", "<b_2>"]}))
    assert ids.codes_IL[:2].tolist() == [[5, 0], [1, 2]]


def test_missing_items_are_absent_and_unknown_keys_left_out(tmp_path):
    ids = fit(written(tmp_path, {"a": [1], "x": [2], "c": [0], "y": [7]}))
    assert ids.codes_IL.tolist() == [[1], [ABSENT], [0], [ABSENT]]
    assert ids.notes == (
        "codes.json: 2 of 4 keys are not in the catalog and are left out",
        "codes.json: 2 of 4 items are not in the file",
    )


def test_a_short_code_is_nobody_elses_prefix(tmp_path):
    ids = fit(written(tmp_path, {"a": [1], "b": [1, 0], "c": [1, 2, 4], "d": [0, 0, 0]}))
    assert ids.codes_IL.tolist() == [[1, 3, 5], [1, 0, 5], [1, 2, 4], [0, 0, 0]]
    assert ids.vocabulary_sizes == (2, 4, 6)


def test_collisions_are_counted_and_repaired(tmp_path):
    file = written(tmp_path, {"a": [1, 2], "b": [1, 2], "c": [0, 2], "d": [1, 2]})
    ids = fit(file)
    assert ids.collisions == 3
    assert ids.codes_IL.tolist() == [[1, 2, 0], [1, 2, 1], [0, 2, 0], [1, 2, 2]]
    with pytest.raises(DataError) as caught:
        fit(file, collisions="error")
    assert str(caught.value) == (
        f"{file}: 3 items share their code with another, e.g. 'a' and 'b' both have [1, 2]; "
        "give every item its own, or use collisions: suffix"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [1', "not valid JSON ("),
        ("[1, 2]", 'holds a list; expected {"<item key>": [3, 17, 4], ...}'),
        ('{"a": [1], "a": [2]}', "the key 'a' appears twice; expected each item once"),
        ({"a": 3}, "item 'a' has 3; expected a list of codes such as [3, 17, 4]"),
        ({"a": []}, "item 'a' has []; expected a list of codes such as [3, 17, 4]"),
        ({"a": [1, -1]}, "item 'a' has the code -1; expected whole numbers from 0 to 16777215"),
        ({"a": [1.5]}, "item 'a' has the code 1.5; expected whole numbers from 0 to 16777215"),
        ({"a": [True]}, "item 'a' has the code True; expected whole numbers from 0 to 16777215"),
        ({"a": ["one"]}, "item 'a' has the code 'one'; expected whole numbers from 0 to 16777215"),
        ({"a": [f"<a_{'9' * 5000}>"]}, "item 'a' has the code '<a_999999"),
        ('{"a": [' + "9" * 5000 + "]}", "not valid JSON (line 1: an integer has thousands of digits); expected"),
        ("[" * 100_000, "not valid JSON (line 1: nested too deeply); expected"),
        ('{"a": [NaN]}', "item 'a' has the code None; expected whole numbers from 0 to 16777215"),
        (
            {"a": [16777215]},
            "the largest code is 16,777,215 for 1 items, and a level's vocabulary has as many codes; "
            "expected codes numbered from 0 without large gaps",
        ),
        ({"a": [10**20]}, f"item 'a' has the code {10**20}; expected whole numbers from 0 to 16777215"),
        (
            {"17": [1]},
            "none of its 1 keys (e.g. '17') is an item of the catalog (e.g. 'a', 'b', 'c'); "
            "expected the data set's own item keys",
        ),
    ],
)
def test_a_malformed_file_is_named_with_what_was_expected(tmp_path, content, message):
    file = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        fit(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_file_that_is_not_utf8_is_named_with_the_line(tmp_path):
    file = tmp_path / "codes.json"
    file.write_bytes(b'{"a": [1],\n"caf\xe9": [2]}')
    with pytest.raises(DataError) as caught:
        fit(file)
    assert str(caught.value) == f"{file}:2: not UTF-8: byte 0xe9; save the file as UTF-8 and run again"
    file.write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert fit(file).codes_IL[0].tolist() == [1]


def test_keys_that_are_the_same_number_match(tmp_path):
    vectors, context = ItemVectors(np.zeros((2, 2), np.float32), np.ones(2, bool)), WorkContext(seed=1)
    polars.DataFrame({"key": [2.0, 1.0], "codes": [[5], [3]]}).write_parquet(tmp_path / "codes.parquet")
    for file in (tmp_path / "codes.parquet", written(tmp_path, {"2.0": [5], "01": [3]})):
        ids = Precomputed(file=file).fit(vectors, keys=("1", "2"), context=context)
        assert (ids.codes_IL.tolist(), ids.notes) == ([[3], [5]], ())


def test_missing_file(tmp_path):
    with pytest.raises(DataError) as caught:
        fit(tmp_path / "none.json")
    assert str(caught.value) == (
        f"{tmp_path / 'none.json'}: no such file or folder, looked in {Path.cwd()} (no data folder: pass --data DIR "
        "or set GENREC_DATA)"
    )


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"codes come as \.json or \.parquet, not as \.pkl"):
        fit(written(tmp_path, "x", "codes.pkl"))
    with pytest.raises(DataError, match="not a Parquet file that can be read"):
        fit(written(tmp_path, "x", "codes.parquet"))
    polars.DataFrame({"item": ["a"], "codes": [[1]]}).write_parquet(tmp_path / "columns.parquet")
    with pytest.raises(DataError, match="has the columns item, codes; expected key and codes"):
        fit(tmp_path / "columns.parquet")
    polars.DataFrame({"key": ["a", "a"], "codes": [[1], [2]]}).write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="the key 'a' appears twice"):
        fit(tmp_path / "twice.parquet")


def test_identity_follows_the_content(tmp_path):
    file = written(tmp_path, {"a": [1]})
    first = component_key(Precomputed(file=file), Environment())
    assert component_key(Precomputed(file=file), Environment()) == first
    written(tmp_path, {"a": [2]})
    assert component_key(Precomputed(file=file), Environment()) != first
