"""The JSON Schema of a recipe, for editors: all components, including plugins, with their help."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from genrec.errors import PluginError
from genrec.families import REGISTRIES, Component
from genrec.recipe.schema import Recipe, plain

_TEMPLATE = "#/$defs/{model}"


class _Generator(GenerateJsonSchema):
    """Writes default components as recipe blocks."""

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(plain(dft))


def recipe_schema() -> tuple[dict[str, Any], list[str]]:
    """The schema, and one line per component that is left out because its plugin cannot be loaded."""
    classes: dict[type[Component], list[type[Component]]] = {}
    problems: list[str] = []
    for interface, registry in REGISTRIES.items():
        classes[interface] = []
        problems += [entry.problem for entry in registry.entries() if entry.problem]
        for name in registry.names():
            try:
                classes[interface].append(registry.get(name))
            except PluginError as error:
                problems.append(str(error))
    models: list[type[BaseModel]] = [Recipe, *classes, *(cls for family in classes.values() for cls in family)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic warns about defaults that it cannot serialize; they are left out
        references, whole = models_json_schema(
            [(model, "validation") for model in dict.fromkeys(models)],
            ref_template=_TEMPLATE,
            schema_generator=_Generator,
        )
    names = {model: reference["$ref"].rpartition("/")[2] for (model, _), reference in references.items()}
    definitions = whole["$defs"]
    for interface, family in classes.items():
        for cls in family:
            definitions[names[cls]] = _block(definitions[names[cls]], cls)
        definitions[names[interface]] = {
            "oneOf": [
                {"enum": [cls.type_name for cls in family]},
                *({"$ref": _TEMPLATE.format(model=names[cls])} for cls in family),
            ]
        }
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **definitions.pop(names[Recipe])}
    return {**schema, "$defs": definitions}, list(dict.fromkeys(problems))


def _block(schema: dict[str, Any], cls: type[Component]) -> dict[str, Any]:
    return {
        **schema,
        "title": cls.type_name,
        "properties": {"type": {"const": cls.type_name}, **schema.get("properties", {})},
        "required": ["type", *schema.get("required", ())],
    }
