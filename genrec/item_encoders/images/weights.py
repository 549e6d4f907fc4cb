"""Weights files of image encoders: search, and safe reading of tensors without running code."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.errors import DataError
from genrec.item_encoders._weights import RANDOM_WEIGHTS_KEY, package_folders, read_json
from genrec.runtime.environment import Environment

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Suffixes of weights files, in order of preference."""
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.")


def find_weights(name: str, environment: Environment, first: str = "model.safetensors") -> Path:
    """The weights file of a name.

    Args:
        name: a file, a folder that holds one, or ``package:<module>`` for a Python package that carries one.
        environment: its folders are searched.
        first: the preferred file in a folder with several.

    Raises:
        DataError: there is none, or several.
    """
    if name.startswith("package:"):
        roots = package_folders(name.removeprefix("package:"))
        return _the_only(name, [file for root in roots for file in root.rglob("*")], first)
    found = environment.locate(name)
    if found is None:
        raise DataError(
            f"{name}: no such file or folder, looked in {environment.places}; expected weights "
            f"({', '.join(SUFFIXES)}), a folder that holds them, or package:<module> for a Python package that "
            "carries them"
        )
    if found.is_dir():
        return _the_only(str(found), found.iterdir(), first)
    if found.suffix not in SUFFIXES:
        raise DataError(f"{found}: not a weights file; expected a file that ends in {', '.join(SUFFIXES)}")
    return found


def _the_only(name: str, files: Iterable[Path], first: str) -> Path:
    """The file named ``first``, else the only weights file; only files with the preferred suffix count."""
    files = sorted(file for file in files if file.is_file())
    for suffix in SUFFIXES:
        fitting = [file for file in files if file.suffix == suffix]
        named = [file for file in fitting if file.name == first]
        if len(fitting) == 1 or len(named) == 1:
            return (named or fitting)[0]
        if fitting:
            names = ", ".join(file.name for file in fitting[:5])
            raise DataError(f"{name}: holds {len(fitting)} weights files ({names}); name one of them by its path")
    raise DataError(f"{name}: holds no weights; expected a file that ends in {', '.join(SUFFIXES)}")


def demand_reachable(repository: str) -> None:
    """Request a repository that is not in the cache once from the Hugging Face Hub: loaders retry for a minute offline.

    Raises:
        Exception: it is not reachable, or has no such repository; the class depends on the version of the client.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        snapshot_download(name, revision=revision or None, local_files_only=True)
    except LocalEntryNotFoundError:
        HfApi().model_info(name, revision=revision or None, timeout=10)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a weights file or training checkpoint by name.

    Raises:
        DataError: the file is damaged, or reading it would run code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: the weights cannot be read ({_first_line(error)}); copy the file again") from error
    except Exception as error:  # weights_only: anything in a pickle that is not a tensor
        raise DataError(
            f"{file}: the weights cannot be read ({_first_line(error)}). A pickle that holds more than tensors is not "
            "loaded, since it can run any code: take the model's .safetensors file instead"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(isinstance(part, torch.Tensor) for part in content.values()):
        raise DataError(f"{file}: holds no weights; expected tensors by name (a state_dict)")
    return {_without_prefix(str(name)): tensor for name, tensor in content.items()}


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def mismatch(file: Path, tensors: Mapping[str, Tensor], model: str, wanted: Mapping[str, Tensor]) -> DataError:
    """The error for tensors that do not match a model, with counts."""
    missing = [name for name in wanted if name not in tensors]
    unexpected = [name for name in tensors if name not in wanted]
    shapes = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    problems = [
        f"{len(names)} {what} (e.g. {names[0]})"
        for names, what in ((missing, "are missing"), (unexpected, "are unknown to it"), (shapes, "have another shape"))
        if names
    ]
    return DataError(
        f"{file}: these are not the weights of {model!r}: of its {len(wanted)} tensors and the file's {len(tensors)}, "
        f"{', '.join(problems) or 'none fits'}; set the model of this file"
    )


def weights_files(file: Path) -> tuple[Path, ...]:
    """A weights file and the configurations beside it, which define the preprocessing."""
    return (file, *_configs(file))


def are_random(file: Path) -> bool:
    """Whether a configuration beside a weights file marks the weights as random."""
    return any(bool(read_config(config).get(RANDOM_WEIGHTS_KEY)) for config in _configs(file))


def read_config(file: Path) -> dict[str, Any]:
    """A configuration beside weights.

    Raises:
        DataError: it is not one JSON object.
    """
    found = read_json(file)
    if not isinstance(found, dict):
        raise DataError(f"{file}: found a {type(found).__name__}, expected one JSON object")
    return found


def _configs(file: Path) -> list[Path]:
    beside = (file.with_name(name) for name in ("config.json", "open_clip_config.json"))
    return [config for config in beside if config.is_file()]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
