"""The arguments that all functions of the API share: recipes, overrides, and where to compute."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genrec.errors import GenrecError, RecipeError
from genrec.families import plain
from genrec.recipe import loading
from genrec.recipe.schema import Recipe
from genrec.recipe.source import scalar
from genrec.registry import add_plugin_folder, plugin_errors
from genrec.runtime.environment import Environment
from genrec.runtime.threads import Threads, threads_for

RecipeLike = str | Path | Mapping[str, Any] | Recipe
"""A recipe: a YAML file, plain data (components may be objects), or a checked recipe."""
Overrides = Sequence[str] | Mapping[str, Any] | None
"""Changes of a recipe: ``{"training.max_epochs": 3}``, or texts ``training.max_epochs=3`` as for ``--set``."""
ONE_AT_A_TIME = threading.RLock()
"""Held while a stage may be computed: torch has one random generator and one number of threads for all threads."""


@plugin_errors()
def load_recipe(recipe: RecipeLike, overrides: Overrides = None, *, trust_plugins: bool = False) -> Recipe:
    """Load and check a recipe, from a file or built in Python.

    Plugins are loaded from ``plugins/`` beside the file and in the working folder. :meth:`Recipe.save` writes a recipe
    as YAML.

    Args:
        recipe: a YAML file; a mapping with the keys of a recipe, in which a component is its name, a mapping with
            ``type``, or an object; or a recipe.
        overrides: values by dotted key, such as ``{"merge": "learned", "streams.*.tokenizer.branching": 64}``, or
            texts ``key=value``.
        trust_plugins: also load plugins beside a recipe in the folder of a run, which may come from someone else.

    Raises:
        RecipeError: the recipe cannot be read or is not valid; the error lists all problems.
    """
    changes = override_texts(overrides)
    if isinstance(recipe, str | Path):
        return loading.load_recipe(recipe, changes, trust_plugins=trust_plugins)
    if not isinstance(recipe, Mapping | Recipe):
        raise RecipeError(f"found a {type(recipe).__name__}, expected a recipe: a YAML file, a mapping or a Recipe")
    add_plugin_folder(Path.cwd() / "plugins")
    block = recipe.block() if isinstance(recipe, Recipe) else recipe
    return loading.recipe_of(block, overrides=changes)


def override_texts(overrides: Overrides, seed: int | None = None) -> list[str]:
    """Overrides as texts ``key=value``, with the seed as the last of them.

    Raises:
        RecipeError: they are neither a mapping nor texts, or a value cannot be written in a recipe.
    """
    if isinstance(overrides, Mapping):
        texts = [f"{key}={value_text(value)}" for key, value in overrides.items()]
    else:
        texts = listed_texts("overrides", overrides, '{"training.max_epochs": 3}')
    return [*texts, *([] if seed is None else [f"seed={seed}"])]


def listed_texts(argument: str, texts: Any, example: str) -> list[str]:
    """Texts ``key=value`` as a list; one text alone, and none.

    Raises:
        RecipeError: an entry is not a text.
    """
    found = [] if texts is None else [texts] if isinstance(texts, str) else texts
    if not isinstance(found, Sequence) or not all(isinstance(text, str) for text in found):
        raise RecipeError(f"{argument}: found {texts!r}, expected a mapping such as {example}, or texts 'key=value'")
    return list(found)


def value_text(value: Any) -> str:
    """A value in one line of YAML; a text that is not quoted stays as it is.

    Raises:
        RecipeError: the value cannot be written in a recipe.
    """
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.+~-]*", value) and scalar(value) == value:
        return value
    try:
        return json.dumps(plain(value), ensure_ascii=False, default=_plain_number)
    except TypeError as error:
        raise RecipeError(f"found {value!r}, expected a value of a recipe: a number, a text, a list, ...") from error


def _plain_number(value: Any) -> Any:
    """Numbers and arrays of numpy as those of Python."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(type(value).__name__)


def folder_of(recipe: RecipeLike) -> Path | None:
    """The folder of a recipe's file, where files that it names are also searched for; None without a file."""
    return Path(recipe).resolve().parent if isinstance(recipe, str | Path) else None


def name_of(recipe: RecipeLike, checked: Recipe) -> Path:
    """The file of a recipe, or a file name made of its title: its stem names the folder of a run."""
    if isinstance(recipe, str | Path):
        return Path(recipe)
    words = re.sub(r"[^a-z0-9]+", "_", checked.title.lower()).strip("_")
    return Path(f"{words[:40].rstrip('_') or 'recipe'}.yaml")


def environment_of(
    recipe: RecipeLike | None = None,
    checked: Recipe | None = None,
    *,
    data: str | Path | None = None,
    device: str = "auto",
    threads: int | str | None = None,
) -> Environment:
    """Where to compute and where to find files.

    Args:
        recipe: as it was passed; files that it names are also searched for beside its file.
        checked: the recipe, from which auto derives the number of threads; None leaves the number undecided.
        data: the data folder; None: beside the recipe, see :meth:`Environment.for_dataset`.
        device: auto, cpu, cuda, cuda:1 or mps; checked by allocating a tensor.
        threads: a number, ``auto`` or None.

    Raises:
        GenrecError: the device is not available, or the number of threads is not valid.
    """
    count = None if checked is None else threads_for(parse_threads(threads), checked.block())
    folder = None if data is None else Path(data)
    environment = Environment(device, count, folder, None if recipe is None else folder_of(recipe))
    if checked is not None:
        environment = environment.for_dataset(checked.dataset.block())
    environment.check_device()
    return environment


def parse_threads(threads: int | str | None) -> Threads:
    """Parse a number of threads.

    Raises:
        GenrecError: it is not a positive integer, ``auto`` or None.
    """
    if threads is None or threads == "auto":
        return threads  # type: ignore[return-value]
    text = str(threads)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise GenrecError(f"--threads {threads}: expected a positive integer or auto")
    return int(text)
