"""Parse ``--vary KEY=V1,V2,...``: values with labels, and the overrides that set one of them in a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from genrec.comparison._subsets import Parts
from genrec.comparison._values import free_name, label, split_values
from genrec.recipe.problems import InvalidRecipeError, Path, Place, Problem, dotted
from genrec.recipe.source import holds, read, write

_REFUSED = {
    "seed": "found seeds, expected --seeds 1,2,3: seeds are repetitions of every variant",
    "title": "found titles, expected a key that changes results: variants are named by what varies",
    "dataset": "found datasets, expected another key: a comparison uses one dataset, so that tests are paired by user",
    "evaluation": "found evaluation settings, expected another key: they must be equal for all variants (use --set)",
    "baselines": "found baselines, expected another key: baselines have separate rows (use --set)",
}


@dataclass(frozen=True)
class Value:
    """One value of an axis."""

    label: str
    text: str = ""
    """The value as written, for ``--set``."""
    parts: Parts = ()
    """The streams, for the axis ``streams``."""


@dataclass(frozen=True)
class Axis:
    """A key that varies."""

    key: str
    option: str
    """The option of the command line, for messages."""
    texts: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    """Empty for ``streams``, whose values depend on each recipe."""


def axes_of(vary: Sequence[str]) -> list[Axis]:
    """Parse the options, without the recipes that they change.

    Raises:
        InvalidRecipeError: an option is not valid.
    """
    axes: dict[str, Axis] = {}
    problems: list[Problem] = []
    for option in vary:
        place = Place(f"--vary {option}")
        key, equals, text = option.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            problems.append(Problem(place, "", "expected KEY=V1,V2, such as merge=confidence,log_prob_sum"))
        elif refusal := _REFUSED.get(key.partition(".")[0]):
            problems.append(Problem(place, key, refusal))
        elif key in axes:
            problems.append(Problem(place, key, f"duplicate key, expected it once (first: {axes[key].option})"))
        else:
            texts = tuple(split_values(text))
            if not all(texts):
                text = "found an empty value, expected a value on each side of a comma (null is a value)"
                problems.append(Problem(place, key, text))
                texts = ()
            values = () if key == "streams" or not texts else _values(key, texts, place, problems)
            axes[key] = Axis(key, str(place), texts, values)
    if problems:
        raise InvalidRecipeError(problems)
    return list(axes.values())


def _values(key: str, texts: Sequence[str], place: Place, problems: list[Problem]) -> tuple[Value, ...]:
    """The values of an axis with labels; invalid values are added to the problems."""
    first: dict[str, str] = {}
    shorts: list[str] = []
    for text in texts:
        try:
            value = read(text, place.source, mapping=False)
            wrong = value.problems
        except InvalidRecipeError as error:
            value, wrong = None, list(error.problems)
        if value is None or wrong:
            problems += [Problem(place, key, f"in {text}: {problem.text}") for problem in wrong]
            continue
        meaning = write(value.data)
        if meaning in first:
            also = f" (as {first[meaning]})" if first[meaning] != text else ""
            problems.append(Problem(place, key, f"found {text} twice{also}, expected each value once"))
            continue
        first[meaning] = text
        shorts.append(label(value.data, text))
    if len(texts) == 1:
        text = f"found one value, expected two or more (--set {key}={texts[0]} sets it for all)"
        problems.append(Problem(place, key, text))
    values: list[Value] = []
    for text, short in zip(first.values(), shorts, strict=True):
        shown = short if shorts.count(short) == 1 else label(None, text)
        values.append(Value(free_name(shown, [known.label for known in values]), text))
    return tuple(values)


def changes(key: str, text: str, data: Any) -> list[str]:
    """The overrides that set a key to a value.

    A bare name selects a component without resetting its fields: if the recipe already has this component, its block is
    unchanged.

    Args:
        key: dotted path, possibly with ``*``.
        text: the value, as YAML.
        data: the recipe with the previous overrides.
    """
    name = read(text, "", mapping=False).data
    targets = list(_targets(data, key.split("."))) if isinstance(name, str) else []
    others = [path for path, raw in targets if raw != name and not (isinstance(raw, dict) and raw.get("type") == name)]
    if len(others) == len(targets):
        return [f"{key}={text}"]
    return [f"{dotted(path)}={text}" for path in others]


def key_of(override: str) -> str:
    """The dotted path of an override."""
    return override.partition("=")[0].strip()


def _targets(data: Any, parts: Sequence[str], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The paths that match a dotted path, as in ``--set``, and the values there."""
    if not parts:
        yield path, data
        return
    head, *rest = parts
    for key in _keys(data, head):
        child = data[key] if holds(data, key) else None
        if child is not None or not rest:
            yield from _targets(child, rest, (*path, key))


def _keys(data: Any, head: str) -> list[str | int]:
    if isinstance(data, list):
        return [*range(len(data))] if head == "*" else [int(head)] if head.isdecimal() else []
    return list(data) if head == "*" and isinstance(data, dict) else [head]
