"""Weights of a module, and tensors on disk: safetensors, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genrec.errors import DataError
from genrec.runtime.files import replacing


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tensor that two modules share is there once."""
    persistent = module.state_dict().keys()
    named = dict(module.named_parameters())
    named |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return {name: tensor.detach() for name, tensor in named.items()}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a module of the same shape; an empty buffer takes that of the file, for data decides it.

    Raises:
        DataError: names or shapes differ.
    """
    own = weights_of(module)
    if missing := sorted(own.keys() ^ weights.keys()):
        raise DataError(f"these weights belong to another model: {', '.join(missing[:5])} in only one of the two")
    buffers = dict(module.named_buffers())
    with torch.no_grad():
        for name, tensor in own.items():
            if name in buffers and tensor.numel() == 0:
                owner, _, attribute = name.rpartition(".")
                setattr(module.get_submodule(owner), attribute, weights[name].to(tensor))
                continue
            if tensor.shape != weights[name].shape:
                raise DataError(f"{name}: weights of shape {tuple(weights[name].shape)}, model {tuple(tensor.shape)}")
            tensor.copy_(weights[name])


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a safetensors file that is complete or not there."""
    with replacing(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file."""
    return load_file(path, device=str(device))
