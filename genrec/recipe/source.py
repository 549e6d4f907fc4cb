"""YAML text <-> plain data with the line of every key and value.

The core schema of YAML 1.2, strictly: only true/false are booleans, 1e-3 is a number; duplicate keys, anchors, merge
keys and tags are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from genrec.recipe.problems import InvalidRecipeError, Path, Place, Problem, dotted

MAX_CHARACTERS: Final = 500_000
MAX_DEPTH: Final = 40
"""Levels of mappings and lists in a recipe."""

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
)


class Unreadable:
    """Placeholder for a value whose problem is already reported."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = Unreadable()


@dataclass
class Source:
    """A recipe as it is written."""

    name: str
    """Name of the file in messages."""
    data: Any
    """Mappings, lists and scalars; keys are text."""
    places: dict[Path, Place] = field(default_factory=dict)
    """Place of each key or list entry."""
    problems: list[Problem] = field(default_factory=list)
    """Problems of the YAML itself; syntax errors are raised instead."""

    def place(self, path: Path) -> Place:
        """The place of a value, or of the innermost block around it that has one."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return Place(self.name)

    def moved(self, prefix: Path, place: Place) -> Source:
        """The same tree as the value of ``prefix``, at one place (an option of the command line)."""
        places = {prefix + path: place for path in self.places}
        problems = [replace(p, place=place, key=dotted(prefix) + (p.key and f".{p.key}")) for p in self.problems]
        return Source(place.source, self.data, places, problems)


def scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar in the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(inf|nan)", r"\1", text, flags=re.IGNORECASE))
    return text


def read(text: str, name: str, *, mapping: bool = True) -> Source:
    """Parse YAML text.

    Args:
        text: one document.
        name: the file or option that messages name.
        mapping: whether the top must be a mapping, as in a recipe.

    Raises:
        InvalidRecipeError: the text is not valid YAML, not a mapping, too large or too deeply nested.
    """
    if len(text) > MAX_CHARACTERS:
        raise _fatal(name, 0, f"found {len(text)} characters, expected a recipe of at most {MAX_CHARACTERS}")
    builder = _Builder(name)
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        data = builder.document(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        column = f" at column {mark.column + 1}" if mark else ""
        problem = error.problem or error.context or "broken syntax"
        raise _fatal(name, mark.line + 1 if mark else 0, f"not valid YAML{column}: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _fatal(name, line, f"not valid YAML: the character {chr(error.character)!r} is not allowed") from None
    if data is UNREADABLE:
        raise InvalidRecipeError(builder.problems)
    if mapping and not isinstance(data, dict):
        found = "an empty file" if data is None else "a list" if isinstance(data, list) else f"only {data!r:.60}"
        raise _fatal(name, 1, f"found {found}, expected a recipe: keys such as title, dataset, streams")
    return Source(name, data, builder.places, builder.problems)


def holds(data: Any, step: str | int) -> bool:
    """Whether a mapping or list has this key or entry."""
    return step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))


def write(data: Any) -> str:
    """Plain data as YAML; :func:`read` is the inverse."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _fatal(name: str, line: int, text: str) -> InvalidRecipeError:
    return InvalidRecipeError([Problem(Place(name, line), "", text)])


class _Builder:
    """Builds plain data from the events of PyYAML and records places and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []

    def document(self, events: Iterator[yaml.Event]) -> Any:
        next(events)  # the stream's start
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        first = next(events)
        self.places[()] = self.at(first)
        data = self.node(first, events, ())
        next(events)  # the document's end
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _fatal(self.name, self.at(after).line, "found a second document, expected one recipe per file")
        return data

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            line = self.at(event).line
            raise _fatal(self.name, line, f"nested too deep, expected at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self.refuse(event, path, f"found the alias *{event.anchor}, expected the value itself")
        refused = self.refused(event)
        data = self.content(event, events, path)
        return self.refuse(event, path, refused) if refused else data

    def content(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            entries: list[Any] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                self.places[(*path, len(entries))] = self.at(event)
                entries.append(self.node(event, events, (*path, len(entries))))
            return entries
        assert isinstance(event, yaml.ScalarEvent)
        return scalar(event.value) if event.implicit[0] else event.value

    def mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value and not self.refused(event):
                key = event.value
            else:
                key = ""
                mark = self.at(event)
                if isinstance(event, yaml.CollectionStartEvent):
                    self.node(event, events, (*path, key))  # one deeper: keys of keys have a limit too
                self.problems.append(Problem(mark, dotted(path), "found a key that is not text, expected plain text"))
            where, below = self.at(event), (*path, key)
            if key == "" or key == "<<" or key in entries:
                outside = _Builder(self.name)
                outside.node(next(events), events, below)
                if key == "<<":
                    text = "merge keys are not allowed, expected the block itself"
                    self.problems.append(Problem(where, dotted(below), text))
                elif key:
                    text = f"duplicate key, expected it once (first in line {self.places[below].line})"
                    self.problems.append(Problem(where, dotted(below), text))
                continue
            self.places[below] = where
            entries[key] = self.node(next(events), events, below)
        return entries

    def refused(self, event: yaml.Event) -> str | None:
        if getattr(event, "anchor", None):
            return f"found the anchor &{event.anchor}, expected the value alone"  # type: ignore[attr-defined]
        if getattr(event, "tag", None):
            return f"found the tag {event.tag}, expected the value alone"  # type: ignore[attr-defined]
        return None

    def refuse(self, event: yaml.Event, path: Path, text: str) -> Any:
        self.problems.append(Problem(self.at(event), dotted(path), text))
        return UNREADABLE

    def at(self, event: yaml.Event) -> Place:
        assert event.start_mark is not None
        return Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1)


class _Dumper(yaml.SafeDumper):
    """Quotes strings that :func:`scalar` would convert to another type; writes flat lists on one line."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)
        return _TAGS[type(scalar(value))]

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_TAGS = {
    type(None): "tag:yaml.org,2002:null",
    bool: "tag:yaml.org,2002:bool",
    int: "tag:yaml.org,2002:int",
    float: "tag:yaml.org,2002:float",
    str: "tag:yaml.org,2002:str",
}


def _sequence(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    flat = not any(isinstance(part, dict | list) for part in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


def _text(dumper: _Dumper, data: str) -> yaml.Node:
    # PyYAML would write these line breaks into single quotes, where they are read as spaces.
    style = '"' if re.search("[\r\x85\u2028\u2029]", data) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


def _float(dumper: _Dumper, data: float) -> yaml.Node:
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(data), repr(data))
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)
