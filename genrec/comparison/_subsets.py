"""The axis ``streams``: a recipe with a subset of its streams, with repeated or with concatenated streams.

References to removed streams are removed or changed, and each such change is noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from genrec.comparison._values import one_line
from genrec.families import Component
from genrec.recipe.problems import did_you_mean, one_of, shown
from genrec.recipe.schema import Recipe

Parts = tuple[tuple[str, ...], ...]
"""The streams of a variant: each one or several names of the recipe; vectors of several are concatenated."""


class UnfitSubsetError(Exception):
    """A subset that is impossible for a recipe, with the reason."""


def parts_of(text: str, names: Sequence[str]) -> Parts:
    """``behavior~text+visual``: streams joined by ``+``, concatenated ones by ``~``.

    Args:
        text: one value of ``--vary streams=``.
        names: of the recipe's streams.

    Returns:
        The parts in the order of the recipe: the order in the text does not matter.

    Raises:
        UnfitSubsetError: the text is malformed or names an unknown stream.
    """
    if not re.fullmatch(r"[\w-]+(\s*[+~]\s*[\w-]+)*", text):
        raise UnfitSubsetError(f"found {shown(text)}, expected names of streams joined by +, such as {'+'.join(names)}")
    parts = [tuple(name.strip() for name in part.split("~")) for part in text.split("+")]
    for name in (name for part in parts for name in part):
        if name not in names:
            raise UnfitSubsetError(f"unknown stream {name!r}, expected {one_of(names)}{did_you_mean(name, names)}")
    for part in parts:
        if len(set(part)) < len(part):
            raise UnfitSubsetError(f"found {'~'.join(part)}, expected different streams on both sides of ~")
    return tuple(sorted(parts, key=lambda part: names.index(part[0])))


def label_of(parts: Parts) -> str:
    """A subset as ``--vary streams=`` writes it."""
    return "+".join("~".join(part) for part in parts)


def controls_of(names: Sequence[str], with_vectors: Sequence[str]) -> list[Parts]:
    """The controls of N streams: each N times (an ensemble without a second view), and one stream on all vectors.

    Args:
        names: of the streams.
        with_vectors: those of the recipe's streams whose item encoder gives vectors; only these can be joined.
    """
    if len(names) < 2:
        return []
    repeated: list[Parts] = [((name,),) * len(names) for name in names]
    joined = tuple(name for name in names if name in with_vectors)
    return [*repeated, (joined,)] if len(joined) > 1 else repeated


def largest(subsets: Sequence[Parts]) -> list[str]:
    """The streams of the subset with the most distinct single streams."""
    alone = [list(dict.fromkeys(part[0] for part in parts if len(part) == 1)) for parts in subsets]
    return max(alone, key=len, default=[])


@dataclass
class Restricted:
    """The changes that turn a recipe into that of a subset."""

    overrides: list[str] = field(default_factory=list)
    """Values for ``--set``, applied after all others."""
    notes: list[str] = field(default_factory=list)
    """Changes other than the streams."""


def restrict(data: Mapping[str, Any], recipe: Recipe, parts: Parts) -> Restricted:
    """Restrict a recipe to other streams.

    A task that needs a removed stream is left out, unless a copy of another stream can replace it. References to a
    concatenated stream become references to the concatenation.

    Args:
        data: the recipe as written, after ``--set``.
        recipe: the same, validated.
        parts: the new streams.

    Raises:
        UnfitSubsetError: the merge cannot do without a stream that is gone, or a joined stream has no vectors.
    """
    names = list(recipe.streams)
    for part in parts:
        for name in part if len(part) > 1 else ():
            if not recipe.streams[name].item_encoder.gives_vectors:
                expected = "streams with an item encoder on both sides of ~"
                raise UnfitSubsetError(f"the stream {name} has no vectors to join, expected {expected}")
    result = Restricted()
    if parts == tuple((name,) for name in names):
        return result
    chosen = _named(parts, names)
    joint = {old: new for new, part in chosen.items() if len(part) > 1 for old in part}
    becomes = {name: name if name in chosen else joint.get(name) for name in names}
    copies = [new for new, part in chosen.items() if len(part) == 1 and new not in names]
    stand_ins = dict(zip((name for name in names if becomes[name] is None), copies, strict=False))
    streams = {new: _stream(new, part, data["streams"], recipe, becomes, result) for new, part in chosen.items()}
    result.overrides.append(f"streams={one_line(streams)}")
    _restrict_tasks(data, recipe, {**becomes, **stand_ins}, result)
    _restrict_history_encoder(data, recipe, becomes, result)
    _restrict_merge(data, recipe, becomes, result)
    if guide := recipe.evaluation.distances_in:
        result.overrides.append(f"evaluation.distances_in={becomes[guide] or 'null'}")
    return result


def _named(parts: Parts, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Unique names of the parts: ``text``, ``text_again``, ``behavior_text``."""
    chosen: dict[str, tuple[str, ...]] = {}
    for part in parts:
        name = part[0]
        if len(part) > 1 or name in chosen:
            stem = "_".join(part) if len(part) > 1 else f"{name}_again"
            name, number = stem, 1
            while name in chosen or name in names:
                number += 1
                name = f"{stem}{number}"
        chosen[name] = part
    return chosen


