"""Runs a recipe on one thread by the command line, and reads back which place each user's target got.

Of genrec this imports the command line alone, and reads the run's folder with safetensors, so that it holds whatever
becomes of the modules behind it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from golden.blocks import Golden
from safetensors.numpy import load_file
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
RANKS = Path(__file__).parent / "ranks"
ENVIRONMENT = Path(__file__).parent / "environment.json"
LARGE: dict[str, str | None] = {"quickstart": None, "best_beauty": "amazon-beauty"}
"""Recipes of ``recipes/`` whose ranks are kept as hashes, and the data folder that each needs."""
CUTOFF = 10
TOLERANCE = 0.1
"""Of Recall@10 and NDCG@10 of a tiny recipe on another machine: the last digits of a training differ there, and 12 of
120 users may find what they did not."""
LARGE_TOLERANCE = 0.01
"""The same with thousands of users."""

_DECIDING = ("torch", "numpy", "scipy", "scikit-learn", "faiss-cpu", "cpu", "instructions", "threads")
"""What must be equal for ranks to be equal."""


@dataclass(frozen=True)
class Ranks:
    """What a run found."""

    users: np.ndarray
    """Row of each asked user in the dataset, int64 (U,)."""
    targets: np.ndarray
    """The item to be found, int64 (U,)."""
    methods: Mapping[str, np.ndarray]
    """By method, in the order of the report: place of the target from 0, int32 (U,); -1 where it is not in the list."""


def run_tiny(golden: Golden, folder: Path) -> Ranks:
    """Run a tiny recipe in an empty folder."""
    data = folder / "data"
    data.mkdir(parents=True)
    if golden.write_data is not None:
        golden.write_data(data)
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(golden.block, indent=1), encoding="utf-8")  # which is YAML, without aliases
    return run_recipe(recipe, folder / "run", data)


def run_recipe(recipe: Path, output: Path, data: Path | None) -> Ranks:
    """Run a recipe on one thread, with the plugins of the repository."""
    from genrec.cli import main

    words = ["run", str(recipe.resolve()), "--output", str(output.resolve()), "--device", "cpu"]
    words += [] if data is None else ["--data", str(data.resolve())]
    with one_thread(), patch.dict(os.environ), _inside(ROOT):
        status = main(words)
    if status != 0:
        raise RuntimeError(f"genrec {' '.join(words)} ended with {status}")
    return read_run(output)


def read_run(run: Path) -> Ranks:
    """The ranks in the folder of a finished run."""
    if not json.loads((run / "run.json").read_text(encoding="utf-8")).get("finished"):
        raise RuntimeError(f"{run}: this run has not finished")
    tensors = load_file(run / "ranks.safetensors")
    stored = {key.removeprefix("ranks/"): tensors[key] for key in tensors if key.startswith("ranks/")}
    report = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    names = [row["name"] for row in report["methods"]]
    if sorted(names) != sorted(stored):
        raise RuntimeError(f"{run}: the report has {names}, the ranks are of {sorted(stored)}")
    return Ranks(tensors["users"], tensors["targets"], {name: stored[name] for name in names})


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: with more, sums are added up in another order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), patch.dict(os.environ, OMP_NUM_THREADS="1"):
            yield
    finally:
        torch.set_num_threads(threads)


def recall(ranks_U: np.ndarray) -> float:
    """Recall@10."""
    return float(_is_found(ranks_U).mean())


def ndcg(ranks_U: np.ndarray) -> float:
    """NDCG@10 with one target a user."""
    return float(np.where(_is_found(ranks_U), 1 / np.log2(np.maximum(ranks_U, 0) + 2.0), 0.0).mean())


def whole(ranks: Ranks) -> dict[str, Any]:
    """Ranks as JSON holds them: every number."""
    methods = {name: ranks_U.tolist() for name, ranks_U in ranks.methods.items()}
    return {"users": ranks.users.tolist(), "targets": ranks.targets.tolist(), "methods": methods}


def digested(ranks: Ranks) -> dict[str, Any]:
    """Ranks of many users as JSON holds them: a hash of all, and the metrics."""
    methods = {
        name: {
            "ranks": _digest(ranks_U, "<i4"),
            "Recall@10": round(recall(ranks_U), 6),
            "NDCG@10": round(ndcg(ranks_U), 6),
        }
        for name, ranks_U in ranks.methods.items()
    }
    return {
        "num_users": len(ranks.users),
        "users": _digest(ranks.users, "<i8"),
        "targets": _digest(ranks.targets, "<i8"),
        "methods": methods,
    }


def read_recorded(name: str) -> dict[str, Any]:
    """What was recorded of a recipe."""
    file = RANKS / f"{name}.json"
    if not file.is_file():
        raise RuntimeError(f"{file}: missing; python tests/golden/record.py {name} records it")
    return json.loads(file.read_text(encoding="utf-8"))


def differences(recorded: Mapping[str, Any], found: Ranks, *, exactly: bool) -> list[str]:
    """Where a run differs from what was recorded, in words; empty where it does not.

    Methods are compared by name. Those of names that only one side has are compared in the order of the report, so that
    a method may get another name.

    Args:
        recorded: from :func:`read_recorded`.
        found: of the new run.
        exactly: whether all ranks must be equal; otherwise the metrics, within a tolerance.
    """
    is_digest = "num_users" in recorded
    now = digested(found) if is_digest else whole(found)
    if len(recorded["methods"]) != len(now["methods"]):
        return [f"methods: {', '.join(recorded['methods'])} -> {', '.join(now['methods'])}"]
    told = [f"other {name} are asked" for name in ("users", "targets") if recorded[name] != now[name]]
    for before, after in _pairs(list(recorded["methods"]), list(now["methods"])):
        name = before if before == after else f"{before} (now {after})"
        old, new = recorded["methods"][before], found.methods[after]
        if exactly and not is_digest:
            told += _changed(name, np.array(old), new)
        elif exactly:
            same = old == now["methods"][after]
            told += [] if same else [f"{name}: {old} -> {now['methods'][after]}"]
        else:
            told += _far(name, old, new, LARGE_TOLERANCE if is_digest else TOLERANCE)
    return told


def environment() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    import torch

    packages = (
        "torch",
        "numpy",
        "scipy",
        "scikit-learn",
        "faiss-cpu",
        "transformers",
        "timm",
        "open_clip_torch",
        "pillow",
    )
    return {
        **{name: _version(name) for name in packages},
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
    }


def is_recorded_environment() -> bool:
    """Whether this machine and its libraries are those of the recording."""
    recorded, here = json.loads(ENVIRONMENT.read_text(encoding="utf-8")), environment()
    return all(recorded[key] == here[key] for key in _DECIDING)


def _changed(name: str, before_U: np.ndarray, after_U: np.ndarray) -> list[str]:
    if len(before_U) != len(after_U):
        return [f"{name}: {len(before_U)} users -> {len(after_U)}"]
    rows = np.flatnonzero(before_U != after_U)
    if not len(rows):
        return []
    row = rows[0]
    return [
        f"{name}: {len(rows)} of {len(before_U)} users have another rank, the first at row {row}: "
        f"{before_U[row]} -> {after_U[row]}"
    ]


def _far(name: str, recorded: Any, after_U: np.ndarray, tolerance: float) -> list[str]:
    told = []
    for metric, measure in (("Recall@10", recall), ("NDCG@10", ndcg)):
        before = recorded[metric] if isinstance(recorded, Mapping) else measure(np.array(recorded))
        after = measure(after_U)
        if abs(before - after) > tolerance:
            told.append(f"{name}: {metric} {before:.4f} -> {after:.4f}, further apart than {tolerance}")
    return told


def _pairs(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
    renamed = dict(zip(gone, new, strict=True))
    return [(name, renamed.get(name, name)) for name in before]


def _is_found(ranks_U: np.ndarray) -> np.ndarray:
    return (ranks_U >= 0) & (ranks_U < CUTOFF)


def _digest(values: np.ndarray, dtype: str) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values, dtype=dtype).tobytes(), digest_size=16).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    """Name, family, model and stepping, where Linux tells them."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = ("model name", "cpu family", "model", "stepping")
    return ", ".join(f"{key} {told[key]}" for key in wanted if key in told) or platform.machine()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
