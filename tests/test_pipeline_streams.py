"""Streams beside each other: absent items, pairs, weights that are missing, encoders that are interrupted."""

from typing import ClassVar

import numpy as np
import pytest
from clockwork_runs import NUM_ITEMS, Given, World, longer, opened, reading, recalls, recipe, run_in, stream

from genrec.errors import DataError
from genrec.evaluation.metrics import target_ranks
from genrec.experiment.cache import Cache
from genrec.experiment.candidates import search_users
from genrec.experiment.finished_run import finished_fits, load_fit
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_model import load_streams
from genrec.experiment.storage import load_ids, load_vectors
from genrec.merges.log_prob_sum import LogProbSum
from genrec.merges.reciprocal_rank import ReciprocalRank
from genrec.runtime.environment import Environment
from genrec.search.candidates import load_candidates
from genrec.tasks.global_contrastive import GlobalContrastive
from genrec.testing import clockwork
from genrec.types import ABSENT, ItemVectors

pytestmark = pytest.mark.slow


def searched_again(asked, run):
    """The test candidates of a finished run, searched anew."""
    folder = RunFolder.open(run)
    fit = finished_fits(folder, asked, World().load(None), Environment()).test
    streams, trained = load_fit(folder, fit)
    return search_users(fit, trained.model, streams, "test", Cache(run / "others"), scores=asked.merge.needs_scores)


class Patchy(Given):
    """The same, but for every fifth item it has nothing to read."""

    type_name: ClassVar[str] = "patchy"

    def encode(self, catalog, train, *, context):
        whole = clockwork(NUM_ITEMS).vectors[self.which]
        present_I = np.arange(NUM_ITEMS) % 5 > 0
        return ItemVectors(np.where(present_I[:, None], whole.vectors_IE, 0), present_I)


@pytest.mark.parametrize(
    ("treatment", "coded", "note"),
    [
        (
            {"absent_items": "leave_out"},
            32,
            "8 of 40 items have no codes and are never recommended; merges by confidence or rank favor the others",
        ),
        (
            {"absent_items": "nearest", "nearest_in": "behavior"},
            40,
            "8 of 40 items have nothing to encode and are coded like their nearest item in behavior",
        ),
        (
            {},
            40,
            "8 of 40 items have nothing to encode and get codes in a separate branch of the tree",
        ),
    ],
)
def test_absent_items_are_treated_as_asked_and_told(treatment, coded, note, tmp_path):
    patchy = stream("text", **treatment).model_copy(update={"item_encoder": Patchy(which="text")})
    streams = {"behavior": stream("behavior"), "text": patchy}
    report = run_in(tmp_path, recipe(streams=streams, tasks=(GlobalContrastive(),), merge=LogProbSum()))
    codes_IL = load_ids(tmp_path / "streams" / "text" / "ids.safetensors").codes_IL
    assert (codes_IL[:, 0] != ABSENT).sum() == coded
    told = [told for told in report.notes if told.startswith("stream text")]
    assert told == [f"stream text: {note}"]
    assert all(np.isfinite(list(epoch.losses.values())).all() for epoch in report.curve)
    model, _ = opened(recipe(streams=streams, tasks=(GlobalContrastive(),)), tmp_path)
    assert model.num_items == NUM_ITEMS


def test_a_finished_run_reads_the_vectors_that_absent_items_were_given(tmp_path):
    """The model adds them to the history, so that others would be another model."""
    patchy = stream("text", absent_items="nearest", nearest_in="behavior")
    patchy = patchy.model_copy(update={"item_encoder": Patchy(which="text")})
    streams = {"behavior": stream("behavior"), "text": patchy}
    encoder = recipe().history_encoder.model_copy(update={"add_vectors": ("text",)})
    asked = recipe(streams=streams, history_encoder=encoder)
    run_in(tmp_path, asked)
    found = load_candidates(tmp_path / "candidates" / "test.safetensors")
    vectors = load_vectors(tmp_path / "streams" / "text" / "vectors.safetensors")
    assert (~vectors.present_I).sum() == 8, "as the encoder gave them"
    text = load_streams(asked, tmp_path)["text"]
    assert text.vectors.present_I.all()
    assert (~text.encoded_vectors().present_I).sum() == 8, "copies are known as such"
    np.testing.assert_array_equal(searched_again(asked, tmp_path).log_probs_BCS, found.log_probs_BCS)


def test_three_streams_give_a_row_for_each_pair_that_asks_these_two_alone(tmp_path):
    streams = {"behavior": stream("behavior"), "text": stream("text"), "again": stream("text", branching=3)}
    report = run_in(tmp_path, recipe(streams=streams, merge=ReciprocalRank()))
    rows = {row.name: row for row in report.rows}
    pairs = [row.name for row in report.rows if row.kind == "pair"]
    assert pairs == ["pair: behavior + text", "pair: behavior + again", "pair: text + again"]
    assert {test.other for test in report.tests} >= set(pairs)
    found = load_candidates(tmp_path / "candidates" / "test.safetensors")
    test = World().load(None).test
    for name in pairs:
        behavior, other = name.removeprefix("pair: ").split(" + ")
        ranking = ReciprocalRank().merge(found.of_streams((behavior, other)), top_n=10)
        assert target_ranks(ranking, test.targets).tolist() == rows[name].ranks_U.tolist()


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_stream_that_reads_less_in_its_own_way_learns_as_well(attention, tmp_path):
    streams = {
        "behavior": stream("behavior"),
        "text": reading("text", dim=16, max_history=2, add_vectors=("behavior",), attention=attention),
    }
    asked = recipe(streams=streams, tasks=(GlobalContrastive(),), training=longer(6))
    report = run_in(tmp_path, asked)
    assert recalls(report)["stream: text"] == 1.0
    assert recalls(report)["stream: behavior"] > 0.8
    found = load_candidates(tmp_path / "candidates" / "test.safetensors")
    np.testing.assert_array_equal(searched_again(asked, tmp_path).log_probs_BCS, found.log_probs_BCS)


class Wanting(Given):
    """Its weights are missing."""

    type_name: ClassVar[str] = "wanting"

    def prepare(self, catalog, *, context):
        raise DataError("no weights")


def test_missing_weights_are_said_before_any_stream_begins(tmp_path):
    wanting = stream("text").model_copy(update={"item_encoder": Wanting(which="text")})
    with pytest.raises(DataError, match=r"^no weights$"):
        run_in(tmp_path, recipe(streams={"behavior": stream("behavior"), "text": wanting}))
    assert not list((tmp_path / ".stages").glob("vectors-*"))


class Slow(Given):
    """Keeps a part, and is killed the first time."""

    type_name: ClassVar[str] = "slow"

    def encode(self, catalog, train, *, context):
        if not (context.folder / "part").is_file():
            context.folder.mkdir(parents=True)
            (context.folder / "part").write_text("done")
            raise KeyboardInterrupt
        return super().encode(catalog, train, context=context)


def test_an_interrupted_encoder_finds_its_parts_and_leaves_none(tmp_path):
    slow = stream("text").model_copy(update={"item_encoder": Slow(which="text")})
    asked = recipe(streams={"behavior": stream("behavior"), "text": slow})
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, asked)
    assert len(list((tmp_path / ".stages").glob("unfinished-*/part"))) == 1
    run_in(tmp_path, asked)
    assert not list((tmp_path / ".stages").glob("unfinished-*"))
