"""Pairs of finished runs: the test itself, and the refusal of what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.evaluation.metrics import ndcg
from genrec.evaluation.rank_file import RankFile, paired
from genrec.evaluation.significance import paired_difference
from genrec.types import ABSENT


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    users, targets = np.arange(300), rng.integers(0, 50, 300)
    good = rng.integers(0, 5, 300).astype(np.int32)
    poor = np.where(rng.random(300) < 0.5, ABSENT, good + 2).astype(np.int32)
    files = {
        "first": RankFile(users, targets, {"confidence": good, "a/b stream": poor}, 20),
        "second": RankFile(users, targets, {"confidence": poor}, 20),
    }
    for name, file in files.items():
        (tmp_path / name).mkdir()
        file.write(tmp_path / name)
    return tmp_path / "first", tmp_path / "second", files


def test_it_reads_what_it_wrote(runs):
    first, _, files = runs
    read = RankFile.read(first)
    assert read.list_length == 20
    assert list(read.ranks) == sorted(files["first"].ranks)
    for name, of_method in files["first"].ranks.items():
        assert read.ranks[name].tolist() == of_method.tolist()
        assert read.ranks[name].dtype == np.int32
    assert read.targets.tolist() == files["first"].targets.tolist()


def test_views_are_stored_as_they_look(runs):
    first, _, files = runs
    both = np.stack([files["first"].ranks["confidence"], files["first"].ranks["a/b stream"]], axis=1)
    replace(files["first"], ranks={"view": both[:, 1]}).write(first)
    assert RankFile.read(first).ranks["view"].tolist() == both[:, 1].tolist()


def test_two_runs_are_compared_user_by_user(runs):
    first, second, files = runs
    found = paired(first, second, "confidence", metric="ndcg", cutoff=10, seed=4)
    expected = paired_difference(
        ndcg(files["first"].ranks["confidence"], 10),
        ndcg(files["second"].ranks["confidence"], 10),
        confidence=0.95,
        seed=4,
    )
    assert found == expected
    assert found.low > 0
    assert paired(first, second, "a/b stream", "confidence").mean == 0.0


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    first, second, files = runs

    def refusal(**arguments) -> str:
        with pytest.raises(DataError) as error:
            paired(first, second, **{"method": "confidence", **arguments})
        return str(error.value)

    assert refusal(method="borda") == (
        f"{first / 'ranks.safetensors'}: unknown method 'borda'; expected one of a/b stream, confidence"
    )
    assert refusal(other="borda") == (
        f"{second / 'ranks.safetensors'}: unknown method 'borda'; expected one of confidence"
    )
    assert "lists of 20 items are shorter than the cutoff 50" in refusal(cutoff=50)

    file = files["second"]
    replace(file, targets=file.targets + np.eye(1, 300, 7, dtype=np.int64)[0]).write(second)
    assert "have different targets for 1 of 300 users" in refusal()
    replace(file, users=file.users[1:], targets=file.targets[1:]).write(second)
    assert "have different evaluation users (300 and 299)" in refusal()
    (second / "ranks.safetensors").write_bytes(b"nonsense")
    assert "cannot be read" in refusal()
    (second / "ranks.safetensors").unlink()
    assert "is missing: expected the folder of a finished run" in refusal()
