"""The process behind one model of a comparison: it trains it, searches it and says what it is like.

``python -m genrec.comparison.worker`` reads one line of JSON, a :class:`Request`, and works until that is done or its
standard input is closed, which is how it learns that nobody waits any more. What it says goes to standard error.
"""

from __future__ import annotations

import _thread
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genrec.errors import GenrecError
from genrec.experiment import Experiment, SplitName
from genrec.finished_run import FinishedExperiment
from genrec.runtime.environment import Environment
from genrec.runtime.threads import threads
from genrec.yardsticks import Yardstick


class Request(BaseModel):
    """One model's work."""

    recipe: dict[str, Any]
    """With every default written out."""
    run: Path | None = None
    """Folder of a finished run, whose model it is."""
    stages: Path
    data: Path | None = None
    """The data folder."""
    recipe_folder: Path | None = None
    """Where files that the recipe names are looked for, too."""
    plugin_folders: list[Path] = []
    device: str = "auto"
    threads: int | None = None
    """None: as ``OMP_NUM_THREADS`` says."""
    wanted: list[tuple[SplitName, bool]]
    """Splits to be searched, each with or without every stream's scores."""
    summary_key: str
    """Address of the summary."""
    baseline: tuple[str, int] | None = None
    """Name of a baseline of the recipe, and how many items it is to recommend: this is wanted in place of a model."""


def work(request: Request) -> None:
    """Train the model or the baseline if need be, search it and store a summary of it.

    Raises:
        GenrecError: whatever a run of the recipe raises.
    """
    from genrec.registry import add_plugin_folder

    for folder in request.plugin_folders:
        add_plugin_folder(folder)
    environment = Environment(request.device, request.threads, request.data, request.recipe_folder)
    environment.check_device()
    with threads(request.threads):
        _work(request, environment)


def _work(request: Request, environment: Environment) -> None:
    from genrec.recipe import recipe_of
    from genrec.run_folder import RunFolder
    from genrec.stages import Stages
    from genrec.training.checkpoint import save_json

    recipe, stages = recipe_of(request.recipe), Stages(request.stages)
    if request.run is None:
        experiment = Experiment(recipe, stages, environment=environment)
    else:
        experiment = FinishedExperiment(RunFolder.open(request.run), recipe, stages, environment=environment)
    if request.baseline is not None:
        name, top_n = request.baseline
        (baseline,) = (baseline for baseline in recipe.baselines if baseline.type_name == name)
        for split, _ in request.wanted:
            Yardstick(baseline, experiment).rank(split, top_n=top_n)
        return
    for split, scores in request.wanted:
        experiment.candidates(split, scores=scores)
    parts = dict.fromkeys([experiment, *(experiment.asked_of(split) for split, _ in request.wanted)])
    stages.get(
        "summary",
        request.summary_key,
        name=recipe.title,
        work=lambda: summary(*parts),
        save=save_json,
        load=lambda path: json.loads(path.read_text(encoding="utf-8")),
    )


def summary(first: Experiment, *final: Experiment) -> dict[str, Any]:
    """Parameters, training curve and the codes' quality of a model: plain data.

    Args:
        first: whose curve it is.
        final: the experiment that is asked in its place, if test users are and there is one.
    """
    from genrec.evaluation.code_quality import measure_codes

    experiment = final[-1] if final else first
    codes = {}
    for name, stream in experiment.recipe.streams.items():
        if stream.tokenizer is not None:
            context = experiment.streams[name]
            codes[name] = {
                **measure_codes(
                    context.ids,
                    context.vectors,
                    experiment.dataset.catalog,
                    tokenizer=stream.tokenizer,
                ),
                "notes": [*context.vectors.notes, *context.ids.notes],
            }
    return {
        "parameters": sum(parameter.numel() for parameter in experiment.model.parameters()),
        "training_seconds": sum(part.training_log.seconds for part in (first, *final)),
        "log": first.training_log.as_json(),
        "codes": codes,
    }


def main() -> int:
    """Do the work that standard input asks for; the exit status is that of ``genrec run``."""
    line = sys.stdin.readline()
    # Shells have background jobs ignore interrupts, which processes inherit; it is the only way to be told to stop.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_when_alone() -> None:
        sys.stdin.read()
        _thread.interrupt_main()

    threading.Thread(target=stop_when_alone, daemon=True).start()
    try:
        work(Request.model_validate_json(line))
    except GenrecError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # one line: the comparison reads the last
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
