"""Every encoder, tokenizer, decoder and history encoder of the core takes new items."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from golden.recipes import TINY

from genrec.experiment.known_vectors import known_vectors
from genrec.recipe.loading import recipe_of
from genrec.types import ABSENT
from tests.growth.growing import Known, known_of, log_probs

PARTS = ("item_encoder", "tokenizer", "decoder", "history_encoder", "task", "absent_items")
NAMES = [name for name in TINY if name.startswith(PARTS)]
NEW = (1, 5, 7)
HISTORIES = [[3, 4, 5], [10, 1], [7]]


def known_in(name: str, folder: Path) -> Known:
    golden = TINY[name]
    if missing := [module for module in golden.modules if importlib.util.find_spec(module) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    data = folder / "data"
    data.mkdir()
    if golden.write_data is not None:
        golden.write_data(data)
    return known_of(recipe_of(golden.block), folder, data=data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_grows(name: str, clean_registry: None, tmp_path: Path) -> None:
    known = known_in(name, tmp_path)
    new = known.copies(NEW)
    num_known, num_new = len(known.catalog), len(new)
    grown = known.grow(new)
    before = log_probs(known.model, HISTORIES, num_known)
    after = log_probs(grown.model, HISTORIES, num_known + num_new)
    for stream, settings in known.fit.recipe.streams.items():
        old, its = known.streams[stream], grown.streams[stream]
        assert np.array_equal(its.context.ids.codes_IL[:num_known], old.ids.codes_IL)
        is_new_J = its.context.ids.present_I[num_known:]
        assert [how != "left out" for how in its.how_J] == is_new_J.tolist()
        assert its.vectors.num_added == num_new
        assert np.array_equal(its.vectors.vectors_IE[:num_known], known.vectors[stream].vectors_IE)
        stored = {other: part.vectors for other, part in grown.streams.items()}
        again = known_vectors(settings, stream, stored)
        assert np.array_equal(again.vectors_IE[:num_known], old.vectors.vectors_IE), "as a loaded run computes it"
        is_encoded_J = np.array([how == "encoded" for how in its.how_J[:-1]])
        if settings.item_encoder.type_name != "concatenation":  # the part of cooccurrence is zero
            copies_JE = its.vectors.vectors_IE[num_known:-1][is_encoded_J]
            assert np.allclose(copies_JE, known.vectors[stream].vectors_IE[list(NEW)][is_encoded_J], atol=1e-4)
        decoder = settings.decoder
        vocabulary = getattr(decoder, "vocabulary", "path" if decoder.type_name == "dense" else "level")
        present_I = old.ids.present_I
        if vocabulary == "level":
            assert np.allclose(after[stream][:, :num_known], before[stream], atol=1e-5)
        else:
            assert (after[stream][:, :num_known] < before[stream] + 1e-5).all(), "more children share a softmax"
        if decoder.type_name == "dense":
            shift_BI = (after[stream][:, :num_known] - before[stream])[:, present_I]
            assert np.allclose(shift_BI, shift_BI[:, :1], atol=1e-5), "scores of known items are unchanged"
        assert (its.context.ids.codes_IL[num_known:][~is_new_J] == ABSENT).all()
        found = after[stream][:, num_known:][:, is_new_J]
        assert np.isfinite(found).all()
        assert (found < 0).all()
