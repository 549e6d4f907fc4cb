"""Blocks of a recipe -> components and settings, following the annotations of fields; all errors are collected."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from genrec.errors import GenrecError, PluginError
from genrec.families import Component, registry_of
from genrec.recipe.former_keys import former_key
from genrec.recipe.problems import Path, Problem, closest, did_you_mean, dotted, one_of, shown, wording
from genrec.recipe.source import UNREADABLE, Source, holds
from genrec.registry import Registry, check_unchanged

M = TypeVar("M", bound=BaseModel)

_NUMBERS = {int, float, type(None)}


class Assembly:
    """Builds the objects of one recipe.

    Args:
        source: the recipe as it is written.
        hint: appended to the problem of a component that does not exist.

    Attributes:
        problems: all errors found so far.
        built: components and settings objects by path, including the valid ones of a recipe that is not valid.
    """

    def __init__(self, source: Source, hint: str = "") -> None:
        self._source, self._hint = source, hint
        self.problems: list[Problem] = []
        self.built: dict[Path, BaseModel] = {}
        self._components: dict[Path, str] = {}
        """``<family>/<component>`` by path."""

    def build(self, annotation: Any, raw: Any, path: Path) -> Any:
        """Convert every block inside ``raw`` into the object that ``annotation`` specifies.

        Plain values are returned unchanged and validated by pydantic; ``UNREADABLE`` replaces values with a problem.
        """
        if raw is UNREADABLE:
            return raw
        options = _options(annotation)
        if isinstance(raw, bool) and set(options) <= _NUMBERS:
            return self._complain(path, f"found {shown(raw)}, expected {described(annotation)}")
        if raw is None and type(None) in options:
            return None
        blocks = [option for option in options if _is_model(option)]
        if isinstance(raw, list):
            for option in options:
                if (kinds := _entry_types(option, len(raw))) is not None:
                    return [self.build(kind, raw[i], (*path, i)) for i, kind in enumerate(kinds)]
        if isinstance(raw, Mapping):
            for option in options:
                if isinstance(get_origin(option), type) and issubclass(get_origin(option), Mapping):
                    kind = get_args(option)[1]
                    return {key: self.build(kind, part, (*path, key)) for key, part in raw.items()}
        if blocks and not (isinstance(raw, str) and str in options):
            return self._build_block(blocks[0], raw, path, described(annotation))
        return raw

    def _build_block(self, cls: type[BaseModel], raw: Any, path: Path, wanted: str) -> Any:
        if isinstance(raw, cls):
            self.built[path] = raw
            return raw
        if issubclass(cls, Component):
            return self._build_component(cls, raw, path, wanted)
        if not isinstance(raw, Mapping):
            return self._complain(path, f"found {shown(raw)}, expected {wanted}")
        return self._build_model(cls, raw, path, f" of {path[-1]}" if path else "")

    def _build_component(self, interface: type[Component], raw: Any, path: Path, wanted: str) -> Any:
        registry = registry_of(interface)
        fields: dict[str, Any] = {}
        if isinstance(raw, str):
            name, where = raw, path
        elif not isinstance(raw, Mapping):
            return self._complain(path, f"found {shown(raw)}, expected {wanted}")
        elif not isinstance(raw.get("type"), str):
            if raw.get("type") is UNREADABLE:
                return UNREADABLE
            text = f"found {shown(raw['type'])}" if "type" in raw else "missing"
            return self._complain((*path, "type"), f"{text}, expected {one_of(registry.names())}{_hint(registry)}")
        else:
            fields = {key: value for key, value in raw.items() if key != "type"}
            name, where = raw["type"], (*path, "type")
        self._components[path] = f"{registry.family}/{name}"
        cls = self._find(registry, interface, name, where)
        return UNREADABLE if cls is None else self._build_model(cls, fields, path, f" of {name!r}")

    def _find(self, registry: Registry[Any], interface: type[Component], name: str, path: Path) -> type[Any] | None:
        """The class with this name; None, and a problem, if there is no usable class."""
        names = registry.names()
        if name not in names:
            article = "an" if registry.singular[0] in "aeiou" else "a"
            text = f"unknown {registry.singular} {name!r}, expected {article} {registry.singular} that exists"
            text += _hint(registry) + did_you_mean(name, names) + self._hint
            broken = sorted({e.problem for e in registry.entries() if e.problem})
            self._complain(path, text + "".join(f"; a plugin cannot be read: {problem}" for problem in broken))
            return None
        try:
            cls = registry.get(name)
            check_unchanged(cls)
        except PluginError as error:
            self._complain(path, " ".join(str(error).split()))
            return None
        if not issubclass(cls, interface):
            self._complain(
                path, f"{name!r} is not a valid {registry.singular}: its class must inherit {interface.__name__}"
            )
            return None
        if inspect.isabstract(cls):
            verbs = ", ".join(sorted(cls.__abstractmethods__))
            self._complain(path, f"{registry.singular} {name!r} is incomplete, expected a method {verbs}")
            return None
        return cls

    def _build_model(self, cls: type[M], raw: Mapping[str, Any], path: Path, of: str) -> M | Any:
        given: dict[str, Any] = {}
        meant: set[str | None] = set()
        for key, value in raw.items():
            if key in cls.model_fields:
                field = cls.model_fields[key]
                given[key] = self.build(field.annotation, _completed(field, value), (*path, key))
            else:
                meant.add(closest(key, cls.model_fields))
                text = self._former(path, key)
                if text is None:
                    known = one_of(list(cls.model_fields)) if cls.model_fields else "no key but type"
                    text = f"unknown key{of}, expected {known}{did_you_mean(key, cls.model_fields)}"
                self._complain((*path, key), text)
        try:
            self.built[path] = built = cls.model_validate(given)
            return built
        except ValidationError as error:
            self._note(error.errors(include_url=False), cls, given, path, meant)  # type: ignore[arg-type]
        except GenrecError as error:
            self._complain(path, " ".join(str(error).split()))
        except Exception as error:
            if cls.__module__.startswith("genrec."):
                raise
            self._complain(path, f"a validator of the plugin failed: {type(error).__name__}: {error}")
        return UNREADABLE

    def _former(self, path: Path, key: str) -> str | None:
        """What became of a key of a former version, found by the component around it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._components:
                return former_key(self._components[path[:end]], dotted((*path[end:], key)))
        return former_key("recipe", dotted((*path, key)))

    def _note(
        self,
        errors: Sequence[dict[str, Any]],
        cls: type[BaseModel],
        given: dict[str, Any],
        path: Path,
        meant: set[str | None],
    ) -> None:
        by_path: dict[Path, list[dict[str, Any]]] = {}
        for error in errors:
            if error["input"] is UNREADABLE:
                continue
            if error["type"] == "missing" and len(error["loc"]) == 1:
                key = error["loc"][0]
                if key not in meant:
                    wanted = described(cls.model_fields[str(key)].annotation)
                    self._complain((*path, key), f"missing, expected {wanted}")
                continue
            by_path.setdefault(path + _known(error["loc"], given), []).append(error)
        for place, several in by_path.items():
            is_around = any(place == other[: len(place)] != other for other in by_path)
            if is_around and all(error["type"].endswith(("_type", "too_short")) for error in several):
                continue  # the error is in an entry, not in the type or length of the list
            self._complain(place, wording(several))

    def _complain(self, path: Path, text: str) -> Any:
        self.problems.append(Problem(self._source.place(path), dotted(path), text))
        return UNREADABLE


