"""A run that was never trained: a report and its details, of any size and with any titles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrec.api.inputs import load_recipe
from genrec.datasets.synthetic.images import Drawings
from genrec.evaluation.protocol import EvaluationSettings
from genrec.evaluation.slices import user_slices
from genrec.model.contracts import StreamContext
from genrec.reporting.report import Protocol, Report, evaluate, paired_tests
from genrec.reporting.run_details import RunDetails, describe_run
from genrec.semantic_ids.item_numbers import item_numbers
from genrec.semantic_ids.trie import Trie
from genrec.training.log import EpochRecord
from genrec.types import ABSENT, Candidates, Catalog, Dataset, Histories, ItemVectors, Ranking, SemanticIds

LENGTH = 20
"""Of the lists."""
TREE = {"item_encoder": "tfidf", "tokenizer": "random_codes", "decoder": "mlp"}
DIRECT = {"item_encoder": "tfidf", "decoder": "dense"}
SETTINGS = EvaluationSettings(cutoffs=(5, 10, 20), bootstrap_samples=50)


def made_dataset(
    num_items: int = 300, num_users: int = 80, titles: tuple[str, ...] = (), *, images: bool = True
) -> Dataset:
    """Random histories of 3 to 12 items; the given titles come first, one item has none, one has no image."""
    rng = np.random.default_rng(0)
    keys = tuple(f"key-{item}" for item in range(num_items))
    names = (*titles, "", *(f"Blue hat of size {item}" for item in range(num_items)))[:num_items]
    has_image_I = np.arange(num_items) != 7
    drawings = Drawings(np.zeros(num_items, dtype=np.int64), has_image_I, seed=0) if images else None
    histories = [rng.choice(num_items, rng.integers(3, 13), replace=False) for _ in range(num_users)]
    catalog = Catalog(keys, names, keys, ((),) * num_items, images=drawings)
    users = tuple(f"user {user}" for user in range(num_users))
    return Dataset("made-up shop", catalog, users, Histories.of(histories), "made-up")


def made_streams(num_items: int, names: tuple[str, ...], branching: int = 16) -> dict[str, StreamContext]:
    """Random codes of two levels; a stream named ``direct`` has none."""
    vectors = ItemVectors(np.ones((num_items, 1), dtype=np.float32), np.ones(num_items, dtype=bool))
    streams = {}
    for number, name in enumerate(names):
        order = np.random.default_rng(number).permutation(num_items)
        below = -(-num_items // branching)
        codes_IL = np.stack([order // below, order % below], axis=1).astype(np.int32)
        ids = item_numbers(vectors) if name == "direct" else SemanticIds(codes_IL, (branching, below + 3))
        streams[name] = StreamContext(ids, Trie.of(ids), vectors, vectors.present_I)
    return streams


def made_candidates(dataset: Dataset, streams: tuple[str, ...]) -> Candidates:
    """Random items; the target of every second user is among them, and each stream found two thirds of them."""
    rng, split = np.random.default_rng(1), dataset.test
    items_BC = np.stack([rng.permutation(dataset.num_items)[: 2 * LENGTH] for _ in range(len(split))]).astype(np.int64)
    for user, target in enumerate(split.targets):
        others = items_BC[user][items_BC[user] != target][: 2 * LENGTH - 1]
        place = user % len(others) if user % 2 else len(others)
        items_BC[user] = np.insert(others, place, target if user % 2 else ABSENT)
    shape = (*items_BC.shape, len(streams))
    ranks_BCS = rng.random(shape).argsort(axis=1).astype(np.int32)
    ranks_BCS[(rng.random(shape) < 1 / 3) | (items_BC == ABSENT)[:, :, None]] = ABSENT
    entropy_BS, lengths_S = np.zeros((len(split), len(streams)), np.float32), np.ones(len(streams), np.int32)
    return Candidates(streams, items_BC, np.zeros(shape, np.float32), ranks_BCS, entropy_BS, lengths_S)


def made_run(
    streams: tuple[str, ...] = ("behavior", "text", "direct"),
    *,
    title: str = "Three streams on the made-up shop",
    curve: bool = True,
    notes: tuple[str, ...] = ("the text encoder's weights are random",),
    dataset: Dataset | None = None,
) -> tuple[Report, RunDetails]:
    """The report and the details; merge, streams and a baseline."""
    dataset = made_dataset() if dataset is None else dataset
    found = made_candidates(dataset, streams)
    shifted = {name: np.roll(found.items_BC, number, axis=1) for number, name in enumerate(streams)}
    lists = {
        **({"merge: confidence": ("merge", found.items_BC)} if len(streams) > 1 else {}),
        **{f"stream: {name}": ("stream", items_BC) for name, items_BC in shifted.items()},
        "popularity": ("baseline", np.full_like(found.items_BC, ABSENT)),
    }
    scores_BN = np.zeros((len(found), LENGTH), dtype=np.float32)
    rankings = {name: (kind, Ranking(items_BC[:, :LENGTH], scores_BN)) for name, (kind, items_BC) in lists.items()}
    rows = evaluate(rankings, dataset.test, SETTINGS, seed=3)
    epochs = [
        EpochRecord(epoch, {"total": 6.0 / epoch, "contrast": -0.5 * epoch}, 0.01 * epoch, 60.0, 1e-3)
        for epoch in range(1, 5)
    ]
    epochs[1] = replace(epochs[1], losses={"total": float("nan")}, validation=None)
    report = Report(
        title=title,
        protocol=Protocol.of(dataset, SETTINGS, 3, selection="mean NDCG@10 of the streams on validation"),
        users_U=dataset.test.users,
        targets_U=dataset.test.targets,
        rows=rows,
        tests=paired_tests(rows, SETTINGS, seed=3),
        slices=user_slices(
            {row.name: row.ranks_U for row in rows if row.kind in ("merge", "stream", "baseline")},
            dataset.test,
            dataset.train,
            SETTINGS,
        ),
        curve=epochs if curve else (),
        stage_seconds={"train": 125.0},
        parameters={"history encoder": 1_000, "decoders": 2_500},
        notes=notes,
        example_history=("key-4", "key-5"),
    )
    recipe = load_recipe(
        {
            "title": title,
            "dataset": "showroom",
            "history_encoder": {"type": "item_ids", "dim": 16},
            "streams": {name: DIRECT if name == "direct" else TREE for name in streams},
            "training": {"max_epochs": 1},
        }
    )
    contexts = made_streams(dataset.num_items, streams)
    return report, describe_run(dataset, recipe, contexts, found, rankings, report)
