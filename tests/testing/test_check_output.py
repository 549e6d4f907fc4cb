"""What ``check`` prints and raises, and how components find their files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from genrec.datasets.showroom import Showroom
from genrec.errors import ContractError, DataError, GenrecError, PluginError
from genrec.families import ItemEncoder, Merge, TrainingLogger
from genrec.item_encoders.precomputed import Precomputed
from genrec.merges.confidence import Confidence
from genrec.testing import check
from genrec.tokenizers.precomputed import Precomputed as PrecomputedCodes
from genrec.types import Ranking


def test_prints_each_sentence_once(capsys: pytest.CaptureFixture[str]) -> None:
    check(Confidence())
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading == f"the merge 'confidence' keeps {len(lines)} sentences of its contract:"
    assert "  ok: no item occurs twice in a row" in lines
    assert len(set(lines)) == len(lines)


def test_sentences_that_hold_have_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    check(Confidence())
    assert "  ok: a merge works with one stream as well" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("found", [Confidence, len, None, "confidence"])
def test_what_is_no_component_is_one_error(found: Any) -> None:
    with pytest.raises(
        GenrecError, match=r"^check: found .*, expected a component, such as Borda\(depth=3\); a metric"
    ):
        check(found)


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    check(Confidence(), quiet=True)
    assert capsys.readouterr().out == ""


def test_prints_what_held_before_the_broken_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    class Empty(Merge):
        """Gives nothing."""

        type_name: ClassVar[str] = "empty"

        def merge(self, candidates, *, top_n):
            return None

    with pytest.raises(ContractError, match=r"breaks its contract: the result is a Ranking; found NoneType$"):
        check(Empty())
    assert "  ok: fit() gives a merge" in capsys.readouterr().out


def test_exception_has_the_line_of_the_component() -> None:
    class Failing(Merge):
        """Fails."""

        type_name: ClassVar[str] = "failing"

        def merge(self, candidates, *, top_n):
            return Ranking.top(candidates.items_BC, None, top_n)  # type: ignore[arg-type]

    with pytest.raises(PluginError) as caught:
        check(Failing())
    line = next(
        number for number, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "items_BC, None" in text
    )
    place, _, text = str(caught.value).partition(": ")
    assert (Path(place.rpartition(":")[0]).name, place.rpartition(":")[2]) == (Path(__file__).name, str(line))
    assert re.match(r"the merge 'failing' raised TypeError: ", text)
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_cannot_be_used_is_a_broken_contract() -> None:
    class Strange(TrainingLogger):
        """Its files are no paths."""

        type_name: ClassVar[str] = "strange"

        def input_files(self, environment):
            return 3

        def start(self, folder, *, title, hyperparameters, step):
            raise AssertionError("never called")

    with pytest.raises(ContractError, match=r"what it gave cannot be used, because of TypeError: 'int' object is not"):
        check(Strange())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Vectors and codes of the items of a small showroom."""
    keys = Showroom(items=40, users=20).load().catalog.keys
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(len(keys), 4)).astype(np.float32))
    (tmp_path / "keys.json").write_text(json.dumps(keys), encoding="utf-8")
    codes = {key: [number // 8, number % 8] for number, key in enumerate(keys)}
    (tmp_path / "codes.json").write_text(json.dumps(codes), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("place", ["data", "recipe"])
def test_files_of_a_dataset_are_checked_with_that_dataset(files: Path, place: str) -> None:
    folder, dataset = {place: files}, Showroom(items=40, users=20).load()
    encoder: ItemEncoder = Precomputed.model_validate({"file": "vectors.npy", "keys": "keys.json"})
    tokenizer = PrecomputedCodes.model_validate({"file": "codes.json"})
    for component in (encoder, tokenizer):
        check(component, dataset=dataset, **folder)
        with pytest.raises(DataError, match="no such file or folder"):
            check(component, dataset=dataset)
