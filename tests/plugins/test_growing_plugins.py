"""New items and the modules of plugins: what does not say how it grows is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from genrec.decoders.dense import Dense, DenseDecoder
from genrec.errors import ContractError
from genrec.model.growth import Growth
from genrec.recipe.loading import recipe_of
from tests.growth.growing import Known, known_of

RECIPE = {
    "dataset": {"type": "showroom", "items": 60, "users": 120},
    "history_encoder": {"type": "item_ids", "dim": 16, "num_heads": 2, "feedforward_dim": 32},
    "streams": {"text": {"item_encoder": "tfidf", "decoder": "dense"}},
}


class Biased(DenseDecoder):
    """A score of its own for each item."""

    def __init__(self, settings: Dense, context) -> None:
        super().__init__(settings, context)
        self.bias_I = nn.Parameter(torch.arange(float(context.num_items)))


class Growing(Biased):
    """Says how it grows."""

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        return {**super().grown_tensors(growth), "bias_I": growth.of_items(self.bias_I)}


class Mistaken(Biased):
    """Names a tensor that it does not have."""

    def grown_tensors(self, growth: Growth) -> dict[str, Tensor]:
        return {"bias": growth.of_items(self.bias_I)}


def with_decoder(module: type[Biased], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    monkeypatch.setattr(Dense, "build", lambda self, context: module(self, context))
    return known_of(recipe_of(RECIPE), folder)


def test_a_module_that_says_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = with_decoder(Biased, tmp_path, monkeypatch)
    with pytest.raises(ContractError) as caught:
        known.grow(known.copies([1, 2]))
    assert str(caught.value) == (
        "new items cannot be added: _decoders.stream text.bias_I has the shape (60,), expected (63,) for 63 items; "
        "grown_tensors() of its module has to return it with rows for the new items or nodes"
    )


def test_a_module_that_says_how_it_grows_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = with_decoder(Growing, tmp_path, monkeypatch)
    decoder = known.grow(known.copies([1, 2])).model.decoders["text"]
    assert isinstance(decoder, Growing)
    assert decoder.bias_I[:60].tolist() == list(range(60))
    assert len(decoder.bias_I) == 63


def test_a_name_that_does_not_exist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = with_decoder(Mistaken, tmp_path, monkeypatch)
    with pytest.raises(ContractError) as caught:
        known.grow(known.copies([1, 2]))
    assert str(caught.value) == (
        "new items cannot be added: grown_tensors() of _decoders.stream text names bias, which is no tensor of its "
        "state_dict"
    )
