"""Folders of pretrained text encoders, and checks before loading: safetensors only, no remote code."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from genrec.errors import DataError
from genrec.runtime.environment import Environment

_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja")
_SUBFOLDERS_LEFT_OUT = ("onnx/*", "openvino/*")
RANDOM_WEIGHTS_KEY = "genrec_random_weights"
"""A ``config.json`` (or ``open_clip_config.json``) in which this is true marks the weights beside it as random."""


def find_folder(model: str, environment: Environment) -> Path | None:
    """The folder of a model that is on this machine; None for a name on the Hugging Face Hub.

    Args:
        model: a folder, ``package:<module>`` for a Python package that carries the model, or a name on the hub.
        environment: its folders are searched.

    Raises:
        DataError: the folder or package is not there, or has no model in it.
    """
    if model.startswith("package:"):
        return _in_package(model.removeprefix("package:"))
    found = environment.locate(model)
    if found is not None and found.is_dir():
        if not (found / "config.json").is_file() and not (found / "modules.json").is_file():
            raise DataError(
                f"{found}: the folder has neither config.json nor modules.json; expected a sentence-transformers or "
                "transformers model folder"
            )
        return found
    if model.count("/") > 1 or model[:1] in {".", "/", "~"} or "\\" in model or Path(model).suffix == ".safetensors":
        raise DataError(
            f"{model}: no such folder, looked in {environment.places}; expected a sentence-transformers or "
            "transformers model folder with config.json, tokenizer and model.safetensors"
        )
    return None


def package_folders(name: str) -> list[Path]:
    """The folders of an installed Python package that carries weights; it is not imported.

    Raises:
        DataError: it is not installed.
    """
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    if not roots:
        raise DataError(
            f"package:{name}: no Python package of this name is installed; pip install {name.replace('_', '-')}"
        )
    return roots


def _in_package(name: str) -> Path:
    roots = package_folders(name)
    configs = sorted(config for root in roots for config in root.rglob("config.json"))
    models = [config.parent for config in configs if "model_type" in read_json(config)]
    if not models:
        raise DataError(f"package:{name}: no folder of {roots[0]} holds a model (a config.json with a model_type)")
    folder = min(models, key=lambda place: (len(place.parts), place.as_posix()))
    above = [place for place in folder.parents if (place / "modules.json").is_file() and place.is_relative_to(roots[0])]
    return above[-1] if above else folder


def download(model: str, revision: str | None) -> Path:
    """The folder of a model of the Hugging Face Hub: from its cache if it is there, fetched otherwise.

    Raises:
        DataError: it cannot be downloaded; the message explains the manual download.
    """
    from huggingface_hub import snapshot_download

    wanted = {"revision": revision, "allow_patterns": list(_WANTED), "ignore_patterns": list(_SUBFOLDERS_LEFT_OUT)}
    try:
        cached = Path(snapshot_download(model, local_files_only=True, **wanted))
        if any(cached.glob("config.json")) and any(cached.glob("*.safetensors")):
            return cached
    except Exception:  # not in the cache: the exception class depends on the version of the hub's client
        pass
    try:
        return Path(snapshot_download(model, **wanted))
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise DataError(
            f"text encoder {model!r} is no folder here and cannot be fetched from the Hugging Face Hub ({reason}). "
            f"Where there is a network, run `hf download {model} --local-dir {model.rpartition('/')[2]}`, copy that "
            "folder here and give its path as `model`"
        ) from error


def inspect(folder: Path) -> dict[str, Any]:
    """Check that a folder can be loaded safely, and return the configuration of its transformer.

    Raises:
        DataError: weights are missing or pickled, or the folder requires its own code.
    """
    modules = read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    for module in modules:
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            raise DataError(
                f"{folder / 'modules.json'}: module {module.get('type')!r} is not part of sentence-transformers; "
                "genrec does not run code that comes with weights"
            )
    transformer = transformer_folder(folder)
    if not (transformer / "config.json").is_file():
        raise DataError(f"{transformer}: config.json is missing; copy the whole model folder")
    config = read_json(transformer / "config.json")
    if "auto_map" in config:
        raise DataError(f"{transformer / 'config.json'}: auto_map requires its own code; genrec does not run it")
    _demand_safetensors(transformer)
    for module in modules[1:]:
        if str(module.get("type", "")).rpartition(".")[2] == "Dense":
            _demand_safetensors(folder / module["path"])
    return config


def demand_loaded(folder: Path, names: list[str]) -> None:
    """Check that a transformer's tensors come from its files: loaders initialize missing ones at random.

    Args:
        folder: the transformer's own folder.
        names: the tensors of the module; their prefixes in the files may differ.

    Raises:
        DataError: the files hold fewer than half of them.
    """
    from safetensors import safe_open

    stored: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as content:
            stored |= {".".join(name.split(".")[-4:]) for name in content.keys()}  # noqa: SIM118
    found = sum(".".join(name.split(".")[-4:]) in stored for name in names)
    if found < len(names) / 2:
        raise DataError(
            f"{folder}: only {found} of the model's {len(names)} tensors are in its safetensors files; "
            "these are the weights of another model"
        )


def transformer_folder(folder: Path) -> Path:
    """The folder of the transformer inside a model's folder."""
    if not (folder / "modules.json").is_file():
        return folder
    return folder / read_json(folder / "modules.json")[0].get("path", "")


def _demand_safetensors(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.pt")])
    if pickled:
        raise DataError(
            f"{pickled[0]}: pickled weights are not loaded, since a pickle can run any code. Where you trust the file, "
            'convert it once: python -c "import torch; from safetensors.torch import save_file; '
            f"w = torch.load('{pickled[0].name}', weights_only=True); "
            "save_file({k: v.clone().contiguous() for k, v in w.items()}, 'model.safetensors')\" in that folder"
        )
    raise DataError(f"{folder}: the weights are missing; expected model.safetensors (pickled .bin files are not used)")


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it is not readable as JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from error
