"""A recipe over the clockwork, a world whose next item is certain, that runs in a second."""

import json
from pathlib import Path
from typing import ClassVar

from genrec.baselines.popularity import Popularity
from genrec.decoders.mlp import Mlp
from genrec.evaluation.protocol import EvaluationSettings
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_model import load_model, load_streams
from genrec.families import DatasetSource, ItemEncoder
from genrec.history_encoders.item_ids import ItemIds
from genrec.merges.confidence import Confidence
from genrec.pipeline import run
from genrec.recipe.schema import Recipe, Stream
from genrec.search.settings import SearchSettings
from genrec.testing import clockwork
from genrec.tokenizers.kmeans_tree import KMeansTree
from genrec.training.settings import TrainingSettings

NUM_ITEMS = 40


class World(DatasetSource):
    """The clockwork, as a dataset."""

    type_name: ClassVar[str] = "clockwork"
    history_length: int = 8

    def load(self, data):
        return clockwork(NUM_ITEMS, self.history_length).dataset


class Given(ItemEncoder):
    """The clockwork's vectors of one stream."""

    type_name: ClassVar[str] = "given"
    which: str

    def encode(self, catalog, train, *, context):
        return clockwork(NUM_ITEMS).vectors[self.which]


def stream(which, branching=7, *, absent_items="own_branch", nearest_in=None, **decoder):
    return Stream(
        item_encoder=Given(which=which),
        tokenizer=KMeansTree(branching=branching),
        decoder=Mlp(**{"hidden_dim": 64, "dropout": 0.0} | decoder),
        absent_items=absent_items,
        nearest_in=nearest_in,
    )


def reading(which, **changes):
    """A stream with a history encoder of its own."""
    encoder = {"dim": 32, "max_history": 6, "feedforward_dim": 64, "dropout": 0.0, "attention": "causal"} | changes
    return stream(which).model_copy(update={"history_encoder": ItemIds(**encoder)})


def recipe(**changes):
    """Trains for one epoch."""
    parts = {
        "title": "clockwork",
        "dataset": World(),
        "history_encoder": ItemIds(dim=32, max_history=6, feedforward_dim=64, dropout=0.0, attention="causal"),
        "streams": {"behavior": stream("behavior"), "text": stream("text")},
        "training": TrainingSettings(learning_rate=0.01, warmup_steps=10, batch_size=8, max_epochs=1, patience=5),
        "search": SearchSettings(beam_width=20, list_length=10),
        "merge": Confidence(),
        "evaluation": EvaluationSettings(cutoffs=(1, 5, 10), bootstrap_samples=20),
        "baselines": (Popularity(),),
    }
    return Recipe(**parts | changes)


def run_in(folder, asked=None):
    return run(asked or recipe(), RunFolder.create(folder, Path("clockwork.yaml")))


def longer(max_epochs):
    return recipe().training.model_copy(update={"max_epochs": max_epochs})


def recalls(report):
    return {row.name: row.metrics["recall"][1].mean for row in report.rows}


def reused(folder):
    return {
        f"{entry['kind']} {entry['name']}": entry["reused"]
        for entry in json.loads((folder / "run.json").read_text())["stages"]
    }


def rows_of(folder):
    """All numbers of a run but its times."""
    content = json.loads((folder / "metrics.json").read_text())
    return [content[key] for key in ("methods", "tests", "protocol", "parameters")]


def curve_of(folder):
    log = json.loads((folder / "training.json").read_text())
    return [(epoch["losses"], epoch["validation"]) for epoch in log["epochs"]], log["best_epoch"]


def opened(of, path):
    """The trained model of a finished run and its streams."""
    folder = RunFolder.open(path).path
    streams = load_streams(of, folder)
    return load_model(of, folder, streams, NUM_ITEMS), streams
