"""Checks the contract that components of all families share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from genrec.contracts.demands import Demands
from genrec.families import Component
from genrec.runtime.environment import Environment


def check_component(component: Component, environment: Environment, demand: Demands) -> None:
    """Check that a component is registered, frozen, documented, equal after a round trip, and that its files exist."""
    cls = type(component)
    demand(component.type_name, "a component is registered under a name")
    demand((cls.__doc__ or "").strip(), "the class has a docstring: its first line is what `genrec list` shows")
    for name, field in cls.model_fields.items():
        demand(field.description, f"the field {name!r} has a docstring below it: it is the help of its recipe key")
        try:
            setattr(component, name, getattr(component, name))
        except (ValidationError, AttributeError, TypeError):
            continue
        demand(False, f"a component is frozen, but its field {name!r} can be set")
    block = component.block()
    demand(block.get("type") == component.type_name, "block() names the component's type")
    try:
        stored = json.loads(json.dumps(block))
    except TypeError as error:
        raise demand.violation(f"block() is plain data, but {error}") from error
    demand(_rebuilt(component, stored) == component, "a component built from its own block is equal to it")
    demand(cls.speed_only <= set(cls.model_fields), "speed_only names fields of the component")
    files = component.input_files(environment)
    demand(files == component.input_files(environment), "input_files() returns the same files every time")
    demand(all(isinstance(file, Path) and file.exists() for file in files), "input_files() returns existing files")


def unchanged(array: np.ndarray, before: np.ndarray) -> bool:
    """Whether an array is unchanged, NaN in the same places."""
    return array.dtype == before.dtype and np.array_equal(array, before, equal_nan=array.dtype.kind == "f")


def _rebuilt(original: Any, stored: Any) -> Any:
    """A value as read from a recipe."""
    if isinstance(original, Component):
        fields = {name: _rebuilt(getattr(original, name), stored[name]) for name in type(original).model_fields}
        return type(original)(**fields)
    if isinstance(original, BaseModel):
        return type(original).model_validate(stored)
    if isinstance(original, list | tuple):
        return [_rebuilt(part, value) for part, value in zip(original, stored, strict=True)]
    if isinstance(original, dict):
        return {key: _rebuilt(part, stored[str(key)]) for key, part in original.items()}
    return stored
