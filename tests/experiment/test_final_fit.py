"""The final fit: test users are evaluated with a model fitted on train + validation, validation users are not."""

import json

import numpy as np
import pytest
import torch
from clockwork_runs import NUM_ITEMS, Given, World, longer, opened, recipe, run_in, stream

from genrec.baselines.popularity import Popularity
from genrec.errors import DataError
from genrec.evaluation.metrics import target_ranks
from genrec.experiment.cache import Cache
from genrec.experiment.candidates import search_users
from genrec.experiment.finished_run import finished_fits, load_fit
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_model import load_model
from genrec.merges.learned import Learned
from genrec.merges.single import Single
from genrec.model.weights import load_tensors, weights_of
from genrec.runtime.environment import Environment, WorkContext
from genrec.search.candidates import load_candidates


def final(**changes):
    training = longer(6).model_copy(update={"final_fit": True, "patience": 1, "schedule": "cosine"})
    return recipe(**{"training": training, "merge": Learned()} | changes)


@pytest.fixture(scope="module", name="done")
def _done(tmp_path_factory):
    """The same recipe without and with a final fit, from the same stages."""
    root = tmp_path_factory.mktemp("final")
    plain = final().model_copy(update={"training": final().training.model_copy(update={"final_fit": False})})
    run_in(root, plain)
    before = {name: json.loads((root / name).read_text()) for name in ("metrics.json", "training.json", "merge.json")}
    weights = load_tensors(root / "model.safetensors")
    return root, before, weights, run_in(root, final())


def test_training_histories_end_with_the_validation_items():
    dataset = World().load(None)
    both = dataset.with_validation()
    for row, user in enumerate(dataset.valid.users):
        expected = [*dataset.train[user], dataset.valid.targets[row]]
        np.testing.assert_array_equal(both.train[user], expected)
        np.testing.assert_array_equal(both.train[user], dataset.test.histories[row])
    np.testing.assert_array_equal(both.test.targets, dataset.test.targets)
    assert (len(both.valid), both.fingerprint == dataset.fingerprint) == (0, False)


def test_the_first_fit_is_the_one_without_and_chooses_the_epochs(done):
    root, before, weights, report = done
    first = json.loads((root / "train_only" / "training.json").read_text())
    assert first == before["training.json"], "found finished: the option retrains nothing of the first fit"
    kept = load_tensors(root / "train_only" / "model.safetensors")
    assert all((kept[name] == weights[name]).all() for name in weights)
    last = json.loads((root / "training.json").read_text())
    assert len(last["epochs"]) == first["best_epoch"]
    assert last["stopped_by"] == "epochs"
    assert [epoch["validation"] for epoch in last["epochs"]] == [None] * first["best_epoch"]
    ends = [epoch["learning_rate"] for epoch in last["epochs"]]
    assert ends[-1] > 1e-3, "cosine over max_epochs, cut off, and not over the epochs that are trained"
    assert json.loads((root / "merge.json").read_text()) == before["merge.json"], "weights of the first fit's merge"
    assert report.curve[0].validation is not None


def test_the_report_says_so(done):
    root, before, _, report = done
    epochs = json.loads((root / "train_only" / "training.json").read_text())["best_epoch"]
    text = f"train + validation, {epochs} epoch{'s' * (epochs != 1)}, selected on validation by a fit on train only"
    assert report.protocol.final_fit == text
    assert f"Final fit: {text}." in (root / "report.md").read_text()
    assert json.loads((root / "metrics.json").read_text())["protocol"]["final_fit"] == text
    assert before["metrics.json"]["protocol"]["final_fit"] == "train only"
    assert any(note.startswith("final fit: ") for note in report.notes)


def test_baselines_learn_from_the_same_histories(done):
    _, _, _, report = done
    dataset = World().load(None)
    fitted = Popularity().fit(dataset.catalog, dataset.with_validation().train, context=WorkContext(seed=1))
    ranking = fitted.rank(dataset.test.histories, top_n=10, exclude_seen=False)
    [row] = [row for row in report.rows if row.kind == "baseline"]
    np.testing.assert_array_equal(row.ranks_U, target_ranks(ranking, dataset.test.targets))


def same(model, file):
    stored = load_tensors(file)
    return all(torch.equal(stored[name], tensor.cpu()) for name, tensor in weights_of(model).items())


def test_a_finished_run_evaluates_test_users_with_the_final_model_and_validation_users_with_the_first(done, tmp_path):
    root, _, _, report = done
    folders = {"valid": root / "train_only", "test": root}
    folder, cache = RunFolder.open(root), Cache(tmp_path / "stages")
    fits = finished_fits(folder, final(), World().load(None), Environment())
    assert (fits.valid.selection, fits.test.selection) == (None, fits.valid)
    found = {}
    for split, other in (("valid", "test"), ("test", "valid")):
        streams, trained = load_fit(folder, fits.of(split))
        assert same(trained.model, folders[split] / "model.safetensors")
        assert not same(trained.model, folders[other] / "model.safetensors")
        stored = load_candidates(folders[split] / "candidates" / f"{split}.safetensors")
        found[split] = search_users(fits.of(split), trained.model, streams, split, cache, scores=True)
        np.testing.assert_array_equal(found[split].items_BC, stored.items_BC)
        np.testing.assert_array_equal(found[split].log_probs_BCS, stored.log_probs_BCS)
    assert fits.valid.keys.model != fits.test.keys.model
    alone = Single(stream="text").merge(found["test"], top_n=10)
    [row] = [row for row in report.rows if row.name == "stream: text"]
    np.testing.assert_array_equal(row.ranks_U, target_ranks(alone, World().load(None).test.targets))


def test_a_missing_model_is_said(done, tmp_path):
    root, _, _, _ = done
    model, streams = opened(final(), root)
    assert same(model, root / "model.safetensors"), "what recommend and serve load"
    with pytest.raises(DataError) as caught:
        load_model(final(), tmp_path, streams, NUM_ITEMS)
    file = tmp_path / "model.safetensors"
    assert str(caught.value) == f"{file}: missing, expected a file of the finished run; run its recipe again"


def test_encoders_that_read_no_histories_are_not_run_again(tmp_path):
    seen = []

    class Reader(Given):
        """Remembers the histories that it is shown."""

        def encode(self, catalog, train, *, context):
            seen.append((self.which, train))
            return super().encode(catalog, train, context=context)

    class NonReader(Reader):
        """The same, and says that they do not matter."""

        reads_histories = False

    streams = {
        "behavior": stream("behavior").model_copy(update={"item_encoder": Reader(which="behavior")}),
        "text": stream("text").model_copy(update={"item_encoder": NonReader(which="text")}),
    }
    run_in(tmp_path, final(streams=streams, training=longer(1).model_copy(update={"final_fit": True})))
    assert [which for which, _ in seen] == ["behavior", "text", "behavior"]
    dataset = World().load(None)
    for (_, train), expected in zip(seen, [dataset.train, dataset.train, dataset.with_validation().train], strict=True):
        np.testing.assert_array_equal(train.items, expected.items)
    codes = {
        folder: (tmp_path / folder / "streams/text/ids.safetensors").read_bytes() for folder in (".", "train_only")
    }
    assert codes["."] == codes["train_only"]
