"""The keys in which a recipe differs from the one that a run recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genrec.errors import GenrecError
from genrec.recipe.loading import load_recipe_of_run
from genrec.recipe.problems import InvalidRecipeError, shown
from genrec.recipe.schema import Recipe
from genrec.recipe.source import read
from genrec.runtime.files import read_text

_ABSENT = object()


def changed_keys(file: Path, recipe: Recipe) -> list[str]:
    """The keys in which a recipe differs from that of a run, as ``key: recorded value -> value``.

    Args:
        file: ``recipe.yaml`` of the run.
        recipe: to be compared.
    """
    try:
        recorded = _recorded_block(file)
    except GenrecError as error:
        return [str(error)]
    old, new = dict(_leaves(recorded)), dict(_leaves(recipe.block()))
    return [
        f"{key}: {_shown(old.get(key, _ABSENT))} -> {_shown(new.get(key, _ABSENT))}"
        for key in dict.fromkeys([*new, *old])
        if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    ]


def _recorded_block(file: Path) -> Any:
    """The recorded recipe with all defaults of this version; as it is written where it is not valid any more."""
    try:
        return load_recipe_of_run(file).block()
    except InvalidRecipeError:
        return read(read_text(file), str(file)).data


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    if not parts:
        yield key, value
    for name, part in parts:
        yield from _leaves(part, f"{key}.{name}" if key else str(name))


def _shown(value: Any) -> str:
    return "missing" if value is _ABSENT else shown(value)
