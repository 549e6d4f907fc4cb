"""``--set a.b.c=value``: override values of a recipe by dotted path; ``*`` matches every key or list entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from genrec.recipe.problems import InvalidRecipeError, Path, Place, Problem, dotted, shown
from genrec.recipe.source import MAX_DEPTH, UNREADABLE, Source, holds, read


class _UnfitError(Exception):
    """A path that does not match the recipe; the arguments are the path and the problem."""


_SHOWN = 200
"""Characters of an option in an error."""


def apply(source: Source, overrides: Sequence[str]) -> None:
    """Change a recipe in place; overrides that cannot be applied are added to its problems.

    A value is YAML (``0.5``, ``null``, ``[5, 10]``, ``{type: din, dim: 64}``). A key that the recipe does not contain
    is added, and a component given as a bare name becomes a block first; the check of the recipe reports unknown keys
    with the option as their place.

    Args:
        source: the recipe as it is written.
        overrides: ``path=value`` each, applied in order.
    """
    for override in overrides:
        place = Place(f"--set {override if len(override) <= _SHOWN else override[:_SHOWN] + '...'}")
        path, equals, text = override.partition("=")
        parts = path.strip().split(".")
        if not equals or not all(parts):
            source.problems.append(Problem(place, "", "expected KEY=VALUE, such as training.batch_size=64"))
            continue
        if len(parts) > MAX_DEPTH:
            text = f"nested too deep, found {len(parts)} keys, expected at most {MAX_DEPTH} levels"
            source.problems.append(Problem(place, "", text))
            continue
        try:
            value = read(text, place.source, mapping=False)
            targets = list(_targets(source.data, parts))
            if not targets:
                raise _UnfitError((), f"{path} matches nothing in this recipe")
        except InvalidRecipeError as error:
            source.problems += [Problem(place, path, problem.text) for problem in error.problems]
            continue
        except _UnfitError as error:
            source.problems.append(Problem(place, dotted(error.args[0]), error.args[1]))
            continue
        for target in targets:
            _put(source, target, value.data, place)
            moved = value.moved(target, place)
            source.places.update(moved.places)
            source.problems += moved.problems


def _targets(data: Any, parts: Sequence[str], path: Path = (), *, starred: bool = False) -> Iterator[Path]:
    """The paths that match a dotted path; after a ``*``, branches without a matching key are skipped."""
    if not parts:
        yield path
        return
    head, rest = parts[0], parts[1:]
    if head == "*":
        if not isinstance(data, dict | list):
            raise _UnfitError(
                path, f"found {shown(data)}, expected a mapping or a list to put * in place of its entries"
            )
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield from _targets(data[key], rest, (*path, key), starred=True)
    elif isinstance(data, list):
        if head not in map(str, range(len(data))):
            entries = f"0 to {len(data) - 1}" if data else "nothing, the list is empty"
            raise _UnfitError((*path, head), f"no such entry, expected {entries}")
        yield from _targets(data[int(head)], rest, (*path, int(head)), starred=starred)
    elif data is None or isinstance(data, dict | str):
        child = data.get(head) if isinstance(data, dict) else None
        if not (child is None and rest and starred):
            yield from _targets(child, rest, (*path, head), starred=starred)
    elif data is not UNREADABLE:
        raise _UnfitError(path, f"found {shown(data)}, expected a mapping with the key {head}")


def _put(source: Source, path: Path, value: Any, place: Place) -> None:
    around = source.data
    for depth, step in enumerate(path[:-1], start=1):
        child = around[step] if holds(around, step) else None
        if child is None:
            source.places[path[:depth]] = place
        if child is None or isinstance(child, str):
            around[step] = {} if child is None else {"type": child}
        around = around[step]
    around[path[-1]] = value
    for known in [known for known in source.places if known[: len(path)] == path]:
        del source.places[known]
    source.places[path] = place