def _completed(field: FieldInfo, raw: Any) -> Any:
    """A settings block completed with the default of the field where it differs from the defaults of the class.

    Without this, ``training: {max_epochs: 5}`` would reset the learning rate of an encoder.
    """
    if not isinstance(raw, Mapping) or not any(_is_settings(option) for option in _options(field.annotation)):
        return raw
    default = field.get_default(call_default_factory=True)
    if not _is_settings(type(default)):
        return raw
    return {**{name: getattr(default, name) for name in default.model_fields_set}, **raw}


def described(annotation: Any) -> str:
    """The type of a field as text, to follow "expected"."""
    options = [option for option in _options(annotation) if option is not type(None)]
    return " or ".join(dict.fromkeys(_described(option) for option in options))


def _described(option: Any) -> str:
    if _is_model(option):
        if issubclass(option, Component):
            registry = registry_of(option)
            article = "an" if registry.singular[0] in "aeiou" else "a"
            return f"{article} {registry.singular}: a name or {{type: name, ...}}{_hint(registry)}"
        return f"a mapping with {', '.join(option.model_fields)}"
    origin, arguments = get_origin(option), get_args(option)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping whose values are {described(arguments[1])}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return "a list"
    if str(origin).endswith("Literal"):
        return " or ".join(map(repr, arguments))
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(option, "a value")


def _hint(registry: Registry[Any]) -> str:
    return f" (see: genrec list {registry.family})"


def _options(annotation: Any) -> list[Any]:
    """The members of a union, or the one type, without ``Annotated``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    return [annotation]


def _entry_types(option: Any, size: int) -> list[Any] | None:
    """The type of each of ``size`` entries, where ``option`` is a list or tuple type with arguments."""
    origin, arguments = get_origin(option), get_args(option)
    if not (isinstance(origin, type) and issubclass(origin, Sequence)) or not arguments:
        return None
    if origin is tuple and arguments[-1] is not Ellipsis:
        return [*arguments, *[Any] * (size - len(arguments))][:size]
    return [arguments[0]] * size


def _is_model(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _is_settings(option: Any) -> bool:
    return _is_model(option) and not issubclass(option, Component)


def _known(location: Sequence[str | int], value: Any) -> Path:
    """The part of a pydantic location that exists in the recipe; pydantic also names members of unions."""
    path: list[str | int] = []
    for part in location:
        if holds(value, part):
            value = value[part]
            path.append(part)
    return tuple(path)
