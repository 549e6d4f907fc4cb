"""CLIP's image encoder: open_clip's own outputs from a small checkpoint of random weights, and missing weights."""

import json
import sys

import numpy as np
import pytest
from refusals import refusal_of

pytest.importorskip("open_clip", reason="needs the extra genrec[vision]", exc_type=ImportError)
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip_files import MODEL, PREPROCESSING, small_clip, write_open_clip
from PIL import Image
from safetensors.torch import load_file, save_file

from genrec.errors import DataError
from genrec.experiment.keys import component_key
from genrec.item_encoders.vit import Vit
from genrec.runtime.environment import Environment, WorkContext
from genrec.testing import check


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_open_clip(tmp_path_factory.mktemp("clip") / "small-clip")


@pytest.fixture
def gradients(catalog_of, swatches):
    return catalog_of([""] * 4, swatches([(250, 10, 0), None, [(0, 10, 200), (90, 90, 90)], (10, 250, 30)]))


def test_it_keeps_the_contract(folder):
    check(Vit(model=str(folder), num_workers=0))


def test_vectors_are_those_of_open_clip(folder, gradients, no_histories):
    vectors = Vit(model=str(folder), normalize=False).encode(gradients, no_histories, context=WorkContext(seed=0))
    transform = image_transform_v2(PreprocessCfg(size=32, **PREPROCESSING), is_train=False)
    images = [Image.new("RGB", (20, 30), color) for of in gradients.images.colors for color in of]
    with torch.inference_mode():
        expected = small_clip().encode_image(torch.stack([transform(image) for image in images])).numpy()
    assert vectors.present_I.tolist() == [True, False, True, True]
    assert np.allclose(vectors.vectors_IE[[0, 3]], expected[[0, 3]], atol=1e-5)
    assert np.allclose(vectors.vectors_IE[2], expected[1:3].mean(axis=0), atol=1e-5)
    assert vectors.notes == (f"the weights of {folder} are random",)
    unit = Vit(model=str(folder)).encode(gradients, no_histories, context=WorkContext(seed=0)).vectors_IE
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    mean = (expected / lengths)[1:3].mean(axis=0)
    assert np.allclose(unit[2], mean / np.linalg.norm(mean), atol=1e-5)
    assert np.allclose(np.linalg.norm(unit[[0, 2, 3]], axis=1), 1, atol=1e-5)


def test_weights_may_be_a_file_of_a_model_that_open_clip_knows(tmp_path, monkeypatch, gradients, no_histories):
    (tmp_path / "small.json").write_text(json.dumps(MODEL))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {})
    open_clip.add_model_config(tmp_path / "small.json")
    save_file(small_clip().state_dict(), tmp_path / "clip.safetensors")
    torch.save({"state_dict": small_clip().state_dict()}, tmp_path / "clip.pt")
    of_safetensors, of_checkpoint = (
        Vit(model="small", pretrained=str(tmp_path / name)).encode(gradients, no_histories, context=WorkContext(seed=0))
        for name in ("clip.safetensors", "clip.pt")
    )
    assert np.array_equal(of_safetensors.vectors_IE, of_checkpoint.vectors_IE)
    assert of_safetensors.notes == ()
    assert Vit(model="small", pretrained=str(tmp_path / "clip.pt")).input_files(Environment())


