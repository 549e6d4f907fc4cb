"""``genrec list``: the components that a recipe can name, and their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli._completion import components, families
from genrec.cli._options import AsJson

if TYPE_CHECKING:
    from genrec.evaluation.metrics import MetricRegistry
    from genrec.registry import Entry, Registry


def command(
    family: Annotated[
        str | None, typer.Argument(help="A family, e.g. tokenizers.", show_default=False, autocompletion=families)
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="A component, to show its keys.", show_default=False, autocompletion=components),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the components of all families, of one family, or the keys of one component."""
    from genrec.cli._output import print_json, print_table
    from genrec.cli._plugins import find_plugins
    from genrec.evaluation.metrics import METRICS
    from genrec.families import FAMILIES

    find_plugins()
    by_family: dict[str, Registry[Any] | MetricRegistry] = {r.family: r for r in (*FAMILIES, METRICS)}
    _check("family", family, list(by_family))
    if family is not None and name is not None:
        fields = _fields(by_family[family], name)
        if as_json:
            print_json(fields)
        else:
            rows = [(f["key"], f["takes"], f["default"], f["help"]) for f in fields]
            print_table(f"{family} / {name}", ("key", "type", "default", "help"), rows)
        return
    found = {title: by_family[title].entries() for title in ([family] if family else by_family)}
    listed = {
        title: [_row(entry, entries) for entry in entries if not entry.problem] for title, entries in found.items()
    }
    broken = {entry.origin: entry.problem for entries in found.values() for entry in entries if entry.problem}
    if as_json:
        print_json({"families": listed, "unreadable": broken})
        return
    for title, rows in listed.items():
        print_table(
            title, ("name", "summary", "origin"), [(r["name"], r["problem"] or r["summary"], r["from"]) for r in rows]
        )
    if broken:
        print_table("plugin files that cannot be read", ("file", "reason"), broken.items())


def _row(entry: Entry, entries: list[Entry]) -> dict[str, str]:
    places = {(e.file, e.target): e.origin for e in entries if e.name == entry.name and not e.problem}
    duplicate = (
        f"the name is registered twice, by {' and '.join(places.values())}; rename one of them"
        if len(places) > 1
        else ""
    )
    return {"name": entry.name, "summary": entry.summary, "from": entry.origin, "problem": duplicate}


def _fields(registry: Registry[Any] | MetricRegistry, name: str) -> list[dict[str, str]]:
    import json

    from pydantic_core import PydanticUndefined

    from genrec.errors import RecipeError
    from genrec.evaluation.metrics import MetricRegistry
    from genrec.recipe.blocks import described
    from genrec.recipe.schema import plain

    _check(registry.singular, name, registry.names())
    if isinstance(registry, MetricRegistry):
        raise RecipeError(
            f"the metric {name!r} has no keys: a recipe names it, as in evaluation: {{metrics: [{name}]}}"
        )
    rows = []
    for key, field in registry.get(name).model_fields.items():
        default = field.get_default(call_default_factory=True)
        text = "(required)" if default is PydanticUndefined else json.dumps(plain(default), ensure_ascii=False)
        about = " ".join((field.description or "").split())
        rows.append({"key": key, "takes": described(field.annotation), "default": text, "help": about})
    return rows


def _check(what: str, name: str | None, known: list[str]) -> None:
    from genrec.errors import RecipeError
    from genrec.recipe.problems import did_you_mean

    if name is not None and name not in known:
        expected = ", ".join(known)
        raise RecipeError(f"unknown {what} {name!r}, expected one of {expected}{did_you_mean(name, known)}")
