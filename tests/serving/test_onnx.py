"""A stream in the ONNX format ranks as its model does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import genrec
from genrec.errors import GenrecError
from genrec.serving.onnx import onnx_model
from genrec.serving.recommender import Recommender

RECIPE = {
    "title": "Every decoder of the core",
    "dataset": {"type": "showroom", "items": 60, "users": 120},
    "history_encoder": {"type": "item_ids", "dim": 16, "num_heads": 2, "feedforward_dim": 16, "max_history": 10},
    "streams": {
        "dense": {"item_encoder": "cooccurrence", "decoder": "dense"},
        "counts": {"decoder": {"type": "transition", "repeats": 3}},
        "levels": {
            "item_encoder": "tfidf",
            "tokenizer": {"type": "kmeans_tree", "branching": 8},
            "decoder": {"type": "transformer", "num_layers": 1, "num_heads": 2, "feedforward_dim": 16},
        },
        "paths": {
            "item_encoder": "pixels",
            "absent_items": "leave_out",
            "tokenizer": {"type": "kmeans_tree", "branching": 4},
            "decoder": {"type": "mlp", "hidden_dim": 16, "leaves": "tied"},
        },
        "recurrent": {
            "item_encoder": "cooccurrence",
            "tokenizer": {"type": "kmeans_tree", "branching": 8},
            "history_encoder": {"type": "gru", "dim": 16, "hidden_dim": 8},
            "decoder": {"type": "mlp", "hidden_dim": 16},
        },
    },
    "training": {"learning_rate": 1e-2, "warmup_steps": 1, "batch_size": 32, "max_epochs": 1, "validation_users": 50},
    "search": {"list_length": 20},
    "merge": "log_prob_sum",
    "evaluation": {"cutoffs": [5, 10], "bootstrap_samples": 20},
    "baselines": ["popularity"],
}


@pytest.fixture(autouse=True)
def _packages() -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'genrec[onnx]'")


@pytest.fixture(scope="module", name="recommender")
def _recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return genrec.run(RECIPE, tmp_path_factory.mktemp("onnx") / "run", device="cpu").recommender(device="cpu")


def log_probs(content: bytes, history: list[list[int]]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"history": np.array(history, dtype=np.int64)})[0])


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["dense", "counts", "levels", "paths"])
def test_a_stream_gives_the_log_probabilities_of_its_model(stream: str, recommender: Recommender) -> None:
    content = onnx_model(recommender, stream)
    rows = [[3, 9, 27], [50, 60, 60], [7, 8, 60]]  # 60 is padding
    found_BI = log_probs(content, rows)
    assert found_BI.shape == (3, 60)
    keys = [[recommender.keys[item] for item in row if item < 60] for row in rows]
    for row, items in enumerate(recommender.recommend(keys, k=60, seen="keep", merge=stream)):
        order = np.argsort(-found_BI[row], kind="stable")[: len(items)]
        scores = [item.score for item in items]
        np.testing.assert_allclose(found_BI[row, [recommender.row(item.key) for item in items]], scores, atol=1e-4)
        np.testing.assert_allclose(found_BI[row, order], scores, atol=1e-4)
        assert np.isneginf(np.delete(found_BI[row], order)).all(), "all that the stream does not recommend"
    for history in ([[5]], [[5] * 10], [[1, 2], [3, 60], [4, 5], [6, 60], [7, 8]]):
        assert log_probs(content, history).shape == (len(history), 60)
        np.testing.assert_allclose(log_probs(content, history)[:1], log_probs(content, history[:1]), atol=1e-4)


@pytest.mark.slow
def test_a_module_that_cannot_be_written_is_named(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(GenrecError) as caught:
        onnx_model(recommender, "recurrent")
    text = str(caught.value)
    assert text.startswith(
        "--onnx: stream recurrent (history encoder gru, decoder mlp) cannot be written in the ONNX format ("
    )
    assert text.endswith("); export without --onnx")


@pytest.mark.slow
def test_lists_that_differ_are_an_error(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = "genrec.serving.onnx._transition_scores"
    monkeypatch.setattr(scores, lambda decoder, encoded: encoded.states_BTD[:, 0, :1].expand(-1, 60) - 4.0)
    with pytest.raises(GenrecError) as caught:
        onnx_model(recommender, "counts")
    assert str(caught.value) == (
        "--onnx: stream counts (decoder transition): the lists under onnxruntime differ from those of the exact "
        "search; export without --onnx"
    )


@pytest.mark.slow
def test_an_export_has_a_file_for_each_stream_whose_sum_is_the_merge(small_run: Path, tmp_path: Path) -> None:
    import onnx

    export = genrec.export(small_run, tmp_path / "x", onnx=True)
    files = sorted((export / "onnx").iterdir())
    assert [file.name for file in files] == ["behavior.onnx", "text.onnx", "visual.onnx"]
    total_I = np.zeros(60)
    for file in files:
        onnx.checker.check_model(onnx.load(file))
        metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
        assert metadata["items"] == "60"
        assert metadata["max_history"] == "10"
        assert metadata["stream"] == file.stem
        total_I += log_probs(file.read_bytes(), [[2, 8]])[0]
    recommender = Recommender.load(export, device="cpu")
    found = recommender.recommend(["item-3", "item-9"], k=10, seen="keep", merge="log_prob_sum").item_keys()[0]
    assert [recommender.keys[item] for item in np.argsort(-total_I)[:10]] == found


def test_packages_that_are_missing_are_named(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GenrecError) as caught:
        genrec.export(recommender.path, tmp_path / "x", onnx=True)
    assert str(caught.value) == "--onnx: onnxruntime is not installed: pip install 'genrec[onnx]'"
    assert not (tmp_path / "x").exists()
