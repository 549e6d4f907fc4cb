"""The folder of a run: recipe, model, semantic IDs, candidates and report.

A run is written to ``.new`` in its folder. When it is finished, ``.new`` becomes ``.ready``, whose files replace those
of the last run of the folder. A kill before that leaves the last run, a kill after it the new one: whoever uses the
folder next completes the replacement.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from genrec.errors import DataError, StorageError
from genrec.experiment.changed_keys import changed_keys
from genrec.experiment.saved_items import SavedItems
from genrec.recipe.schema import Recipe
from genrec.runtime.checksums import MARK, checksum, parsing, read_mark, seal, verify
from genrec.runtime.environment import Environment
from genrec.runtime.files import PARTIAL, copy_file, is_abandoned, read_json, reason, sync, write_json, write_text
from genrec.runtime.folder_lock import LOCK, OWNER, FolderLock
from genrec.runtime.progress import console
from genrec.types import Dataset

DRAFT, _READY, _CACHE = ".new", ".ready", ".stages"
_OWN = {DRAFT, _READY, _CACHE, LOCK, OWNER}
"""What a run that was killed before its first result may have left in a folder."""
_RESULTS = ("recipe.yaml", "items.json", "users.json", "audit.json", "merge.json", "training.json", "model.safetensors")
_RESULTS += ("report.md", "report.html", "metrics.json", "ranks.safetensors", "lists.safetensors", "curves.svg")
_RESULTS += ("streams", "candidates")
_RESULTS += tuple(f"train_only/{name}" for name in ("training.json", "model.safetensors", "streams", "candidates"))
"""Files and folders of runs whose ``run.json`` does not list them: unfinished ones and those of version 0.1.0."""
_LOGS = ("logs", "train_only/logs")
_SHOWN = 12
"""Maximum number of differences in a message."""


class RunFolder:
    """The folder of a run; a run writes only to this folder and the cache.

    A folder from :meth:`create` is locked until :meth:`finish` or :meth:`close`; as a context manager it is closed, and
    what an unfinished run wrote is removed. One from :meth:`open` is that of a finished run.

    Args:
        path: the folder; created if it does not exist.
        cache: the folder of finished stages.
        verb: the command that writes the folder.
    """

    def __init__(self, path: Path, cache: Path, *, verb: str = "run") -> None:
        self.path, self.cache, self.verb = path, cache, verb
        self.draft = path
        """Where files are written: a folder in ``path`` until the run is finished, else ``path``."""
        self._lock: FolderLock | None = None
        self._logs_since = 0.0
        """Training logs that were last written before this time are those of a run of another recipe."""

    @staticmethod
    def cache_of(output: Path | None) -> Path:
        """The cache of a run: inside ``--output`` if given, else shared by all runs in ``runs/``.

        Raises:
            DataError: the folder contains a symbolic link.
        """
        if output is None:
            return Path("runs") / _CACHE
        _refuse_links(output)
        return output / _CACHE

    @classmethod
    def create(
        cls,
        output: Path | None,
        recipe_file: Path,
        *,
        verb: str = "run",
        recipe: Recipe | None = None,
        force: bool = False,
    ) -> RunFolder:
        """The folder of a new run. A finished run in it stays until the new one is finished.

        Args:
            output: ``--output``; its cache is its subfolder ``.stages``. None: ``runs/<recipe>-<time>``, with a cache
                in ``runs/.stages`` that these runs share.
            recipe_file: its stem names the folder.
            verb: the command that writes the folder.
            recipe: of the new run; it must equal that of a finished run in the folder. None: any recipe.
            force: replace a finished run of another recipe; its files are listed on standard error.

        Raises:
            DataError: the folder contains files that were not written by a run, a symbolic link, or a finished run of
                another recipe; or another process writes to it.
            StorageError: the folder cannot be written.
        """
        cache = cls.cache_of(output)
        if output is None:
            path = _unused(Path("runs") / f"{recipe_file.stem}-{datetime.now():%Y%m%d-%H%M%S}")
        else:
            path = output
            _refuse_foreign(path)
        folder = cls(path, cache, verb=verb)
        folder._begin()
        try:
            mark = folder._last_mark()
            if (made_by := mark.get("verb", "run")) != verb:
                raise DataError(f"{path}: the folder of a `genrec {made_by}`; pass another folder to --output")
            if recipe is not None and mark.get("finished"):
                folder._check_same(recipe, mark, force=force)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a finished run.

        Raises:
            DataError: the folder is not that of a run, or the run is not finished.
        """
        if (path / _READY).is_dir():
            lock = FolderLock(path)
            lock.acquire(timeout=60)
            try:
                _replace_last_run(path)
            finally:
                lock.release()
        if not (path / MARK).is_file():
            raise DataError(f"{path}: not the folder of a run (no {MARK}); `genrec run RECIPE` creates one")
        mark = read_mark(path)
        if (verb := mark.get("verb", "run")) != "run":
            raise DataError(f"{path}: the folder of a `genrec {verb}`, which has no model; expected that of a run")
        if not mark.get("finished"):
            raise DataError(f"{path}: this run has not finished; run its recipe again, it resumes")
        return cls(path, path / _CACHE)

    def __enter__(self) -> RunFolder:
        if self._lock is None:
            self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def located(self, environment: Environment) -> Environment:
        """An environment with the folders of the run: that of its recipe, and that of its data unless one is given."""
        mark = read_mark(self.path)
        with parsing(self.path / MARK, "the folders of a run"):
            places = mark.get("folders", {})
            data, recipe = (None if places.get(key) is None else Path(places[key]) for key in ("data", "recipe"))
        return replace(environment, data=environment.data or data, recipe=recipe or self.path)

    def finish(self, facts: dict[str, Any]) -> None:
        """Mark the run as finished, replace the last run of the folder by it, and unlock the folder.

        ``run.json`` gets the facts and the checksum of every file.

        Raises:
            StorageError: a file cannot be written.
        """
        files = {name: checksum(self.draft / name) for name in _files(self.draft) if name != MARK}
        write_json(self.draft / MARK, seal({"verb": self.verb, "finished": True, **facts, "files": files}))
        for folder in {parent for name in files for parent in Path(name).parents}:
            sync(self.draft / folder)
        self.draft.rename(self.path / _READY)
        sync(self.path)
        _replace_last_run(self.path)
        for name in _LOGS:
            for log in list((self.path / name).rglob("*")):
                if log.is_file() and log.stat().st_mtime < self._logs_since:
                    log.unlink()
            _remove_empty(self.path / name)
        self.close()

    def close(self) -> None:
        """Unlock the folder; the files of an unfinished run are removed, and the folder if nothing else is in it."""
        if self._lock is None:
            return
        shutil.rmtree(self.path / DRAFT, ignore_errors=True)
        self.draft = self.path
        with suppress(OSError, DataError):
            rest = {file.name for file in self.path.iterdir()} - {LOCK, OWNER}
            if rest <= {MARK} and not read_mark(self.path).get("finished"):
                (self.path / MARK).unlink(missing_ok=True)
        self._lock.release()
        self._lock = None
        with suppress(OSError):  # it is not empty, or the working folder
            self.path.rmdir()

    def file(self, name: str) -> Path:
        """A file of the run, checked against its checksum.

        Raises:
            DataError: it is missing or damaged.
        """
        path = self.draft / name
        if not path.is_file():
            raise DataError(f"{path}: missing; the run is not complete")
        return verify(path)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        write_text(self.draft / name, text)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON, whole or not at all."""
        write_json(self.draft / name, content)

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run.

        Raises:
            DataError: the file is missing, damaged or not valid.
        """
        return read_json(self.file(name))

    def read_items(self) -> SavedItems:
        """The items of the run, which :meth:`write_items` wrote.

        Raises:
            DataError: the file is missing, damaged or not valid.
        """
        content = self.read_json("items.json")
        with parsing(self.path / "items.json", "the keys and titles of the items"):
            return SavedItems.from_json(content)

    def write_recipe(self, text: str, overrides: Sequence[str]) -> None:
        """Write the recipe as YAML with all defaults, preceded by the ``--set`` options as comments."""
        header = "".join(f"# --set {' '.join(override.splitlines())}\n" for override in overrides)
        self.write_text("recipe.yaml", header + text)

    def write_items(self, items: SavedItems) -> None:
        """Write the items of the run."""
        self.write_json("items.json", items.to_json())

    def write_users(self, dataset: Dataset) -> None:
        """Write the keys of the test users, in the row order of ``ranks.safetensors``."""
        self.write_json("users.json", {"keys": [dataset.user_keys[user] for user in dataset.test.users]})

    def place(self, stage: Path, name: str) -> None:
        """Copy the file of a stage into the folder of the run; what happens to the copy does not change the stage."""
        copy_file(stage, self.draft / name)

    def _begin(self) -> None:
        """Lock the folder, complete the replacement of an earlier run, and start a draft."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(self.path)
            lock.acquire()
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {reason(error)}") from error
        self._lock = lock
        try:
            for partial in filter(is_abandoned, _partials(self.path)):
                partial.unlink(missing_ok=True)
            _replace_last_run(self.path)
            self.draft = self.path / DRAFT
            shutil.rmtree(self.draft, ignore_errors=True)  # of a killed run
            self.draft.mkdir()
            if not (self.path / MARK).is_file():
                write_json(self.path / MARK, {"verb": self.verb, "finished": False})
        except BaseException:
            self.close()
            raise

    def _last_mark(self) -> dict[str, Any]:
        """The record of the last run of the folder; empty if it is damaged, which is reported."""
        try:
            return read_mark(self.path)
        except DataError as error:
            console.print(f"{error}", markup=False)
            return {"verb": self.verb}

    def _check_same(self, recipe: Recipe, mark: dict[str, Any], *, force: bool) -> None:
        """Check that a finished run has this recipe; with ``force``, list its files, which :meth:`finish` replaces."""
        changed = changed_keys(self.path / "recipe.yaml", recipe)
        if not changed:
            return
        more = [f"  and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else []
        shown = "\n".join([*(f"  {line}" for line in changed[:_SHOWN]), *more])
        if not force:
            raise DataError(
                f"{self.path}: has a finished run of another recipe; pass another folder to --output, or --force to "
                f"replace that run:\n{shown}"
            )
        files = _grouped([*_files_of(self.path, mark), *(f"{name}/" for name in _LOGS if (self.path / name).is_dir())])
        console.print(
            f"{self.path}: --force replaces the finished run of another recipe:\n{shown}\n"
            f"When this run has finished, these files are replaced or removed: {', '.join(files)}",
            markup=False,
        )
        self._logs_since = time.time()


def _refuse_foreign(path: Path) -> None:
    """Check that a folder is new, empty or that of a run.

    Raises:
        DataError: it is not.
    """
    if blocked := [place for place in (path, *path.parents) if place.exists() and not place.is_dir()]:
        raise DataError(f"{blocked[0]}: is a file, expected a folder for the run")
    if not path.is_dir() or {file.name for file in path.iterdir()} - {file.name for file in _partials(path)} <= _OWN:
        return
    try:
        is_run = (path / MARK).is_file() and "finished" in read_mark(path)
    except DataError:  # it is damaged, and writing the run again repairs it
        is_run = any((path / name).is_file() for name in ("recipe.yaml", "comparison.json"))
    if not is_run:
        raise DataError(f"{path}: is not empty and not the folder of a run; pass another folder to --output")


def refuse_used(path: Path) -> None:
    """Check that a folder is new or empty, but for what a killed process left in it.

    Raises:
        DataError: it is not, or it is a symbolic link.
    """
    if path.is_symlink():
        raise DataError(f"{path}: is a symbolic link to {os.readlink(path)}, expected a new or empty folder")
    if not path.is_dir():  # a file is an error of RunFolder.create
        return
    found = {file.name for file in path.iterdir()} - {file.name for file in _partials(path)} - _OWN
    if MARK in found and not _mark_or_empty(path).get("finished", True):
        found.remove(MARK)
    if found:
        raise DataError(f"{path}: is not empty (it has {min(found)}), expected a new or empty folder")


def _partials(path: Path) -> list[Path]:
    """The files in a folder that a process began to write outside of its draft; a killed one leaves them."""
    return [file for name in (MARK, OWNER) for file in path.glob(f"{name}.*{PARTIAL}")]


def _refuse_links(path: Path) -> None:
    """Check that a run in a folder writes nowhere else.

    Raises:
        DataError: the folder contains a symbolic link.
    """
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (link := Path(place) / name).is_symlink():
                raise DataError(
                    f"{link}: is a symbolic link to {os.readlink(link)}; a run writes nowhere outside of its folder: "
                    "remove the link or pass another folder to --output"
                )


def _replace_last_run(path: Path) -> None:
    """Replace the files of the last run by those in ``.ready``, if there is one; ``run.json`` comes last."""
    ready = path / _READY
    if not ready.is_dir():
        return
    _refuse_links(path)
    new = _mark_or_empty(ready)
    if new:
        last = _mark_or_empty(path)
        for name in set(_files_of(path, last)) - set(_files_of(path, new)):
            (path / name).unlink(missing_ok=True)
        names = [name for name in _files(ready) if name != MARK]
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (ready / name).replace(path / name)
        for folder in {parent for name in names for parent in Path(name).parents}:
            sync(path / folder)
        (ready / MARK).replace(path / MARK)
        sync(path)
        for name in _RESULTS:
            _remove_empty(path / name)
        _remove_empty(path / "train_only")
    shutil.rmtree(ready, ignore_errors=True)


def _mark_or_empty(path: Path) -> dict[str, Any]:
    """The record of the run in a folder; empty if it is missing or damaged."""
    try:
        return read_mark(path)
    except DataError:
        return {}


def _files_of(path: Path, mark: dict[str, Any]) -> list[str]:
    """The files of the run in a folder, without training logs, which several attempts share."""
    if "files" in mark:  # the run may come from someone else: no name leads outside of its folder
        names = map(PurePosixPath, mark["files"])
        return [str(name) for name in names if not name.is_absolute() and ".." not in name.parts]
    found = [part for part in (path / name for name in _RESULTS) if part.exists()]
    return [
        file.relative_to(path).as_posix()
        for part in found
        for file in ([part] if part.is_file() else sorted(part.rglob("*")))
        if file.is_file()
    ]


def _files(folder: Path) -> Iterator[str]:
    """The names of all files below a folder."""
    return (file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file())


def _grouped(names: Sequence[str]) -> list[str]:
    """Names for a message: files at the top, and folders."""
    return list(dict.fromkeys(first + "/" * bool(slash) for first, slash, _ in (name.partition("/") for name in names)))


def _remove_empty(folder: Path) -> None:
    """Remove a folder and its subfolders if no file is in them."""
    if folder.is_dir():
        for place, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):
                Path(place).rmdir()


def _unused(path: Path) -> Path:
    """Create a new folder, so that runs started within one second do not share one."""
    unused, number = path, 1
    while True:
        try:
            unused.mkdir(parents=True)
            return unused
        except FileExistsError:
            number += 1
            unused = path.with_name(f"{path.name}-{number}")
        except OSError as error:
            raise StorageError(f"{unused}: cannot be created: {reason(error)}") from error
