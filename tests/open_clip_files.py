"""A small CLIP checkpoint with random weights, in the very layout of open_clip's folders on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP
from safetensors.torch import save_file

MODEL: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESSING: dict[str, Any] = {
    "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip


def small_clip(seed: int = 0) -> CLIP:
    """The model itself, whose attention has 2 layers of 2 heads over 4 x 4 patches."""
    torch.manual_seed(seed)
    return CLIP(**MODEL).eval()


def write_open_clip(folder: Path, seed: int = 0, *, says_random: bool = True) -> Path:
    """``open_clip_config.json`` and ``open_clip_model.safetensors``; the config says that the weights are random."""
    folder.mkdir(parents=True)
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESSING}
    if says_random:
        config["genrec_random_weights"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(small_clip(seed).state_dict(), folder / "open_clip_model.safetensors")
    return folder
