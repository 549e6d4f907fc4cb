"""EfficientNet tensors with the names of the package EfficientNet-PyTorch -> timm's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}
_INVERTED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3", **_SQUEEZE,
}  # fmt: skip
"""Names in a block with an expansion layer; blocks of the first stage have none."""


def is_foreign(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names of EfficientNet-PyTorch."""
    return "_conv_stem.weight" in tensors and "_blocks.0._depthwise_conv.weight" in tensors


def with_timm_names(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors; timm numbers blocks by stage, EfficientNet-PyTorch consecutively.

    Args:
        tensors: with the names of EfficientNet-PyTorch.
        wanted: the tensors of timm's model, which define the number of blocks of each stage.
    """
    found = {match.groups() for name in wanted if (match := re.match(r"blocks\.(\d+)\.(\d+)\.", name))}
    places = sorted((int(stage), int(block)) for stage, block in found)
    renamed = {}
    for name, tensor in tensors.items():
        module, _, rest = name.partition(".")
        if module == "_blocks":
            number, module, leaf = rest.split(".", 2)
            names = _INVERTED if f"_blocks.{number}._expand_conv.weight" in tensors else _SEPARABLE
            stage, block = places[int(number)] if int(number) < len(places) else ("beyond", int(number))
            renamed[f"blocks.{stage}.{block}.{names.get(module, module)}.{leaf}"] = tensor
        else:
            renamed[f"{_OUTSIDE.get(module, module)}.{rest}"] = tensor
    return renamed
