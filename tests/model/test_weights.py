"""Weights and optimizer state: what is stored, what comes back, and that no file is ever half-written."""

import pytest
import safetensors.torch
import torch
from torch import nn

from genrec.errors import DataError
from genrec.model import weights as model_weights
from genrec.model.weights import load_tensors, load_weights, save_tensors, weights_of
from genrec.training.optimizer import build_optimizer, load_optimizer, optimizer_tensors
from genrec.training.settings import TrainingSettings


class Tied(nn.Module):
    """Two tables that are one, a persistent buffer, and one that is not."""

    def __init__(self, seed=1):
        super().__init__()
        torch.manual_seed(seed)
        self.input, self.linear = nn.Embedding(5, 3), nn.Linear(3, 3)
        self.output = self.input
        self.register_buffer("kept", torch.randn(2))
        self.register_buffer("derived", torch.randn(2), persistent=False)


def test_shared_tensors_are_there_once():
    weights = weights_of(Tied())
    assert list(weights) == ["input.weight", "linear.weight", "linear.bias", "kept"]
    assert not any(tensor.requires_grad for tensor in weights.values())


def test_weights_come_back_and_stay_tied(tmp_path):
    source, target = Tied(1), Tied(2)
    save_tensors(weights_of(source), tmp_path / "model.safetensors")
    derived = target.derived.clone()
    load_weights(target, load_tensors(tmp_path / "model.safetensors"))
    assert target.output is target.input
    for name, tensor in weights_of(source).items():
        assert torch.equal(tensor, weights_of(target)[name])
    assert torch.equal(target.derived, derived)


def test_weights_of_another_model_are_refused():
    weights = weights_of(Tied())
    with pytest.raises(DataError, match=r"^these weights belong to another model: extra, kept in only one of the two$"):
        load_weights(Tied(), {name: w for name, w in weights.items() if name != "kept"} | {"extra": torch.zeros(1)})
    with pytest.raises(DataError, match=r"^kept: weights of shape \(3,\), model \(2,\)$"):
        load_weights(Tied(), weights | {"kept": torch.zeros(3)})


def test_an_empty_buffer_takes_the_shape_of_the_file():
    module = Tied()
    module.register_buffer("kept", torch.empty(0))
    load_weights(module, weights_of(Tied()))
    assert torch.equal(module.kept, Tied().kept)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_an_optimizer_goes_on_as_if_nothing_had_happened(kind, tmp_path):
    settings = TrainingSettings(optimizer=kind, weight_decay=0.1)

    def steps(module, optimizer, count):
        for number in range(count):
            optimizer.zero_grad()
            module.linear(module.input(torch.tensor([number % 5, 2]))).square().sum().backward()
            optimizer.step()

    whole = Tied()
    optimizer = build_optimizer(whole, settings)
    steps(whole, optimizer, 3)
    save_tensors(weights_of(whole) | optimizer_tensors(optimizer), tmp_path / "state.safetensors")
    steps(whole, optimizer, 3)
    resumed = Tied(2)
    tensors = load_tensors(tmp_path / "state.safetensors")
    load_weights(resumed, {name: part for name, part in tensors.items() if not name.startswith("optimizer/")})
    again = build_optimizer(resumed, settings)
    load_optimizer(again, tensors)
    assert float(optimizer_tensors(again)["optimizer/0/step"]) == 3
    steps(resumed, again, 3)
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def test_an_optimizer_that_has_done_nothing_has_no_state():
    optimizer = build_optimizer(Tied(), TrainingSettings())
    assert optimizer_tensors(optimizer) == {}
    load_optimizer(optimizer, {})


def test_a_broken_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    save_tensors({"x": torch.ones(3)}, file)

    def dies(tensors, path):
        path.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr(model_weights, "save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        save_tensors({"x": torch.zeros(3)}, file)
    assert torch.equal(safetensors.torch.load_file(file)["x"], torch.ones(3))


def test_views_and_transposes_can_be_saved(tmp_path):
    matrix = torch.arange(6.0).view(2, 3)
    save_tensors({"turned": matrix.T}, tmp_path / "x.safetensors")
    assert torch.equal(load_tensors(tmp_path / "x.safetensors")["turned"], matrix.T)