def _stream(
    name: str,
    part: tuple[str, ...],
    blocks: Mapping[str, Any],
    recipe: Recipe,
    becomes: Mapping[str, str | None],
    result: Restricted,
) -> dict[str, Any]:
    """The block of one stream; for several, everything except the item encoder is from the first."""
    first = part[0]
    block = deepcopy(blocks[first])
    if len(part) > 1:
        encoders = [deepcopy(blocks[one]["item_encoder"]) for one in part]
        block["item_encoder"] = {"type": "concatenation", "encoders": encoders}
    guide = block.get("nearest_in")
    if guide is not None:
        near = becomes[guide]
        if near is None or near == name:
            del block["nearest_in"]
            block["absent_items"] = "own_branch" if block.get("tokenizer") is not None else "leave_out"
            why = f"stream {guide} is removed" if near is None else f"{guide} is part of it"
            result.notes.append(f"{name}: absent_items {block['absent_items']} instead of nearest: {why}")
        elif near != guide:
            block["nearest_in"] = near
            result.notes.append(f"{name}: nearest_in {near} instead of {guide}")
    built = recipe.streams[first]
    components = {"tokenizer": built.tokenizer, "history_encoder": built.history_encoder, "decoder": built.decoder}
    for key, component in components.items():
        if component is not None and key in block:
            block[key] = _Follower(component, becomes).follow(block[key])
    return block


def _restrict_tasks(
    data: Mapping[str, Any], recipe: Recipe, becomes: Mapping[str, str | None], result: Restricted
) -> None:
    written = data.get("tasks") or []
    left: list[Any] = []
    for raw, task in zip(written, recipe.tasks, strict=True):
        follower = _Follower(task, becomes)
        block = follower.follow(raw)
        before, after = _task_text(task.type_name, raw, task), _task_text(task.type_name, block, task)
        if follower.emptied:
            result.notes.append(f"{before} left out: stream {follower.emptied[0]} is removed")
        elif follower.met:
            result.notes.append(f"{before} left out: {' and '.join(follower.met)} are one stream here")
        elif block != raw and block in left:
            result.notes.append(f"{before} left out: it equals {after} here")
        else:
            left.append(block)
            if block != raw:
                result.notes.append(f"{before} becomes {after}")
    if left != written:
        result.overrides.append(f"tasks={one_line(left)}")


def _task_text(name: str, raw: Any, task: Component) -> str:
    """A task with its streams, for notes."""
    if isinstance(raw, dict) and {"source", "target"} <= raw.keys():
        return f"{name}({raw['source']} -> {raw['target']})"
    lists = [value for value in raw.values() if isinstance(value, list)] if isinstance(raw, dict) else []
    used = [value for values in lists for value in values if isinstance(value, str)] or task.streams_used()
    return f"{name}({', '.join(used)})" if task.streams_used() else name


def _restrict_history_encoder(
    data: Mapping[str, Any], recipe: Recipe, becomes: Mapping[str, str | None], result: Restricted
) -> None:
    raw = data["history_encoder"]
    follower = _Follower(recipe.history_encoder, becomes)
    block = follower.follow(raw)
    if block == raw:
        return
    for key in (key for key in block if block[key] != raw[key]):
        result.overrides.append(f"history_encoder.{key}={one_line(block[key])}")
        why = f": stream{'s' * (len(follower.gone) > 1)} {' and '.join(follower.gone)} removed" if follower.gone else ""
        result.notes.append(f"history_encoder.{key}: {one_line(block[key])} instead of {one_line(raw[key])}{why}")


def _restrict_merge(
    data: Mapping[str, Any], recipe: Recipe, becomes: Mapping[str, str | None], result: Restricted
) -> None:
    follower = _Follower(recipe.merge, becomes)
    block = follower.follow(data.get("merge"))
    if follower.gone:
        raise UnfitSubsetError(
            f"the merge {recipe.merge.type_name!r} needs the stream {follower.gone[0]!r}, which is removed here; "
            "expected a merge that does not need it, such as --set merge=confidence"
        )
    if block != data.get("merge"):
        result.overrides.append(f"merge={one_line(block)}")
        result.notes.append(f"merge: {one_line(block)} instead of {one_line(data['merge'])}")


class _Follower:
    """Renames the streams in the block of a component.

    Attributes:
        gone: names of removed streams.
        emptied: those of them without which a field would be empty, which often means all streams.
        met: names in different fields that became one.
    """

    def __init__(self, component: Component, becomes: Mapping[str, str | None]) -> None:
        used = dict.fromkeys(_streams_used(component))
        self._becomes = {name: becomes[name] for name in used if name in becomes}
        self.gone = [name for name, new in self._becomes.items() if new is None]
        self.emptied: list[str] = []
        self.met: list[str] = []
        self._single: dict[str, str] = {}

    def follow(self, raw: Any) -> Any:
        """The block with the new names of its streams."""
        if isinstance(raw, dict):
            return {key: value if key == "type" else self._value(value) for key, value in raw.items()}
        return raw

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            new = [self._becomes.get(part, part) if isinstance(part, str) else self.follow(part) for part in value]
            left = [part for part, old in zip(new, value, strict=True) if not (part is None and old is not None)]
            if value and not left:
                self.emptied += [old for old in value if old in self.gone]
            names = [part for part in left if isinstance(part, str)]
            return list(dict.fromkeys(names)) if len(names) == len(left) and new != value else left
        if not (isinstance(value, str) and value in self._becomes):
            return self.follow(value)
        new = self._becomes[value]
        if new is None:
            self.emptied.append(value)
            return value
        if self._single.setdefault(new, value) != value:
            self.met = [self._single[new], value]
        return new


def _streams_used(component: Component) -> Iterator[str]:
    """Streams that a component or a nested component refers to."""
    yield from component.streams_used()
    for name in type(component).model_fields:
        value = getattr(component, name)
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for part in parts:
            if isinstance(part, Component):
                yield from _streams_used(part)
