"""The one training loop: train an epoch, validate, keep the best weights, stop in time, resume after a kill.

It is independent of search, metrics and module, and trains everything in genrec that learns by gradients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from genrec.contracts.demands import Demands
from genrec.errors import REMEDY, DataError, TrainingError
from genrec.families import StartedLogger, TrainingLogger
from genrec.model.weights import load_tensors, load_weights, save_tensors, weights_of
from genrec.runtime.checksums import checksum, is_intact, seal
from genrec.runtime.files import PARTIAL, read_json, write_json
from genrec.runtime.float32_products import by_onednn
from genrec.runtime.malloc import disable_malloc_trim
from genrec.runtime.progress import Bar, console
from genrec.runtime.seeds import derive
from genrec.runtime.threads import computed_on
from genrec.training.log import EpochRecord, TrainingLog
from genrec.training.optimizer import build_optimizer, learning_rate, load_optimizer, optimizer_tensors, warmup_steps
from genrec.training.settings import OptimizationSettings

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class TrainedEpoch:
    """What one pass over the batches gave."""

    losses: dict[str, float]
    """Mean over the batches, by part."""
    num_steps: int
    """Optimizer steps; one for each batch."""
    samples_per_second: float
    """Training throughput."""
    learning_rate: float
    """Of the last step."""


def train(
    module: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Mapping[str, Tensor]],
    settings: OptimizationSettings,
    *,
    validate: Callable[[], float] | None,
    seed: int,
    title: str,
    folder: Path | None = None,
    epochs: int | None = None,
    loggers: Sequence[TrainingLogger] = (),
    log_folder: Path | None = None,
) -> TrainingLog:
    """Train a module and leave it with its best weights, in eval mode.

    Args:
        module: what is trained, on its device.
        batches: the batches of an epoch (numbered from 1); equal for equal numbers, and sized where the schedule is
            ``cosine`` or ``warmup_steps`` is None. The length of a batch, where it has one, is the number of its
            samples.
        loss: a batch's loss by part; their sum is minimized.
        settings: optimization and stopping.
        validate: called after each epoch with the module in eval mode; None keeps the last epoch's weights.
        seed: decides dropout and whatever else draws from torch's global generator.
        title: for the progress bar.
        folder: where checkpoints are stored; training resumes from one that is found there. An interrupted
            run ends with the same weights as an uninterrupted one.
        epochs: train for this many and ignore the settings for stopping; the schedule stays that of ``max_epochs``.
        loggers: what logs steps and epochs; it changes no result. With several processes, only the main one has any.
        log_folder: each logger writes to the folder of its name in here. Unlike ``folder`` it holds no checkpoints and
            may stay after training.

    Raises:
        TrainingError: the loss or the validation score is not finite.
        DataError: what a logger needs is missing; found before the first epoch.
        ValueError: there are loggers and no ``log_folder``.
    """
    disable_malloc_trim()
    optimizer = build_optimizer(module, settings)
    log, step, best = _resume(module, optimizer, folder)
    log.machine = computed_on(next(module.parameters()).device)
    with _started(loggers, log_folder, log, title=title, settings=settings, seed=seed, step=step) as started:
        while not log.stopped_by:
            epoch, began = len(log.epochs) + 1, time.monotonic()
            torch.manual_seed(derive(seed, "epoch", epoch))
            heading = f"{title}, epoch {epoch}"
            trained = train_epoch(
                module, optimizer, batches(epoch), loss, settings, step=step, title=heading, on_step=started.log_step
            )
            step += trained.num_steps
            score = _validate(module, validate, heading)
            record = EpochRecord(
                epoch=epoch,
                losses=trained.losses,
                validation=score,
                seconds=time.monotonic() - began,
                learning_rate=trained.learning_rate,
                samples_per_second=trained.samples_per_second,
            )
            log.epochs.append(record)
            if _is_best(log):
                log.best_epoch = epoch
                best = {name: tensor.clone() for name, tensor in weights_of(module).items()}
            log.stopped_by = _reason_to_stop(log, settings, epochs)
            console.print(_line(heading, log))
            if warning := _warmup_warning(log, settings, step, trained.num_steps, epochs):
                console.print(f"{title}: {warning}", style="yellow", markup=False)
                if log.stopped_by:
                    log.warnings.append(warning)
            started.log_epoch(record, step)
            if folder is not None:
                _save(module, optimizer, log, step, best, folder)
    load_weights(module, best)
    module.eval()
    return log


def train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    loss: Callable[[Batch], Mapping[str, Tensor]],
    settings: OptimizationSettings,
    *,
    step: int,
    title: str,
    on_step: Callable[[int, Mapping[str, Tensor], float], None] | None = None,
) -> TrainedEpoch:
    """Train on each batch once.

    Args:
        module: what is trained, on its device; left in training mode.
        optimizer: of the module's parameters; its learning rate is set before each step.
        batches: sized where the schedule is ``cosine`` or ``warmup_steps`` is None.
        loss: a batch's loss by part; their sum is minimized.
        settings: learning rate, its schedule, and the gradient's largest norm.
        step: optimizer steps before this epoch; the schedule continues from there.
        title: for the progress bar and errors.
        on_step: called after each optimizer step with its number (from 1, over all epochs), its losses by part
            (scalar tensors on the device) and its learning rate.

    Raises:
        TrainingError: the mean loss is not finite.
    """
    began = time.monotonic()
    module.train()
    num_batches = len(batches) if isinstance(batches, Sized) else None
    if num_batches is None and (settings.schedule == "cosine" or settings.warmup_steps is None):
        raise ValueError("the cosine schedule and the default of warmup_steps need batches with a length")
    device = next(module.parameters()).device
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")
    sums: dict[str, Tensor] = {}
    count = samples = 0
    with by_onednn(), Bar(title, num_batches) as bar:
        for batch in batches:
            rate = learning_rate(step + count, settings, num_batches or 1)
            _set_learning_rate(optimizer, rate)
            with autocast:
                parts = loss(batch)
                total = torch.stack([part.float() for part in parts.values()]).sum()
            _optimize(module, optimizer, total, settings.gradient_clip)
            count += 1
            samples += len(batch) if isinstance(batch, Sized) else 1
            for name, part in parts.items():  # on the device: reading a value would wait for it
                sums[name] = sums.get(name, torch.zeros((), device=device)) + part.detach()
            if on_step is not None:
                on_step(step + count, parts, rate)
            bar.advance(note=_note(sums, count, samples / (time.monotonic() - began)) if count % 10 == 0 else "")
    losses = {name: float(value) / max(count, 1) for name, value in sums.items()}
    if not all(math.isfinite(value) for value in losses.values()):
        raise TrainingError(f"{title}: the loss is not finite: {losses}; {REMEDY}")
    return TrainedEpoch(losses, count, samples / (time.monotonic() - began), optimizer.param_groups[0]["lr"])


@dataclass(frozen=True)
class _Loggers:
    """The loggers of a training as one."""

    started: tuple[tuple[int, StartedLogger], ...]
    """Each with the number of steps between two that it logs."""

    def log_step(self, step: int, losses: Mapping[str, Tensor], rate: float) -> None:
        """Read the losses from the device if a logger logs this step."""
        for log_every, logger in self.started:
            if step % log_every == 0:
                logger.log_step(step, {name: float(part.detach()) for name, part in losses.items()}, rate)

    def log_epoch(self, record: EpochRecord, step: int) -> None:
        for _, logger in self.started:
            logger.log_epoch(record, step)


@contextmanager
def _started(
    loggers: Sequence[TrainingLogger],
    folder: Path | None,
    log: TrainingLog,
    *,
    title: str,
    settings: OptimizationSettings,
    seed: int,
    step: int,
) -> Iterator[_Loggers]:
    """Start every logger, and finish those that were started, whatever happens."""
    hyperparameters = {name: getattr(settings, name) for name in OptimizationSettings.model_fields} | {"seed": seed}
    started = []
    with ExitStack() as stack:
        for logger in loggers:
            if folder is None:
                raise ValueError("loggers need a log_folder")
            place = folder / logger.type_name
            demand = Demands(logger)
            with demand.blaming():
                one = logger.start(place, title=title, hyperparameters=hyperparameters, step=step)
                demand(isinstance(one, StartedLogger), "start() gives a StartedLogger", type(one).__name__)
            stack.callback(one.finish, log)
            started.append((logger.log_every, one))
        yield _Loggers(tuple(started))


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _optimize(module: nn.Module, optimizer: torch.optim.Optimizer, total: Tensor, gradient_clip: float) -> None:
    """One step down the gradient of the total loss."""
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    if gradient_clip:
        nn.utils.clip_grad_norm_(module.parameters(), gradient_clip, foreach=True)
    optimizer.step()


def _validate(module: nn.Module, validate: Callable[[], float] | None, title: str) -> float | None:
    """The module's score in eval mode.

    Raises:
        TrainingError: it is not finite.
    """
    module.eval()
    score = validate() if validate is not None else None
    if score is not None and not math.isfinite(score):
        raise TrainingError(f"{title}: the validation score is not finite: {score}; {REMEDY}")
    return score


def _is_best(log: TrainingLog) -> bool:
    """Whether the last epoch is better than all before it; without validation it always is."""
    score = log.epochs[-1].validation
    return score is None or log.best_epoch == 0 or score > (log.epochs[log.best_epoch - 1].validation or 0.0)


def _reason_to_stop(log: TrainingLog, settings: OptimizationSettings, epochs: int | None) -> str:
    if epochs is not None:
        return "epochs" if len(log.epochs) >= epochs else ""
    if len(log.epochs) - log.best_epoch >= settings.patience:
        return "patience"
    if len(log.epochs) >= settings.max_epochs:
        return "max_epochs"
    if settings.max_minutes is not None and log.seconds >= settings.max_minutes * 60:
        return "max_minutes"
    return ""


def _warmup_warning(
    log: TrainingLog, settings: OptimizationSettings, step: int, steps_per_epoch: int, epochs: int | None
) -> str:
    """After the first epoch: that training cannot reach the end of the warm-up; after the last: that it did not."""
    warmup = warmup_steps(settings, steps_per_epoch)
    remedy = "lower warmup_steps, or leave it out: 5 % of the steps of max_epochs"
    if log.stopped_by and step < warmup:
        rate = log.epochs[-1].learning_rate
        return (
            f"stopped after {step:,} of {warmup:,} warm-up steps, at learning rate {rate:.2g} of "
            f"{settings.learning_rate:g}; {remedy}"
        )
    most = (epochs or settings.max_epochs) * steps_per_epoch
    if len(log.epochs) == 1 and most < warmup:
        return f"warm-up takes {warmup:,} steps, but training at most {most:,}; {remedy}"
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
    file = folder / f"epoch-{epoch}.safetensors"
    save_tensors(tensors | optimizer_tensors(optimizer), file)
    content = {"step": step, "log": log.as_json(), "tensors": checksum(file)}
    write_json(folder / "training.json", seal(content))
    for old in folder.glob("epoch-*.safetensors"):
        if old != file:
            old.unlink()


def _resume(
    module: nn.Module, optimizer: torch.optim.Optimizer, folder: Path | None
) -> tuple[TrainingLog, int, dict[str, Tensor]]:
    """Load the checkpoint in a folder, if there is one, into module and optimizer.

    Returns:
        the log, the number of optimizer steps, and the best weights; empty, 0 and none without a checkpoint.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{PARTIAL}"):  # of a killed process
            leftover.unlink()
    if folder is None or not (folder / "training.json").is_file():
        return TrainingLog(), 0, {}
    try:
        content = read_json(folder / "training.json")
        if not is_intact(content):
            raise DataError("its record is damaged")
        log = TrainingLog.from_json(content["log"])
        file = folder / f"epoch-{len(log.epochs)}.safetensors"
        if checksum(file) != content["tensors"]:
            raise DataError("the checksum of its tensors is not the recorded one")
    except (DataError, KeyError) as error:
        console.print(f"{folder}: the checkpoint cannot be used: {error}; training starts again", markup=False)
        return TrainingLog(), 0, {}
    tensors = load_tensors(file, next(module.parameters()).device)
    load_weights(module, {name[7:]: tensor for name, tensor in tensors.items() if name.startswith("module/")})
    load_optimizer(optimizer, tensors)
    console.print(f"resuming after epoch {len(log.epochs)} ({folder})", markup=False)
    return log, content["step"], {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("best/")}


def _note(sums: Mapping[str, Tensor], count: int, samples_per_second: float) -> str:
    parts = " ".join(f"{name} {float(value) / count:.3f}" for name, value in sums.items())
    return f"{parts} | {samples_per_second:,.0f} samples/s"


def _line(title: str, log: TrainingLog) -> str:
    record = log.epochs[-1]
    parts = " ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
    score = "" if record.validation is None else f" validation {record.validation:.4f}"
    best = " *" if log.best_epoch == record.epoch else ""
    return f"{title}: {parts}{score}{best} ({record.seconds:.0f} s)"
