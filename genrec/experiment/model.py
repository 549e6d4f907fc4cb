"""The stage ``train``: histories and semantic IDs -> a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genrec.contracts.modules import check_model
from genrec.experiment.cache import Cache
from genrec.experiment.fit import Fit
from genrec.experiment.keys import Stage
from genrec.experiment.selection import mean_stream_ndcg
from genrec.experiment.untrained_model import untrained_model
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.model.weights import load_tensors, load_weights, save_tensors, weights_of
from genrec.runtime.files import write_json
from genrec.training.batches import HistoryBatches
from genrec.training.trainer import TrainingLog, train
from genrec.types import Split


@dataclass(frozen=True)
class Trained:
    """A trained model and its training log."""

    model: Retriever
    """With its best weights, in eval mode."""
    log: TrainingLog


def train_model(
    fit: Fit,
    streams: Mapping[str, StreamContext],
    cache: Cache,
    *,
    epochs: int | None = None,
    log_folder: Path | None = None,
) -> Trained:
    """Train the model of a recipe, or load it from the cache.

    Args:
        fit: recipe, data and keys.
        streams: from :func:`~genrec.experiment.ids.tokenize_items`.
        cache: finished stages.
        epochs: number of epochs of a final fit, which has no validation; None: stop early by validation.
        log_folder: output folder of the recipe's loggers; None: a folder in the cache.

    Raises:
        TrainingError: the loss or the validation score is not finite.
        ContractError: a module breaks its contract.
    """
    recipe, dataset = fit.recipe, fit.dataset
    for logger in recipe.training.loggers:
        logger.prepare()
    stage, folder = Stage("model", fit.title, fit.keys.model), cache.path("training", fit.keys.model)
    model = untrained_model(recipe, streams, dataset.num_items, dataset.train).to(fit.environment.torch_device)
    users, log_name = validation_users(fit), f"log-{stage.key}.json"

    def validate() -> float:
        return mean_stream_ndcg(
            model,
            {name: context.trie for name, context in streams.items()},
            users,
            num_items=dataset.num_items,
            max_history=recipe.max_history,
            seen_items=fit.selected_under,
        )

    check = partial(
        check_model,
        model,
        {name: recipe.own_history_encoders.get(name, recipe.history_encoder) for name in streams},
        {name: stream.decoder for name, stream in recipe.streams.items()},
        recipe.tasks,
        streams,
        dataset.train,
    )

    def work() -> TrainingLog:
        batches = HistoryBatches(
            dataset.train,
            num_items=dataset.num_items,
            max_history=recipe.max_history,
            batch_size=recipe.training.batch_size,
            all_positions=recipe.training.all_positions(is_causal=model.is_causal),
            seed=fit.seed("batches"),
            device=next(model.parameters()).device,
        )
        check(tolerance=1e-4)
        log = train(
            model,
            batches.epoch,
            model,
            recipe.training,
            validate=validate if epochs is None else None,
            seed=fit.seed("training"),
            title=f"training {fit.title}" if epochs is None else f"final fit of {fit.title}",
            folder=folder,
            epochs=epochs,
            loggers=recipe.training.loggers,
            log_folder=log_folder or cache.path("logs", stage.key),
        )
        check(tolerance=1e-2)  # trained log-probabilities are large, and rounded accordingly
        return log

    def save(log: TrainingLog, path: Path) -> None:
        write_json(path.with_name(log_name), log.as_json())
        save_tensors(weights_of(model), path)

    def load(path: Path) -> TrainingLog:
        load_weights(model, load_tensors(path))
        return TrainingLog.from_file(path.with_name(log_name))

    with cache.timer.measure(fit.part("training")):
        log = cache.get(
            stage,
            work=work,
            save=save,
            load=load,
            artifact=fit.artifact("model.safetensors"),
            like=fit.like(stage),
            scratch=folder,
            beside=[log_name],
        )
    return Trained(model.eval(), log)


def validation_users(fit: Fit) -> Split:
    """The random sample of validation users that selects the checkpoint."""
    return fit.dataset.valid.sample(fit.recipe.training.validation_users, fit.seed("validation users"))
