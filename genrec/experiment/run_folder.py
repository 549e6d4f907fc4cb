"""The folder of a run: recipe, model, semantic IDs, candidates and report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from genrec.errors import DataError
from genrec.runtime.environment import Environment
from genrec.types import Catalog, Dataset

_MARK = "run.json"


class RunFolder:
    """The folder of a run; a run writes only to this folder and the cache.

    Args:
        path: the folder; created if it does not exist.
        cache: the folder of finished stages.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.cache = path, cache

    @staticmethod
    def cache_of(output: Path | None) -> Path:
        """The cache of a run: inside ``--output`` if given, else shared by all runs in ``runs/``."""
        return Path("runs") / ".stages" if output is None else output / ".stages"

    @classmethod
    def create(cls, output: Path | None, recipe_file: Path, *, verb: str = "run") -> RunFolder:
        """The folder of a new run.

        Args:
            output: ``--output``; its cache is its subfolder ``.stages``. None: ``runs/<recipe>-<time>``, with a cache
                in ``runs/.stages`` that these runs share.
            recipe_file: its stem names the folder.
            verb: the command that writes the folder.

        Raises:
            DataError: the folder contains files that were not written by a run.
        """
        if output is None:
            path = _unused(Path("runs") / f"{recipe_file.stem}-{datetime.now():%Y%m%d-%H%M%S}")
        else:
            path = output
        if path.exists() and not path.is_dir():
            raise DataError(f"{path}: is a file, expected a folder for the run")
        if path.is_dir() and any(file.name != ".stages" for file in path.iterdir()) and not (path / _MARK).is_file():
            raise DataError(f"{path}: is not empty and not the folder of a run; pass another folder to --output")
        if (path / _MARK).is_file() and (made_by := cls(path, path).read_json(_MARK).get("verb", "run")) != verb:
            raise DataError(f"{path}: the folder of a `genrec {made_by}`; pass another folder to --output")
        path.mkdir(parents=True, exist_ok=True)
        # Files of an earlier run in this folder. Training logs stay: a resumed training continues them, and a cached
        # model writes none.
        for part in ("streams", "candidates", "train_only/streams", "train_only/candidates"):
            shutil.rmtree(path / part, ignore_errors=True)
        for part in ("model.safetensors", "training.json"):
            (path / "train_only" / part).unlink(missing_ok=True)
        folder = cls(path, cls.cache_of(output))
        folder.write_json(_MARK, {"verb": verb, "finished": False})
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a finished run.

        Raises:
            DataError: the folder is not that of a run, or the run is not finished.
        """
        if not (path / _MARK).is_file():
            raise DataError(f"{path}: not the folder of a run (no {_MARK}); `genrec run RECIPE` creates one")
        folder = cls(path, path / ".stages")
        mark = folder.read_json(_MARK)
        if (verb := mark.get("verb", "run")) != "run":
            raise DataError(f"{path}: the folder of a `genrec {verb}`, which has no model; expected that of a run")
        if not mark.get("finished"):
            raise DataError(f"{path}: this run has not finished; run its recipe again, it resumes")
        return folder

    def located(self, environment: Environment) -> Environment:
        """An environment with the folders of the run: that of its recipe, and that of its data unless one is given."""
        places = self.read_json(_MARK).get("folders", {})
        data, recipe = (None if places.get(key) is None else Path(places[key]) for key in ("data", "recipe"))
        return replace(environment, data=environment.data or data, recipe=recipe or self.path)

    def finish(self, facts: dict[str, Any]) -> None:
        """Mark the run as finished."""
        self.write_json(_MARK, {**self.read_json(_MARK), "finished": True, **facts})

    def write_text(self, name: str, text: str) -> None:
        """Write a file atomically."""
        partial = self.path / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path / name)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON."""
        self.write_text(name, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run.

        Raises:
            DataError: the file is missing or not valid.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{self.path / name}: missing; the run is not complete") from None
        except json.JSONDecodeError as error:
            raise DataError(f"{self.path / name}:{error.lineno}: not valid JSON: {error.msg}") from None

    def write_recipe(self, text: str, overrides: Sequence[str]) -> None:
        """Write the recipe as YAML with all defaults, preceded by the ``--set`` options as comments."""
        header = "".join(f"# --set {' '.join(override.splitlines())}\n" for override in overrides)
        self.write_text("recipe.yaml", header + text)

    def write_catalog(self, catalog: Catalog) -> None:
        """Write the key and title of every item, in the row order of all matrices."""
        self.write_json("items.json", {"keys": catalog.keys, "titles": catalog.titles})

    def write_users(self, dataset: Dataset) -> None:
        """Write the keys of the test users, in the row order of ``ranks.safetensors``."""
        self.write_json("users.json", {"keys": [dataset.user_keys[user] for user in dataset.test.users]})

    def place(self, stage: Path, name: str) -> None:
        """Put the file of a stage into the folder of the run, as a hard link if possible."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(stage, target)
        except OSError:
            shutil.copyfile(stage, target)


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
