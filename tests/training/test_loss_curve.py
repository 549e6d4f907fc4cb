"""A golden loss curve: the first losses of a tiny model with all parts, to notice a change that nobody meant."""

import numpy as np
import pytest
import torch

from genrec.decoders.mlp import Mlp
from genrec.decoders.transformer import Transformer
from genrec.history_encoders.item_ids import ItemIds
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.semantic_ids.trie import Trie
from genrec.tasks.global_contrastive import GlobalContrastive
from genrec.tasks.semantic_transfer import SemanticTransfer
from genrec.training.batches import HistoryBatches
from genrec.training.settings import TrainingSettings
from genrec.training.trainer import train
from genrec.types import Histories, ItemVectors, SemanticIds

NUM_ITEMS = 24


def eager():
    """Codes and vectors by rule, not by a tokenizer, so that the curve depends on the model side alone."""
    item = np.arange(NUM_ITEMS)
    codes = {
        "behavior": SemanticIds(np.stack([item // 6, item % 6], 1).astype(np.int32), (4, 6)),
        "text": SemanticIds(np.stack([item % 3, item // 12, item // 3 % 4], 1).astype(np.int32), (3, 2, 4)),
    }
    angle_I1 = item[:, None] * np.array([1.0, 2.0, 3.0])
    vectors = ItemVectors(
        np.concatenate([np.cos(angle_I1), np.sin(angle_I1)], 1).astype(np.float32), np.ones(NUM_ITEMS, bool)
    )
    streams = {name: StreamContext(ids, Trie.of(ids), vectors) for name, ids in codes.items()}
    decoders = {
        "behavior": Transformer(num_layers=1, num_heads=2, feedforward_dim=16),
        "text": Mlp(hidden_dim=16),
    }
    tasks = [GlobalContrastive(), SemanticTransfer(source="text", target="behavior", num_heads=2, feedforward_dim=16)]
    encoder = ItemIds(dim=8, num_heads=2, feedforward_dim=16, max_history=5, start_from=("text",))
    return Retriever(encoder, decoders, tasks, streams, num_items=NUM_ITEMS, seed=1)


GOLDEN = {
    "behavior": [3.18912, 3.20994, 3.14095, 3.31470, 3.29300],
    "text": [3.17900, 3.19753, 3.01395, 3.27124, 3.15722],
    "global_contrastive": [1.00933, 1.02449, 0.93976, 1.01440, 0.93694],
    "semantic_transfer": [5.58520, 5.60531, 5.50788, 5.68077, 5.64411],
}
"""One value a step. Dropout and sampling take part, so they differ from step to step for many reasons."""


def test_the_first_losses_are_the_known_ones():
    model = eager()
    histories = Histories.of([[(3 * user + step) % NUM_ITEMS for step in range(6)] for user in range(16)])
    source = HistoryBatches(
        histories,
        num_items=NUM_ITEMS,
        max_history=5,
        batch_size=16,
        all_positions=model.is_causal,
        seed=2,
        device=torch.device("cpu"),
    )
    curve = []

    def loss(batch):
        parts = model(batch)
        curve.append({name: part.item() for name, part in parts.items()})
        return parts

    settings = TrainingSettings(learning_rate=0.01, warmup_steps=2, max_epochs=1)
    train(model, source.epoch, loss, settings, validate=None, seed=3, title="golden")
    assert len(curve) == 5
    first = curve[0]
    # Codes at random cost the logarithm of their number; a level of `text` has 3, 2 and 4 children a node.
    assert first["behavior"] == pytest.approx(np.log(4 * 6), rel=0.02)
    assert first["text"] == pytest.approx(np.log(3 * 2 * 4), rel=0.02)
    assert first["global_contrastive"] == pytest.approx(2 * 0.5, rel=0.1)
    assert first["semantic_transfer"] == pytest.approx(np.log(65) + 2 * np.log(2), rel=0.02)
    for name, values in GOLDEN.items():
        assert [part[name] for part in curve] == pytest.approx(values, abs=1e-4), name
    assert GOLDEN.keys() == first.keys(), curve
