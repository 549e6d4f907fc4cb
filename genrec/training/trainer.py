"""The one training loop: optimise, validate after each epoch, keep the best, stop in time, go on after a kill.

It knows neither search nor metrics nor what it trains: whatever is learned in genrec is learned by it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genrec.errors import TrainingError
from genrec.float32_products import by_onednn
from genrec.freed_memory import keep_freed_memory
from genrec.progress import Bar, console
from genrec.seeds import derive
from genrec.training.checkpoint import (
    load_optimizer,
    load_tensors,
    load_weights,
    optimizer_tensors,
    save_json,
    save_tensors,
    weights_of,
)
from genrec.training.optimizer import build_optimizer, learning_rate
from genrec.training.settings import TrainingSettings

Batch = TypeVar("Batch")

_REMEDY = "try a lower learning rate, more warm-up steps or a smaller gradient_clip"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch was like."""

    epoch: int
    """From 1."""
    losses: dict[str, float]
    """Mean over the epoch's batches, by part."""
    validation: float | None
    """What ``validate`` said afterwards; higher is better."""
    seconds: float
    """Training and validation."""
    learning_rate: float
    """At the end of the epoch."""


@dataclass
class TrainingLog:
    """All epochs, and which of them the weights come from."""

    epochs: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    stopped_by: str = ""
    """``patience``, ``max_epochs``, ``max_minutes`` or ``epochs`` (as many as were asked for); empty while it runs."""

    @property
    def seconds(self) -> float:
        return sum(record.seconds for record in self.epochs)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingLog:
        """The inverse of :meth:`as_json`."""
        epochs = [EpochRecord(**record) for record in content["epochs"]]
        return cls(epochs, content["best_epoch"], content["stopped_by"])

    @classmethod
    def from_file(cls, path: Path) -> TrainingLog:
        """Read what :func:`~genrec.training.checkpoint.save_json` wrote of :meth:`as_json`."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))


def train(
    module: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Mapping[str, Tensor]],
    settings: TrainingSettings,
    *,
    validate: Callable[[], float] | None,
    seed: int,
    title: str,
    folder: Path | None = None,
    epochs: int | None = None,
) -> TrainingLog:
    """Train a module and leave it with its best weights, in eval mode.

    Args:
        module: what is trained, on its device.
        batches: the batches of an epoch (numbered from 1); equal for equal numbers, and sized where the schedule is
            ``cosine``. The length of a batch, where it has one, is the number of its samples.
        loss: a batch's loss by part; their sum is minimised.
        settings: optimisation and stopping.
        validate: called after each epoch with the module in eval mode; None keeps the last epoch's weights.
        seed: decides dropout and whatever else draws from torch's global generator.
        title: for the progress bar.
        folder: where checkpoints are kept; training goes on from one that is found there. A run that was
            interrupted ends with the same weights as one that was not.
        epochs: train for so many, whatever the settings say of stopping; the schedule stays that of ``max_epochs``.

    Raises:
        TrainingError: the loss or the validation's score is not finite.
    """
    keep_freed_memory()
    optimizer = build_optimizer(module, settings)
    log, step = TrainingLog(), 0
    best: dict[str, Tensor] = {}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        log, step, best = _resume(module, optimizer, folder)
    device = next(module.parameters()).device
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")
    while not log.stopped_by:
        epoch = len(log.epochs) + 1
        began = time.monotonic()
        torch.manual_seed(derive(seed, "epoch", epoch))
        module.train()
        epoch_batches = batches(epoch)
        num_batches = len(epoch_batches) if hasattr(epoch_batches, "__len__") else None  # type: ignore[arg-type]
        if num_batches is None and settings.schedule == "cosine":
            raise ValueError("the cosine schedule needs to know how many batches an epoch has")
        sums: dict[str, Tensor] = {}
        count = samples = 0
        with by_onednn(), Bar(f"{title}, epoch {epoch}", num_batches) as bar:
            for batch in epoch_batches:
                rate = learning_rate(step, settings, num_batches or 1)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with autocast:
                    parts = loss(batch)
                    total = torch.stack([part.float() for part in parts.values()]).sum()
                optimizer.zero_grad(set_to_none=True)
                total.backward()
                if settings.gradient_clip:
                    nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip, foreach=True)
                optimizer.step()
                step, count = step + 1, count + 1
                samples += len(batch) if isinstance(batch, Sized) else 1
                for name, part in parts.items():
                    sums[name] = sums.get(name, torch.zeros((), device=device)) + part.detach()
                bar.advance(note=_note(sums, count, samples / (time.monotonic() - began)) if count % 10 == 0 else "")
        losses = {name: float(value) / max(count, 1) for name, value in sums.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(f"{title}: the loss of epoch {epoch} is not finite: {losses}; {_REMEDY}")
        module.eval()
        score = validate() if validate is not None else None
        if score is not None and not math.isfinite(score):
            raise TrainingError(f"{title}: the validation after epoch {epoch} is not finite: {score}; {_REMEDY}")
        rate = optimizer.param_groups[0]["lr"]
        log.epochs.append(EpochRecord(epoch, losses, score, time.monotonic() - began, rate))
        if score is None or log.best_epoch == 0 or score > (log.epochs[log.best_epoch - 1].validation or 0.0):
            log.best_epoch = epoch
            best = {name: tensor.clone() for name, tensor in weights_of(module).items()}
        log.stopped_by = _reason_to_stop(log, settings, epochs)
        console.print(_line(title, log))
        if folder is not None:
            _save(module, optimizer, log, step, best, folder)
    load_weights(module, best)
    module.eval()
    return log


def _reason_to_stop(log: TrainingLog, settings: TrainingSettings, epochs: int | None) -> str:
    if epochs is not None:
        return "epochs" if len(log.epochs) >= epochs else ""
    if len(log.epochs) - log.best_epoch >= settings.patience:
        return "patience"
    if len(log.epochs) >= settings.max_epochs:
        return "max_epochs"
    if settings.max_minutes is not None and log.seconds >= settings.max_minutes * 60:
        return "max_minutes"
    return ""


def _save(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    log: TrainingLog,
    step: int,
    best: Mapping[str, Tensor],
    folder: Path,
) -> None:
    """The JSON is written last and names the file that holds its tensors, so a kill in between does no harm."""
    epoch = len(log.epochs)
    tensors = {f"module/{name}": tensor for name, tensor in weights_of(module).items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    save_tensors(tensors | optimizer_tensors(optimizer), folder / f"epoch-{epoch}.safetensors")
    save_json({"step": step, "log": log.as_json()}, folder / "training.json")
    for old in folder.glob("epoch-*.safetensors"):
        if old.name != f"epoch-{epoch}.safetensors":
            old.unlink()


def _resume(
    module: nn.Module, optimizer: torch.optim.Optimizer, folder: Path
) -> tuple[TrainingLog, int, dict[str, Tensor]]:
    if not (folder / "training.json").is_file():
        return TrainingLog(), 0, {}
    content = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    log = TrainingLog.from_json(content["log"])
    tensors = load_tensors(folder / f"epoch-{len(log.epochs)}.safetensors", next(module.parameters()).device)
    load_weights(module, {name[7:]: tensor for name, tensor in tensors.items() if name.startswith("module/")})
    load_optimizer(optimizer, tensors)
    console.print(f"going on after epoch {len(log.epochs)} ({folder})", markup=False)
    return log, content["step"], {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best/")}


def _note(sums: Mapping[str, Tensor], count: int, samples_per_second: float) -> str:
    parts = " ".join(f"{name} {float(value) / count:.3f}" for name, value in sums.items())
    return f"{parts} | {samples_per_second:,.0f} samples/s"


def _line(title: str, log: TrainingLog) -> str:
    record = log.epochs[-1]
    parts = " ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
    score = "" if record.validation is None else f" validation {record.validation:.4f}"
    best = " *" if log.best_epoch == record.epoch else ""
    return f"{title}, epoch {record.epoch}: {parts}{score}{best} ({record.seconds:.0f} s)"
