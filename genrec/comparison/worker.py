"""The process of one model of a comparison: train it, search it and store a summary.

``python -m genrec.comparison.worker`` reads one line of JSON, a :class:`Request`, and stops when the work is done or
when its standard input is closed, because the comparison has ended. It logs to standard error.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from genrec.errors import GenrecError
from genrec.experiment.keys import SplitName
from genrec.registry import plugin_errors
from genrec.runtime.environment import Environment
from genrec.runtime.progress import Verbosity, set_verbosity
from genrec.runtime.threads import computed_on, threads

if TYPE_CHECKING:
    from genrec.experiment.cache import Cache
    from genrec.experiment.fit import Fit
    from genrec.experiment.model import Trained
    from genrec.experiment.run_folder import RunFolder
    from genrec.model.contracts import StreamContext


class Request(BaseModel):
    """The work for one model."""

    recipe: dict[str, Any]
    """The recipe as plain data, with all defaults."""
    run: Path | None = None
    """Folder of the finished run whose model is used."""
    cache: Path
    environment: Environment = Environment()
    plugin_folders: list[Path] = []
    wanted: list[tuple[SplitName, bool]] = []
    """Splits to search, each with or without the scores of every stream."""
    summary_key: str = ""
    """Cache key of the summary."""
    verbosity: Verbosity = "normal"
    """What its log contains."""
    baseline: tuple[str, int] | None = None
    """Name of a baseline of the recipe and the length of its rankings; None: the work is for the model."""


def work(request: Request) -> None:
    """Train the model or the baseline unless it is cached, search it and store a summary.

    Raises:
        GenrecError: raised by a stage of the recipe.
    """
    from genrec.experiment.baselines import rank_baseline
    from genrec.experiment.cache import Cache
    from genrec.experiment.candidates import search_users
    from genrec.experiment.dataset import load_dataset
    from genrec.experiment.finished_run import finished_fits
    from genrec.experiment.fit import plan_fits
    from genrec.experiment.keys import Stage
    from genrec.experiment.run_folder import RunFolder
    from genrec.recipe import recipe_of
    from genrec.registry import add_plugin_folder
    from genrec.runtime.files import read_json, write_json

    for folder in request.plugin_folders:
        add_plugin_folder(folder, trusted=True)
    recipe, environment = recipe_of(request.recipe), request.environment
    environment.check_device()
    cache = Cache(request.cache, machine=computed_on(environment.torch_device))
    dataset = load_dataset(recipe, environment)
    run = None if request.run is None else RunFolder.open(request.run)
    fits = plan_fits(recipe, dataset, environment) if run is None else finished_fits(run, recipe, dataset, environment)
    if request.baseline is not None:
        name, top_n = request.baseline
        (baseline,) = (baseline for baseline in recipe.baselines if baseline.type_name == name)
        for split, _ in request.wanted:
            rank_baseline(baseline, fits.of(split), split, cache, top_n=top_n)
        return
    needed = list(dict.fromkeys(fit for split, _ in request.wanted for fit in fits.until(split)))
    models = fit_models(needed, cache, run)
    for split, scores in request.wanted:
        streams, trained = models[fits.of(split)]
        search_users(fits.of(split), trained.model, streams, split, cache, scores=scores)
    cache.get(
        Stage("summary", recipe.title, request.summary_key),
        work=lambda: summary(models),
        save=lambda content, path: write_json(path, content),
        load=read_json,
    )


def fit_models(
    fits: Sequence[Fit], cache: Cache, run: RunFolder | None
) -> dict[Fit, tuple[dict[str, StreamContext], Trained]]:
    """The streams and the model of each fit: cached, computed, or loaded from a finished run."""
    from genrec.experiment.finished_run import load_fit
    from genrec.experiment.ids import tokenize_items
    from genrec.experiment.model import train_model
    from genrec.experiment.vectors import encode_items

    models: dict[Fit, tuple[dict[str, StreamContext], Trained]] = {}
    for fit in fits:
        if run is not None:
            models[fit] = load_fit(run, fit)
            continue
        vectors = encode_items(fit, cache)
        streams = tokenize_items(fit, vectors, cache)
        epochs = None if fit.selection is None else models[fit.selection][1].log.best_epoch
        models[fit] = streams, train_model(fit, streams, cache, epochs=epochs)
    return models


def summary(models: Mapping[Fit, tuple[dict[str, StreamContext], Trained]]) -> dict[str, Any]:
    """Parameters, training curve and quality of the semantic IDs of a model, as plain data.

    Args:
        models: models of the fit on train alone, which has the training curve, and of the final fit, if any.
    """
    from genrec.evaluation.code_quality import measure_codes

    first, (fit, (streams, trained)) = next(iter(models.values())), list(models.items())[-1]
    codes = {}
    for name, stream in fit.recipe.streams.items():
        if stream.tokenizer is not None:
            context = streams[name]
            codes[name] = {
                **measure_codes(context.ids, context.vectors, fit.dataset.catalog, tokenizer=stream.tokenizer),
                "notes": [*context.vectors.notes, *context.ids.notes],
            }
    return {
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "training_seconds": sum(part.log.seconds for _, part in models.values()),
        "log": first[1].log.as_json(),
        "codes": codes,
    }


def main() -> int:
    """Do the requested work; returns the exit status, as for ``genrec run``."""
    line = sys.stdin.readline()
    # Shells make background jobs ignore interrupts, and child processes inherit this; restore the default handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_when_closed() -> None:
        sys.stdin.read()
        _thread.interrupt_main()

    threading.Thread(target=stop_when_closed, daemon=True).start()
    try:
        request = Request.model_validate_json(line)
        set_verbosity(request.verbosity)
        with plugin_errors(), threads(request.environment.threads):
            work(request)
    except GenrecError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # in one line: the comparison reads the last line
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
