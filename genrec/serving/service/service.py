"""A service without HTTP: runs that are loaded in the background, and their batched recommendations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread

from pydantic_core import to_json

from genrec.errors import DataError
from genrec.experiment.run_folder import RunFolder
from genrec.registry import plugin_errors
from genrec.runtime.environment import Environment
from genrec.serving.hub import run_folder
from genrec.serving.recommender import Recommender
from genrec.serving.service.batching import Batcher
from genrec.serving.service.images import Thumbnails
from genrec.serving.service.metrics import ServiceMetrics
from genrec.serving.service.served_run import Question, ServedRun, UnknownNameError, shown
from genrec.serving.service.settings import SHUTDOWN_SECONDS, ServiceSettings


class Service:
    """The runs of a service and the threads that compute with them.

    Args:
        folders: of finished runs or exports, or ``hf://user/name``; the first is the default.
        settings: batches, deadline, key and hosts.
        environment: device, and the data folder in which images are.
        with_images: whether images are looked for, which loads the datasets of runs.

    Raises:
        DataError: a folder is not that of a finished run, or is given twice.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        settings: ServiceSettings,
        *,
        environment: Environment,
        with_images: bool = True,
    ) -> None:
        self.settings, self._environment, self._with_images = settings, environment, with_images
        self.folders = {
            name: RunFolder.open(run_folder(path, images=with_images)) for name, path in _named(folders).items()
        }
        self.runs: dict[str, ServedRun] = {}
        self.is_ready = False
        self.is_stopping = False
        self.error: BaseException | None = None
        """Why the runs could not be loaded."""
        self.batcher: Batcher[Question, bytes] = Batcher(
            self._recommend,
            max_batch=settings.max_batch,
            max_wait_s=settings.max_wait_ms / 1000,
            max_work_s=settings.deadline_s / 2,
            queue_size=settings.queue_size,
            workers=settings.workers,
            on_batch=lambda size: self.metrics.batches.observe(size),
        )
        self.metrics = ServiceMetrics(lambda: self.batcher.num_waiting)

    @property
    def names(self) -> list[str]:
        """The names of the runs."""
        return list(self.folders)

    def start(self, on_loaded: Callable[[], object] = lambda: None) -> None:
        """Load the runs in the background; requests are answered when they are loaded.

        Args:
            on_loaded: called afterwards, also when they could not be loaded.
        """
        self.batcher.start()
        Thread(target=self._load_and_report, args=(on_loaded,), name="load", daemon=True).start()

    def stop(self) -> None:
        """Finish what waits, and end the threads."""
        self.is_stopping = True
        self.batcher.stop(SHUTDOWN_SECONDS)

    def run(self, name: str | None) -> ServedRun:
        """A run by name; None: the first.

        Raises:
            UnknownNameError: there is no such run.
        """
        found = self.runs.get(self.names[0] if name is None else name)
        if found is None:
            raise UnknownNameError(f"run: found {shown(name)}, expected one of {', '.join(self.names)}")
        return found

    def _load_and_report(self, on_loaded: Callable[[], object]) -> None:
        try:
            self._load()
        except BaseException as error:
            self.error = error
        on_loaded()
        if self.error is None and self._with_images:
            for name, run in self.runs.items():
                run.images.load(run.recommender.recipe, self.folders[name], run.recommender.keys, self._environment)

    @plugin_errors()
    def _load(self) -> None:
        for name, folder in self.folders.items():
            images = Thumbnails()
            recommender = Recommender(folder.path, environment=self._environment)
            run = ServedRun(name, recommender, images)
            for size in {1, self.settings.max_batch}:  # the first calls allocate memory
                recommender.recommend([[recommender.keys[0]]] * size)
            self.runs[name] = run
        self.is_ready = True

    def _recommend(self, question: Question, histories: list[Sequence[str]]) -> list[bytes]:
        """The lists of some histories as JSON."""
        lists = self.runs[question.run].recommend(question, histories)
        return [to_json(found, inf_nan_mode="null") for found in lists]


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Runs by the name of their folder, preceded by that of its parent where several have the same name."""
    whole = [folder.absolute() for folder in folders]
    counts = Counter(folder.name for folder in whole)
    named: dict[str, Path] = {}
    for given, folder in zip(folders, whole, strict=True):
        name = folder.name if counts[folder.name] == 1 else f"{folder.parent.name}/{folder.name}"
        if name in named:
            raise DataError(f"{given}: a run named {name} is already served; pass each run once")
        named[name] = given
    return named
