"""The whole system on tiny worlds: it learns what is certain, reuses what is finished, and repeats itself exactly."""

import importlib.util
import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from clockwork_runs import (
    NUM_ITEMS,
    World,
    curve_of,
    longer,
    opened,
    reading,
    recalls,
    recipe,
    reused,
    rows_of,
    run_in,
    stream,
)

from genrec.errors import DataError
from genrec.evaluation.protocol import EvaluationSettings
from genrec.experiment.run_folder import RunFolder
from genrec.families import DatasetSource, ItemEncoder, Merge
from genrec.history_encoders.item_ids import ItemIds
from genrec.merges.confidence import Confidence
from genrec.merges.log_prob_sum import LogProbSum
from genrec.merges.reciprocal_rank import ReciprocalRank
from genrec.model.retriever import Retriever
from genrec.pipeline import run
from genrec.runtime.environment import Environment
from genrec.search.candidates import load_candidates
from genrec.search.settings import SearchSettings
from genrec.search.streams import search_streams
from genrec.tasks.global_contrastive import GlobalContrastive
from genrec.tasks.semantic_transfer import SemanticTransfer
from genrec.testing import clockwork
from genrec.types import Dataset, Histories

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="trained")
def _trained(tmp_path_factory):
    """A clockwork that has been learned, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("trained")
    began = time.process_time()
    report = run_in(folder, recipe(training=longer(25)))
    return folder, report, time.process_time() - began


def test_what_is_certain_is_learned(trained):
    _, report, seconds = trained
    found = recalls(report)
    assert found["merge: confidence"] == 1.0
    assert found["stream: behavior"] == 1.0
    assert found["stream: text"] == 1.0
    assert found["popularity"] < 0.1
    assert seconds < 10


def test_a_wide_beam_finds_what_exact_scoring_finds(trained):
    folder, _, _ = trained
    model, streams = opened(recipe(), folder)
    dataset = World().load(None)

    def search(**settings):
        return search_streams(
            model,
            {name: context.trie for name, context in streams.items()},
            dataset.test.histories,
            SearchSettings(**{"list_length": 10} | settings),
            num_items=NUM_ITEMS,
            max_history=6,
            with_scores=True,
        )

    exact, wide = search(method="exact"), search(method="beam", beam_width=NUM_ITEMS)
    np.testing.assert_array_equal(wide.items_BC, exact.items_BC)
    np.testing.assert_array_equal(wide.ranks_BCS, exact.ranks_BCS)
    np.testing.assert_allclose(wide.log_probs_BCS, exact.log_probs_BCS, atol=1e-4)
    everything = search(method="exact", list_length=NUM_ITEMS)
    np.testing.assert_allclose(np.exp(everything.log_probs_BCS).sum(1), 1, atol=1e-4)


def test_a_finished_run_can_be_opened_again(trained):
    """The stored model finds, for the test users, the stored candidates."""
    folder, _, _ = trained
    model, streams = opened(recipe(), folder)
    assert not model.training
    again = search_streams(
        model,
        {name: context.trie for name, context in streams.items()},
        World().load(None).test.histories,
        recipe().search,
        num_items=NUM_ITEMS,
        max_history=6,
    )
    stored = load_candidates(folder / "candidates" / "test.safetensors")
    np.testing.assert_array_equal(again.items_BC, stored.items_BC)
    np.testing.assert_array_equal(again.log_probs_BCS, stored.log_probs_BCS)


def test_a_bidirectional_model_with_every_task_learns_it_too(tmp_path):
    report = run_in(
        tmp_path,
        recipe(
            history_encoder=ItemIds(dim=32, max_history=3, feedforward_dim=64, dropout=0.0, share="items"),
            tasks=(
                GlobalContrastive(),
                SemanticTransfer(source="text", target="behavior", feedforward_dim=32, num_negatives=5),
            ),
            training=longer(6).model_copy(update={"batch_size": 16}),
            merge=LogProbSum(),
        ),
    )
    assert recalls(report)["merge: log_prob_sum"] == 1.0
    assert recalls(report)["popularity"] < 0.1


ALL = {
    "vectors behavior",
    "ids behavior",
    "vectors text",
    "ids text",
    "model behavior+text",
    "candidates test",
    "baseline popularity",
}

CHANGES = {
    "nothing": (lambda: {}, ALL),
    "title": (lambda: {"title": "another"}, ALL),
    "merge": (lambda: {"merge": ReciprocalRank()}, ALL),
    "merge that needs scores": (lambda: {"merge": LogProbSum()}, ALL - {"candidates test"}),
    "cutoffs": (
        lambda: {"evaluation": EvaluationSettings(cutoffs=(2,), bootstrap_samples=20)},
        ALL - {"baseline popularity"},
    ),
    "length of the lists": (
        lambda: {"search": SearchSettings(beam_width=20, list_length=12)},
        ALL - {"candidates test"},
    ),
    "tokenizer": (
        lambda: {"streams": {"behavior": stream("behavior"), "text": stream("text", branching=4)}},
        {"vectors behavior", "ids behavior", "vectors text", "baseline popularity"},
    ),
    "decoder": (
        lambda: {"streams": {"behavior": stream("behavior", dropout=0.2), "text": stream("text")}},
        {"vectors behavior", "ids behavior", "vectors text", "ids text", "baseline popularity"},
    ),
    "history encoder of one stream": (
        lambda: {"streams": {"behavior": stream("behavior"), "text": reading("text", max_history=3)}},
        {"vectors behavior", "ids behavior", "vectors text", "ids text", "baseline popularity"},
    ),
    "task": (
        lambda: {"tasks": (GlobalContrastive(),)},
        {"vectors behavior", "ids behavior", "vectors text", "ids text", "baseline popularity"},
    ),
    "beam width": (
        lambda: {"search": SearchSettings(beam_width=5, list_length=10)},
        {"vectors behavior", "ids behavior", "vectors text", "ids text", "model behavior+text", "baseline popularity"},
    ),
    "learning rate": (
        lambda: {"training": longer(1).model_copy(update={"learning_rate": 0.1})},
        {"vectors behavior", "ids behavior", "vectors text", "ids text", "baseline popularity"},
    ),
    "absent items": (
        lambda: {
            "streams": {"behavior": stream("behavior"), "text": stream("text", absent_items="leave_out")},
        },
        {"vectors behavior", "ids behavior", "vectors text", "baseline popularity"},
    ),
    "seed": (lambda: {"seed": 2}, {"vectors behavior", "vectors text", "baseline popularity"}),
    "dataset": (lambda: {"dataset": World(history_length=7)}, set()),
    "seen items": (
        lambda: {"evaluation": EvaluationSettings(cutoffs=(1,), bootstrap_samples=20, seen_items="filter")},
        {"vectors behavior", "ids behavior", "vectors text", "ids text"},
    ),
}


@pytest.fixture(scope="module", name="stages")
def _stages(tmp_path_factory):
    """The stages of the plain recipe, to be built on."""
    folder = tmp_path_factory.mktemp("plain")
    run_in(folder)
    assert reused(folder) == dict.fromkeys(ALL, False)
    return folder / ".stages"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_anew_what_depends_on_it_and_nothing_else(change, stages, tmp_path):
    parts, kept = CHANGES[change]
    known = set(stages.iterdir())
    folder = RunFolder(RunFolder.create(tmp_path / "run", Path("x.yaml")).path, stages)
    run(recipe(**parts()), folder)
    assert {name for name, was_there in reused(folder.path).items() if was_there} == kept
    for file in set(stages.iterdir()) - known:
        file.unlink()


def test_reused_stages_give_the_numbers_of_a_fresh_run(stages, tmp_path):
    changed = recipe(merge=LogProbSum())
    folder = RunFolder(RunFolder.create(tmp_path / "reused", Path("x.yaml")).path, stages)
    run(changed, folder)
    run_in(tmp_path / "fresh", changed)
    assert rows_of(folder.path) == rows_of(tmp_path / "fresh")


def test_a_stage_of_another_number_of_threads_is_a_note_of_the_report(tmp_path):
    asked, file = recipe(streams={"text": stream("text")}), Path("clockwork.yaml")
    first = run(asked, RunFolder.create(tmp_path, file), environment=Environment(threads=1))
    again = run(asked, RunFolder.create(tmp_path, file), environment=Environment(threads=2))
    assert not [note for note in first.notes if note.startswith("cache: ")]
    assert [note for note in again.notes if note.startswith("cache: ")] == [
        "cache: vectors of text, ids of text, model of text, candidates of test, baseline of popularity computed on "
        "cpu with 1 thread, the rest on cpu with 2 threads; results may differ from those of one machine"
    ]


def test_streams_in_another_order_are_another_model(tmp_path):
    """Where streams share a table, the first of them makes it."""
    encoder = ItemIds(dim=32, max_history=6, feedforward_dim=64, attention="causal", share="items")
    run_in(tmp_path, recipe(history_encoder=encoder))
    turned = {"text": stream("text"), "behavior": stream("behavior")}
    run_in(tmp_path, recipe(history_encoder=encoder, streams=turned))
    known = reused(tmp_path)
    assert known == dict.fromkeys(ALL - {"model behavior+text", "candidates test"}, True) | {
        "model text+behavior": False,
        "candidates test": False,
    }


PLUGIN = '''
from genrec.families import ItemEncoder
from genrec.testing import clockwork

class Plugin(ItemEncoder):
    """An item encoder."""

    def encode(self, catalog, train, *, context):
        return clockwork(40).vectors["{which}"]
'''


def test_an_edited_plugin_runs_anew(tmp_path, monkeypatch):
    def with_plugin(number, which):
        name = f"edited_plugin_{number}"  # a process loads a plugin once; the next process loads what was edited
        file = tmp_path / str(number) / "plugin.py"
        file.parent.mkdir()
        file.write_text(PLUGIN.format(which=which))
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        edited = stream("text").model_copy(update={"item_encoder": module.Plugin()})
        run_in(tmp_path / "run", recipe(streams={"behavior": stream("behavior"), "text": edited}))
        known = reused(tmp_path / "run")
        return known["vectors behavior"], known["vectors text"], known["model behavior+text"]

    assert with_plugin(1, "text") == (False, False, False)
    assert with_plugin(2, "text") == (True, True, True)
    assert with_plugin(3, "behavior") == (True, False, False)


def test_equal_seeds_give_equal_numbers_and_others_do_not(tmp_path):
    noisy = {"behavior": stream("behavior", dropout=0.3), "text": stream("text", dropout=0.3)}
    parts = {"streams": noisy, "training": longer(2), "tasks": (SemanticTransfer(source="text", target="behavior"),)}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        run_in(tmp_path / name, recipe(seed=seed, **parts))
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "again")
    assert curve_of(tmp_path / "one") == curve_of(tmp_path / "again")
    for file in ("model.safetensors", "streams/text/ids.safetensors", "candidates/test.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
        assert (tmp_path / "one" / file).read_bytes() != (tmp_path / "other" / file).read_bytes(), file


def test_adding_a_stream_leaves_the_codes_of_the_others_alone(tmp_path):
    run_in(tmp_path / "two")
    three = {"visual": stream("text", branching=3), "behavior": stream("behavior"), "text": stream("text")}
    report = run_in(tmp_path / "three", recipe(streams=three))
    for name in ("behavior", "text"):
        file = f"streams/{name}/ids.safetensors"
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "three" / file).read_bytes()
    assert [row.name for row in report.rows if row.kind == "stream"] == [f"stream: {name}" for name in three]


def test_one_stream_needs_no_merge(tmp_path):
    report = run_in(tmp_path, recipe(streams={"only": stream("behavior")}))
    assert [row.kind for row in report.rows] == ["stream", "baseline"]


def test_a_training_that_ends_in_its_warm_up_is_a_note_of_the_report(tmp_path):
    streams = {"text": stream("text")}
    training = recipe().training.model_copy(update={"warmup_steps": 100_000})
    report = run_in(tmp_path / "long", recipe(streams=streams, training=training))
    [note] = [note for note in report.notes if "warm-up" in note]
    assert re.fullmatch(r"training: stopped after \d+ of 100,000 warm-up steps, at learning rate \S+ of 0.01; .*", note)
    assert note in (tmp_path / "long" / "report.md").read_text(encoding="utf-8")
    training = training.model_copy(update={"warmup_steps": None})
    report = run_in(tmp_path / "short", recipe(streams=streams, training=training))
    assert not any("warm-up" in note for note in report.notes)


def test_components_see_their_own_part_of_the_data_alone(tmp_path):
    dataset = World().load(None)
    seen = []

    class Spy(ItemEncoder):
        """Remembers what it is shown."""

        def encode(self, catalog, train, *, context):
            seen.append(train)
            return clockwork(NUM_ITEMS).vectors["text"]

    class Fitted(Merge):
        """Is fitted on the validation split, ranks as the first stream does."""

        def fit(self, candidates, targets):
            seen.append((candidates, targets))
            return self

        def merge(self, candidates, *, top_n):
            return Confidence().merge(candidates, top_n=top_n)

    spied = stream("text").model_copy(update={"item_encoder": Spy()})
    run_in(tmp_path, recipe(streams={"behavior": stream("behavior"), "text": spied}, merge=Fitted()))
    train, (candidates, targets) = seen
    np.testing.assert_array_equal(train.items, dataset.train.items)
    np.testing.assert_array_equal(targets, dataset.valid.targets)
    stored = load_candidates(tmp_path / "candidates" / "valid.safetensors")
    np.testing.assert_array_equal(candidates.items_BC, stored.items_BC)
    asked = load_candidates(tmp_path / "candidates" / "test.safetensors")
    assert not np.array_equal(asked.items_BC, stored.items_BC)


def test_a_dataset_that_nobody_can_be_asked_about_is_said_at_once(tmp_path):
    whole = World().load(None)

    class Short(DatasetSource):
        """Users with two items each."""

        def load(self, data):
            return Dataset("short", whole.catalog, ("a", "b"), Histories.of([[1, 2], [2, 3]]), "short")

    with pytest.raises(DataError, match=r"^short: no user has three items or more, so no user can be evaluated$"):
        run_in(tmp_path, recipe(dataset=Short()))


@pytest.mark.parametrize("dies_at_step", [2, 13, 24], ids=["first epoch", "third epoch", "last epoch"])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(dies_at_step, tmp_path, monkeypatch):
    noisy = {"behavior": stream("behavior", dropout=0.3), "text": stream("text", dropout=0.3)}
    asked = recipe(streams=noisy, training=longer(5))
    run_in(tmp_path / "whole", asked)
    calls, forward = [], Retriever.forward

    def dies(self, batch):
        calls.append(batch)
        if len(calls) == dies_at_step:
            raise KeyboardInterrupt
        return forward(self, batch)

    monkeypatch.setattr(Retriever, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "killed", asked)
    assert json.loads((tmp_path / "killed" / "run.json").read_text()) == {"verb": "run", "finished": False}
    before = len(calls)
    run_in(tmp_path / "killed", asked)
    assert len(calls) - before == 25 - (dies_at_step - 1) // 5 * 5, "finished epochs are not trained again"
    assert curve_of(tmp_path / "killed") == curve_of(tmp_path / "whole")
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "whole")
    for name in ("model.safetensors", "candidates/test.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "killed" / ".stages").glob("training-*"))
