"""``--vary KEY=V1,V2,...`` read: its values with their labels, and the ``--set``s that give a recipe one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from genrec.comparison._subsets import Parts
from genrec.comparison._values import free_name, label, split_values
from genrec.recipe.problems import InvalidRecipeError, Path, Place, Problem, dotted
from genrec.recipe.source import holds, read, write

_REFUSED = {
    "seed": "found seeds, expected --seeds 1,2,3: they are no variants but repetitions of each",
    "title": "found titles, expected a key that changes what is done: variants are named by what varies",
    "dataset": "found data, expected another key: a comparison is on one dataset, so that its users can be paired",
    "evaluation": "found rules of measuring, expected another key: all variants are measured alike (--set, for all)",
    "baselines": "found baselines, expected another key: they are rows of their own (--set, for all)",
}


@dataclass(frozen=True)
class Value:
    """One value of an axis."""

    label: str
    text: str = ""
    """As it is written, for ``--set``."""
    parts: Parts = ()
    """For the axis ``streams``."""


@dataclass(frozen=True)
class Axis:
    """One thing that varies."""

    key: str
    option: str
    """The option of the command line, for messages."""
    texts: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    """None for ``streams``, where they are for each recipe to say."""


def axes_of(vary: Sequence[str]) -> list[Axis]:
    """Read the options; nothing is known yet of what they are to change.

    Raises:
        InvalidRecipeError: all that can be told from the options alone.
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
            problems.append(
                Problem(place, key, f"the key is there twice, expected it once (first: {axes[key].option})")
            )
        else:
            texts = tuple(split_values(text))
            if not all(texts):
                text = "found an empty value, expected one on each side of a comma (null is one)"
                problems.append(Problem(place, key, text))
                texts = ()
            values = () if key == "streams" or not texts else _values(key, texts, place, problems)
            axes[key] = Axis(key, str(place), texts, values)
    if problems:
        raise InvalidRecipeError(problems)
    return list(axes.values())


def _values(key: str, texts: Sequence[str], place: Place, problems: list[Problem]) -> tuple[Value, ...]:
    """The values of an axis, labelled; what is wrong with them is added to the problems."""
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
        text = f"found one value, expected two or more (--set {key}={texts[0]} gives it to all)"
        problems.append(Problem(place, key, text))
    values: list[Value] = []
    for text, short in zip(first.values(), shorts, strict=True):
        told = short if shorts.count(short) == 1 else label(None, text)
        values.append(Value(free_name(told, [known.label for known in values]), text))
    return tuple(values)


def changes(key: str, text: str, data: Any) -> list[str]:
    """The ``--set``s that give a key a value.

    A bare name says which component, not that its fields go back to their defaults: where the recipe has that very
    component, its block stays as it is.

    Args:
        key: dotted, perhaps with ``*``.
        text: the value, YAML.
        data: the recipe as it is written so far.
    """
    name = read(text, "", mapping=False).data
    targets = list(_targets(data, key.split("."))) if isinstance(name, str) else []
    others = [path for path, raw in targets if raw != name and not (isinstance(raw, dict) and raw.get("type") == name)]
    if len(others) == len(targets):
        return [f"{key}={text}"]
    return [f"{dotted(path)}={text}" for path in others]


def key_of(override: str) -> str:
    """The dotted path of a ``--set``."""
    return override.partition("=")[0].strip()


def _targets(data: Any, parts: Sequence[str], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The paths that a dotted one means, and what is written there; as ``--set`` has them."""
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