def test_the_pretraining_decides_the_activation(monkeypatch):
    asked = {}

    def create_model(name, **options):
        asked.update(options, name=name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    for model, pretrained, quick in (
        ("ViT-B-16", "openai", True),
        ("ViT-B-32", "openai", True),
        ("ViT-B-16", "laion400m_e32", False),
    ):
        with pytest.raises(DataError, match=r"no route to host"):
            Vit(model=model, pretrained=pretrained).backbone(Environment())
        assert asked == {
            "name": model, "pretrained": pretrained, "force_quick_gelu": quick,
            "require_pretrained": True, "weights_only": True,
        }  # fmt: skip


def test_weights_that_are_not_there(tmp_path, monkeypatch, gradients, no_histories):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("open_clip.create_model", lambda *_, **__: pytest.fail("tries a dead network for a minute"))
    assert refusal_of(Vit(), gradients, no_histories) == (
        "vit: the weights 'openai' of 'ViT-B-16' cannot be fetched (no route to host). "
        "Where there is a network, run `hf download timm/vit_base_patch16_clip_224.openai "
        "open_clip_config.json open_clip_model.safetensors --local-dir vit_base_patch16_clip_224.openai`, copy that "
        "folder here and give its path as `model`"
    )
    assert (
        "run `hf download laion/CLIP-ViT open_clip_config.json open_clip_model.safetensors --local-dir CLIP-ViT`"
        in (refusal_of(Vit(model="hf-hub:laion/CLIP-ViT"), gradients, no_histories))
    )
    assert refusal_of(Vit(pretrained="nothing"), gradients, no_histories).startswith(
        "vit: open_clip knows no pretraining 'nothing' of ViT-B-16; expected a weights file (.safetensors, .pth, .pt, "
        ".bin) or one of: openai, "
    )
    assert refusal_of(Vit(pretrained=""), gradients, no_histories).startswith("vit: open_clip knows no pretraining ''")
    assert refusal_of(Vit(model="ViT-B-61"), gradients, no_histories).startswith(
        f"vit: open_clip {open_clip.__version__} has no model 'ViT-B-61'; did you mean ViT-B-16"
    )
    assert refusal_of(Vit(pretrained="gone.safetensors"), gradients, no_histories) == (
        f"gone.safetensors: no such file or folder, looked in {Environment().places}; expected weights (.safetensors, "
        ".pth, .pt, .bin), a folder that holds them, or package:<module> for a Python package that carries them"
    )
    assert refusal_of(Vit(model="./nowhere"), gradients, no_histories).startswith(
        f"./nowhere: no such folder, looked in {Environment().places}; expected"
    )
    assert refusal_of(Vit(model=str(tmp_path)), gradients, no_histories) == (
        f"{tmp_path}: open_clip_config.json is missing; expected a folder with open_clip_config.json and "
        "open_clip_model.safetensors"
    )
    assert refusal_of(Vit(model="package:json"), gradients, no_histories).startswith("package:json: no folder of")


def test_folders_whose_weights_are_missing_or_of_another_model(tmp_path, gradients, no_histories):
    folder = write_open_clip(tmp_path / "clip")
    file = folder / "open_clip_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if "resblocks.1" not in name}, file)
    message = refusal_of(Vit(model=str(folder)), gradients, no_histories)
    assert message.startswith(f"{file}: the weights cannot be loaded into {folder}: ")
    assert "Missing key(s) in state_dict" in message
    file.unlink()
    assert refusal_of(Vit(model=str(folder)), gradients, no_histories) == (
        f"{folder}: holds no weights; expected a file that ends in .safetensors, .pth, .pt, .bin"
    )


def test_a_pickle_that_runs_code_is_rejected(tmp_path, gradients, no_histories):
    folder = write_open_clip(tmp_path / "clip")
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": small_clip().state_dict(), "hook": print}, folder / "open_clip_pytorch_model.bin")
    message = refusal_of(Vit(model=str(folder)), gradients, no_histories)
    assert message.startswith(f"{folder}/open_clip_pytorch_model.bin: the weights cannot be loaded")
    assert "Weights only load failed" in message


def test_identity_follows_the_weights_and_not_the_speed(tmp_path):
    folder = write_open_clip(tmp_path / "clip")
    before = component_key(Vit(model=str(folder)), Environment())
    assert component_key(Vit(model=str(folder), batch_size=3, num_workers=2), Environment()) == before
    assert component_key(Vit(model=str(folder), precision="fp32"), Environment()) != before
    save_file(small_clip(seed=1).state_dict(), folder / "open_clip_model.safetensors")
    assert component_key(Vit(model=str(folder)), Environment()) != before
    before = component_key(Vit(model=str(folder)), Environment())
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text().replace("0.4", "0.45"))
    assert component_key(Vit(model=str(folder)), Environment()) != before
    assert Vit().input_files(Environment()) == ()


def test_a_package_that_cannot_be_imported(folder, monkeypatch, gradients, no_histories):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert refusal_of(Vit(model=str(folder)), gradients, no_histories) == (
        "vit: open_clip cannot be imported (import of open_clip halted; None in sys.modules); "
        "pip install 'genrec[vision]'"
    )
